"""Carries numbers along where values are only moved: through views, selections, concatenations and writes.

A node of autograd's graph knows the adjoint of its operation only. The adjoint of that adjoint is the operation itself,
which can thus be run on other values: on the numbers of frames that `frames_of_values` follows. Where all nodes are of
kinds whose operation can be run again on small arrays (`arrangements`), that is far faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from lrp3d.compute.precision import widened
from lrp3d.motion.arrangements import arranged
from lrp3d.steps.graph import Edge, Node, edges_below, parents, step_of

EXACT = 2**24  # up to here a float32 holds every integer
DIGIT = 2**12


def kind(edge: Edge) -> tuple[torch.Size, torch.dtype, torch.device]:
    """Shape, type for relevance, and device of the tensor that an edge stands for."""
    metadata = edge[0]._input_metadata[edge[1]]
    return torch.Size(metadata.shape), widened(metadata.dtype), metadata.device


def moved(edge: Edge, numbers: Mapping[Node, Tensor]) -> Tensor:
    """What the tensor of an edge would be if nodes below had other outputs, broadcasting; zero for all constants.

    Args:
        edge: a tensor.
        numbers: for nodes below, from which values are only moved to the tensor, integers that broadcast to their
            output. The outputs of all other nodes count as zero.
    """
    found = moved_without_waiting(edge, numbers)
    return _by_adjoints(edge, numbers) if found is None else found


def moved_without_waiting(edge: Edge, numbers: Mapping[Node, Tensor]) -> Tensor | None:
    """The same; None where a device would be waited for, as there is a node of another kind, or an index on it."""
    found = _arranged(edge, numbers)
    return _by_adjoints(edge, numbers) if found is None and kind(edge)[2].type == "cpu" else found


def _arranged(edge: Edge, numbers: Mapping[Node, Tensor]) -> Tensor | None:
    """The same from the bottom up, on small arrays; None if there is a node of another kind."""
    found = {(node, 0): _with_all_axes(x, kind((node, 0))[0]) for node, x in numbers.items()}
    constant = torch.zeros((), dtype=torch.long, device="cpu")
    for node in reversed(_from_top(edge[0], numbers)):
        below = edges_below(node)
        shapes = [None if source[0] is None else kind(source)[0] for source in below]
        inputs = [constant.reshape([1] * len(kind((node, 0))[0])) if i[0] is None else found[i] for i in below]
        for output in range(len(node._input_metadata)):
            shape = kind((node, output))[0]
            result = arranged(node, output, inputs, shapes, shape)
            if result is None:
                return None
            found[node, output] = result
    return found[edge]


def _with_all_axes(x: Tensor, shape: torch.Size) -> Tensor:
    return x.cpu().reshape(*[1] * (len(shape) - x.dim()), *x.shape)


def _by_adjoints(edge: Edge, numbers: Mapping[Node, Tensor]) -> Tensor:
    """The same on full arrays, through nodes of any kind."""
    if max((int(x.max()) for x in numbers.values() if x.numel()), default=0) >= EXACT:
        high = {node: x // DIGIT for node, x in numbers.items()}
        low = {node: x % DIGIT for node, x in numbers.items()}
        return _by_adjoints(edge, high) * DIGIT + _by_adjoints(edge, low)
    shape, dtype, device = kind(edge)
    with torch.inference_mode(False), torch.enable_grad():
        start = torch.zeros(shape, dtype=dtype, device=device, requires_grad=True)
        arrived: dict[Edge, Tensor] = {edge: start}
        for node in _from_top(edge[0], numbers):
            outputs = [arrived.get((node, i)) for i in range(len(node._input_metadata))]
            if all(output is None for output in outputs):
                continue  # what it made was overwritten
            for below, relevance in zip(edges_below(node), _adjoint(node, outputs), strict=True):
                if relevance is not None and below[0] is not None:
                    arrived[below] = arrived[below] + relevance if below in arrived else relevance
        ends = [(arrived[node, 0], x) for node, x in numbers.items() if (node, 0) in arrived]
        if not any(end.requires_grad for end, _ in ends):
            return torch.zeros(shape, dtype=torch.long, device=device)
        # Of a single number: to check gradients that are given, torch imports a library for symbols first.
        total = sum((end * x.to(end)).sum() for end, x in ends if end.requires_grad)
        (found,) = torch.autograd.grad(cast(Tensor, total), start)
    return found.detach().long()


def _adjoint(node: Any, outputs: list[Tensor | None]) -> list[Tensor | None]:
    step = step_of(node)
    if node.name().startswith("ToCopy"):  # numbers keep their type
        assert outputs[0] is not None
        return [outputs[0].to(kind(edges_below(node)[0])[2])]
    if step is None:
        found = node(*outputs)
        return list(found) if isinstance(found, tuple) else [found]
    assert outputs[0] is not None
    return [None if r is None else r.squeeze(0) for r in step.relevance(outputs[0].unsqueeze(0))]


def _from_top(top: Node, ends: Mapping[Node, Tensor]) -> list[Node]:
    """The nodes above the ends, each before those below it."""
    order: list[Node] = []
    visited = set()
    pending = [(top, False)]
    while pending:
        node, done = pending.pop()
        if done:
            order.append(node)
        elif node not in visited and node not in ends:
            visited.add(node)
            pending.append((node, True))
            pending += [(below, False) for below in parents(node)]
    return order[::-1]
