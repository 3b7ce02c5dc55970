"""Convolutions of 1 to 3 axes, their transposes, and fully connected layers: the operations with weights."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute.kernels import Geometry
from lrp3d.compute.maps import Bilinear, Convolution, FullyConnected
from lrp3d.operations.blocks import Summand, refuse, shares
from lrp3d.operations.padding import pad
from lrp3d.registry import active_tracer, register_operation

_TYPES: dict[bool, dict[int, type[nn.Module]]] = {
    False: {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d},
    True: {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d},
}


def per_axis(value: int | Sequence[int], axes: int) -> list[int]:
    """One number per axis; models also give numpy's."""
    values = [operator.index(number) for number in (value if isinstance(value, Iterable) else [value])]
    return values * axes if len(values) == 1 else values


def _map(w: Tensor, stride: Any, padding: Any, dilation: Any, groups: int, transposed: bool, extra: Any) -> Convolution:
    kernel = tuple(w.shape[2:])
    numbers = (tuple(per_axis(value, len(kernel))) for value in (stride, padding, dilation, extra))
    stride, padding, dilation, extra = numbers
    return Convolution(Geometry(kernel, stride, padding, dilation, operator.index(groups), transposed, extra))


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, map: Convolution) -> Tensor:
    kind = _TYPES[map.geometry.transposed][weight.dim() - 2]
    if x.dim() == weight.dim() - 1:  # a clip without batch axis, as torch allows
        return _convolve(x.unsqueeze(0), weight, bias, map).squeeze(0)
    if active_tracer().is_signal(weight):
        return refuse(map(x, weight), x, weight, advice="the weight itself depends on the clip (dynamic convolution)")
    g = map.geometry
    output = torch.convolution(
        x, weight, bias, g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups
    )
    return shares(output, [Summand(x, map, weight.detach())], None if bias is None else bias.detach(), kind)


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
    """`F.conv1d`, `F.conv2d`, `F.conv3d`; "same" padding may be uneven and is then written out."""
    axes = weight.dim() - 2
    dilations = per_axis(dilation, axes)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilations, weight.shape[2:], strict=True)]
        paddings = [t // 2 for t in total]
        if any(t % 2 for t in total):
            uneven = [side for t in reversed(total) for side in (0, t % 2)]
            input = pad(input, uneven)
    else:
        paddings = [0] * axes if padding == "valid" else per_axis(padding, axes)  # type: ignore[arg-type]
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
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, *flags: Any,
) -> Tensor:  # fmt: skip
    """`torch.convolution`, which the others are made of."""
    return _convolve(input, weight, bias, _map(weight, stride, padding, dilation, groups, transposed, output_padding))


@register_operation(F.linear)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`."""
    output = F.linear(input, weight, bias)
    if active_tracer().is_signal(weight):
        return refuse(output, input, weight, advice="the weight itself depends on the clip")
    bias = None if bias is None else bias.detach()
    return shares(output, [Summand(input, FullyConnected(), weight.detach())], bias, nn.Linear)


@register_operation([torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm, torch.bmm, Tensor.bmm])
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """A product with a constant matrix, on either side; a product of two signals is refused."""
    return _bilinear(torch.matmul, input, other)


@register_operation(Tensor.__rmatmul__)
def rmatmul(input: Tensor, other: Tensor) -> Tensor:
    """`constant @ signal`."""
    return _bilinear(torch.matmul, other, input)


@register_operation([torch.addmm, Tensor.addmm])
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """A constant bias plus a product with a constant matrix."""
    run = active_tracer()
    if run.is_signal(input) or run.is_signal(mat2) or beta != 1 or alpha != 1:
        return refuse(torch.addmm(input, mat1, mat2, beta=beta, alpha=alpha), input, mat1, mat2)
    return shares(
        torch.addmm(input, mat1, mat2), [Summand(mat1, FullyConnected(), mat2.detach().T)], input.detach(), nn.Linear
    )


@register_operation(torch.einsum)
def einsum(equation: str, *operands: Any) -> Tensor:
    """Einstein sums of one signal with one constant."""
    tensors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    if len(tensors) != 2:
        return refuse(torch.einsum(equation, *tensors), *tensors, advice="only a signal with one constant is linear")
    return _bilinear(lambda a, b: torch.einsum(equation, a, b), *tensors)


def _bilinear(function: Callable[[Any, Any], Tensor], left: Tensor, right: Tensor) -> Tensor:
    run = active_tracer()
    output = function(left, right)
    if run.is_signal(left) and run.is_signal(right):
        return refuse(output, left, right, advice="multiplies two signals; only products with constants are linear")
    if run.is_signal(left):
        return shares(output, [Summand(left, Bilinear(function), right.detach())], None, nn.Linear)
    flipped = Bilinear(lambda a, v: function(v, a))
    return shares(output, [Summand(right, flipped, left.detach())], None, nn.Linear)
