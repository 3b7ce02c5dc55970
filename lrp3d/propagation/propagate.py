"""Propagation of many seeds at once through a recorded graph, from their starts down to the clip.

Plain autograd carries one seed. `propagate` carries a batch of them over the same nodes and visits each node once, when
all of its relevance has arrived. What a step does with relevance is defined by the step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute.linear_map import NOT_BATCHED
from lrp3d.steps.graph import Edge, Node, downwards, edges_below, parents, step_of
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.step import Step

Through = Callable[[Step, LazyRelevance], Sequence[LazyRelevance | None]]


def step_propagation(step: Step, relevance: LazyRelevance) -> Sequence[LazyRelevance | None]:
    """Calls the step's own method, which carries bands and factors as they are."""
    return step.propagate(relevance)


@dataclass
class Flow:
    """The relevance of each seed (s,) that came into one step and went out of it."""

    step: Step
    relevance_in: Tensor
    relevance_out: Tensor


@dataclass
class Propagated:
    """What came of one propagation."""

    relevance: list[Tensor]
    """(s, *tensor.shape) at every end."""
    flows: list[Flow]
    """Of every step, in the order in which relevance came to them; empty where they were not booked."""


@dataclass
class Start:
    """Seeds at a tensor of the recorded graph: `relevance` is (s, *tensor.shape)."""

    edge: Edge
    relevance: Tensor

    def chunk(self, rows: slice) -> Start:
        """The start of some of the seeds."""
        return Start(self.edge, self.relevance[rows])


def joined_starts(starts: Sequence[Start], others: Sequence[Start]) -> list[Start]:
    """The starts of seeds and of others, which come after them: none has relevance where only the others start."""
    first, last = starts[0].relevance, others[0].relevance
    by_edge: dict[Edge, list[Tensor]] = {}
    for start in starts:
        by_edge[start.edge] = [start.relevance, start.relevance.new_zeros(len(last), *start.relevance.shape[1:])]
    for start in others:
        nothing = start.relevance.new_zeros(len(first), *start.relevance.shape[1:])
        of_first = by_edge.get(start.edge, [nothing])[0]
        by_edge[start.edge] = [of_first, start.relevance.to(of_first)]
    return [Start(edge, torch.cat([one.to(last), other.to(last)])) for edge, (one, other) in by_edge.items()]


@dataclass
class _Arrivals:
    """The relevance that waits at a node, by the number of the node's output."""

    relevance: dict[int, LazyRelevance] = field(default_factory=dict)
    missing: int = 0


def propagate(
    starts: Sequence[Start],
    ends: Sequence[Edge],
    booked: bool = False,
    tolerance: float = 0.0,
    through: Through = step_propagation,
    doors: Collection[Edge] = (),
    release: bool = False,
    clips: int = 1,
) -> Propagated:
    """The relevance (s, *tensor.shape) at every end, summed over `starts`; it does not go below the ends.

    Args:
        starts: where relevance begins, the same number of seeds at each.
        ends: the tensors whose relevance is wanted: inputs of the run, or any tensors inside it.
        booked: whether the relevance that comes into and goes out of every step is added up.
        tolerance: at every step with a weight, the outermost frames are dropped that hold less than this share of
            every seed's absolute relevance there; flows show the loss as absorbed.
        through: how a step is applied to relevance.
        doors: where other seeds start or enter the network below: relevance gets there without a factor that waits, so
            that steps need to be prepared only once.
        release: whether steps release what no later seed reads; all of these come through the same doors.
        clips: number of clips, of which `tolerance` drops no frames that all the others need.
    """
    with torch.inference_mode(False), torch.no_grad():
        stops = {node for node, _ in ends}
        waiting = _count_consumers([start.edge[0] for start in starts], stops)
        for start in starts:
            _arrive(waiting[start.edge[0]], start.edge, LazyRelevance(start.relevance).narrowed())
        ready = [node for node, arrivals in waiting.items() if not arrivals.missing]
        relevances: dict[Edge, Tensor] = {}
        flows: list[Flow] | None = [] if booked else None
        while ready:
            node = ready.pop()
            arrivals = waiting.pop(node)
            if node in stops:
                relevances |= {
                    (node, number): relevance.tensor(_shape(node, number))
                    for number, relevance in arrivals.relevance.items()
                }
                continue
            _multiply_at_doors(node, arrivals, doors)
            outs: Sequence[LazyRelevance | None] = [None] * len(edges_below(node))
            if arrivals.relevance:
                step = step_of(node)
                outs = (
                    _through_node(node, arrivals)
                    if step is None
                    else _through_step(step, arrivals, flows, tolerance, through, clips)
                )
                if release and step is not None:
                    step.release(arrivals.relevance[0])
            for out, (parent, number) in zip(outs, edges_below(node), strict=True):
                if parent is None:
                    continue
                above = waiting[parent]
                above.missing -= 1
                if out is not None:
                    _arrive(above, (parent, number), out, booked)
                if not above.missing:
                    ready.append(parent)
        seeds = starts[0].relevance
        return Propagated([relevances[end] if end in relevances else _nothing(end, seeds) for end in ends], flows or [])


def _multiply_at_doors(node: Node, arrivals: _Arrivals, doors: Collection[Edge]) -> None:
    for number, relevance in arrivals.relevance.items():
        if (node, number) in doors:
            arrivals.relevance[number] = relevance.multiplied()


def _shape(node: Any, number: int) -> torch.Size:
    """The shape of the tensor that an edge stands for."""
    step = step_of(node)
    return step.shape if step is not None else torch.Size(node._input_metadata[number].shape)


def _nothing(end: Edge, seeds: Tensor) -> Tensor:
    return seeds.new_zeros(len(seeds), *_shape(*end))


def _arrive(arrivals: _Arrivals, edge: Edge, relevance: LazyRelevance, booked: bool = False) -> None:
    """Adds relevance to that which arrived at an edge before; `booked` says that totals are wanted."""
    node, number = edge
    before = arrivals.relevance.get(number)
    if before is not None:
        relevance = before.plus(relevance, _shape(node, number))
        if booked:
            relevance.settle_total()  # so that it does not keep what it was added up from
    arrivals.relevance[number] = relevance


def _count_consumers(roots: Sequence[Any], stops: set[Any]) -> dict[Any, _Arrivals]:
    """Every node from the roots down to the stops, with the number of nodes that hand relevance to it."""
    waiting: dict[Node, _Arrivals] = {root: _Arrivals() for root in roots}
    for node in downwards(list(waiting), stops.__contains__):
        for parent in [] if node in stops else parents(node):
            waiting.setdefault(parent, _Arrivals()).missing += 1
    return waiting


def _through_step(
    step: Step, arrivals: _Arrivals, flows: list[Flow] | None, tolerance: float, through: Through, clips: int
) -> Sequence[LazyRelevance | None]:
    relevance = arrivals.relevance[0]
    outs = through(step, relevance.trimmed(tolerance, clips) if tolerance and step.weighted else relevance)
    handed_on = [out for out in outs if out is not None]
    if flows is None:
        for out in handed_on:
            out.forget_total()
    elif step.is_booked:
        total = relevance.total()
        if step.hands_on_all and not tolerance:
            flows.append(Flow(step, total, total))
            if len(handed_on) == 1:
                handed_on[0].settle_total()
        else:
            nothing = torch.zeros_like(total)  # a module that is held constant hands nothing on
            flows.append(Flow(step, total, sum((out.total() for out in handed_on), nothing)))
    return outs


def _moves_device(node: Any, arrivals: _Arrivals) -> bool:
    below, number = edges_below(node)[0]
    return bool(below._input_metadata[number].device != arrivals.relevance[0].value.device)


def _through_node(node: Any, arrivals: _Arrivals) -> Sequence[LazyRelevance | None]:
    """Calls torch's own node of a rearrangement for all seeds at once."""
    if node.name().startswith("ToCopy") and not _moves_device(node, arrivals):
        return [arrivals.relevance[0]]  # the values change their type, relevance keeps its own
    numbers = list(arrivals.relevance)
    outputs = len(node._input_metadata)
    positions: list[int] = []

    def call(*relevances: Tensor) -> tuple[Tensor, ...]:
        arguments: list[Tensor | None] = [None] * outputs
        for number, relevance in zip(numbers, relevances, strict=True):
            arguments[number] = relevance
        result = node(*arguments)
        result = result if isinstance(result, tuple) else (result,)
        positions[:] = [i for i, r in enumerate(result) if r is not None]
        return tuple(r for r in result if r is not None)

    relevances = [lazy.tensor(_shape(node, number)) for number, lazy in arrivals.relevance.items()]
    if len(relevances[0]) == 1:  # without vmap, whose own cost is that of a small layer
        results = tuple(result.unsqueeze(0) for result in call(*(relevance[0] for relevance in relevances)))
    elif node.name().startswith(NOT_BATCHED):
        of_seeds = [call(*of_seed) for of_seed in zip(*relevances, strict=True)]
        results = tuple(map(torch.stack, zip(*of_seeds, strict=True)))
    else:
        results = torch.func.vmap(call)(*relevances)
    outs: list[LazyRelevance | None] = [None] * len(edges_below(node))
    for i, result in zip(positions, results, strict=True):
        below, _ = edges_below(node)[i]
        relevance = LazyRelevance(result)
        # Another of torch's nodes would take the whole tensor again.
        outs[i] = relevance if step_of(below) is None else relevance.narrowed()
    return outs
