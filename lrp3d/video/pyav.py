"""Imports PyAV when it is needed, gives it the bytes of one file, and turns its frames into arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lrp3d.extras import missing
from lrp3d.video.completeness import truncation
from lrp3d.video.index import refuse_claims
from lrp3d.video.other_files import text_instead
from lrp3d.video.paths import open_regular, refuse_playlist
from lrp3d.video.room import most_pixels
from lrp3d.video.source import VideoError, first_line


def import_av() -> Any:
    """Imports PyAV; raises ImportError with what to do if it is missing, or if another module has its name."""
    try:
        import av
    except ImportError:
        raise missing("av", "reading videos and images") from None
    if not hasattr(av, "open"):
        place = getattr(av, "__file__", None) or "another module named av"
        raise ImportError(f"reading videos and images needs PyAV, and {place} is imported in its place: rename it")
    return av


# Since this version of PyAV, the decoders that look at the first frames can be limited as well. Earlier versions crash
# with such options if a stream appears after the header (FLV, MPEG-TS).
_LIMITS_THE_FIRST_LOOK = 17


class LocalFile:
    """The bytes of a file without its name, so that FFmpeg can open no other file and no protocol."""

    def __init__(self, file: BinaryIO):
        self._file = file

    def read(self, size: int) -> bytes:
        """Returns up to ``size`` bytes, and none at the end of the file."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Returns the new position, or -1 if a damaged file points to a place before its beginning."""
        try:
            return self._file.seek(offset, whence & 3)  # higher values are FFmpeg's own flags
        except (OSError, ValueError, OverflowError):
            return -1

    def tell(self) -> int:
        """The position in the file, in bytes."""
        return self._file.tell()


@contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """An open container, in every PyAV since version 12; no other file, host or device is opened.

    Raises:
        VideoError: the file cannot be opened as a video.
    """
    av = import_av()
    with open_regular(path) as file:
        refuse_playlist(file, path.name)
        refuse_claims(file, path.name)
        try:
            container = _open(av, LocalFile(file))
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as error:
            if text := text_instead(file, path):
                raise VideoError(f"{path.name} cannot be opened as a video: {text}") from None
            reason = getattr(error, "strerror", None) or first_line(error)
            cut = truncation(file)
            reason_given = f"{reason} ({cut})" if cut else reason
            raise VideoError(f"{path.name} cannot be opened as a video: {reason_given}") from None
        with container:
            yield container


def _open(av: Any, file: LocalFile) -> Any:
    arguments: dict[str, Any] = {
        # A container that refers to other files finds no protocol to open them with.
        "container_options": {"protocol_whitelist": "none"},
        "buffer_size": 2**16,
    }
    if int(av.__version__.split(".")[0]) >= _LIMITS_THE_FIRST_LOOK:
        arguments["options"] = {"max_pixels": str(most_pixels())}
    try:
        return av.open(file, metadata_errors="ignore", **arguments)
    except TypeError as error:
        if "metadata_errors" not in str(error):
            raise
        return av.open(file, **arguments)  # PyAV 19 always ignores metadata that is not UTF-8


def limit_pixels(stream: Any, **options: str) -> None:
    """Limit the pictures of a stream's decoder to the size that memory allows, whatever a header claims."""
    stream.codec_context.options = {"max_pixels": str(most_pixels()), **options}


def to_array(frame: Any) -> np.ndarray:
    """RGB pixels of a frame, rotated as the metadata says."""
    return np.rot90(frame.to_ndarray(format="rgb24"), _quarter_turns(frame))


def is_turned(frame: Any) -> bool:
    """Whether the stored width is displayed as the height."""
    return _quarter_turns(frame) % 2 == 1


def _quarter_turns(frame: Any) -> int:
    return round(_rotation(frame) / 90)


def _rotation(frame: Any) -> float:
    """The angle in degrees by which the frame has to be rotated counterclockwise."""
    if hasattr(frame, "rotation"):
        return float(frame.rotation)
    # PyAV before 13 returns only the matrix, nine integers of which the first two are cosine and sine.
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0.0
    cosine, sine = np.frombuffer(bytes(matrix), np.int32)[:2].tolist()
    return -math.degrees(math.atan2(sine, cosine))
