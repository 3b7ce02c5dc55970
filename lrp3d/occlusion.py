"""Occlusion of frames: what takes the place of a frame that is taken away from a clip."""

from __future__ import annotations

from collections.abc import Sequence

import einops
import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.pathways import slow_frames
from lrp3d.transfer import placed
from lrp3d.values import colour_of

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
        column = torch.tensor([frame * columns // clock for frame in slow_frames(self.length, clock)], device="cpu")
        self.column = placed(column, x.device)  # (t,)
        colour = _colour(value, x)  # checked whether it is used or not
        if occluder == "blank":
            self.substitute = colour.expand_as(x)
        elif occluder == "mean":
            self.substitute = x.mean(2, keepdim=True).expand_as(x)
        else:
            remaining = column != column[:, None]  # (t, t): the frames that stay when each one is replaced
            remaining |= ~remaining.any(-1, keepdim=True) & torch.eye(len(column), dtype=torch.bool, device="cpu")
            sources = (ends.diagonal() for ends in _sources(remaining, occluder == "nearest"))
            self.substitute = _mean(*(x.index_select(2, placed(source, x.device)) for source in sources))

    def chosen(self, clip_numbers: Tensor) -> Tensor:
        """Clips `clip_numbers` (p,) as they are, in the layout of the input."""
        return einops.rearrange(self.frames[clip_numbers], f"b c t h w -> {self.pattern}")

    def without(self, clip_numbers: Tensor, columns: Tensor) -> Tensor:
        """Clips `clip_numbers` (p,), each without the frames of column `columns` (p,), in the layout of the input."""
        mask = (self.column == columns[:, None])[:, None, :, None, None]  # (p, 1, t, 1, 1)
        replaced = torch.where(mask, self.substitute[clip_numbers], self.frames[clip_numbers])
        return einops.rearrange(replaced, f"b c t h w -> {self.pattern}")


def filled(clips: Tensor, kept: Tensor, how: str = "nearest") -> Tensor:
    """Clips (b, c, t, h, w) in which every frame that is not kept (b, t) is replaced by others.

    Args:
        clips: any.
        kept: bool; where no frame of a clip is kept, all become its mean frame.
        how: "nearest" puts the nearest kept frame there, of two the earlier one, as if the video stood still;
            "neighbours" the mean of the kept frames before and behind it.

    Raises:
        ValueError: `how` is something else.
    """
    how = "nearest" if how == "freeze" else how  # its former name
    if how not in ("nearest", "neighbours"):
        raise ValueError(f"how must be 'nearest' or 'neighbours', got {how!r}")
    sources = _sources(kept, how == "nearest")
    parts = [clips.gather(2, source[:, None, :, None, None].expand_as(clips)) for source in sources]
    is_empty = ~kept.any(-1)[:, None, None, None, None]
    return torch.where(is_empty, clips.mean(2, keepdim=True), _mean(*parts))


def _sources(kept: Tensor, nearest: bool) -> tuple[Tensor, Tensor]:
    """The two frames whose mean each frame becomes: itself where it is kept (n, t), else the kept ones around it.

    With `nearest` both are the nearest one that is kept, of two the earlier one. Where no frame is kept, they mean
    nothing.
    """
    length = kept.shape[-1]
    frame = torch.arange(length, device=kept.device)
    before = torch.where(kept, frame, -1).cummax(-1).values  # -1 where there is none
    after = torch.where(kept, frame, length).flip(-1).cummin(-1).values.flip(-1)  # t where there is none
    first = torch.where(before >= 0, before, after.clamp(max=length - 1))
    second = torch.where(after < length, after, before.clamp(min=0))
    if nearest:
        first = second = torch.where((frame - first).abs() <= (second - frame).abs(), first, second)
    return first, second


def _mean(first: Tensor, second: Tensor) -> Tensor:
    """The mean of frames: halves are added, not a sum halved, so that equal frames stay as they are to the last bit."""
    return first * 0.5 + second * 0.5


def _colour(value: Colour, x: Tensor) -> Tensor:
    """The value of each channel, shaped (c, 1, 1, 1), from one number or one per channel."""
    return placed(colour_of(value, x.shape[1]), x.device, x.dtype)[:, None, None, None]
