"""Finds which averaged axis is time, and the time steps from which each averaged thing comes.

Frames are followed from an average over time down to the last operations whose shapes say where time is. The things
that are averaged may be frames, tokens of several places in each frame, or either of them in another order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Bilinear, Convolution, MatrixProduct
from lrp3d.steps.graph import Edge, Node, parents, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import AtItsStep, Halves, Held, PassThrough, Step, Unsupported
from lrp3d.steps.writes import Written
from lrp3d.transfer import numbers, placed


class Things(NamedTuple):
    """What may be frames: the entries of one axis of a tensor of the graph."""

    edge: Edge
    """The edge of the graph that stands for the tensor."""
    values: Tensor
    axis: int
    """Negative."""

    @property
    def number(self) -> int:
        """The number of entries of the axis."""
        return self.values.shape[self.axis]


@dataclass
class TimeAverage:
    """An average over time in the graph; the things that it averages are frames, or tokens of frames."""

    node: Any
    step: LinearStep
    axis: int
    stands_on: list[list[bool]] = field(default_factory=list)
    """For each averaged thing, the time steps it comes from."""
    order: list[int] = field(default_factory=list)
    """The averaged things, from the earliest to the latest."""
    matrix: Tensor | None = None
    """(frames, things): the mean over the things of each frame, where several (tokens) come from one time step."""

    @property
    def things(self) -> Things:
        """The values that are averaged."""
        return Things(self.node.next_functions[0], self.features, self.axis)

    @property
    def features(self) -> Tensor:
        """The tensor that is averaged over time."""
        return self.step.operands[0].source

    @property
    def frames(self) -> int:
        """The number of frames that the averaged values stand for."""
        return self.things.number if self.matrix is None else len(self.matrix)

    def in_order(self, stands_on: list[list[bool]]) -> bool:
        """Takes the time steps of each thing, and says whether the things are frames, one after another."""
        order = _order(stands_on)
        if order is None and (own := _own_steps(stands_on)):
            stands_on, order = own, _order(own)
        if order is None:
            groups = _groups(stands_on)
            if groups is None:
                return False
            matrix = torch.zeros(len(groups), self.things.number, dtype=self.step.dtype)
            for frame, things in enumerate(groups):
                matrix[frame, things] = 1 / len(things)
            self.matrix = placed(matrix, self.features.device, self.step.dtype)
            stands_on, order = [stands_on[things[0]] for things in groups], list(range(len(groups)))
        self.order, self.stands_on = order, [stands_on[i] for i in order]
        return True


def by_frame(stands_on: list[list[bool]]) -> list[list[int]] | None:
    """The things of every frame, from the earliest to the latest; None if they are no series of frames."""
    order = _order(stands_on)
    if order is None and (own := _own_steps(stands_on)):
        order = _order(own)
    return _groups(stands_on) if order is None else [[thing] for thing in order]


def _order(stands_on: list[list[bool]]) -> list[int] | None:
    """The averaged things in the order of the time steps they come from; None if there is no such order.

    They are ordered by their first and last time steps. Where these wrap around (a shift that puts the last frame
    before the first), each thing may belong to the time step of its own number.
    """
    if not stands_on or not all(any(steps) for steps in stands_on):
        return None
    spans = [_span(steps) for steps in stands_on]
    order = sorted(range(len(spans)), key=spans.__getitem__)
    if all(a < b for ends in zip(*spans, strict=True) for a, b in pairwise(ends[i] for i in order)):
        return order
    own = len(stands_on) == len(stands_on[0]) and all(steps[i] and not all(steps) for i, steps in enumerate(stands_on))
    return list(range(len(stands_on))) if own else None


def _own_steps(stands_on: list[list[bool]]) -> list[list[bool]] | None:
    """The own time step of states that have seen all steps up to it, or all steps from it on; None for other things."""
    if not stands_on or not all(any(steps) for steps in stands_on):
        return None
    first, last = zip(*map(_span, stands_on), strict=True)
    for same, own in ((first, last), (last, first)):
        if len(set(same)) == 1 and len(set(own)) == len(own) > 1:
            return [[i == step for i in range(len(stands_on[0]))] for step in own]
    return None


def _groups(stands_on: list[list[bool]]) -> list[list[int]] | None:
    """The averaged things by frame, where every frame has the same number (the tokens of a clip); None otherwise."""
    if not stands_on or not all(any(steps) for steps in stands_on):
        return None
    groups: dict[tuple[bool, ...], list[int]] = {}
    for thing, steps in enumerate(stands_on):
        groups.setdefault(tuple(steps), []).append(thing)
    order = _order([list(steps) for steps in groups]) if len(groups) > 1 else None
    if order is None or len({len(things) for things in groups.values()}) > 1:
        return None
    things = list(groups.values())
    return [things[i] for i in order]


def _span(steps: list[bool]) -> tuple[int, int]:
    """The first and the last time step."""
    return steps.index(True), len(steps) - 1 - steps[::-1].index(True)


def disorder(stands_on: list[list[bool]]) -> str:
    """The reason why the averaged things are no series of frames."""
    if not stands_on:
        return "averages features of layers that have different numbers of time steps"
    if not all(any(steps) for steps in stands_on):
        return "averages constants beside the frames, which belong to no frame"
    first, last = _span(stands_on[0])
    return (
        f"averages {len(stands_on)} things that do not come from one time step after another (the first of them from "
        f"steps {first} to {last} of {len(stands_on[0])}), as where time and space are mixed"
    )


def time_steps(things: Things, batch: int) -> list[list[bool]]:
    """For each thing, which time steps it comes from, as the last layers with a known time axis say.

    The shapes of these layers (convolutions) say where time is: the third axis of (b, c, t, h, w), the last of
    (b, c, t), in the batch of (b t, c, h, w). The average over the rows of an image comes from all time steps.
    """
    if not batch:  # an empty batch shows nothing
        return torch.eye(things.number, dtype=torch.bool).tolist()
    tells_time = _tells_time_of(batch)
    mixing = _mixing(things.edge[0], tells_time)
    if things.number > MANY and (stands_on := _by_labels(things, batch, tells_time, mixing)):
        return stands_on
    reached = []
    for i in range(things.number):
        seed = torch.zeros_like(things.values)
        seed.narrow(things.axis, i, 1).fill_(1)
        reached.append(
            [
                _over_time(r != 0, batch, _knows_time(step))
                for r, step in spread_down(things.edge, seed, tells_time, mixing)
            ]
        )
    lengths = {len(touched) for each in reached for touched in each}
    if len(lengths) != 1:
        return []
    return torch.stack([torch.stack(each).any(0) for each in reached]).tolist()


MANY = 64  # averaged things; if there are more, the time steps are found for all at once


def _by_labels(
    things: Things, batch: int, tells_time: Callable[[Step], bool], mixing: dict[Node, Cost]
) -> list[list[bool]]:
    """The same for many things at once: each carries its number down. Empty where an operation mixes numbers."""
    device = things.values.device
    labels = torch.arange(things.number, dtype=torch.float64, device=device).reshape(-1, *[1] * (-1 - things.axis))
    sums = []
    for power in range(3):
        seed = (labels**power).expand(things.values.shape)
        sums.append(spread_down(things.edge, seed, tells_time, mixing))
    reached: Tensor | None = None
    mixed = []
    for (count, step), (first, _), (second, _) in zip(*sums, strict=True):
        counted = count > 0
        mean = torch.where(counted, first / count, -1.0)
        if not _knows_time(step):
            return []
        mixed.append((counted & ((second / count - mean**2).abs() > 1e-3)).any())
        number = mean.round().long()
        steps = [_over_time(number == i, batch, True) for i in range(things.number)]
        if reached is not None and reached.shape[1] != len(steps[0]):
            return []
        reached = torch.stack(steps) if reached is None else reached | torch.stack(steps)
    if reached is None:
        return []
    are_mixed, places = numbers([torch.stack(mixed).any(), reached])
    return [] if are_mixed else places.bool().tolist()


def _knows_time(step: Step) -> bool:
    """Whether the step's shape says where time is: not if it has no rule, or if its kernel comes from the clip."""
    return not isinstance(step, Unsupported) and not (isinstance(step, LinearStep) and not step.weighted)


class Cost(NamedTuple):
    """The cost of the best path from a node down to a layer that tells time; fields are compared in this order."""

    mixes: int
    """The number of steps on the path that mix positions (attention), or that end it without telling time."""
    length: int
    """The number of steps: the shortest path from a state leads to its own frame, longer ones to earlier frames."""


def _mixing(root: Node, tells_time: Callable[[Step], bool]) -> dict[Node, Cost]:
    """For every node, the cost of its best path.

    A residual sum has the same positions as each of its summands, and the path through the summand that mixes least
    says most precisely where they come from.
    """
    costs: dict[Node, Cost] = {}
    pending = [root]
    while pending:
        node = pending[-1]
        step = step_of(node)
        below = [] if step is not None and (tells_time(step) or not _spreads(step)) else parents(node)
        below = below[1:] if isinstance(step, AtItsStep) else below
        blind = (
            step is not None and not tells_time(step) and not _spreads(step)
        )  # a maximum over all frames, a constant
        missing = [parent for parent in below if parent not in costs]
        if missing:
            pending += missing
            continue
        pending.pop()
        ways = [costs[parent] for parent in below] or [Cost(0, 0)]
        best = min if isinstance(step, LinearStep | Halves) else max
        costs[node] = Cost(
            best(way.mixes for way in ways) + (_mixes(step) or blind), min(way.length for way in ways) + 1
        )
    return costs


def _mixes(step: Step | None) -> int:
    """One for products of matrices, whose outputs see every position; else zero."""
    maps = [operand.map for operand in step.operands] if isinstance(step, LinearStep) else []
    return int(any(isinstance(map, MatrixProduct | Einsum | Bilinear) for map in maps))


def _spreads(step: Step) -> bool:
    """Whether relevance can be handed on in equal parts here."""
    return isinstance(step, PassThrough | LinearStep | Written)


def _over_time(touched: Tensor, batch: int, knows_time: bool) -> Tensor:
    """(t,): whether anything is touched at each time step.

    Where the axes of a layer are unknown (it has no rule), time is the only axis that is touched in part.
    """
    if not knows_time or (touched.dim() == 4 and len(touched) % batch):
        others = [tuple(j for j in range(touched.dim()) if j != axis) for axis in range(touched.dim())]
        parts = [part for axes in others if not bool((part := touched.any(axes)).all())]
        return parts[0] if len(parts) == 1 else touched.new_ones(1)
    if touched.dim() in (3, 5):
        return touched.movedim(2, 0).flatten(1).any(1)
    return torch.unflatten(touched, 0, (batch, -1)).transpose(0, 1).flatten(1).any(1)


def spread_down(
    edge: Edge, r: Tensor, until: Callable[[Step], bool], mixing: dict[Node, Cost] | None = None
) -> list[tuple[Tensor, Step]]:
    """Hands `r` at an edge down in equal parts, and returns what arrives at the first steps where `until` is true.

    Steps through which nothing can be handed in equal parts are ends as well. With `mixing`, only the summand of a sum
    that mixes positions least gets it.
    """
    pending, ends = [(edge, r)], []
    with torch.inference_mode(False), torch.no_grad():
        while pending:
            (node, number), r = pending.pop()
            step = step_of(node)
            if step is None:
                grads: list[Tensor | None] = [None] * len(node._input_metadata)
                grads[number] = r
                outs = node(*grads)
                outs = outs if isinstance(outs, tuple) else (outs,)
            elif isinstance(step, AtItsStep):
                outs = [None, step.input_steps(r)]
            elif isinstance(step, PassThrough | Written) or (isinstance(step, LinearStep) and not step.operands):
                outs = [None if out is None else out[0] for out in step.relevance(r[None])]
            elif isinstance(step, LinearStep) and not until(step):
                outs = [o.map.spread(r[None], o.w.value, o.shape)[0] for o in step.operands]
            else:
                ends.append((r, step))
                continue
            below = [
                (parent, out)
                for parent, out in zip(node.next_functions, outs, strict=True)
                if out is not None and parent[0] is not None
            ]
            if mixing is not None and step is not None and len(below) > 1 and not isinstance(step, Written):
                below = [min(below, key=lambda way: mixing[way[0][0]])]
            pending += below
    # A constant branch says nothing about time if there is another path down.
    return [end for end in ends if not isinstance(end[1], Held)] or ends


def _tells_time_of(batch: int) -> Callable[[Step], bool]:
    """Makes a function that says whether a step is a convolution, whose axes have a fixed order.

    A convolution that sees a single picture of each clip does not count: it is a cell of a recurrence that the model
    writes out, and its input is followed further down.
    """

    def tells_time(step: Step) -> bool:
        if not (isinstance(step, LinearStep) and step.operands and isinstance(step.operands[0].map, Convolution)):
            return False
        shape = step.operands[0].shape
        return len(shape) != 4 or shape[0] != batch

    return tells_time
