"""Where the classifier is, and which way its outputs enter the logits.

The classifier is the last layer with a weight; of several on different ways to the clip, each is one. A contrast there
(paper, Eq. 2) is one of the logit, so relevance has to pass exactly one of them on every way, and where the logit falls
as the classifier's output rises (`-fc(x)`, `a - b`), the classifier stands for the logit with the negated weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.outputs import Chosen
from lrp3d.steps.elementwise import Elementwise, RecurrentOutput
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import (
    Edge,
    Node,
    downwards,
    edge_of,
    handed_down,
    is_classifier,
    parents,
    step_of,
    through_torch,
    upwards,
    with_edges,
)
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.over_axes import OverAxes
from lrp3d.steps.proportional import Proportional
from lrp3d.steps.step import Position, Step
from lrp3d.twin.weighed_sums import is_layer

TWO_SIDES = (
    "the classes that are held against each other are two sides of one output of {name!r}, so that what speaks for one "
    "speaks against the other: leave against= out"
)
NESTED = (
    "the last layers with weights on the ways to the logits ({names}) lie below one another, so that a contrast there "
    "would be one of contrasts; pass contrastive=False, or end the model with one layer that makes the logits"
)


def positions_of(output: Tensor) -> tuple[dict[Step, Position], list[str]]:
    """The positions of the classifiers below an output, and of the steps between them and the output.

    Without any step that has a weight, there is no classifier, and no step comes after one.

    Returns:
        The positions, and the names of classifiers if some ways to the clip lead through several of them.
    """
    last: set[Node] = set()
    for node in downwards([output.grad_fn], last.__contains__):  # which looks below a node after this body
        if is_layer(node):
            last.add(node)
    nested: list[str] = []
    upper = {node for node in last if len(last) > 1 and not last.isdisjoint(downwards(parents(node)))}
    if upper:  # logits that are refined by further layers: the lowest of them, if all ways lead through it
        lower = last - upper
        ways = list(downwards([output.grad_fn], lower.__contains__))
        if any(isinstance(step_of(node), ClipInput) or _sees_clip(node) for node in ways):
            nested = sorted({step.name for node in last if (step := step_of(node)) is not None})
        else:
            last = lower
    nodes = list(downwards([output.grad_fn], last.__contains__))
    steps = {step: node in last for node in nodes if (step := step_of(node)) is not None}
    found = {
        step: Position(step.in_range, is_last, bool(last) and not (is_last or step.weighted))
        for step, is_last in steps.items()
    }
    return found, nested


def _sees_clip(node: Node) -> bool:
    """Whether a layer is one that sees the clip itself, which no classifier is among others."""
    step = step_of(node)
    return step is not None and step.weighted and step.in_range


# ------------------------------------------------------------------------------------------------- orientation


def orient(output: Tensor, chosen: Chosen) -> None:
    """Negates the rule of the classifier for its outputs that enter what is explained with a negative sign.

    Args:
        output: the logits (b, k); every step of their graph has its rule.
        chosen: the explained class of each clip, and those that it is held against.

    Raises:
        ValueError: if one output of the classifier enters two explained logits with different signs.
    """
    turning = any((step := step_of(node)) is not None and _may_turn(step) for node in _above(output))
    if not turning and chosen.sign is None:  # so that the host waits for no GPU
        return
    signs: dict[Step, Tensor] = {}
    for explained in _explained(output, chosen):
        for sign, step in _signs(edge_of(output), explained):
            before = signs.get(step)
            if before is not None and bool((before * sign < 0).any()):
                raise ValueError(TWO_SIDES.format(name=step.name))
            signs[step] = sign if before is None else torch.where(before == 0, sign, before)
    for step, sign in signs.items():
        if bool((sign < 0).any()):
            step.oppose(None if bool((sign < 0).all()) else torch.where(sign < 0, -1.0, 1.0).to(sign))


def _explained(output: Tensor, chosen: Chosen) -> list[Tensor]:
    """The logits (b, k) that are explained, one for each clip, each by its sign, beside zeros."""
    own = torch.zeros_like(output, requires_grad=False)
    ones = own.new_ones(len(own), 1)
    signs = ones if chosen.sign is None else chosen.sign[:, None].to(own)
    columns = [] if chosen.against is None else chosen.against.split(1, 1)
    return [own.scatter(1, chosen.target[:, None], signs), *(own.scatter(1, column, ones) for column in columns)]


def _above(output: Tensor) -> list[Node]:
    """The nodes between the output and the classifiers."""
    nodes = downwards([output.grad_fn], is_classifier)
    return [node for node in nodes if not is_classifier(node)]


def _may_turn(step: Step) -> bool:
    """Whether a step may turn signs round: it multiplies by what may be negative."""
    if isinstance(step, Proportional):
        return True
    factors = [*step.factors] if isinstance(step, Elementwise) else []
    factors += [operand.w.value for operand in step.operands] if isinstance(step, LinearStep) else []
    return any(isinstance(factor, Tensor) or factor < 0 for factor in factors)


def _signs(edge: Edge, seed: Tensor) -> list[tuple[Tensor, Step]]:
    """The signs with which outputs of classifiers enter a sum of logits, each shaped like the classifier's output.

    Args:
        edge: the edge of the logits.
        seed: how much every logit counts.
    """

    def below(node: Node, number: int, r: Tensor) -> list[tuple[Edge, Tensor]] | None:
        return None if is_classifier(node) else with_edges(node, _slopes(node, number, r))

    height = upwards(edge[0], lambda node: [] if is_classifier(node) else parents(node))
    ends = handed_down(edge, seed, height, below)
    return [(r.sign(), step) for r, node in ends if (step := step_of(node)) is not None]


def _slopes(node: Node, number: int, r: Tensor) -> Sequence[Tensor | None]:
    """How much each input of a node counts if its output of that number counts `r`."""
    step = step_of(node)
    if step is None:
        return through_torch(node, number, r)
    if isinstance(step, RecurrentOutput):
        return [r, None]
    if isinstance(step, Elementwise):
        handed = [step.relevance((r * factor)[None])[i] for i, factor in enumerate(step.factors)]
        return [None if part is None else part[0] for part in handed]
    if isinstance(step, LinearStep) and step.operands:
        return [o.map.adjoint(r[None], _of_type(o.w.value, r), o.shape)[0] for o in step.operands]
    if isinstance(step, OverAxes):
        return [step.slopes(r)]
    return [None if part is None else part[0] for part in step.relevance(r[None])]


def _of_type(weight: Tensor | float, r: Tensor) -> Tensor | float:
    return weight.detach().to(r.dtype) if isinstance(weight, Tensor) else weight
