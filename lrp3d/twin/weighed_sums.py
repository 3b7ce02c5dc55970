"""Layers that a forward writes as products and their sum: of a vector of weights for each output, over channels.

What was multiplied is followed down the graph, from where it is summed or averaged to the product, through whatever
only moves values or writes constants over some; and from there to the layers below. A sum over several of their
channels, with different weights, is a layer. One that weighs frames or places sees a single channel, and is none.

Where nothing lies between a product and its sum, both are one layer already (`lrp3d.operations.layers_by_hand`), of
which a rule sees the weights. Of all others it sees the products, which is the same to rules that ask for their signs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.graph import Edge, Node, downwards, edges_below, is_opaque, is_weighted, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.spread_down import sees_channels, spread_down
from lrp3d.steps.step import Step
from lrp3d.steps.writes import Written
from lrp3d.values import in_widest_type


def is_layer(node: Node) -> bool:
    """Whether a node is that of a layer with a weight, or of such a sum."""
    if is_weighted(node):
        return True
    step = step_of(node)
    if step is None or step.position is not None:  # which it got with the run it belongs to
        return step is not None and step.is_classifier
    return isinstance(step, LinearStep) and _weighs_channels(step, node)


def _weighs_channels(step: LinearStep, node: Node) -> bool:
    if len(step.operands) != 1 or isinstance(step.operands[0].w.value, Tensor) or not step.shape.numel():
        return False
    operand, edge = step.operands[0], edges_below(node)[0]
    if operand.shape.numel() == step.shape.numel() or not _sums_products(edge):
        return False
    r = in_widest_type(torch.zeros(step.shape, device=operand.source.device))
    r.view(-1)[-1] = 1.0  # the last output alone, of which any other may be a copy in another class
    r = operand.map.spread(r[None], operand.w.value, operand.shape)[0]
    return _weights_differ(edge, r) and sees_channels(edge, r)


def _is_product(step: Step) -> bool:
    """Whether a step multiplies a signal by a constant tensor."""
    return (
        isinstance(step, PassThrough)
        and step.linear
        and step.weigher is None
        and isinstance(step.factors[0], Tensor)
        and step.factors[0].numel() > 1
    )


def _sums_products(edge: Edge) -> bool:
    """Whether the tensor of an edge has nothing but such products, moved, and constants."""
    found = False
    for node in downwards([edge[0]], lambda node: (step := step_of(node)) is not None and _is_product(step)):
        step = step_of(node)
        if is_opaque(node):
            return False
        if step is not None and _is_product(step):
            found = True
        elif step is not None and not isinstance(step, Written) and not _scales(step):
            return False
    return found


def _scales(step: Step) -> bool:
    """Whether a step multiplies by one number, or adds a constant that changes nothing."""
    return isinstance(step, PassThrough) and step.linear and step.weigher is None


def _weights_differ(edge: Edge, r: Tensor) -> bool:
    """Whether the values that `r` marks at an edge were multiplied by different weights."""
    found = []
    for at_product, step in spread_down(edge, r, _is_product):
        if isinstance(step, PassThrough) and isinstance(factor := step.factors[0], Tensor):
            found.append(factor.expand(step.shape)[at_product != 0])
    weights = torch.cat(found) if found else r.new_zeros(0)
    return weights.numel() > 1 and bool((weights != weights[0]).any())
