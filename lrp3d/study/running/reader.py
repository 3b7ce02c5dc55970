"""Turns a clip of the list into the pixels that a model sees; runs in worker processes and holds no tensor."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrp3d import video
from lrp3d.filenames import extension
from lrp3d.printed import printable
from lrp3d.sampling import check_sampling
from lrp3d.study.listing.lists import Item
from lrp3d.study.listing.rows import VIDEO_SUFFIXES
from lrp3d.video.paths import is_url
from lrp3d.video.tensors import TENSOR_SUFFIXES

__all__ = ["Pixels", "Reader", "normalised"]


@dataclass(frozen=True)
class Pixels:
    """The pixels that a model sees of a clip, as bytes, which take a quarter of what floats would between processes.

    Returned by a `Reader`.

    >>> pixels = Pixels(video.draw_clip(frames=4, size=32).numpy(), np.arange(4))
    >>> pixels.frames.shape, pixels.frames.dtype
    ((4, 32, 32, 3), dtype('uint8'))
    """

    frames: np.ndarray
    """uint8 RGB (t, h, w, 3)."""
    indices: np.ndarray
    """(t,) the number of each frame in the video."""
    lost: tuple[str, ...] = ()
    """One sentence for each thing that is missing or damaged in the video."""
    notes: tuple[str, ...] = ()
    """One sentence for each decision about the source."""
    seconds: float = 0.0
    """How long reading took."""


@dataclass(frozen=True)
class Reader:
    """Reads the clips of a list; it can be called, and is small enough to be sent to other processes.

    Args:
        root: the folder that the names in the list are relative to.
        frames: how many frames a clip has.
        sampling: "uniform" or "dense".
        stride: the distance between frames, for dense sampling.
        size: the side of a frame, in pixels.
        short_side: the length to which the shorter side is resized before the crop.
        template: the pattern of image names in a folder of frames, as in `lrp3d.video.read_clip`.

    Raises:
        ValueError: the sampling is unknown, or a stride is given that it does not have.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder, "clip.npy"), video.draw_clip(frames=20, size=32).numpy())
    ...     Reader(folder, frames=4, size=32, short_side=32)(Item(0, "clip.mp4")).frames.shape
    (4, 32, 32, 3)
    """

    root: str | Path
    frames: int = 8
    sampling: str = "uniform"
    stride: int = 1
    size: int = 224
    short_side: int = 256
    template: str | None = None

    def __post_init__(self) -> None:
        check_sampling(self.sampling, self.stride)

    def __call__(self, item: Item) -> Pixels:
        """Returns the pixels of a clip; raises `lrp3d.video.VideoError` where it cannot be read."""
        started = time.perf_counter()
        clip = self.read(item)
        return Pixels(clip.pixels.numpy(), clip.indices.numpy(), clip.lost, clip.notes, time.perf_counter() - started)

    def read(self, item: Item, **otherwise: Any) -> video.Clip:
        """Reads a clip with these options, some of them replaced; lost frames are listed and raise no warning.

        Where the list says another number of frames than a folder has images, a sentence tells both. Where more than
        one is missing, that is a loss; one more or less may be the way in which the list counts, and is noted.
        """
        path, *others = self._candidates(item)
        options = {"stride": self.stride, "size": self.size, "short_side": self.short_side} | otherwise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", video.ClipWarning)
            clip = video.read_clip(
                path, self.frames, self.sampling, template=self.template if path.is_dir() else None, **options
            )
        if others:
            more = ", ".join(other.name for other in others)
            sentence = f"{item.name} may mean {path.name} and {more}: {path.name} is read"
            clip = replace(clip, notes=(*clip.notes, printable(sentence)))
        return _compared(clip, item) if path.is_dir() else clip

    @property
    def options(self) -> dict[str, Any]:
        """The options of reading, except the root, which may differ between machines."""
        return {name: value for name, value in asdict(self).items() if name != "root"}

    def locate(self, item: Item) -> Path:
        """Finds the file or folder of a clip: under its name in the list, with another suffix, or without one.

        Raises:
            VideoError: there is no such file or folder.
        """
        return self._candidates(item)[0]

    def _candidates(self, item: Item) -> list[Path]:
        """The files and folders that the name of a clip may mean, the one that is taken first."""
        root = Path(self.root)
        places = item.places or (item.name,)
        for place in places:
            path = root / place
            has_suffix = extension(path) in (*VIDEO_SUFFIXES, *TENSOR_SUFFIXES)
            if has_suffix and path.exists():
                return [path]
            stem = path.with_suffix("") if has_suffix else path
            suffixes = ("", *VIDEO_SUFFIXES, *sorted(TENSOR_SUFFIXES))
            if found := [other for suffix in suffixes if (other := stem.with_name(stem.name + suffix)).exists()]:
                return found
        advice = "; URLs are not read: download it and list the file" if is_url(places[0]) else ""
        if "\\" in places[0] and any((root / place.replace("\\", "/")).exists() for place in places):
            advice = ", but there is one with / in the place of \\: write the list's folders so"
        raise video.VideoError(f"there is no file or folder {places[0]} below the root{advice}")


def _compared(clip: video.Clip, item: Item) -> video.Clip:
    """Returns the clip of a folder of frames, with a sentence where the list says another number of frames."""
    listed, there = item.frames, clip.num_video_frames
    if listed is None or listed == there:
        return clip
    sentence = f"the list says that {item.name} has {listed:,} frames, and the folder has {there:,}"
    if there < listed - 1:
        return replace(clip, lost=(*clip.lost, printable(f"{sentence}: some may be missing")))
    return replace(clip, notes=(*clip.notes, printable(f"{sentence}: it is read as it is")))


def normalised(frames: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalises clips on the device of their pixels, so that a GPU is sent bytes and not floats.

    Args:
        frames: uint8 RGB (b, t, h, w, 3).
        mean: one value per channel, for pixels from 0 to 1.
        std: one value per channel.

    Returns:
        float32 (b, 3, t, h, w), bit for bit what `lrp3d.video.read_clip` gives on the same device.

    >>> normalised(torch.full((1, 2, 4, 4, 3), 255, dtype=torch.uint8), (0.5,) * 3, (0.5,) * 3).unique()
    tensor([1.])
    """
    scaled = frames.float() / 255
    shift, scale = (torch.tensor(values, device=frames.device) for values in (mean, std))
    return ((scaled - shift) / scale).permute(0, 4, 1, 2, 3).contiguous()
