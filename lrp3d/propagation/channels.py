"""Relevance through chosen channels: the part of the maps and of the matrix that flows through gates.

All relevance decides what counts (the positive part of a contrast, the scale of a row), so that the parts of all
channels of an output add up to the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.propagation.chunks import rows_in_chunks
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.propagation.frame_seeds import FrameSeeds
from lrp3d.propagation.inside import Gate
from lrp3d.propagation.temporal_matrix import row_scale


@dataclass
class ChannelRelevance:
    """Relevance that flows through the gates of chosen channels."""

    maps: list[Tensor]
    """Maps shaped like the pathways, for the clip's logit."""
    signed: list[Tensor]
    """Signed maps of all relevance, through the gates and around them."""
    rows: Tensor | None = None
    """(b, n, t), each row on the scale of the row of all relevance."""


def through_channels(
    clips: ClipRelevance, gates: Sequence[Gate], seeds: FrameSeeds | None, at_once: int = 1, progress: bool = False
) -> ChannelRelevance:
    """Propagates all relevance, and the part that flows through the gates.

    Args:
        clips: the batch of clips.
        gates: the gates from the top down.
        seeds: the seeds of the rows; None for the clip's logit alone.
        at_once: number of seeds per chunk.
        progress: whether to show a progress bar on stderr.
    """
    signed = clips.maps()
    carried = clips.through_gates([clips.start()], gates)
    clips.inside.set(carried.at_outlets)
    channels = ChannelRelevance([m[0] for m in _counted_part(clips, [m[None] for m in signed], carried.maps)], signed)
    if seeds is None:
        return channels
    rows = []
    for chunk in rows_in_chunks(seeds.logits.shape[1], at_once, progress):
        starts = [start.chunk(chunk) for start in seeds.starts]
        of_all, of_part = clips.through_gates(starts, ()), clips.through_gates(starts, gates)
        # What lies above the gates, or beside them, keeps all of its relevance.
        clips.inside.add_rows(of_all.at_outlets | of_part.at_outlets, clips.row_orientation(seeds, chunk))
        whole, part = (list(clips.oriented(maps, seeds.orientation, chunk)) for maps in (of_all.maps, of_part.maps))
        total = clips.frames(clips.positive(whole)).sum(-1).T if clips.settings.contrastive else None  # (b, s)
        of_gates = clips.frames(_counted_part(clips, whole, part)).transpose(0, 1)  # (b, s, t)
        if total is not None:
            of_gates = of_gates * row_scale(total, seeds.logits[:, chunk])
        rows.append(of_gates)
    channels.rows = torch.cat(rows, 1)
    return channels


def _counted_part(clips: ClipRelevance, whole: Sequence[Tensor], part: Sequence[Tensor]) -> list[Tensor]:
    """Scales the part, per input value, by the share of the whole that counts (its positive part, Eq. 2)."""
    if not clips.settings.contrastive:
        return list(part)
    positive = clips.positive(whole)
    return [p * torch.where(w != 0, m / w, 0.0) for p, w, m in zip(part, whole, positive, strict=True)]
