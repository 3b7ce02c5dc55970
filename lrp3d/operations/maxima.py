"""The largest and the smallest: over axes, of two signals, and the several largest. The winner takes all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrp3d.operations.arithmetic import axes_from_the_end, neg
from lrp3d.operations.blocks import attach, is_constant, passes, rearranged
from lrp3d.registry import active_tracer, register_operation
from lrp3d.steps.maxima import AxisMaximum, ElementwiseMaximum, TopK
from lrp3d.tracing.signals import Signal, least

# ----------------------------------------------------------------------------------------------- over whole axes


@register_operation([torch.amax, Tensor.amax])
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The maximum over axes: the winner takes all, and ties share equally."""
    axes = axes_from_the_end(input, dim)
    maxima = input.amax(axes, keepdim=True)
    output = maxima if keepdim else input.amax(axes)
    signal = active_tracer().signals[input]
    step = AxisMaximum(input.detach(), maxima, axes, signal.is_input)
    is_input = None if signal.is_input is None else signal.is_input.amax(axes, keepdim)
    return attach(step, output, [input], Signal(is_input=is_input, nonnegative=signal.nonnegative))


@register_operation([torch.amin, Tensor.amin])
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The minimum over axes, as the maximum of what is negated."""
    return neg(amax(neg(input), dim, keepdim))


@register_operation([torch.max, Tensor.max])
def maximum(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """`torch.max` over everything, over one axis, or of two tensors."""
    if isinstance(dim, Tensor) or other is not None:
        return larger(input, dim if other is None else other)
    if dim is None:
        return amax(input)
    return torch.return_types.max((amax(input, dim, keepdim), torch.max(input, dim, keepdim)[1]))


@register_operation([torch.min, Tensor.min])
def minimum(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """`torch.min` over everything, over one axis, or of two tensors."""
    if isinstance(dim, Tensor) or other is not None:
        return smaller(input, dim if other is None else other)
    if dim is None:
        return amin(input)
    return torch.return_types.min((amin(input, dim, keepdim), torch.min(input, dim, keepdim)[1]))


# ------------------------------------------------------------------------------------------------ of two tensors


def _chosen(function: Callable[..., Tensor], a: Any, b: Any, sign: int) -> Tensor:
    """The larger of two tensors, or the smaller if `sign` is -1; a constant is a bound, as that of `clamp`."""
    tracer = active_tracer()
    constants = [x if is_constant(x) else None for x in (a, b)]
    nonnegative = [
        tracer.signals[x].nonnegative if constant is None else bool(tracer.answers((constant >= 0).all()))
        for x, constant in zip((a, b), constants, strict=True)
    ]
    is_positive = any(nonnegative) if sign > 0 else all(nonnegative)
    if constants[0] is not None or constants[1] is not None:
        signal, bound = (b, a) if constants[1] is None else (a, b)
        return passes(lambda x: function(x, bound), signal, nonnegative=is_positive)
    signals, masks = [tracer.signals[x] for x in (a, b)], None
    if any(signal.is_input is not None for signal in signals):
        masks = [tracer.input_mask(x) for x in (a, b)]
    output = function(a, b)
    step = ElementwiseMaximum(sign * a.detach(), sign * b.detach(), masks)
    is_input = None
    if masks is not None:
        is_input = tracer.signals.constants_among((masks[0] + masks[1]).expand(output.shape), output.dtype)
    return attach(step, output, [a, b], Signal(is_input=is_input, nonnegative=is_positive, weighs=least(signals)))


@register_operation([torch.maximum, Tensor.maximum])
def larger(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two tensors, value by value: the winner takes all, and ties share equally."""
    return _chosen(torch.maximum, input, other, 1)


@register_operation([torch.minimum, Tensor.minimum])
def smaller(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two tensors, value by value."""
    return _chosen(torch.minimum, input, other, -1)


@register_operation([torch.fmax, Tensor.fmax])
def larger_number(input: Tensor, other: Tensor) -> Tensor:
    """`torch.fmax`: the same, for which what is no number is smaller than all numbers."""
    return _chosen(torch.fmax, input, other, 1)


@register_operation([torch.fmin, Tensor.fmin])
def smaller_number(input: Tensor, other: Tensor) -> Tensor:
    """`torch.fmin`, likewise."""
    return _chosen(torch.fmin, input, other, -1)


# --------------------------------------------------------------------------------------------- the several largest


@register_operation([torch.topk, Tensor.topk])
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (or smallest) values along an axis: each takes its relevance, and values that are equal share."""
    if not input.dim():
        values, indices = topk(rearranged(lambda x: x.reshape(1), input), 1)
        return torch.return_types.topk((rearranged(lambda x: x.reshape(()), values), indices.reshape(())))
    values, indices = torch.topk(input, k, dim, largest, sorted)
    signal = active_tracer().signals[input]
    step = TopK(input.detach(), values, dim % input.dim(), signal.is_input)
    signal_of_values = signal.through(lambda x: x.gather(dim, indices))
    outgoing = Signal(is_input=signal_of_values.is_input, nonnegative=signal.nonnegative, weighs=signal.weighs)
    return torch.return_types.topk((attach(step, values, [input], outgoing), indices))
