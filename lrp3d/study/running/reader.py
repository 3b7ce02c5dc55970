"""From a clip of the list to the pixels that a model sees; runs in worker processes and holds no tensor of its own."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrp3d import video
from lrp3d.study.listing.formats import VIDEO_SUFFIXES
from lrp3d.study.listing.lists import Item
from lrp3d.video.places import is_url
from lrp3d.video.tensors import TENSOR_SUFFIXES

__all__ = ["Pixels", "Reader", "normalised"]


@dataclass(frozen=True)
class Pixels:
    """What a model sees of a clip, as bytes: a quarter of what floats would have to carry between processes."""

    frames: np.ndarray
    """uint8 RGB (t, h, w, 3)."""
    indices: np.ndarray
    """The number of each frame in the video (t,)."""
    lost: tuple[str, ...] = ()
    """What is missing or damaged, a sentence each."""
    notes: tuple[str, ...] = ()
    """What was decided about its source, a sentence each."""
    seconds: float = 0.0
    """How long it took to read."""


@dataclass(frozen=True)
class Reader:
    """Reads clips of a list: callable, and small enough to be sent to other processes.

    Args:
        root: folder below which the list's names lie.
        frames: frames of a clip.
        sampling: "uniform" or "dense".
        stride: distance between frames, for dense sampling.
        size: side of a frame, in pixels.
        short_side: to which the shorter side is resized before the crop.
        template: name of the images in a frame folder, as in `lrp3d.video.read_clip`.

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

    def __call__(self, item: Item) -> Pixels:
        """The pixels of a clip; raises `lrp3d.video.VideoError` where there are none."""
        started = time.perf_counter()
        clip = self.read(item)
        return Pixels(clip.pixels.numpy(), clip.indices.numpy(), clip.lost, clip.notes, time.perf_counter() - started)

    def read(self, item: Item, **otherwise: Any) -> video.Clip:
        """A clip as this reader reads it, but for what is given; lost frames are in it, and no warning is given."""
        path = self.locate(item)
        options = {"stride": self.stride, "size": self.size, "short_side": self.short_side} | otherwise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", video.ClipWarning)
            return video.read_clip(
                path, self.frames, self.sampling, template=self.template if path.is_dir() else None, **options
            )

    @property
    def options(self) -> dict[str, Any]:
        """How clips are read, wherever they lie: all but the root."""
        return {name: value for name, value in asdict(self).items() if name != "root"}

    def locate(self, item: Item) -> Path:
        """The file or folder of a clip: as the list says, with another suffix, or without one.

        Raises:
            VideoError: there is none.
        """
        root = Path(self.root)
        places = item.places or (item.name,)
        for place in places:
            path = root / place
            if path.exists():
                return path
            has_suffix = path.suffix.lower() in (*VIDEO_SUFFIXES, *TENSOR_SUFFIXES)
            stem = path.with_suffix("") if has_suffix else path
            for suffix in ("", *VIDEO_SUFFIXES, *sorted(TENSOR_SUFFIXES)):
                other = stem.with_name(stem.name + suffix)
                if other.exists():
                    return other
        advice = "; URLs are not read: download it and list the file" if is_url(places[0]) else ""
        raise video.VideoError(f"there is no file or folder {places[0]} below the root{advice}")


def normalised(frames: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Clips as a model takes them, made where the pixels are: on a GPU they arrive as bytes.

    Args:
        frames: uint8 RGB (b, t, h, w, 3).
        mean: one per channel, of pixels from 0 to 1.
        std: one per channel.

    Returns:
        float32 (b, 3, t, h, w), bit for bit what `lrp3d.video.read_clip` gives on the same device.

    >>> normalised(torch.full((1, 2, 4, 4, 3), 255, dtype=torch.uint8), (0.5,) * 3, (0.5,) * 3).unique()
    tensor([1.])
    """
    scaled = frames.float() / 255
    shift, scale = (torch.tensor(values, device=frames.device) for values in (mean, std))
    return ((scaled - shift) / scale).permute(0, 4, 1, 2, 3).contiguous()
