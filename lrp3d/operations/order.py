"""Values by their order: sorted, the k-th, the median, the most frequent, the largest and the smallest so far.

As of a maximum, the winner of each place takes all, and values that are equal share equally.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrp3d.operations.activation import where
from lrp3d.operations.arithmetic import neg
from lrp3d.operations.blocks import attach, rearranged
from lrp3d.operations.maxima import amax
from lrp3d.registry import active_tracer, register_operation
from lrp3d.steps.maxima import Sorted, TopK
from lrp3d.tracing.signals import Signal


@register_operation([torch.sort, Tensor.sort])
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """`torch.sort`."""
    if not input.dim():
        input = rearranged(lambda x: x.reshape(1), input)
        values, indices = sort(input)
        return torch.return_types.sort((rearranged(lambda x: x.reshape(()), values), indices.reshape(())))
    values, indices = torch.sort(input, dim=dim, descending=descending, stable=stable)
    signal = active_tracer().signals[input]
    step = Sorted(input.detach(), values, indices, dim % input.dim(), signal.is_input)
    return torch.return_types.sort((attach(step, values, [input], _chosen(input, dim, indices)), indices))


@register_operation([torch.msort, Tensor.msort])
def msort(input: Tensor) -> Tensor:
    """`torch.msort`: sorted along the first axis."""
    values: Tensor = sort(input, 0)[0]
    return values


def _chosen(input: Tensor, dim: int, indices: Tensor) -> Signal:
    """What is known about values that were chosen along an axis, where their indices are known."""
    signal = active_tracer().signals[input]
    is_input = signal.through(lambda x: x.gather(dim, indices)).is_input
    return Signal(is_input=is_input, nonnegative=signal.nonnegative, weighs=signal.weighs)


def _one(input: Tensor, dim: int, keepdim: bool, chosen: Any) -> Any:
    """One value along an axis, `chosen` with its index as `keepdim=True` gives them."""
    values, indices = chosen
    step = TopK(input.detach(), values, dim % input.dim(), active_tracer().signals[input].is_input)
    value = attach(step, values, [input], _chosen(input, dim, indices))
    if keepdim:
        return type(chosen)((value, indices))
    return type(chosen)((rearranged(lambda x: x.squeeze(dim), value), indices.squeeze(dim)))


@register_operation([torch.kthvalue, Tensor.kthvalue])
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """`torch.kthvalue`: the k-th smallest value along an axis."""
    return _one(input, dim, keepdim, torch.kthvalue(input, k, dim, True))


@register_operation([torch.mode, Tensor.mode])
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """`torch.mode`: the most frequent value along an axis."""
    return _one(input, dim, keepdim, torch.mode(input, dim, True))


def _register_median(name: str) -> None:
    """Registers the median, of everything or along an axis; `nanmedian` is that of the values that are numbers."""
    function = getattr(torch, name)

    def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is not None:
            return _one(input, dim, keepdim, function(input, dim, True))
        input = rearranged(lambda x: x.flatten(), input)
        return _one(input, 0, False, function(input, 0, True))[0]

    median.__name__ = name
    register_operation([function, getattr(Tensor, name)], median)


_register_median("median")
_register_median("nanmedian")


@register_operation([torch.cummax, Tensor.cummax])
def cummax(input: Tensor, dim: int) -> Any:
    """`torch.cummax`: at every place the largest value so far, as a maximum over those."""
    indices = torch.cummax(input, dim)[1]
    return torch.return_types.cummax((_largest_so_far(input, dim), indices))


@register_operation([torch.cummin, Tensor.cummin])
def cummin(input: Tensor, dim: int) -> Any:
    """`torch.cummin`, as `cummax` of what is negated."""
    indices = torch.cummin(input, dim)[1]
    return torch.return_types.cummin((neg(_largest_so_far(neg(input), dim)), indices))


def _largest_so_far(x: Tensor, dim: int) -> Tensor:
    axis = dim % x.dim()
    size = x.shape[axis]
    copies = rearranged(lambda x: x.movedim(axis, -1).unsqueeze(-2).expand(*[-1] * (x.dim() - 1), size, -1), x)
    so_far = torch.ones(size, size, dtype=torch.bool, device=x.device).tril()
    largest = amax(where(so_far, copies, -torch.inf), -1)
    return rearranged(lambda x: x.movedim(-1, axis), largest)
