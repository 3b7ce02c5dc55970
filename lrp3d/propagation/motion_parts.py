"""Static and dynamic relevance of one batch of clips: maps, matrices, and how much of the whole is motion.

This is what `explain(..., motion=True)` calls; how one operation splits relevance is in `lrp3d.motion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import einops
import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.motion.splitting import Motion
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.propagation.frame_seeds import FrameSeeds
from lrp3d.propagation.temporal_matrix import row_scale, temporal_relevance


@dataclass
class MotionParts:
    """Relevance, split into its static and its dynamic part."""

    rows: Tensor
    """(b, n, t) of both parts together."""
    signed: Tensor
    """Like the clip, of both parts together."""
    of_explanation: dict[str, Any]
    """What `Explanation` has of it, by its names there."""


def check_motion(pathways: Sequence[Tensor], temporal: bool) -> None:
    """Raises ValueError where there is nothing to split, or more than one pathway."""
    if not temporal:
        raise ValueError("motion=True splits temporal relevance: it needs temporal=True")
    if len(pathways) > 1:
        raise ValueError(f"motion=True takes clips of one pathway, got {len(pathways)}")


def still_clip(x: Tensor, layout: str, batch: int) -> Tensor:
    """The clip's mean frame, repeated; a clip that stands still is itself, to the last bit."""
    axes = Layout(layout)
    sizes = axes.sizes(x, batch)
    clip = einops.rearrange(x.detach(), f"{axes.pattern} -> b c t h w", **sizes)
    first = clip[:, :, :1]
    mean = (first + (clip - first).mean(2, keepdim=True)).expand_as(clip)
    return torch.empty_like(x).copy_(einops.rearrange(mean, f"b c t h w -> {axes.pattern}"))


def motion_parts(
    clips: ClipRelevance, seeds: FrameSeeds, at_once: int, motion: Motion, scaled: bool, progress: bool = False
) -> MotionParts:
    """Propagate both parts of every row and of the clip's logit.

    Args:
        clips: the batch.
        seeds: of the rows.
        at_once: seeds per chunk; each takes twice the room here.
        motion: how steps split relevance.
        scaled: scale every row to sum to its logit, as the matrix is.
        progress: whether to show a progress bar on stderr.
    """
    rows, maps = clips.split_rows(seeds, max(1, at_once // 2), motion, progress)
    whole = rows[0] + rows[1]
    factor = torch.ones_like(whole[..., :1])
    if scaled:
        factor = row_scale(whole.sum(-1), seeds.logits)
    matrices = [temporal_relevance(part * factor, seeds, scaled=False).matrix for part in rows]
    static, dynamic = clips.positive_parts(*maps)
    axes = clips.layouts[0]
    assert axes is not None
    clip_sum, dynamic_sum = (axes.clips(x[None], len(clips.logits))[0] for x in (static + dynamic, dynamic))
    # Of a contrast, which values count is known at the clip only.
    layers = {} if clips.settings.contrastive else dict(reversed(motion.by_layer.items()))
    return MotionParts(
        whole,
        maps[0] + maps[1],
        {
            "motion_by_layer": {
                name: torch.where(clip_sum != 0, converted.to(clip_sum) / clip_sum, 0.0)
                for name, converted in layers.items()
            },
            "static": static,
            "dynamic": dynamic,
            "static_matrix": matrices[0],
            "dynamic_matrix": matrices[1],
            "motion": torch.where(clip_sum != 0, dynamic_sum / clip_sum, 0.0),
        },
    )
