"""How steps lie in autograd's graph: nodes, the edges between them, and the one walk from the output down.

Nodes are torch's objects; a node made by an operation of the twin carries a `Step`. An edge stands for a tensor of the
graph without keeping it alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute.linear_map import LinearMap
from lrp3d.steps.step import Step
from lrp3d.steps.weigher import Weigher

Node = Any  # torch.autograd.graph.Node, whose type knows neither steps nor the values that nodes save
Edge = tuple[Node, int]  # a node and the number of its output


def edge_of(x: Tensor) -> Edge:
    """The edge that stands for a tensor of the graph."""
    return x.grad_fn, x.output_nr


def step_of(node: Node) -> Step | None:
    """The step behind a node, None for torch's own nodes."""
    return getattr(node, "step", None)


def is_opaque(node: Node) -> bool:
    """Whether a node is of an autograd function written in Python, which hands on gradients and nothing else."""
    return step_of(node) is None and not callable(node)


def edges_below(node: Node) -> tuple[Edge, ...]:
    """The edges to the inputs of a node, in their order; the edge of a constant has None in place of a node."""
    edges: tuple[Edge, ...] = node.next_functions
    return edges


def parents(node: Node) -> list[Node]:
    """The nodes that made the inputs of this one; constants have none."""
    return [parent for parent, _ in edges_below(node) if parent is not None]


def is_weighted(node: Node) -> bool:
    """Whether a node is that of a layer with a weight."""
    return getattr(step_of(node), "weighted", False)


def downwards(roots: Iterable[Node], stop: Callable[[Node], bool] = lambda node: False) -> Iterator[Node]:
    """Yields every node from the roots down, once, and does not go below a node where `stop` is true.

    `stop` is called after the node was yielded, so that the caller can look at the node first.
    """
    pending, visited = list(roots), set()
    while pending:
        node = pending.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        yield node
        if not stop(node):
            pending += parents(node)


def upwards(root: Node, below: Callable[[Node], Iterable[Node]]) -> dict[Node, int]:
    """Numbers the root and every node that `below` leads to from it, so that each has a larger number than those below.

    `below` is asked several times about a node.
    """
    numbers: dict[Node, int] = {}
    pending = [root]
    while pending:
        node = pending[-1]
        missing = [parent for parent in below(node) if parent not in numbers]
        if missing:
            pending += missing
            continue
        pending.pop()
        numbers.setdefault(node, len(numbers))
    return numbers


def through_torch(node: Node, number: int, r: Tensor) -> Sequence[Tensor | None]:
    """Calls torch's own node of a rearrangement; those of indices take no other type than their output's."""

    def call(r: Tensor) -> Sequence[Tensor | None]:
        grads: list[Tensor | None] = [None] * len(node._input_metadata)
        grads[number] = r
        parts = node(*grads)
        return parts if isinstance(parts, tuple) else (parts,)

    dtype = node._input_metadata[number].dtype
    if r.dtype == dtype:
        return call(r)
    rounded = r.to(dtype)  # and what rounding took away goes the same way, so that nothing is lost
    pairs = zip(call(rounded), call((r - rounded.to(r.dtype)).to(dtype)), strict=True)
    return [None if a is None or b is None else a.to(r.dtype) + b.to(r.dtype) for a, b in pairs]


def handed_down(
    edge: Edge,
    r: Tensor,
    height: Mapping[Node, int],
    below: Callable[[Node, int, Tensor], Sequence[tuple[Edge, Tensor]] | None],
) -> list[tuple[Tensor, Node]]:
    """Hands `r` at an edge down from node to node; returns what arrives where it ends, with the node.

    Every edge is visited once, when all that comes to it has arrived: where signals part and meet again, as in every
    merging of patches, the number of paths grows exponentially.

    Args:
        edge: where `r` is.
        r: shaped like the tensor of the edge.
        height: a number for every node on the way, larger than those of the nodes below it (`upwards`).
        below: takes a node, the number of its output and what arrived there; returns the edges below that get a part,
            each with its part, or None where it ends.
    """
    arrived = {edge: r}
    ends: list[tuple[Tensor, Node]] = []
    with torch.inference_mode(False), torch.no_grad():
        while arrived:
            node, number = here = max(arrived, key=lambda waiting: height[waiting[0]])
            whole = arrived.pop(here)
            parts = below(node, number, whole)
            if parts is None:
                ends.append((whole, node))
            for parent, part in parts or ():
                arrived[parent] = arrived[parent] + part if parent in arrived else part
    return ends


def with_edges(node: Node, parts: Sequence[Tensor | None]) -> list[tuple[Edge, Tensor]]:
    """The parts of a node's inputs that are there, each with the edge to which it goes; constants get none."""
    return [
        (edge, part)
        for edge, part in zip(edges_below(node), parts, strict=True)
        if part is not None and edge[0] is not None
    ]


def is_classifier(node: Node) -> bool:
    """Whether the step of a node is a classifier."""
    return getattr(step_of(node), "is_classifier", False)


def weigher_of(x: Tensor, map: LinearMap, other: Tensor | float = 1.0) -> Weigher:
    """The tensor as the weigher of a product, which is `map` of it with the weight `other`."""
    with torch._C.DisableTorchFunction(), torch.enable_grad():
        descendant = x.unsqueeze(0)[:0].clone() if _forgets_nodes() else None
    return Weigher(edge_of(x), x.shape, map, other, descendant)


class _Probe(torch.autograd.Function):
    """An operation that does nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


@functools.cache
def _forgets_nodes() -> bool:
    """Whether a node cannot be asked for what lies below it once no tensor above it lives, as in older torch."""
    node: Any = _Probe.apply(torch.zeros(1, requires_grad=True, device="cpu")).grad_fn  # type: ignore[no-untyped-call]
    try:
        return not edges_below(node)
    except RuntimeError:
        return True
