"""Sums that a forward adds up one by one, as over frames in a loop: one sum over all of them, whatever the order.

So `sum(outputs)` of the frames' outputs is the same as `torch.stack(outputs).sum(0)`, and has frame logits as that has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute.maps import Broadcast, SumOver
from lrp3d.operations.blocks import Operand, both_nonnegative, shares
from lrp3d.registry import active_tracer
from lrp3d.steps.graph import Node, edges_below, step_of
from lrp3d.tracing.signals import Signal

PARTS = ("Select", "Unbind", "Split", "Slice")
"""The nodes of torch that take a part of a tensor out, such as a frame."""
COPIES = ("Clone", "Alias", "ToCopy")
"""The nodes of torch that change no value."""


@dataclass(kw_only=True)
class AddedUp(Signal):
    """A sum of tensors that are alike, or a tensor that was added to zero."""

    summands: tuple[Tensor, ...]


def sum_of(a: Tensor, b: Tensor) -> Tensor:
    """The sum of two signals, and of whatever they add up that is alike."""
    output, nonnegative, summands = a + b, both_nonnegative(a, b), (*_summands(a), *_summands(b))
    if not _are_alike(summands):
        return shares(output, [Operand(x, Broadcast(output.shape)) for x in (a, b)], nonnegative=nonnegative)
    if len(summands) == 2:
        operands = [Operand(x, Broadcast(output.shape)) for x in summands]
    else:
        tracer = active_tracer()
        with tracer.part("stacked"):
            # Behind the first axis, which is that of the clips.
            stacked: Tensor = tracer.perform_on_values(None, (list(summands), min(1, output.dim())), {}, torch.stack)
        operands = [Operand(stacked, SumOver((-max(1, output.dim()),), False))]
    return _noted(shares(output, operands, nonnegative=nonnegative), summands)


def added_to_zero(x: Tensor, output: Tensor) -> Tensor:
    """Notes that `output` is zero plus `x`, with which a sum begins."""
    return _noted(output, _summands(x))


def _noted(output: Tensor, summands: tuple[Tensor, ...]) -> Tensor:
    signals = active_tracer().signals
    signals[output] = AddedUp(**vars(signals[output]) | {"summands": summands})
    return output


def _summands(x: Tensor) -> tuple[Tensor, ...]:
    signal = active_tracer().signal(x)
    return signal.summands if isinstance(signal, AddedUp) else (x,)


def _are_alike(summands: tuple[Tensor, ...]) -> bool:
    """Whether tensors of one form are parts of one tensor, or outputs of one layer or operation of a module."""
    kinds, forms = {_kind(x) for x in summands}, {(x.shape, x.dtype) for x in summands}
    is_each_once = len(set(map(id, summands))) == len(summands)
    return len(kinds) == len(forms) == 1 and None not in kinds and is_each_once


def _kind(x: Tensor) -> Any:
    """What tensors that are alike have in common; None of a tensor that is like no other."""
    node: Node = x.grad_fn
    moves: list[str] = []
    while _is_move(node) and not _is_part(node):
        if not node.name().startswith(COPIES):
            moves.append(node.name())
        node = edges_below(node)[0][0]
    whole = None
    while _is_move(node) and _is_part(node):  # one index may be several nodes
        whole = edges_below(node)[0]
        node = whole[0]
    if whole is not None:
        return *moves, whole
    if (step := step_of(node)) is None:
        return None
    return *moves, step.operation, id(step.layer) if step.layer is not None else step.name.rpartition(".")[0]


def _is_move(node: Node) -> bool:
    return node is not None and step_of(node) is None and bool(edges_below(node))


def _is_part(node: Node) -> bool:
    taken: bool = node.name().startswith(PARTS)
    return taken
