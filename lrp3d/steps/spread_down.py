"""Something handed down the graph in equal parts, to find from where the values of a tensor come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Bilinear, Broadcast, MatrixProduct
from lrp3d.steps.elementwise import Elementwise, Halves, RecurrentOutput, SharedInParts
from lrp3d.steps.ends import ConstantOutput, Unsupported
from lrp3d.steps.graph import (
    Edge,
    Node,
    edges_below,
    handed_down,
    is_opaque,
    parents,
    step_of,
    through_torch,
    upwards,
    with_edges,
)
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.over_axes import OverAxes
from lrp3d.steps.step import Step
from lrp3d.steps.writes import Written

UNKNOWN = "is no operation that anybody knows"


class Cost(NamedTuple):
    """The cost of the best path from a node down to a layer that tells time; fields are compared in this order."""

    mixes: int
    """The number of steps on the path that mix positions (attention), or that end it without telling time."""
    length: int
    """The number of steps: the shortest path from a state leads to its own frame, longer ones to earlier frames."""


def paths_that_mix_least(root: Node, has_time_axis: Callable[[Step], bool]) -> dict[Node, Cost]:
    """For every node, the cost of its best path; nodes come after those below them.

    A residual sum has the same positions as each of its summands, and the path through the summand that mixes least
    says most precisely where they come from.
    """
    costs: dict[Node, Cost] = {}

    def below(node: Node) -> list[Node]:
        step = step_of(node)
        if step is not None and (has_time_axis(step) or not spreads(step)):
            return []
        return parents(node)[1:] if isinstance(step, RecurrentOutput) else parents(node)

    for node in upwards(root, below):
        step = step_of(node)
        # a maximum over all frames, a constant
        blind = step is not None and not has_time_axis(step) and not spreads(step)
        paths = [costs[parent] for parent in below(node)] or [Cost(0, 0)]
        best = min if isinstance(step, LinearStep | SharedInParts) else max
        costs[node] = Cost(
            best(cost.mixes for cost in paths) + (_mixes(step) or blind),
            min(cost.length for cost in paths) + 1,
        )
    return costs


def _mixes(step: Step | None) -> int:
    """One for products of matrices, whose outputs see every position; else zero."""
    maps = [operand.map for operand in step.operands] if isinstance(step, LinearStep) else []
    return int(any(isinstance(map, MatrixProduct | Einsum | Bilinear) for map in maps))


def spreads(step: Step) -> bool:
    """Whether relevance can be handed on in equal parts here."""
    return isinstance(step, Elementwise | LinearStep | Written | OverAxes)


def spread_down(
    edge: Edge,
    r: Tensor,
    is_end: Callable[[Step], bool],
    mixing: dict[Node, Cost] | None = None,
    into_weights: bool = False,
) -> list[tuple[Tensor, Step]]:
    """Hands `r` at an edge down in equal parts, and returns what arrives at the first steps where `is_end` is true.

    Steps through which nothing can be handed in equal parts are ends as well, as are nodes that nobody knows. With
    `mixing`, only the summand of a sum that mixes positions least gets it. With `into_weights`, signals that weigh
    others get it as well, which a softmax may have made.
    """

    def below_steps(node: Node) -> list[Node]:
        step = step_of(node)
        if step is not None and is_end(step):
            return []
        weigher = None if step is None or not into_weights else step.weigher
        return parents(node) + ([] if weigher is None else [weigher.edge[0]])

    def below(node: Node, number: int, r: Tensor) -> list[tuple[Edge, Tensor]] | None:
        step = step_of(node)
        if step is not None and is_end(step):
            return None
        parts = _in_equal_parts(node, number, r, mixing)
        if into_weights and isinstance(step, Unsupported) and step.made_of:
            parts = [part.spread(r) for part in step.made_of]
        if parts is None:
            return None
        branches = with_edges(node, parts)
        if into_weights and step is not None and step.weigher is not None:
            branches.append((step.weigher.edge, step.weigher.spread(r)))
        halved = isinstance(step, LinearStep) and not _is_sum(step)
        if mixing is not None and halved and len(branches) > 1:
            return [min(branches, key=lambda branch: mixing[branch[0][0]])]
        return branches

    height = {node: i for i, node in enumerate(mixing)} if mixing else upwards(edge[0], below_steps)
    found = handed_down(edge, r, height, below)
    ends = [(r, Unsupported(UNKNOWN) if is_opaque(node) else step_of(node)) for r, node in found]
    known = [(r, step) for r, step in ends if step is not None]
    # A constant branch says nothing about time if there is another path down.
    return [end for end in known if not isinstance(end[1], ConstantOutput)] or known


def sees_channels(edge: Edge, r: Tensor, answer: Callable[[Tensor], bool] = bool) -> bool:
    """Whether the values that `r` marks at an edge come from several channels of the layers below.

    So do the inputs of a layer that is written as a product and its sum; frames or places that are weighed come from a
    single one.

    Args:
        edge: where the values are.
        r: not zero at those that are meant.
        answer: says whether a tensor of one value is true.
    """
    for at_layer, step in spread_down(edge, r, lambda step: step.weighted):
        axis = step.new_axis if isinstance(step, LinearStep) else None
        if axis is not None and answer((at_layer != 0).movedim(axis, 0).flatten(1).any(1).sum() > 1):
            return True
    return False


def _in_equal_parts(
    node: Node, number: int, r: Tensor, mixing: dict[Node, Cost] | None
) -> Sequence[Tensor | None] | None:
    """What each input of a node gets of `r`, at its output of that number; None where nothing is handed on."""
    step = step_of(node)
    if step is None:
        return None if is_opaque(node) else through_torch(node, number, r)
    if isinstance(step, RecurrentOutput):
        return [None, step.input_steps(r)]
    if isinstance(step, OverAxes):
        return [step.spread(r)]
    if isinstance(step, Halves) and mixing is not None:
        return _least_mixing_factor(step, r, [mixing[parent] for parent, _ in edges_below(node)])
    if isinstance(step, Elementwise | Written) or (isinstance(step, LinearStep) and not step.operands):
        return [None if part is None else part[0] for part in step.relevance(r[None])]
    if isinstance(step, LinearStep) and mixing is not None and _is_sum(step):
        return _least_mixing(step, r, [mixing[parent] for parent, _ in edges_below(node)])
    if isinstance(step, LinearStep):
        return [o.map.spread(r[None], o.w.value, o.shape)[0] for o in step.operands]
    return None


def _least_mixing_factor(step: Halves, r: Tensor, costs: list[Cost]) -> list[Tensor | None]:
    """Hands every value of `r` to the factor that mixes least, unless that is a constant at its position (padding)."""
    first = costs.index(min(costs))
    part = step.parts[first]
    parts: list[Tensor | None] = [None, None]
    parts[first] = step.relevance(r[None])[first]
    if isinstance(part, Tensor):
        parts[1 - first] = step.relevance((r * (part == 0))[None])[1 - first]
    return [None if each is None else each[0] for each in parts]


def _is_sum(step: Step) -> bool:
    """Whether the step adds several signals, position by position."""
    operands = step.operands if isinstance(step, LinearStep) else []
    return len(operands) > 1 and all(isinstance(operand.map, Broadcast) for operand in operands)


def _least_mixing(step: LinearStep, r: Tensor, costs: list[Cost]) -> list[Tensor | None]:
    """Hands every value of `r` to the summand that mixes least, of those that are no constants at its position.

    A class token is a constant in the residual stream until attention has added to it what the frame holds.
    """
    parts: list[Tensor | None] = [None] * len(costs)
    for i in sorted(range(len(costs)), key=costs.__getitem__):
        operand = step.operands[i]
        mask = operand.x.is_input
        here = r if mask is None else r * mask.expand(step.shape)
        parts[i] = operand.map.spread(here[None], operand.w.value, operand.shape)[0]
        if mask is None:
            break
        r = r - here
    return parts
