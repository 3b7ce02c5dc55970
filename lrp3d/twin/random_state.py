"""Random numbers in a forward: they come from copies of the caller's generators or from a seed, and are noticed."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from lrp3d.forks import renewed_in_children

_one_at_a_time = threading.RLock()
"""Generators and a model's buffers are those of the whole process, so that forwards of several threads take turns."""


@renewed_in_children
def _renew() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


DIFFERS = (
    "draws random numbers, and what the model returns differs from run to run: switch the draws off, or pass seed= "
    "to explain the run with the draws of that seed"
)


class Draws:
    """True if random numbers were drawn since this object was made.

    Args:
        device: a device whose generator counts as well as those of the CPU, numpy and Python.
        own: generators that the model holds.
    """

    def __init__(self, device: torch.device, own: Sequence[Any] = ()):
        self.device: torch.device = device
        self.own: Sequence[Any] = own
        self.before: list[Any] = self._states()

    def _states(self) -> list[Any]:
        numpy = sys.modules.get("numpy")
        states: list[Any] = [torch.get_rng_state().numpy().tobytes(), random.getstate()]
        states += [_comparable(numpy.random.get_state())] if numpy is not None else []
        if self.device.type != "cpu":
            get_state = getattr(torch.get_device_module(self.device.type), "get_rng_state", None)
            states += [get_state(self.device).numpy().tobytes()] if get_state is not None else []
        return states + [_comparable(_state(generator)) for generator in self.own]

    def __bool__(self) -> bool:
        return self._states() != self.before


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state() if hasattr(generator, "get_state") else generator.bit_generator.state


def _comparable(state: Any) -> str:
    """The state as a text, so that states with arrays can be compared."""
    return repr([x.tolist() if hasattr(x, "tolist") else x for x in state] if isinstance(state, tuple) else state)


@contextmanager
def kept_random_state(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """After this block, the global generators of torch (CPU and `device`), numpy and Python are as they were before.

    Blocks of several threads take turns. What other code draws at the same time is not known here: its numbers come
    again.

    Args:
        device: a device whose generator is kept as well as that of the CPU.
        seed: the seed of all generators inside the block; None if they go on from their states.
    """
    numpy = sys.modules.get("numpy")
    with _one_at_a_time:
        python, arrays = random.getstate(), numpy and numpy.random.get_state()
        try:
            with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=_kind(device)):
                if seed is not None:
                    seed_torch(device, seed)
                    random.seed(seed)
                    if numpy is not None:
                        numpy.random.seed(seed % 2**32)
                yield
        finally:
            random.setstate(python)
            if numpy is not None:
                numpy.random.set_state(arrays)


def seed_torch(device: torch.device, seed: int) -> None:
    """Seeds torch's generators of the CPU and of `device`, and no other, as only these are kept."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type != "cpu":
        seed_device = getattr(torch.get_device_module(device.type), "manual_seed", None)
        if seed_device is not None:
            seed_device(seed)


def same_output(a: Any, b: Any) -> bool:
    """Whether two runs returned the same, up to the rounding of sums in another order."""
    if a.shape != b.shape:
        return False
    a, b = a.detach(), b.detach()
    allowed = 1e3 * torch.finfo(a.dtype).eps * max(float(x.abs().max()) if x.numel() else 0.0 for x in (a, b))
    return not bool(((a - b).abs() > allowed).any())


def _kind(device: torch.device) -> str:
    """A device type that `fork_rng` knows; it keeps the CPU's generator with any type."""
    return "cuda" if device.type == "cpu" else device.type
