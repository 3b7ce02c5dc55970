"""Whether a weighted sum is over the channels of a layer, or over frames and places, which a forward averages."""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.registry import active_tracer
from lrp3d.steps.graph import edge_of
from lrp3d.steps.spread_down import sees_channels


def looked_at(question: Tensor) -> bool:
    """Whether a tensor of one value is true; a replay, which has to do as the pass did, waits for the device."""
    answers = active_tracer().answers
    return bool(question) if answers.over else answers(question)


def are_channels(x: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether the values of a signal along axes are those of channels, or of the features (b, c) of clips.

    Args:
        x: the signal, or its products with weights.
        axes: counted from the end.
    """
    if x.dim() == 2:
        return True
    marked = torch.zeros_like(x, requires_grad=False)
    marked[tuple(slice(None) if axis - x.dim() in axes else -1 for axis in range(x.dim()))] = 1
    return sees_channels(edge_of(x), marked, looked_at)
