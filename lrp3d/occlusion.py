"""Occlusion of frames: what takes the place of a frame that is taken away from a clip."""

from __future__ import annotations

from collections.abc import Sequence

import einops
import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.pathways import slow_frames
from lrp3d.sampling import colour_of
from lrp3d.transfer import placed

Colour = float | Sequence[float] | Tensor
OCCLUDERS = ("neighbours", "nearest", "mean", "blank")


class Occluded:
    """A pathway of clips of which any frame can be taken away, and the substitute for each frame."""

    def __init__(self, x: Tensor, layout: Layout, batch: int):
        sizes = layout.sizes(x, batch)
        self.frames = einops.rearrange(x, f"{layout.pattern} -> b c t h w", **sizes)
        self.pattern, self.length = layout.pattern, sizes["t"]

    def prepare(self, clock: int, columns: int, occluder: str, value: Colour) -> None:
        """Finds each frame's column and its substitute, which is the same whenever the frame is replaced."""
        x = self.frames
        column = [frame * columns // clock for frame in slow_frames(self.length, clock)]
        self.column = placed(column, x.device)  # (t,)
        colour = _colour(value, x)  # checked whether it is used or not
        if occluder == "blank":
            self.substitute = colour.expand_as(x)
        elif occluder == "mean":
            self.substitute = x.mean(2, keepdim=True).expand_as(x)
        else:
            earlier, later = _neighbours(column, occluder == "nearest")
            # halves are added, not a sum halved, so that the mean of equal frames is that frame to the last bit
            halves = [x.index_select(2, placed(frames, x.device)) * 0.5 for frames in (earlier, later)]
            self.substitute = halves[0] + halves[1]

    def without(self, clip_numbers: Tensor, columns: Tensor) -> Tensor:
        """Clips `clip_numbers` (p,), each without the frames of column `columns` (p,), in the layout of the input."""
        mask = (self.column == columns[:, None])[:, None, :, None, None]  # (p, 1, t, 1, 1)
        replaced = torch.where(mask, self.substitute[clip_numbers], self.frames[clip_numbers])
        return einops.rearrange(replaced, f"b c t h w -> {self.pattern}")


def _neighbours(columns: list[int], nearest: bool) -> tuple[list[int], list[int]]:
    """The two frames whose mean replaces each frame: those around its block, or twice the nearest remaining one."""
    before, after = [], []
    for i, own in enumerate(columns):
        remaining = [j for j, column in enumerate(columns) if column != own] or [i]
        first = max((j for j in remaining if j < i), default=None)
        last = min((j for j in remaining if j > i), default=None)
        if nearest or first is None or last is None:
            first = last = min(remaining, key=lambda j: abs(j - i))  # the earlier of two
        before.append(first)
        after.append(last)
    return before, after


def _colour(value: Colour, x: Tensor) -> Tensor:
    """The value of each channel, shaped (c, 1, 1, 1), from one number or one per channel."""
    return placed(colour_of(value, x.shape[1]), x.device, x.dtype)[:, None, None, None]
