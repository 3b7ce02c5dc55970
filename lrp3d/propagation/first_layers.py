"""The first layers with weights: what a forward does to its clip before them only moves and scales the frames."""

from __future__ import annotations

from typing import NamedTuple

import torch

from lrp3d.steps.graph import Edge, Node, edges_below, is_weighted, parents, step_of, upwards
from lrp3d.steps.linear import LinearStep


class FirstLayer(NamedTuple):
    """A layer with weights that has none below it."""

    edge: Edge
    """Stands for what the layer takes in."""
    shape: torch.Size
    """The shape of what it takes in."""
    step: LinearStep


def first_layers(node: Node) -> list[FirstLayer]:
    """The first layers with weights below a node."""
    behind_layers: dict[Node, bool] = {}
    found = []
    for below in upwards(node, parents):
        step = step_of(below)
        behind_layers[below] = any(behind_layers[parent] or is_weighted(parent) for parent in parents(below))
        if isinstance(step, LinearStep) and is_weighted(below) and not behind_layers[below] and len(step.operands) == 1:
            found.append(FirstLayer(edges_below(below)[0], step.operands[0].shape, step))
    return found
