"""Convolutions of 1 to 3 axes, their transposes, and fully connected layers: the operations with weights."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute import kernels, matmul
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Convolution, FullyConnected
from lrp3d.operations import products
from lrp3d.operations.arithmetic import add
from lrp3d.operations.blocks import Operand, dense, rearranged, shares
from lrp3d.operations.padding import pad
from lrp3d.operations.products import weighed_by_kernel
from lrp3d.registry import active_tracer, register_operation
from lrp3d.tracing.signals import Weighs

_TYPES: dict[bool, dict[int, type[nn.Module]]] = {
    False: {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d},
    True: {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d},
}


def per_axis(value: int | Sequence[int], axes: int) -> list[int]:
    """One number per axis; models may also pass numpy integers."""
    values = [operator.index(number) for number in (value if isinstance(value, Iterable) else [value])]
    return values * axes if len(values) == 1 else values


def _map(w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int, transposed: bool, extra: Any) -> Convolution:
    kernel = tuple(w.shape[2:])
    numbers = (tuple(per_axis(value, len(kernel))) for value in (stride, padding, dilation, extra))
    stride, padding, dilation, extra = numbers
    return Convolution(Geometry(kernel, stride, padding, dilation, operator.index(groups), transposed, extra))


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, map: Convolution) -> Tensor:
    kind = _TYPES[map.geometry.transposed][weight.dim() - 2]
    if x.dim() == weight.dim() - 1:  # without batch axis, which torch allows
        return _convolve(x.unsqueeze(0), weight, bias, map).squeeze(0)
    tracer = active_tracer()
    if bias is not None and tracer.is_signal(weight) and tracer.is_signal(bias):
        # Made of gates as its kernel is, it belongs to that kernel; made of features, it is a summand.
        bias = bias.detach() if tracer.signals[bias].weighs >= Weighs.SIMILARITY else bias
    if tracer.is_signal(bias):
        shaped = rearranged(lambda b: b.reshape(-1, *[1] * (x.dim() - 2)), cast(Tensor, bias))
        return add(_convolve(x, weight, None, map), shaped)
    g = map.geometry
    # By the function of that many axes: a model's own `torch.autocast` casts for these alone.
    if kernels.outruns_torch(x, weight, g):
        output = kernels.convolve(x, weight, g)
        if bias is not None:
            output.add_(bias.view(-1, *[1] * len(g.kernel)))
    elif g.transposed:
        transposed = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[len(g.kernel) - 1]
        output = transposed(x, weight, bias, g.stride, g.padding, g.output_padding, g.groups, g.dilation)
    else:
        plain = (torch.conv1d, torch.conv2d, torch.conv3d)[len(g.kernel) - 1]
        output = plain(x, weight, bias, g.stride, g.padding, g.dilation, g.groups)
    bias = None if bias is None else bias.detach()
    if tracer.is_signal(weight):
        return weighed_by_kernel(output, x, weight, map, bias, kind)
    return shares(output, [Operand(x, map, weight.detach())], bias, kind)


@register_operation([torch.conv1d, torch.conv2d, torch.conv3d])
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """`F.conv1d`, `F.conv2d`, `F.conv3d`; uneven "same" padding is written out."""
    axes = weight.dim() - 2
    dilations = per_axis(dilation, axes)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
        paddings = [t // 2 for t in total]
        if any(t % 2 for t in total):
            uneven = [side for t in reversed(total) for side in (0, t % 2)]
            input = pad(input, uneven)
    else:
        paddings = [0] * axes if padding == "valid" else per_axis(padding, axes)  # type: ignore[arg-type]  # here no text
    return _convolve(input, weight, bias, _map(weight, stride, paddings, dilations, groups, False, 0))


@register_operation([torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d])
def transposed_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """`F.conv_transpose1d`, `F.conv_transpose2d`, `F.conv_transpose3d`."""
    return _convolve(input, weight, bias, _map(weight, stride, padding, dilation, groups, True, output_padding))


@register_operation([torch.convolution, torch._convolution])
def any_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *flags: Any,
) -> Tensor:
    """`torch.convolution`, on which the others are built."""
    return _convolve(input, weight, bias, _map(weight, stride, padding, dilation, groups, transposed, output_padding))


@register_operation(F.linear)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`."""
    if active_tracer().is_signal(bias):  # made by a hypernetwork
        return add(linear(input, weight), bias)
    if active_tracer().is_signal(weight):
        output = products.matmul(input, rearranged(lambda w: w.mT, weight) if weight.dim() > 1 else weight)
        return output if bias is None else add(output, bias.detach())
    weight = dense(weight)
    bias = None if bias is None else bias.detach()
    if len(weight) == 1 and (total := products.weighed_sum(input, weight.detach().T, -1, of_layer=True)) is not None:
        return total if bias is None else add(total, bias)
    output = matmul.linear_as_the_model(input, weight, bias)
    return shares(output, [Operand(input, FullyConnected(), weight.detach())], bias, nn.Linear)


@register_operation(F.bilinear)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.bilinear`: a fully connected layer of all products of a value of one signal and a value of the other."""
    left = rearranged(lambda x: x.unsqueeze(-1), input1)
    pairs = products.mul(left, rearranged(lambda x: x.unsqueeze(-2), input2))
    return linear(rearranged(lambda x: x.flatten(-2), pairs), weight.flatten(1), bias)
