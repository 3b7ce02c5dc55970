"""Reads videos from tensor files: .pt, .npy, .safetensors."""

from __future__ import annotations

import math
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from lrp3d.filenames import extension
from lrp3d.printed import few, with_article
from lrp3d.video.array_form import FORM, as_pixels, require_frames
from lrp3d.video.pixels import Framing
from lrp3d.video.room import BYTES_PER_PIXEL, require_memory
from lrp3d.video.source import Choose, Source, VideoError, chosen_frames, first_line

TENSOR_SUFFIXES = {".pt", ".pth", ".npy", ".safetensors"}


def read_tensor(path: Path, choose: Choose, framing: Framing) -> Source:
    """The chosen frames of a tensor file, without reading others; raises VideoError if it has no frames."""
    try:
        with _opened(path) as stored:
            require_frames(stored.shape, path.name)
            height, width = stored.shape[1:3]
            what = f"frames of {width} x {height} pixels"
            require_memory(height * width * BYTES_PER_PIXEL, what, "give smaller ones")
            indices = chosen_frames(choose, stored.shape[0], path.name)
            frames = {index: framing(as_pixels(stored[index], path.name)) for index in sorted(set(indices))}
    except VideoError:
        raise
    except Exception as error:  # Each of the three formats raises errors of its own.
        raise VideoError(f"{path.name} cannot be read as a tensor: {first_line(error)}") from None
    return Source([frames[index] for index in indices], indices, stored.shape[0], [math.nan] * len(indices))


@dataclass(frozen=True)
class _StoredFrames:
    """An array in a file: its shape, and its frames one at a time."""

    shape: tuple[int, ...]
    frame: Callable[[int], np.ndarray]

    def __getitem__(self, index: int) -> np.ndarray:
        return self.frame(index)


@contextmanager
def _opened(path: Path) -> Iterator[_StoredFrames]:
    """The only array in a file; no code in it is executed, and frames are read from the disk when they are needed."""
    if extension(path) == ".npy":
        array = _load_numpy(path)
        yield _StoredFrames(array.shape, lambda index: np.array(array[index]))
    elif extension(path) == ".safetensors":
        with safe_open(path, framework="pt") as file:
            stored = file.get_slice(_single_name(list(file.keys()), path.name))
            yield _StoredFrames(tuple(stored.get_shape()), lambda index: as_array(_slice(stored, index)))
    else:
        tensor = _load_torch(path)
        yield _StoredFrames(tuple(tensor.shape), lambda index: as_array(tensor[index]))


def _load_numpy(path: Path) -> np.ndarray:
    """The array of a numpy file, mapped into memory."""
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":  # numpy takes the file for a pickle, and advises to allow pickles
            reason = "it is no array that numpy.save has written, or it is damaged"
            raise VideoError(f"{path.name} cannot be read as a tensor: {reason}")
        _check_header(file, path)
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _check_header(file: BinaryIO, path: Path) -> None:
    """Refuse objects of Python, which are a pickle, and a file that is shorter than its header says."""
    file.seek(0)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    read_header = readers.get(np.lib.format.read_magic(file))
    if read_header is None:
        return
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise VideoError(f"{path.name} holds objects of Python, and a clip is one array of {FORM}")
    needed, size = file.tell() + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if size < needed:
        raise VideoError(f"{path.name} breaks off: {dtype} {shape} takes {needed:,} bytes, and the file has {size:,}")


def _load_torch(path: Path) -> Tensor:
    """The only tensor of a torch file, mapped into memory if the format allows it."""
    mapped = zipfile.is_zipfile(path)
    if mapped:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise VideoError(f"{path.name} is compressed, which nothing of torch's is: save it with torch.save")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickles, and then refuses or reads them
            stored: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:  # torch's own message advises unpickling, which can run any code
        reason = "it is damaged, or holds more than that; save the tensor alone"
        raise VideoError(f"{path.name} cannot be read as a tensor: {reason}") from None
    if isinstance(stored, dict):
        tensors = {str(key): value for key, value in stored.items() if isinstance(value, Tensor)}
        stored = tensors[_single_name(list(tensors), path.name)]
    if not isinstance(stored, Tensor):
        kind = with_article(type(stored).__name__)
        raise VideoError(f"{path.name} holds {kind}, not a tensor: save the frames alone; they are {FORM}")
    return stored


def _slice(stored: Any, index: int) -> Tensor:
    with warnings.catch_warnings():
        # Early versions of safetensors index tensors in a way of which torch 2.9 and later warn.
        warnings.filterwarnings("ignore", "Using a non-tuple sequence", UserWarning)
        return cast(Tensor, stored[index : index + 1][0])


def _single_name(names: list[str], file: str) -> str:
    if len(names) != 1:
        which = f": {few(names, 8)}" if names else ""
        raise VideoError(
            f"{file} holds {len(names) or 'no'} tensors, and a clip is one{which}; save the frames alone, {FORM}"
        )
    return names[0]


def as_array(frame: Tensor) -> np.ndarray:
    """A frame as an array; all types of floats become float32."""
    return (frame.float() if frame.is_floating_point() else frame).numpy(force=True)
