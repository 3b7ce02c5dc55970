"""Reads checkpoint files without running code from them."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from lrp3d.callers import warn

from .absent_classes import INSTEAD, class_of_main, of_main, why_absent
from .claims import Claims, Damaged, check_pickles, check_zip
from .kinds import foreign_kind, is_text
from .states import tensors_within
from .wording import first_line, shown

Source = str | os.PathLike[str]
State = Mapping[str, Any]


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the model has not changed.

    >>> import torch, lrp3d
    >>> try:
    ...     lrp3d.models.load_checkpoint(lrp3d.models.tsn_resnet(18, 10, width=8), {"stem.kernel": torch.zeros(1)})
    ... except lrp3d.models.CheckpointError as error:
    ...     print(str(error).partition(";")[0])
    no known source names parameters like this (stem.kernel)
    """


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a file: a state dict as the source wrote it, and text metadata (of safetensors)."""

    state: State
    metadata: dict[str, str]
    name: str = ""
    """The name of the file."""


def read_checkpoint(path: Source, trust_pickle: bool = False) -> Checkpoint:
    """Read a checkpoint without running code from it unless `trust_pickle` is set.

    The claims of the file are compared with its contents before memory is allocated.

    Raises:
        FileNotFoundError: there is no such file; addresses on the network are not read.
        CheckpointError: the file needs unpickling, is damaged, claims more than it holds, or is another kind of file,
            which the message names.

    Returns:
        Its `state`, as the source wrote it, with `metadata` (of safetensors) and `name`.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"state_dict": {"fc.weight": torch.zeros(5, 8)}}, f"{folder}/weights.pth")
    ...     found = read_checkpoint(f"{folder}/weights.pth")
    >>> found.name, found.state["state_dict"]["fc.weight"].shape
    ('weights.pth', torch.Size([5, 8]))
    """
    text, path = os.fspath(path), Path(path)
    if path.is_dir():
        raise CheckpointError(f"{_name(path) or path} is a folder; a checkpoint is a file")
    if not path.is_file():
        if path.exists():
            raise CheckpointError(f"{_name(path)} is a pipe or a device; a checkpoint is a regular file")
        link = ": it is a link that leads nowhere" if path.is_symlink() else ""
        raise FileNotFoundError(f"no checkpoint at {text}{link}")
    kind = foreign_kind(path)
    if kind is not None:
        expected = "safetensors file" if path.suffix == ".safetensors" else "checkpoint"
        raise CheckpointError(f"{_name(path)} is not a complete {expected}: it is {kind}")
    if _is_safetensors(path):
        return _read_safetensors(path)
    state = _read_pickled(path, trust_pickle)
    if isinstance(state, nn.Module):
        state = state.state_dict()
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{_name(path)} holds a {type(state).__name__}, not a state dict")
    return Checkpoint(state, {}, _name(path))


def _name(path: Path) -> str:
    """The name of a file as error sentences have it."""
    return shown(path.name, 300)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return Checkpoint({name: file.get_tensor(name) for name in names}, file.metadata() or {}, _name(path))
    except Exception as error:  # beside SafetensorError, torch may raise any error for a strange shape or type
        raise CheckpointError(f"{_name(path)} is not a complete safetensors file: {first_line(error)}") from error


def _read_pickled(path: Path, trust_pickle: bool) -> Any:
    """Reads a file that torch.save or pickle wrote."""
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    try:
        claims = check_zip(path) if is_zip else check_pickles(path)
    except Damaged as error:
        problem = "is not a complete checkpoint: it is a text" if not is_zip and is_text(path) else str(error)
        raise CheckpointError(f"{_name(path)} {problem}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickles, and then refuses or reads them
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, UnicodeDecodeError) as error:
        if not trust_pickle:
            raise CheckpointError(_needs_trust(path, claims)) from error
    except Exception as error:  # a damaged pickle may raise any error
        raise CheckpointError(f"{_name(path)} is not a complete checkpoint: {first_line(error)}") from error
    else:
        _check_shapes(path, state)
        return state
    return _unpickle(path)


def _check_shapes(path: Path, state: Any) -> None:
    """Refuse a tensor larger than the file, made by repeating values (stride 0), because a copy would be as large."""
    limit = max(path.stat().st_size, 1 << 20)
    for value in tensors_within(state) if isinstance(state, Mapping) else ():
        size = value.numel() * value.element_size()
        if size > limit:
            raise CheckpointError(f"{_name(path)} claims {size:,} bytes for a tensor, and is smaller itself")


def _needs_trust(path: Path, claims: Claims) -> str:
    if (name := of_main(claims.foreign)) is not None:
        return f"{_name(path)} cannot be unpickled here: {why_absent(name)}"
    examples = ", ".join(shown(name) for name in claims.foreign[:3])
    details = f" ({examples}{', ...' if len(claims.foreign) > 3 else ''})" if examples else ""
    return (
        f"{_name(path)} holds more than tensors{details} and would have to be unpickled, which can run any code; "
        "if you trust it, convert it once: lrp3d convert-checkpoint IN OUT --model NAME --trust-pickle"
    )


def _unpickle(path: Path) -> Any:
    warn(
        f"unpickling {_name(path)}: a pickle can run any code on this machine, so only do this with a file "
        "whose source you trust",
    )
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, UnicodeDecodeError):
        pass  # caffe2 wrote plain pickles, with Python 2
    except Exception as error:
        raise _not_unpickled(path, error) from error
    try:
        with path.open("rb") as file:
            return pickle.load(file, encoding="latin1")
    except Exception as error:
        raise _not_unpickled(path, error) from error


def _not_unpickled(path: Path, error: Exception) -> CheckpointError:
    name = class_of_main(error)
    why = f"{type(error).__name__}: {first_line(error)}" if name is None else why_absent(name)
    if isinstance(error, ImportError):
        absent = f"it needs a module that is not here ({first_line(error)})"
        why = f"{absent}: run this where it can be imported, or {INSTEAD}"
    return CheckpointError(f"{_name(path)} cannot be unpickled here: {why}")
