"""Functions that return a changed copy (`index_copy`, `select_scatter`), and selections: they only move values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lrp3d.operations.activation import where
from lrp3d.operations.arithmetic import write
from lrp3d.operations.blocks import both_nonnegative, passes, rearranged, refuse
from lrp3d.operations.products import mul
from lrp3d.registry import register_operation


def _at(x: Tensor, dim: int, index: Any) -> tuple[Any, ...]:
    """The index of the places at `index` along one axis."""
    return (*[slice(None)] * (dim % x.dim()), index)


@register_operation([torch.index_copy, Tensor.index_copy])
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """`torch.index_copy`: writes slices at an index."""
    return write(input, _at(input, dim, index), source)


@register_operation([torch.index_fill, Tensor.index_fill])
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """`torch.index_fill`: writes one number at an index."""
    return write(input, _at(input, dim, index), value)


@register_operation([torch.index_put, Tensor.index_put])
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """`torch.index_put`: `input[indices] = values`."""
    if accumulate:
        output = torch.index_put(input, indices, values, accumulate)
        return refuse(output, input, values, advice="has a rule without accumulate= only; use index_add")
    return write(input, tuple(indices), values)


@register_operation([torch.select_scatter, Tensor.select_scatter])
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """`torch.select_scatter`: writes one slice."""
    return write(input, _at(input, dim, index), src)


@register_operation([torch.slice_scatter, Tensor.slice_scatter])
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """`torch.slice_scatter`: writes slices."""
    return write(input, _at(input, dim, slice(start, end, step)), src)


@register_operation([torch.masked_scatter, Tensor.masked_scatter])
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """`torch.masked_scatter`: writes values, one after another, where the mask is set."""
    mask = mask.expand(input.shape)
    count = int(mask.sum())
    values = rearranged(lambda x: x.flatten()[:count], source)
    return write(input, mask, values)


@register_operation([torch.masked_select, Tensor.masked_select])
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """`torch.masked_select`: the values where the mask is set, in a row."""
    shape = torch.broadcast_shapes(input.shape, mask.shape)
    return rearranged(lambda x: x.expand(shape)[mask.expand(shape)], input)


@register_operation([torch.narrow_copy, Tensor.narrow_copy])
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`torch.narrow_copy`: a copy of a slice."""
    return rearranged(lambda x: x.narrow(dim, start, length), input)


@register_operation([torch.tril, Tensor.tril])
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """`torch.tril`: zeros above a diagonal."""
    return mul(input, torch.ones_like(input).tril(diagonal))


@register_operation([torch.triu, Tensor.triu])
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """`torch.triu`: zeros below a diagonal."""
    return mul(input, torch.ones_like(input).triu(diagonal))


@register_operation([torch.nan_to_num, Tensor.nan_to_num])
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """`torch.nan_to_num`: numbers in place of what is none; a constant there, as any other that is written."""
    finite = torch.isfinite(input)
    passed = passes(lambda x: torch.nan_to_num(x, nan, posinf, neginf), input, nonnegative=both_nonnegative(input))
    return where(finite, passed, passed.detach())
