"""Clips with several pathways: where the frames of a slower one lie, and which pixels two pathways share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import einops
import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.transfer import answers, placed


def slow_frames(t: int, n: int) -> list[int]:
    """The positions of the t frames of a slow pathway among n frames: evenly spaced from first to last, rounded down.

    >>> slow_frames(4, 16)
    [0, 5, 10, 15]
    """
    return torch.linspace(0, n - 1, t, device="cpu").long().tolist()


@dataclass(frozen=True)
class SharedPixels:
    """Pathways whose frames are frames of the fastest one, so that a pixel is used in several pathways.

    The paper takes the positive part of the relevance of an input frame, and all uses of a pixel are one input.
    """

    layouts: tuple[Layout, ...]
    """Of these pathways, the fastest first."""
    pathways: tuple[int, ...]
    """The numbers of these pathways, the fastest first."""
    frames: tuple[Tensor, ...]
    """For each pathway, the frames of the fastest one that it has."""
    batch: int

    @classmethod
    def among(cls, clips: Sequence[Tensor], layouts: Sequence[Layout | None], batch: int) -> SharedPixels | None:
        """The pathways that have frames of the fastest one; None if there are none.

        Args:
            clips: the pathways.
            layouts: the layout of each; a pathway without time shares nothing.
            batch: the number of clips in each.
        """
        timed = [i for i, axes in enumerate(layouts) if axes is not None and axes.has_time]
        if len(timed) < 2:
            return None
        axes = {i: axes for i, axes in enumerate(layouts) if axes is not None}
        whole = {i: _clips(clips[i][None], axes[i], batch)[0] for i in timed}
        fastest = max(timed, key=lambda i: whole[i].shape[2])
        frames = {fastest: torch.arange(whole[fastest].shape[2], device=clips[fastest].device)}
        shared_frames: dict[int, tuple[Tensor, Tensor]] = {}
        for i in timed:
            indices = placed(slow_frames(whole[i].shape[2], len(frames[fastest])), clips[i].device)
            same_frames = whole[fastest].index_select(2, indices) if whole[i].device == whole[fastest].device else None
            if (
                i != fastest
                and same_frames is not None
                and (same_frames.shape, same_frames.dtype) == (whole[i].shape, whole[i].dtype)
            ):
                shared_frames[i] = indices, (whole[i] == same_frames).all()
        alike = answers([same for _, same in shared_frames.values()])
        frames |= {i: indices for (i, (indices, _)), same in zip(shared_frames.items(), alike, strict=True) if same}
        if len(frames) < 2:
            return None
        return cls(tuple(axes[i] for i in frames), tuple(frames), tuple(frames.values()), batch)

    def positive(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The positive part of the sum over all uses of a pixel, divided among the uses by their positive parts.

        Args:
            maps: signed relevance (s, *pathway) of every pathway; the positive part of a pathway that shares nothing
                is its own.
        """
        out = [m.clamp(min=0) for m in maps]
        uses = [_clips(maps[i], axes, self.batch) for i, axes in zip(self.pathways, self.layouts, strict=True)]
        total, for_it = torch.zeros_like(uses[0]), torch.zeros_like(uses[0])
        for use, frames in zip(uses, self.frames, strict=True):
            total.index_add_(3, frames, use)
            for_it.index_add_(3, frames, use.clamp(min=0))
        share = torch.where(total > 0, total / for_it, 0.0)
        for i, axes, use, frames in zip(self.pathways, self.layouts, uses, self.frames, strict=True):
            kept = use.clamp(min=0) * share.index_select(3, frames)
            out[i] = einops.rearrange(kept, f"s b c t h w -> s {axes.pattern}")
        return out


def _clips(x: Tensor, axes: Layout, batch: int) -> Tensor:
    """(s, *pathway) as (s, b, c, t, h, w)."""
    return einops.rearrange(x, f"s {axes.pattern} -> s b c t h w", **axes.sizes(x[0], batch))
