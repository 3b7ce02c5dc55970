"""Finds which averaged axis is time, and the time steps from which each averaged entry comes.

Frames are followed from an average over time down to the last operations whose shapes say where time is. The entries
that are averaged may be frames, tokens of several places in each frame, or either of them in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Bilinear, Broadcast, Convolution, MatrixProduct
from lrp3d.propagation.clip_order import ClipOrder
from lrp3d.propagation.first_layers import first_layers
from lrp3d.steps.graph import (
    Edge,
    Node,
    downwards,
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
from lrp3d.steps.step import (
    ClipInput,
    ConstantOutput,
    Elementwise,
    Halves,
    OverAxes,
    RecurrentOutput,
    SharedInParts,
    Step,
    Unsupported,
)
from lrp3d.steps.torch_nodes import picks_by_clip
from lrp3d.steps.writes import Written
from lrp3d.tracing.advice import FOREIGN
from lrp3d.transfer import numbers, placed
from lrp3d.values import in_widest_type


class Entries(NamedTuple):
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
    """An average over time in the graph; the entries that it averages are frames, or tokens of frames."""

    node: Any
    step: LinearStep
    axis: int
    source_steps: list[list[bool]] = field(default_factory=list)
    """For each averaged entry, the time steps it comes from."""
    order: list[int] = field(default_factory=list)
    """The averaged entries, from the earliest to the latest."""
    matrix: Tensor | None = None
    """(frames, entries): the mean over the entries of each frame, where several (tokens) come from one time step."""

    @classmethod
    def of_frame_logits(cls, node: Node, step: LinearStep, frames: int) -> TimeAverage:
        """The average of frame logits (b, n, k), which are in order because the model says so."""
        own = torch.eye(frames, dtype=torch.bool, device="cpu").tolist()
        return cls(node, step, -2, source_steps=own, order=list(range(frames)))

    @property
    def entries(self) -> Entries:
        """The values that are averaged."""
        return Entries(edges_below(self.node)[0], self.features, self.axis)

    @property
    def features(self) -> Tensor:
        """The tensor that is averaged over time."""
        return self.step.operands[0].source

    @property
    def frames(self) -> int:
        """The number of frames that the averaged values stand for."""
        return self.entries.number if self.matrix is None else len(self.matrix)

    def keeps_time(self, batch: int) -> bool:
        """Whether another axis has the frames, so that this average is over the places of a picture."""
        shape = self.features.shape
        others = set(range(1 - len(shape), 0)) - set(self.step.operands[0].map.time_axes(shape, self.step.shape))
        averages = [TimeAverage(self.node, self.step, axis) for axis in others if shape[axis] > 1]
        return any(average.in_order(time_steps(average.entries, batch)) for average in averages)

    def in_order(self, source_steps: list[list[bool]]) -> bool:
        """Takes the time steps of each entry, and says whether the entries are frames, one after another."""
        order = _order(source_steps)
        if order is None and (own := _own_steps(source_steps)):
            source_steps, order = own, _order(own)
        if order is None:
            groups = _groups(source_steps)
            if groups is None:
                return False
            matrix = torch.zeros(len(groups), self.entries.number, dtype=self.step.dtype, device="cpu")
            for frame, entries in enumerate(groups):
                matrix[frame, entries] = 1 / len(entries)
            self.matrix = placed(matrix, self.features.device, self.step.dtype)
            source_steps, order = [source_steps[entries[0]] for entries in groups], list(range(len(groups)))
        self.order, self.source_steps = order, [source_steps[i] for i in order]
        return True


def by_frame(source_steps: list[list[bool]]) -> list[list[int]] | None:
    """The entries of every frame, from the earliest to the latest; None if they are no series of frames."""
    order = _order(source_steps)
    if order is None and (own := _own_steps(source_steps)):
        order = _order(own)
    return _groups(source_steps) if order is None else [[entry] for entry in order]


def _order(source_steps: list[list[bool]]) -> list[int] | None:
    """The averaged entries in the order of the time steps they come from; None if there is no such order.

    They are ordered by their first and last time steps, of which one may stay where the clip ends. Where these wrap
    around (a shift that puts the last frame before the first), each entry may belong to the step of its own number.
    """
    if not source_steps or not all(any(steps) for steps in source_steps):
        return None
    spans = [_span(steps) for steps in source_steps]
    order = sorted(range(len(spans)), key=spans.__getitem__)
    firsts, lasts = ([ends[i] for i in order] for ends in zip(*spans, strict=True))
    if all(a <= b for ends in (firsts, lasts) for a, b in pairwise(ends)) and (
        len(set(firsts)) == len(firsts) or len(set(lasts)) == len(lasts)
    ):
        return order
    by_number = len(source_steps) == len(source_steps[0]) and all(
        steps[i] and not all(steps) for i, steps in enumerate(source_steps)
    )
    return list(range(len(source_steps))) if by_number else None


def _own_steps(source_steps: list[list[bool]]) -> list[list[bool]] | None:
    """The own time step of each state that has seen all steps up to it, or all steps from it on; None for others."""
    if not source_steps or not all(any(steps) for steps in source_steps):
        return None
    first, last = zip(*map(_span, source_steps), strict=True)
    for same, own in ((first, last), (last, first)):
        if len(set(same)) == 1 and len(set(own)) == len(own) > 1:
            return [[i == step for i in range(len(source_steps[0]))] for step in own]
    return None


def _groups(source_steps: list[list[bool]]) -> list[list[int]] | None:
    """The averaged entries by frame, where every frame has the same number (the tokens of a clip); None otherwise."""
    if not source_steps or not all(any(steps) for steps in source_steps):
        return None
    groups: dict[tuple[bool, ...], list[int]] = {}
    for entry, steps in enumerate(source_steps):
        groups.setdefault(tuple(steps), []).append(entry)
    order = _order([list(steps) for steps in groups]) if len(groups) > 1 else None
    if order is None or len({len(entries) for entries in groups.values()}) > 1:
        return None
    entries = list(groups.values())
    return [entries[i] for i in order]


def _span(steps: list[bool]) -> tuple[int, int]:
    """The first and the last time step."""
    return steps.index(True), len(steps) - 1 - steps[::-1].index(True)


def disorder(source_steps: list[list[bool]]) -> str:
    """The reason why the averaged entries are no series of frames."""
    if not source_steps:
        return "averages features of layers that have different numbers of time steps"
    if source_steps is OF_EACH_CLIP:
        return "averages other time steps of each clip of this batch: explain the clips one by one"
    if not all(any(steps) for steps in source_steps):
        return "averages constants beside the frames, which belong to no frame"
    if all(steps == source_steps[0] for steps in source_steps):
        return (
            f"averages {len(source_steps)} entries that all come from the same time steps, so that none of them is a "
            "frame: frames were added up or pooled before it, or are added up one by one behind it (stack what is said "
            "of each frame, and take the mean)"
        )
    first, last = _span(source_steps[0])
    return (
        f"averages {len(source_steps)} entries that do not come from one time step after another (the first of them "
        f"from steps {first} to {last} of {len(source_steps[0])}), as where time and space are mixed"
    )


def time_steps(entries: Entries, batch: int, of: Sequence[int] | None = None) -> list[list[bool]]:
    """For each entry, or for those `of` these numbers, which time steps it comes from.

    The last layers with a known time axis say it; empty where they have different numbers of time steps.

    The shapes of these layers (convolutions) say where time is: the third axis of (b, c, t, h, w), the last of
    (b, c, t), in the batch of (b t, c, h, w). The average over the rows of an image comes from all time steps.
    """
    numbers_of = range(entries.number) if of is None else of
    if not batch:  # an empty batch shows nothing
        return [torch.eye(entries.number, dtype=torch.bool, device="cpu")[i].tolist() for i in numbers_of]
    has_time_axis = time_axis_test(batch)
    mixing = _mixing(entries.edge[0], has_time_axis)
    orders = _orders(entries.edge[0], batch, has_time_axis)
    if len(numbers_of) > MANY and (source_steps := _by_labels(entries, batch, has_time_axis, mixing, orders)):
        return [source_steps[i] for i in numbers_of]
    masks = []
    for i in numbers_of:
        seed = torch.zeros_like(entries.values)
        seed.narrow(entries.axis, i, 1).fill_(1)
        masks.append(
            [
                _over_time(r != 0, batch, step, orders.get(step))
                for r, step in spread_down(entries.edge, seed, has_time_axis, mixing)
            ]
        )
    lengths = {mask.shape[1] for ends in masks for mask in ends}
    if len(lengths) != 1:
        return []
    return _of_all_clips(torch.stack([torch.stack(ends).any(0) for ends in masks]).tolist(), entries, has_time_axis)


def _of_all_clips(
    masks: list[list[list[bool]]], entries: Entries, has_time_axis: Callable[[Step], bool]
) -> list[list[bool]]:
    """Time steps (entries, t) from those of each clip (entries, b, t); `OF_EACH_CLIP` where clips choose their own."""
    if any(steps != of_clips[0] for of_clips in masks for steps in of_clips):
        nodes = downwards([entries.edge[0]], lambda node: (step := step_of(node)) is not None and has_time_axis(step))
        if any(step_of(node) is None and picks_by_clip(node) for node in nodes):
            return OF_EACH_CLIP
    return [[any(of_step) for of_step in zip(*of_clips, strict=True)] for of_clips in masks]


OF_EACH_CLIP = [[False], [False]]
"""Stands for the time steps of entries that come from other steps in each clip of the batch."""
MANY = 64  # averaged entries; if there are more, the time steps are found for all at once


def _by_labels(
    entries: Entries,
    batch: int,
    has_time_axis: Callable[[Step], bool],
    mixing: dict[Node, Cost],
    orders: dict[Step, Tensor],
) -> list[list[bool]]:
    """The same for many entries at once: each carries its number down. Empty where an operation mixes numbers."""
    device = entries.values.device
    labels = in_widest_type(torch.arange(entries.number, device=device)).reshape(-1, *[1] * (-1 - entries.axis))
    sums = []
    for power in range(3):
        seed = (labels**power).expand(entries.values.shape)
        sums.append(spread_down(entries.edge, seed, has_time_axis, mixing))
    positions: Tensor | None = None
    mixed = []
    for (count, step), (first, _), (second, _) in zip(*sums, strict=True):
        covered = count > 0
        mean = torch.where(covered, first / count, -1.0)
        if not _shape_has_time_axis(step):
            return []
        mixed.append((covered & ((second / count - mean**2).abs() > 1e-3)).any())
        number = mean.round().long()
        steps = [_over_time(number == i, batch, step, orders.get(step)) for i in range(entries.number)]
        if positions is not None and positions.shape[2] != steps[0].shape[1]:
            return []
        positions = torch.stack(steps) if positions is None else positions | torch.stack(steps)
    if positions is None:
        return []
    are_mixed, places = numbers([torch.stack(mixed).any(), positions])
    return [] if are_mixed else _of_all_clips(places.bool().tolist(), entries, has_time_axis)


def _shape_has_time_axis(step: Step) -> bool:
    """Whether the step's shape says where time is: not if it has no rule, or if its kernel comes from the clip."""
    return not isinstance(step, Unsupported) and not (isinstance(step, LinearStep) and not step.weighted)


class Cost(NamedTuple):
    """The cost of the best path from a node down to a layer that tells time; fields are compared in this order."""

    mixes: int
    """The number of steps on the path that mix positions (attention), or that end it without telling time."""
    length: int
    """The number of steps: the shortest path from a state leads to its own frame, longer ones to earlier frames."""


def _mixing(root: Node, has_time_axis: Callable[[Step], bool]) -> dict[Node, Cost]:
    """For every node, the cost of its best path; nodes come after those below them.

    A residual sum has the same positions as each of its summands, and the path through the summand that mixes least
    says most precisely where they come from.
    """
    costs: dict[Node, Cost] = {}

    def below(node: Node) -> list[Node]:
        step = step_of(node)
        if step is not None and (has_time_axis(step) or not _spreads(step)):
            return []
        return parents(node)[1:] if isinstance(step, RecurrentOutput) else parents(node)

    for node in upwards(root, below):
        step = step_of(node)
        # a maximum over all frames, a constant
        blind = step is not None and not has_time_axis(step) and not _spreads(step)
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


def _spreads(step: Step) -> bool:
    """Whether relevance can be handed on in equal parts here."""
    return isinstance(step, Elementwise | LinearStep | Written | OverAxes)


def _orders(root: Node, batch: int, has_time_axis: Callable[[Step], bool]) -> dict[Step, Tensor]:
    """For layers whose batch (t b) does not have the frames of a clip together, the order in which it would have.

    Where the first layers have frames in the batch, `frame_order` holds these against the clip.
    """
    if batch < 2 or all(len(layer.shape) == 4 for layer in first_layers(root)):
        return {}
    clips, orders = ClipOrder(batch), dict[Step, Tensor]()
    for node in downwards([root], lambda node: (step := step_of(node)) is not None and has_time_axis(step)):
        step = step_of(node)
        if isinstance(step, LinearStep) and has_time_axis(step) and len(step.shape) == 4 and not step.shape[0] % batch:
            axis = clips.of(node, 1)
            if axis.dim == 0 and not axis.is_sorted:
                orders[step] = axis.numbers.argsort(stable=True)
    return orders


def _over_time(mask: Tensor, batch: int, step: Step, order: Tensor | None = None) -> Tensor:
    """(b, t): whether the mask is set anywhere at each time step of what a step makes.

    The clip has time where its layout says so. Where the axes of a layer are unknown (it has no rule), time is the only
    axis along which the mask is set in part.
    """
    if isinstance(step, ClipInput) and step.layout is not None and step.layout.has_time:
        return step.layout.frames(mask[None].float(), batch)[0] > 0
    if not _shape_has_time_axis(step) or (mask.dim() == 4 and len(mask) % batch):
        others = [tuple(j for j in range(mask.dim()) if j != axis) for axis in range(mask.dim())]
        parts = [part for axes in others if not bool((part := mask.any(axes)).all())]
        return (parts[0] if len(parts) == 1 else mask.new_ones(1)).expand(batch, -1)
    if mask.dim() in (3, 5):
        places = mask.movedim(2, 1)
        if len(places) % batch:  # clips and places of a picture in one axis
            return places.transpose(0, 1).flatten(1).any(1).expand(batch, -1)
        return torch.unflatten(places, 0, (batch, -1)).transpose(1, 2).flatten(2).any(2)
    clip_by_clip = mask if order is None else mask[order.to(mask.device)]
    return torch.unflatten(clip_by_clip, 0, (batch, -1)).flatten(2).any(2)


def spread_down(
    edge: Edge, r: Tensor, is_end: Callable[[Step], bool], mixing: dict[Node, Cost] | None = None
) -> list[tuple[Tensor, Step]]:
    """Hands `r` at an edge down in equal parts, and returns what arrives at the first steps where `is_end` is true.

    Steps through which nothing can be handed in equal parts are ends as well, as are nodes that nobody knows. With
    `mixing`, only the summand of a sum that mixes positions least gets it.
    """

    def below_steps(node: Node) -> list[Node]:
        step = step_of(node)
        return [] if step is not None and is_end(step) else parents(node)

    def below(node: Node, number: int, r: Tensor) -> list[tuple[Edge, Tensor]] | None:
        step = step_of(node)
        parts = _in_equal_parts(node, number, r, is_end, mixing)
        if parts is None:
            return None
        branches = with_edges(node, parts)
        halved = isinstance(step, Halves) or (isinstance(step, LinearStep) and not _is_sum(step))
        if mixing is not None and halved and len(branches) > 1:
            return [min(branches, key=lambda branch: mixing[branch[0][0]])]
        return branches

    height = {node: i for i, node in enumerate(mixing)} if mixing else upwards(edge[0], below_steps)
    found = handed_down(edge, r, height, below)
    ends = [(r, Unsupported(FOREIGN) if is_opaque(node) else step_of(node)) for r, node in found]
    known = [(r, step) for r, step in ends if step is not None]
    # A constant branch says nothing about time if there is another path down.
    return [end for end in known if not isinstance(end[1], ConstantOutput)] or known


def _in_equal_parts(
    node: Node, number: int, r: Tensor, is_end: Callable[[Step], bool], mixing: dict[Node, Cost] | None
) -> Sequence[Tensor | None] | None:
    """What each input of a node gets of `r`, at its output of that number; None where nothing is handed on."""
    step = step_of(node)
    if step is None:
        return None if is_opaque(node) else through_torch(node, number, r)
    if isinstance(step, RecurrentOutput):
        return [None, step.input_steps(r)]
    if isinstance(step, OverAxes):
        return [step.spread(r)]
    if isinstance(step, Elementwise | Written) or (isinstance(step, LinearStep) and not step.operands):
        return [None if part is None else part[0] for part in step.relevance(r[None])]
    if isinstance(step, LinearStep) and mixing is not None and _is_sum(step):
        return _least_mixing(step, r, [mixing[parent] for parent, _ in edges_below(node)])
    if isinstance(step, LinearStep) and not is_end(step):
        return [o.map.spread(r[None], o.w.value, o.shape)[0] for o in step.operands]
    return None


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


def time_axis_test(batch: int) -> Callable[[Step], bool]:
    """Makes a function that says whether a step is a convolution, whose axes have a fixed order.

    A convolution that sees a single picture of each clip does not count: it is a cell of a recurrence that the model
    writes out, or sees the mean of a clip, and its input is followed further down. Nor does one whose padding makes
    more time steps than it was given: what it says is cut off later, and the frames are those of its input.
    """

    def has_time_axis(step: Step) -> bool:
        if not (isinstance(step, LinearStep) and step.operands and isinstance(step.operands[0].map, Convolution)):
            return False
        shape = step.operands[0].shape
        return shape[0] != batch if len(shape) == 4 else 1 < shape[2] >= step.shape[2]

    return has_time_axis
