"""Sums, sums of products, differences and means."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.compute.maps import Bilinear, Broadcast, SumOver
from lrp3d.operations import added_up, by_hand
from lrp3d.operations.activation import where
from lrp3d.operations.blocks import (
    Operand,
    both_nonnegative,
    is_constant,
    passes,
    rearranged,
    shares,
    tensor_of,
)
from lrp3d.operations.copies import is_mean_of, own_shape
from lrp3d.operations.layers_by_hand import layer_by_hand
from lrp3d.operations.products import div, matmul, mul, scaled, with_bias
from lrp3d.registry import active_tracer, handler_of, register_operation
from lrp3d.tracing.signals import Weighs

# ------------------------------------------------------------------------------------------------------- sums


def _centred(x: Any, mean: Any, sign: int) -> Tensor | None:
    """`x - mean`, or with `sign=-1` `x + mean`, if that only centres x, as the mean is constant then; else None."""
    if not isinstance(x, Tensor) or not isinstance(mean, Tensor) or not is_mean_of(mean, x, sign):
        return None

    def centred(x: Tensor) -> Tensor:
        return x - mean if sign > 0 else x + mean

    return passes(centred, x, gate=False, bounds_range=True, note="the mean is constant")


def _add(a: Any, b: Any) -> Tensor:
    for x, mean in ((a, b), (b, a)):
        if (centred := _centred(x, mean, -1)) is not None:
            return centred
        if (layer := with_bias(x, mean)) is not None:
            return layer
    if (known := by_hand.raised(a, b)) is not None:
        handler = handler_of(torch.logsumexp)
        assert handler is not None
        with active_tracer().part("logsumexp", torch.logsumexp):
            logsumexp: Tensor = handler(known.of, known.axis, keepdim=a.dim() == known.of.dim())
        return logsumexp
    result = _sum(a, b)
    for x, number in ((a, b), (b, a)):
        if isinstance(number, (int, float)):
            by_hand.plus(x, number, result)
    return result


def _is_of_channels(constant: Any, signal: Tensor) -> bool:
    """Whether a constant that is added to a signal varies along one axis at most, as the offset of a norm does."""
    if not isinstance(constant, Tensor) or torch.broadcast_shapes(constant.shape, signal.shape) != signal.shape:
        return False
    return len([size for size in own_shape(constant) if size > 1]) <= 1


def _sum(a: Any, b: Any) -> Tensor:
    tracer = active_tracer()
    if is_constant(a) or is_constant(b):
        signal, constant = (b, a) if is_constant(a) else (a, b)
        incoming = tracer.signals[signal]
        nonnegative = both_nonnegative(a, b)
        if incoming.lowest is not None and isinstance(constant, (int, float)):
            nonnegative = nonnegative or incoming.lowest + constant >= 0
        is_zero = constant == 0 if isinstance(constant, (int, float)) else tracer.first_states.are_zeros(constant)
        if is_zero and (a + b).shape == signal.shape:  # as Python's own sum begins, or one in a loop
            started = passes(lambda x: x + constant, signal, nonnegative=nonnegative, keeps_range=True)
            return added_up.added_to_zero(signal, started)
        if incoming.normed and _is_of_channels(constant, signal):
            return passes(lambda x: x + constant, signal, nonnegative=nonnegative, note="the norm's offset is constant")
        # A rule of the composite may know the constant as a bias, which takes its part.
        is_bias = tracer.rule_for(torch.add) is not None and not by_hand.moves_to_zero(signal, constant)
        if incoming.low is None and not isinstance(constant, Tensor) and not is_bias:
            return passes(lambda x: x + constant, signal, nonnegative=nonnegative, shifted=True)
        output = a + b
        summands = [Operand(x, Broadcast(output.shape)) for x in (signal, tensor_of(constant, signal))]
        result = shares(output, summands, nonnegative=nonnegative)
        outgoing = tracer.signals[result]
        # One number for each channel is a bias or a batch norm of the model's own, and no part of a hard sigmoid.
        outgoing.weighs, outgoing.shifted = incoming.weighs, not isinstance(constant, Tensor) or constant.numel() == 1
        return result
    return added_up.sum_of(a, b)


@register_operation([torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__])
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """`input + alpha * other`: shared by the rule (by default in proportion to the positive parts)."""
    return _add(input, scaled(other, alpha))


@register_operation([torch.sub, Tensor.sub, Tensor.__sub__, torch.subtract, Tensor.subtract])
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """`input - alpha * other`: a sum with a negated summand; if one is the other's own mean, that is only centred."""
    centred = _centred(input, other, 1) if alpha == 1 else None
    if centred is not None:
        return centred
    return by_hand.minus(input, other, _add(input, scaled(other, -alpha)))


@register_operation([torch.diff, Tensor.diff])
def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """`torch.diff`: differences of neighbours (of frames, such as a clip's motion)."""
    x, parts = input, [part for part in (prepend, input, append) if part is not None]
    if len(parts) > 1:
        tracer = active_tracer()
        with tracer.part("joined"):
            x = tracer.perform_on_values(None, (parts, dim), {}, torch.cat)
    for _ in range(n):
        later = rearranged(lambda x: x.narrow(dim, 1, x.shape[dim] - 1), x)
        earlier = rearranged(lambda x: x.narrow(dim, 0, x.shape[dim] - 1), x)
        x = sub(later, earlier)
    return x


@register_operation([torch.rsub, Tensor.__rsub__])
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """`other - alpha * input`."""
    return _add(scaled(input, -alpha), other)


# --------------------------------------------------------------------------------------------- sums of products


@register_operation([torch.addcmul, Tensor.addcmul])
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """`input + value * tensor1 * tensor2`."""
    return add(input, _product(tensor1, tensor2), alpha=value)


@register_operation([torch.addcdiv, Tensor.addcdiv])
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """`input + value * tensor1 / tensor2`."""
    constants = is_constant(tensor1) and is_constant(tensor2)
    return add(input, tensor1 / tensor2 if constants else div(tensor1, tensor2), alpha=value)


@register_operation([torch.lerp, Tensor.lerp])
def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """`(1 - weight) * input + weight * end`."""
    return _add(_product(input, 1 - weight if is_constant(weight) else rsub(weight, 1)), _product(end, weight))


def _product(a: Any, b: Any) -> Any:
    return a * b if is_constant(a) and is_constant(b) else mul(a, b)


@register_operation([torch.addmm, Tensor.addmm, torch.baddbmm, Tensor.baddbmm])
def addmm(input: Any, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`."""
    constants = is_constant(mat1) and is_constant(mat2)
    product = mat1 @ mat2 if constants else matmul(mat1, mat2)
    if is_constant(input) and beta != 1:
        input = input * beta if beta else product.new_zeros(())
    elif beta != 1:
        input = mul(input, beta)
    return add(input, product, alpha=alpha)


@register_operation([torch.addmv, Tensor.addmv])
def addmv(input: Any, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * (mat @ vec)`."""
    return addmm(input, mat, vec, beta=beta, alpha=alpha)


# ------------------------------------------------------------------------------------------------------ means


def axes_from_the_end(x: Tensor, dim: Any) -> tuple[int, ...]:
    """The axes counted from the end; all axes if none are given."""
    if dim is None or (isinstance(dim, Sequence) and not dim):
        return tuple(range(-x.dim(), 0))
    axes = [dim] if hasattr(dim, "__index__") and not (isinstance(dim, Tensor) and dim.dim()) else list(dim)
    return tuple(axis if axis < 0 else axis - x.dim() for axis in map(operator.index, axes))


def _in_type(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    return x if dtype in (None, x.dtype) else rearranged(lambda x: x.to(dtype), x)


def _reduce(x: Tensor, dim: Any, keepdim: bool, mean: bool, dtype: Any) -> Tensor:
    tracer = active_tracer()
    product = tracer.signals[x].product if tracer.is_signal(x) and not mean else None
    x = _in_type(x, dtype)
    axes = axes_from_the_end(x, dim)
    if product is not None and not product.is_of_matrices(axes):
        product = None
    exponent, asked = by_hand.exponent(x), axes
    if -x.dim() in axes and 1 - x.dim() not in axes and x.dim() > 2 and not keepdim:
        # Time first and clips second, as torch's recurrent layers have them; elsewhere clips are always first.
        with tracer.part("transposed"):
            x = rearranged(lambda x: x.transpose(0, 1), x)
        axes = tuple(axis + 1 if axis == -x.dim() else axis for axis in axes)
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    output = x.mean(axes, keepdim) if mean else x.sum(axes, keepdim)
    layer = layer_by_hand(x, output, axes, keepdim) if tracer.is_signal(x) and not mean else None
    if layer is not None:
        return layer
    map = SumOver(axes, keepdim, 1 / count if mean and count else 1.0)
    if product is None:
        result = shares(output, [Operand(x, map)], nonnegative=both_nonnegative(x))
        return by_hand.summed(
            exponent, result, asked, lambda e: e.mean(asked, keepdim) if mean else e.sum(asked, keepdim)
        )
    # Such as values that are weighed by attention, or queries times keys: a product of matrices in other words.
    nonnegative = both_nonnegative(x)
    result = shares(
        output, [Operand(x, map)], None, nn.Linear, nonnegative=nonnegative, is_layer=False, of_products=True
    )
    if product.weight is None:
        tracer.signals[result].weighs = max(tracer.signals[result].weighs, Weighs.SIMILARITY)
    return result


@register_operation([torch.mean, Tensor.mean])
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`torch.mean` over some or all axes."""
    return _reduce(input, dim, keepdim, True, dtype)


@register_operation([torch.sum, Tensor.sum])
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`torch.sum` over some or all axes."""
    return _reduce(input, dim, keepdim, False, dtype)


@register_operation([torch.nansum, Tensor.nansum])
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`torch.nansum`: zeros in place of what is no number, which are constants as in `nan_to_num`."""
    return _reduce(_numbers(input, torch.isnan(input)), dim, keepdim, False, dtype)


@register_operation([torch.nanmean, Tensor.nanmean])
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`torch.nanmean`: the sum of what is a number, divided by how many there are, which is constant."""
    holes = torch.isnan(input)
    numbers = _numbers(input, holes)
    if numbers is input:
        return _reduce(input, dim, keepdim, True, dtype)
    count = (~holes).sum(axes_from_the_end(input, dim), keepdim)
    return div(_reduce(numbers, dim, keepdim, False, dtype), count)


def _numbers(x: Tensor, holes: Tensor) -> Tensor:
    """A signal with zeros for its holes, which are constants; the signal itself if it has none."""
    tracer = active_tracer()
    if tracer.answers((~holes).all()):
        return x
    with tracer.part("numbers"):
        return where(holes, 0.0, x)


@register_operation([torch.cumsum, Tensor.cumsum])
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """`torch.cumsum`: every output is the sum of all inputs up to it (streams average what they have seen)."""
    x = _in_type(input, dtype)
    map = Bilinear(lambda a, v: torch.cumsum(a, dim) * v)
    return shares(torch.cumsum(x, dim), [Operand(x, map)], nonnegative=both_nonnegative(x))


@register_operation([torch.neg, Tensor.neg, Tensor.__neg__, torch.negative, Tensor.negative])
def neg(input: Tensor) -> Tensor:
    """`-input`."""
    negated = passes(torch.neg, input, gate=False, keeps_range=True, scales=True, factor=-1.0)
    return by_hand.moved(input, negated, lambda end: -end)


@register_operation([torch.positive, Tensor.positive, Tensor.__pos__])
def positive(input: Tensor) -> Tensor:
    """`+input`."""
    return passes(lambda x: x * 1, input, nonnegative=both_nonnegative(input), keeps_range=True)
