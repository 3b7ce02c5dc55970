"""Files: read without running code from them, written completely or not at all."""

from __future__ import annotations

import os
import pickle
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

Source = str | os.PathLike[str]
State = Mapping[str, Any]


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the model is unchanged."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: a state dict, as the source wrote it, and text metadata (of safetensors)."""

    state: State
    metadata: dict[str, str]


def read_checkpoint(path: Source, trust_pickle: bool = False) -> Checkpoint:
    """Read a checkpoint without running code from it, unless `trust_pickle`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file needs unpickling, or is none that torch or safetensors can read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    if _is_safetensors(path):
        try:
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                return Checkpoint({name: file.get_tensor(name) for name in names}, file.metadata() or {})
        except SafetensorError as error:
            raise CheckpointError(f"{path.name} is not a complete safetensors file: {error}") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, UnicodeDecodeError) as error:
        if not trust_pickle:
            raise CheckpointError(
                f"{path.name} holds more than tensors and would have to be unpickled, which can run any "
                "code; if you trust it, convert it once: lrp3d convert-checkpoint IN OUT --model NAME --trust-pickle"
            ) from error
        state = _unpickle(path)
    except Exception as error:  # a damaged pickle can fail in any way
        raise CheckpointError(f"{path.name} is not a complete checkpoint: {error}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path.name} holds a {type(state).__name__}, not a state dict")
    return Checkpoint(state, {})


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _unpickle(path: Path) -> Any:
    warnings.warn(
        f"unpickling {path.name}: a pickle can run any code on this machine, so only do this with a file "
        "whose source you trust",
        stacklevel=4,
    )
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, UnicodeDecodeError):
        with path.open("rb") as file:  # caffe2 wrote plain pickles, with Python 2
            return pickle.load(file, encoding="latin1")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place if the block ends well, and vanishes if not."""
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:30]}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp keeps files private
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        number = _number_of(error, temporary)
        if number:
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _number_of(error: BaseException, temporary: Path | None) -> int | None:
    """What the system says of a file that could not be written; None where the error is about something else."""
    if isinstance(error, SafetensorError):
        said = re.search(r"\(os error (\d+)\)", str(error))
        return int(said[1]) if said else None
    if isinstance(error, OSError) and (temporary is None or error.filename in (None, str(temporary))):
        return error.errno
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
