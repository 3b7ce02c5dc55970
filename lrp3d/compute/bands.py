"""Bands: relevance of few frames is stored and computed for these frames only.

A frame's relevance is zero outside the frames that its logit could see, and that is few of them in deep layers. A
band is an interval along one axis outside of which all seeds of a chunk are zero, so leaving the rest out is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute import buffers, kernels


@dataclass(frozen=True)
class Band:
    """Positions `start` to `stop` of an axis of a tensor (the axis of the seeds in front does not count)."""

    axis: int
    start: int
    stop: int

    def __or__(self, other: Band) -> Band:
        """The smallest band that contains both."""
        return Band(self.axis, min(self.start, other.start), max(self.stop, other.stop))

    def shape(self, full: torch.Size) -> torch.Size:
        """Of the part of a tensor shaped `full`."""
        return torch.Size([*full[: self.axis], self.stop - self.start, *full[self.axis + 1 :]])

    def of(self, x: Tensor) -> Tensor:
        """That part of a tensor without seeds; all of it where it is the same along the axis."""
        return x if x.shape[self.axis] == 1 else x.narrow(self.axis, self.start, self.stop - self.start)

    def inside(self, r: Tensor, outer: Band) -> Tensor:
        """The place of this band in seeds `r` (s, ...) that hold another, larger one."""
        return r.narrow(1 + self.axis, self.start - outer.start, self.stop - self.start)

    def widened(self, r: Tensor, outer: Band) -> Tensor:
        """`r` (s, ...) of this band as part of a larger one, zero elsewhere."""
        shape = list(r.shape)
        shape[1 + self.axis] = outer.stop - outer.start
        out = buffers.empty(shape, r).zero_()
        self.inside(out, outer).copy_(r)
        return out


def all_of(axis: int, size: int) -> Band:
    """The band that leaves nothing out."""
    return Band(axis, 0, size)


AXES = {6: 2, 5: 0}
"""Where frames are: in seeds (s, b, c, t, h, w) along t, in (s, b t, c, h, w) in front."""


def measured(r: Tensor) -> Band | None:
    """The band of seeds (s, b, c, t, h, w) along t, or (s, b t, c, h, w) along the frames; None if it is no smaller.

    >>> r = torch.zeros(1, 2, 3, 8, 4, 4)
    >>> r[:, :, :, 2:5] = 1
    >>> measured(r)
    Band(axis=2, start=2, stop=5)
    """
    axis = AXES.get(r.dim())
    # To look would make a GPU wait, and a GPU does not mind the zeros of deep layers.
    if axis is None or r.device.type != "cpu" or kernels.is_plain() or not r.numel():
        return None
    pixels = r.flatten(-2)
    reached = (pixels.amax(-1) != 0) | (pixels.amin(-1) != 0)  # NaN counts, as it must
    reached = reached.movedim(1 + axis, -1).flatten(0, -2).any(0)
    where = reached.nonzero().flatten().tolist() or [0]
    band = Band(axis, where[0], where[-1] + 1)
    return band if band.stop - band.start < r.shape[1 + axis] else None


def outermost_dropped(r: Tensor, tolerance: float) -> Band | None:
    """The frames of seeds (s, ...) but those at both ends that hold less than `tolerance` of each seed's |r|.

    Judged against what is there, not against what the seed began with: rows of a contrast are small differences.

    >>> r = torch.tensor([1e-6, 1e-6, 1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    >>> outermost_dropped(r, 1e-4)
    Band(axis=2, start=2, stop=4)
    """
    axis = AXES.get(r.dim())
    if axis is None or not r.numel():
        return None
    frames = r.shape[1 + axis]
    first, last = map(int, _outermost(r, axis, tolerance))
    return Band(axis, first, last) if first < last and last - first < frames else None


def outermost_zeroed(r: Tensor, tolerance: float) -> Tensor:
    """`r` with zeros in the frames that `outermost_dropped` leaves out; a device need not say which they are.

    >>> r = torch.tensor([1e-6, 1e-6, 1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    >>> outermost_zeroed(r, 1e-4).flatten()
    tensor([0., 0., 1., 2., 0.])
    """
    axis = AXES.get(r.dim())
    if axis is None or not r.numel():
        return r
    frames = r.shape[1 + axis]
    first, last = _outermost(r, axis, tolerance)
    frame = torch.arange(frames, device=r.device)
    kept = ((frame >= first) & (frame < last)) | (first >= last)
    return torch.where(kept.reshape([-1 if i == 1 + axis else 1 for i in range(r.dim())]), r, 0.0)


def _outermost(r: Tensor, axis: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """The first frame that is kept, and the one behind the last."""
    mass = r.abs().sum([i for i in range(1, r.dim()) if i != 1 + axis], dtype=torch.float32)  # (s, t)
    room = tolerance / 2 * mass.sum(1, keepdim=True)  # as much at either end
    before = ((mass.cumsum(1) < room).sum(1)).min()
    behind = ((mass.flip(1).cumsum(1) < room).sum(1)).min()
    return before, mass.shape[1] - behind
