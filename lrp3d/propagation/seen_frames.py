"""Which frames of the clip reach an average over time, where the forward picks some of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.propagation.first_layers import FirstLayer, first_layers
from lrp3d.propagation.time_average import TimeAverage
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import Edge, downwards, step_of
from lrp3d.steps.spread_down import spread_down
from lrp3d.steps.torch_nodes import picks
from lrp3d.twin.trace import Trace


def seen_frames(record: Trace, averages: Sequence[TimeAverage], layout: str) -> list[Tensor]:
    """For each average, masks (layers, b, t) of the frames of each clip that each of the first layers below it sees.

    Empty where nothing before the first layers picks frames.

    Args:
        record: the forward pass of a single pathway.
        averages: the averages over time.
        layout: the layout of the clips.
    """
    axes = Layout(layout)
    starts = [first_layers(average.node) for average in averages]
    if not len(record.output) or not any(_picks(layer.edge) for layers in starts for layer in layers):
        return []
    if not all(starts):
        return []
    clip = record.entries[0]
    return [torch.stack([_seen_at(layer, clip, axes, len(record.output)) for layer in layers]) for layers in starts]


def _seen_at(layer: FirstLayer, clip: Tensor, axes: Layout, batch: int) -> Tensor:
    """A mask (b, t) of the frames of each clip that are part of what a layer takes in."""
    seen = torch.zeros(batch, axes.sizes(clip, batch)["t"], dtype=torch.bool, device=clip.device)
    everything = torch.ones(layer.shape, device=clip.device)
    for r, end in spread_down(layer.edge, everything, lambda step: isinstance(step, ClipInput)):
        if not isinstance(end, ClipInput):
            return torch.ones_like(seen)  # what ends above the clip may see all of it
        seen |= axes.frames(r.abs()[None], batch)[0] > 0
    return seen


def are_spread(frames: Sequence[int], length: int) -> bool:
    """Whether frames are all of a clip, or one of each of its equal parts, with others between them.

    >>> are_spread([0, 2, 4], 6), are_spread([0, 1, 2], 6), are_spread([2, 3], 6), are_spread([1, 2, 3, 4, 5], 6)
    (True, False, False, False)
    """
    if len(frames) in (1, length):
        return len(frames) == length
    own_parts = [i * len(frames) // length for i in frames] == list(range(len(frames)))
    return own_parts and min(b - a for a, b in pairwise(frames)) >= max(2, length // len(frames))


def in_words(frames: Sequence[int]) -> str:
    """Frames for a message, as a range where none is left out.

    >>> in_words([0, 1, 2]), in_words([0, 2, 3])
    ('0 to 2', '0, 2, 3')
    """
    first, last = frames[0], frames[-1]
    return f"{first} to {last}" if len(frames) == last - first + 1 > 2 else ", ".join(map(str, frames))


def _picks(edge: Edge) -> bool:
    """Whether values are picked between the clip and an edge."""
    nodes = downwards([edge[0]], lambda node: isinstance(step_of(node), ClipInput))
    return any(step_of(node) is None and picks(node) for node in nodes)
