"""Bands: relevance that lies in a few frames is stored and computed for these frames only.

The relevance of a frame's logit is zero outside its receptive field, which covers only a few frames in deep layers. A
band is an interval along one axis outside of which all seeds of a chunk are zero, so leaving the rest out is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.plain import is_plain


@dataclass(frozen=True)
class Band:
    """Positions `start` to `stop` of an axis of a tensor; the leading seed axis is not counted."""

    axis: int
    start: int
    stop: int

    def __or__(self, other: Band) -> Band:
        """The smallest band that contains both."""
        return Band(self.axis, min(self.start, other.start), max(self.stop, other.stop))

    def shape(self, full: torch.Size) -> torch.Size:
        """The shape of what lies in the band of a tensor shaped `full`."""
        return torch.Size([*full[: self.axis], self.stop - self.start, *full[self.axis + 1 :]])

    def of(self, x: Tensor) -> Tensor:
        """The part of a tensor without seed axis that lies in the band; the whole tensor if it has size one there."""
        return x if x.shape[self.axis] == 1 else x.narrow(self.axis, self.start, self.stop - self.start)

    def inside(self, r: Tensor, outer: Band) -> Tensor:
        """The view of this band in `r` (s, ...), which covers the larger band `outer`."""
        return r.narrow(1 + self.axis, self.start - outer.start, self.stop - self.start)

    def widened(self, r: Tensor, outer: Band) -> Tensor:
        """`r` (s, ...) of this band, extended with zeros to the larger band `outer`."""
        shape = list(r.shape)
        shape[1 + self.axis] = outer.stop - outer.start
        out = buffers.empty(shape, r).zero_()
        self.inside(out, outer).copy_(r)
        return out


def whole_axis(axis: int, size: int) -> Band:
    """The band that covers the whole axis."""
    return Band(axis, 0, size)


AXES = {6: 2, 5: 0}
"""The frame axis, without the seed axis, by number of axes: `t` of (s, b, c, t, h, w), `b t` of (s, b t, c, h, w)."""


def nonzero_band(r: Tensor) -> Band | None:
    """The band outside of which seeds (s, b, c, t, h, w) or (s, b t, c, h, w) are zero; None if it leaves nothing out.

    >>> r = torch.zeros(1, 2, 3, 8, 4, 4)
    >>> r[:, :, :, 2:5] = 1
    >>> nonzero_band(r)
    Band(axis=2, start=2, stop=5)
    """
    axis = AXES.get(r.dim())
    # Looking at values would make a GPU wait, and computing the zeros of deep layers costs a GPU little.
    if axis is None or r.device.type != "cpu" or is_plain() or not r.numel() or r.shape[1 + axis] < 2:
        return None
    pixel = r[..., r.shape[-2] // 2, r.shape[-1] // 2]  # (s, b, c, t) or (s, b t, c)
    if all((pixel.select(1 + axis, end) != 0).any() for end in (0, -1)):
        return None  # one pixel of the first and the last frame is enough to know
    pixels = r.flatten(-2)  # (s, b, c, t, h w) or (s, b t, c, h w)
    occupied = (pixels.amax(-1) != 0) | (pixels.amin(-1) != 0)  # NaN counts as relevance
    occupied = occupied.movedim(1 + axis, -1).flatten(0, -2).any(0)  # (t,) or (b t,)
    where = occupied.nonzero().flatten().tolist() or [0]
    band = Band(axis, where[0], where[-1] + 1)
    return band if band.stop - band.start < r.shape[1 + axis] else None


def outermost_dropped(r: Tensor, tolerance: float, clips: int = 1) -> Band | None:
    """The band left without the outermost frames, which hold less than `tolerance` of |r| for each seed and each clip.

    The share is of the relevance at this layer, not of what the seed started with, because the rows of a contrast are
    small differences. Returns None if nothing is dropped, as where the frames of several clips share an axis.

    >>> r = torch.tensor([1e-6, 1e-6, 1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    >>> outermost_dropped(r, 1e-4)
    Band(axis=2, start=2, stop=4)
    """
    axis = _frame_axis(r, clips)
    if axis is None:
        return None
    frames = r.shape[1 + axis]
    first, last = map(int, _outermost(r, axis, tolerance))
    return Band(axis, first, last) if first < last and last - first < frames else None


def outermost_zeroed(r: Tensor, tolerance: float, clips: int = 1) -> Tensor:
    """`r` with zeros in the frames that `outermost_dropped` leaves out, without reading values back from a GPU.

    >>> r = torch.tensor([1e-6, 1e-6, 1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    >>> outermost_zeroed(r, 1e-4).flatten()
    tensor([0., 0., 1., 2., 0.])
    """
    axis = _frame_axis(r, clips)
    if axis is None:
        return r
    frames = r.shape[1 + axis]
    first, last = _outermost(r, axis, tolerance)
    frame = torch.arange(frames, device=r.device)  # (t,)
    kept = ((frame >= first) & (frame < last)) | (first >= last)
    return torch.where(kept.reshape([-1 if i == 1 + axis else 1 for i in range(r.dim())]), r, 0.0)


def _frame_axis(r: Tensor, clips: int) -> int | None:
    """The axis of frames, without the seed axis; None where there is none, or clips share it."""
    axis = AXES.get(r.dim()) if r.numel() else None
    return None if axis == 0 and clips > 1 else axis


def _outermost(r: Tensor, axis: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """The first frame that is kept, and the one after the last."""
    alone = {0, axis and 1, 1 + axis}  # the seeds, the clips unless frames are folded into them, the frames
    mass = r.abs().sum([i for i in range(r.dim()) if i not in alone], dtype=torch.float32)  # (s, b, t) or (s, t)
    mass = mass.flatten(0, -2)  # (s b, t)
    room = tolerance / 2 * mass.sum(1, keepdim=True)  # (s b, 1): half of the tolerance at either end
    before = ((mass.cumsum(1) < room).sum(1)).min()
    behind = ((mass.flip(1).cumsum(1) < room).sum(1)).min()
    return before, mass.shape[1] - behind
