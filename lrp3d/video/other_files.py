"""Files that are no videos: what came instead, and what to give."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

from lrp3d.filenames import extension
from lrp3d.printed import few
from lrp3d.video.array_form import FORM
from lrp3d.video.source import VideoError

ARRAYS = {".npz", ".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".zarr", ".parquet"}
"""Kinds of files in which other programs keep arrays, and which are not read."""
TEXTS = {".csv", ".json", ".jsonl", ".tsv", ".txt"}
"""Kinds of files in which lists of videos come."""
_FIRST = 4096  # bytes by which a text is told from a video


def refuse_other_arrays(path: Path) -> None:
    """Refuse a file that may hold frames in a form that is not read, before it is taken for a video.

    Raises:
        VideoError: it is one; the message says how to save the frames.
    """
    kind = extension(path)
    if kind not in ARRAYS:
        return
    what = _archive(path) if kind == ".npz" else f"a {kind} file"
    raise VideoError(
        f"{path.name} is {what}, and these are not read: save the frames alone, with numpy.save as .npy, torch.save as "
        f".pt, or as .safetensors; they are {FORM}"
    )


def _archive(path: Path) -> str:
    """A file of several arrays, with their names."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        return "a damaged .npz file"
    count = "1 array" if len(names) == 1 else f"{len(names)} arrays"
    return f"a .npz file of {count} ({few(names, 8)})" if names else "a .npz file without an array"


def text_instead(file: BinaryIO, path: Path) -> str | None:
    """What to say of a file that is a text and therefore no video; None for any other file."""
    file.seek(0)
    first = file.read(_FIRST)
    text = first.decode("utf-8", errors="ignore")
    if not first or "\0" in text or len(text.encode()) < len(first) - 3:  # a character may be cut at the end
        return None
    listed = "; lrp3d study run explains the videos of a list" if extension(path) in TEXTS else ""
    return f"it is a text, and a video is a file that FFmpeg can read, a folder of images, or a tensor file{listed}"
