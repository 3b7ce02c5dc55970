"""Resizes, crops and normalises pixels as a model takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.printed import few
from lrp3d.values import as_tensor
from lrp3d.video.room import require_memory
from lrp3d.video.source import VideoError

SQUARE = Fraction(1)
Colour = float | Sequence[float] | Tensor
"""One number, or one per channel."""


@dataclass(frozen=True)
class Framing:
    """Makes a frame of the clip from each image as soon as it is read, so that no larger image is kept."""

    frames: int
    """The number of frames that the clip will have."""
    size: int | None
    """Side of the square cut from the centre, in pixels; None keeps the whole frame."""
    short_side: int | None
    """The length to which the shorter side is resized first; None keeps it."""
    name: str
    """The name of the source, for error messages."""
    place: tuple[float, float] = (0.5, 0.5)
    """Where the square is cut, down and across: 0 is the first place it can have, 1 the last."""
    seen_sizes: set[tuple[int, int]] = field(default_factory=set, compare=False)
    """Width and height of the images so far, as they are displayed."""

    def note(self) -> list[str]:
        """The sentence about images of several sizes, each of which is resized by its own; nothing for one size."""
        if len(self.seen_sizes) < 2:
            return []
        sizes = few((f"{width} x {height}" for width, height in sorted(self.seen_sizes)), 4)
        return [
            f"{self.name} has frames of {len(self.seen_sizes)} sizes ({sizes}): each is resized and cut by itself, so "
            "that a thing may change its size or place between them"
        ]

    def __call__(self, image: np.ndarray, aspect: Fraction = SQUARE) -> Tensor:
        """Frame uint8 (h', w', 3) of an image (h, w, 3) whose pixels are ``aspect`` times as wide as high.

        Raises:
            VideoError: the image is smaller than the square, or a clip of such frames does not fit into memory.
        """
        self.seen_sizes.add((max(1, round(image.shape[1] * aspect)), image.shape[0]))
        height, width = self._resized(image.shape[0], image.shape[1], aspect)
        if self.size is not None and min(height, width) < self.size:
            raise VideoError(
                f"{self.name} has frames of {width} x {height} pixels, less than the {self.size} asked for"
            )
        rows, columns = (self.size or side for side in (height, width))
        require_clip_memory(self.frames, rows, columns)
        frame = torch.from_numpy(np.ascontiguousarray(image))
        # One axis after the other, which equals both at once, so that pixels that are cut off are never computed.
        frame = _resize_and_cut(frame, 1, width, columns, self.place[1])
        return _resize_and_cut(frame, 0, height, rows, self.place[0]).clone(memory_format=torch.contiguous_format)

    def _resized(self, height: int, width: int, aspect: Fraction) -> tuple[int, int]:
        """Height and width after resizing, in the proportions in which the image is displayed."""
        width = max(1, round(width * aspect))
        if self.short_side is None:
            return height, width
        shorter = min(height, width)
        return max(1, height * self.short_side // shorter), max(1, width * self.short_side // shorter)


def _resize_and_cut(image: Tensor, axis: int, length: int, kept_length: int, place: float) -> Tensor:
    """Image (h, w, 3) with one axis resized to ``length`` and then cut to the part at ``place``."""
    if image.shape[axis] != length:
        shape = [length if place == axis else image.shape[place] for place in (0, 1)]
        # torch mistakes the order of an image that is one pixel wide unless its pixels lie side by side, and fails.
        pixels = image.contiguous() if 1 in image.shape else image
        planes = pixels.permute(2, 0, 1).unsqueeze(0)
        resized = F.interpolate(planes, shape, mode="bilinear", align_corners=False, antialias=True)
        image = resized[0].permute(1, 2, 0)
    return image.narrow(axis, int((length - kept_length) * place), kept_length)


def require_clip_memory(frames: int, height: int, width: int) -> None:
    """Refuse a clip that does not fit into memory: its pixels, and its floats while they are normalised."""
    pixels = f"{frames} frames of {width} x {height} pixels"
    require_memory(frames * height * width * 3 * (1 + 3 * 4), pixels, "ask for fewer frames, or smaller ones")


def stack_frames(frames: list[Tensor], name: str) -> Tensor:
    """Stacks frames (h, w, 3) to pixels (t, h, w, 3); raises VideoError if the resolution changes within the video."""
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(f"{name} has frames of different sizes: give a size to crop them to")
    return torch.stack(frames)


def check_normalisation(**given: Colour) -> None:
    """Checks ``mean=`` and ``std=``; raises ValueError unless each is one number or one per channel, and std not 0."""
    for name, colour in given.items():
        try:
            values = as_tensor(colour, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            values = torch.empty(0, device="cpu")
        if values.ndim > 1 or values.numel() not in (1, 3):
            raise ValueError(f"{name} is one number or one per channel (3), not {colour!r}")
        if name == "std" and not values.all():
            raise ValueError(f"std is not 0, which pixels are divided by, but it is {colour!r}")


def black_and_white(mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The normalised values of black and of white, one for each channel: between them lie all valid inputs.

    >>> black_and_white([0.5], [0.25])
    ((-2.0,), (2.0,))
    """
    pairs = list(zip(mean, std, strict=True))
    return tuple((0.0 - m) / s for m, s in pairs), tuple((1.0 - m) / s for m, s in pairs)


def normalize(pixels: Tensor, mean: Colour, std: Colour) -> Tensor:
    """Pixels uint8 (t, h, w, 3) as a batch of one clip, float32 (1, 3, t, h, w)."""
    offset, scale = (as_tensor(colour, dtype=torch.float32) for colour in (mean, std))
    return ((pixels.float() / 255 - offset) / scale).permute(3, 0, 1, 2).unsqueeze(0).contiguous()
