"""Files, written completely or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


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
