"""Writes files completely or not at all, and reads them back; and makes of values what json can hold."""

from __future__ import annotations

import math
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that replaces it if the block succeeds, and is removed if not."""
    temporary = None
    try:
        beside = path.parent / f".{path.name[:30]}.{secrets.token_hex(8)}.part"
        handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        temporary, mode = beside, stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)  # safetensors makes files that only their owner can read
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        number = _number_of(error, temporary)
        if number:
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def require_regular(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse anything that is not a regular file, such as a pipe, which never ends; `kind` is what it should be.

    Raises:
        ValueError: the path is a pipe, a device or a folder.
        OSError: there is no such file, or its type cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path} is no {kind} (it is not a regular file)")


def read_saved(path: str | os.PathLike[str], key: str, kind: str) -> tuple[str, dict[str, Any]]:
    """What a safetensors file says under a key of its metadata, and its tensors.

    Raises:
        ValueError: any other file; it names `kind` the file should have been.
    """
    require_regular(path, kind)
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except SafetensorError as error:
        raise ValueError(f"{path} is no {kind} saved by lrp3d ({error})") from error
    if key not in metadata:
        raise ValueError(f"{path} is a safetensors file, but no {kind} saved by lrp3d")
    return metadata[key], tensors


def as_json(value: Any, digits: int | None = None) -> Any:
    """A value as json can hold it: tensors and arrays become lists, and NaN and infinity become null.

    Args:
        value: numbers, texts, tensors and arrays, also inside lists and dicts.
        digits: to how many digits numbers are rounded; None keeps them all.

    >>> as_json({"atr": (2.5, float("nan"))}), as_json(1 / 3, digits=3)
    ({'atr': [2.5, None]}, 0.333)
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: as_json(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item, digits) for item in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return value if digits is None else float(f"{value:.{digits}g}")


def _number_of(error: BaseException, temporary: Path | None) -> int | None:
    """The system's error number for a file that could not be written; None if the error has another cause."""
    if isinstance(error, SafetensorError):
        match = re.search(r"\(os error (\d+)\)", str(error))
        return int(match[1]) if match else None
    if isinstance(error, OSError) and (temporary is None or error.filename in (None, str(temporary))):
        return error.errno
    return None
