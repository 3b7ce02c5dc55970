"""The device that --device names, and what is said where it cannot be used."""

from __future__ import annotations

import torch

from lrp3d.commands import UsageError
from lrp3d.printed import opening


def device_of(name: str | None) -> torch.device:
    """The device of that name; by default a GPU if there is one. Raises UsageError for one that cannot be used."""
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:  # its own message lists twenty kinds of devices, of which a machine has one or two
        raise UsageError(f"--device {name} cannot be used: torch knows no such device; {_usable_devices()}") from error
    if device.type == "meta":
        raise UsageError(f"--device {name} cannot be used: it holds no numbers; {_usable_devices()}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Of a device that it was not built for, torch lists all that a build may be for.
        built = not isinstance(error, NotImplementedError)
        reason = opening(error).rstrip(".") if built else "this torch was not built for it"
        raise UsageError(f"--device {name} cannot be used: {reason}; {_usable_devices()}") from error
    return device


def device_of_process(name: str | None, local_rank: int) -> str | None:
    """The name of the device of one of several processes on this machine: each has a GPU of its own if none is named.

    Args:
        name: as it is given to --device, for all processes.
        local_rank: the number of the process on this machine.
    """
    if name in (None, "auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{local_rank % torch.cuda.device_count()}"
    return name


def _usable_devices() -> str:
    """What may be given to --device on this machine."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return f"give {' or '.join(['auto', 'cpu', *gpus])}"
