"""Writes: into slices and at indices, in place or into a changed copy, and selections, which are their reverse.

A write moves values: what is written takes the relevance of its places, and what it replaces gets none there. Where
several values are written to one place and added (`scatter_add`, `index_add`), a rule shares over them as over a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute.maps import Average, Broadcast
from lrp3d.errors import UnsupportedOperation
from lrp3d.operations.activation import where
from lrp3d.operations.blocks import Operand, attach, both_nonnegative, rearranged, refuse, shares, tensor_of
from lrp3d.operations.products import div, mul, scaled
from lrp3d.registry import active_tracer, register_operation
from lrp3d.steps.writes import IndexedWrite, Shared, StridedWrite, Written
from lrp3d.tracing.torch_functions import fill_, overwritten, setitem, write_

# ----------------------------------------------------------------------------------------------------- in place


def _written(step: Written, written: Callable[[Tensor, Tensor], Tensor], target: Tensor, value: Tensor) -> Tensor:
    """Records the step of a write; what is known about each value of the result is what was known at its source."""
    tracer = active_tracer()
    inputs = [x for x in (target, value) if tracer.is_signal(x)]
    (signal,) = tracer.signals.through(written, (target, value), {}, inputs, 1)
    if signal.is_input is not None:
        signal.is_input = tracer.signals.constants_among(signal.is_input, target.dtype)
    signal.shifted = False
    return attach(step, written(target, value), inputs, signal)


@register_operation(setitem)
def write(target: Tensor, index: Any, value: Any) -> Tensor:
    """`target[index] = value` (temporal shifts and the like), without overwriting anything."""
    tracer = active_tracer()
    if _is_bound(target, index, value):
        return where(index, value, target)

    def written(x: Tensor, v: Tensor) -> Tensor:
        x = x.clone()
        x[index] = v
        return x

    shape = value.shape if isinstance(value, Tensor) else torch.Size()
    step = IndexedWrite(index, target.shape, shape, tracer.is_signal(target), tracer.is_signal(value))
    value = tensor_of(value, target)
    return _written(step, written, target, value if tracer.is_signal(value) else value.to(target.dtype))


def _is_bound(target: Tensor, index: Any, value: Any) -> bool:
    """Whether the clip decides where one number is written, as in a bound (`x[x < 0] = 0`), which is an activation."""
    tracer = active_tracer()
    if not isinstance(index, Tensor) or index.dtype != torch.bool or index.shape != target.shape:
        return False
    is_number = isinstance(value, (int, float)) or (isinstance(value, Tensor) and not value.dim())
    return is_number and tracer.is_signal(target) and not tracer.is_signal(value) and tracer.depends_on_clip(index)


@register_operation(overwritten)
def overwrite(value: Tensor, new: Tensor, shared: Shared) -> Tensor:
    """What `value` is after a write through another view of its memory (`x[:, 1:] += y`, `x.view(-1).relu_()`)."""
    tracer = active_tracer()
    _, covers_all = shared.overlap()
    if covers_all and not tracer.is_signal(new):
        return shared.over(torch.empty_like(value), new)
    if not tracer.is_signal(value) and not tracer.is_signal(new):
        return shared.over(value, new)
    if covers_all:
        value = new.new_zeros(value.shape, dtype=value.dtype)
    return _written(StridedWrite(shared, tracer.is_signal(value), tracer.is_signal(new)), shared.over, value, new)


@register_operation(write_)
def copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """`target.copy_(source)`: the target is the source from now on."""
    return write(target, ..., source)


@register_operation(Tensor.data.__get__)  # type: ignore[attr-defined]  # a property in truth
def data(input: Tensor) -> Tensor:
    """`x.data`: the same values, cut off from training but not from relevance (padded shortcuts of 3D ResNets)."""
    return rearranged(lambda x: x.view_as(x), input)


@register_operation(Tensor.data.__set__)  # type: ignore[attr-defined]  # a property in truth
def set_data(target: Tensor, value: Tensor) -> None:
    """`target.data = value`: autograd sees nothing of it."""
    raise UnsupportedOperation([f"{active_tracer().place} (data): sets .data where signals are; use plain assignment"])


@register_operation(fill_)
def fill(target: Tensor, value: Any = 0.0) -> Tensor:
    """`target.zero_()`, `target.fill_(value)`: the target is a constant, or one number of a signal, from now on."""
    return write(target, ..., value) if isinstance(value, Tensor) else torch.full_like(target, value)


# ----------------------------------------------------------------------------------------------- changed copies


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
    """`torch.index_put`: `input[indices] = values`, or with `accumulate` the sum of all values written to one place."""
    places = tuple(indices)
    if not accumulate:
        return write(input, places, values)

    def laid_out(x: Tensor) -> Tensor:
        return torch.zeros(output.shape, dtype=x.dtype, device=x.device).index_put(places, x, accumulate=True)

    output = torch.index_put(input, places, values, accumulate)
    values = rearranged(lambda x: x.expand(input[places].shape), values)
    summands = [Operand(input, Broadcast(output.shape)), Operand(values, Average(laid_out, leaves_out=True))]
    return shares(output, summands, nonnegative=both_nonnegative(input, values), is_layer=False)


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


# ----------------------------------------------------------------------------------- at indices, and sums there


@register_operation([torch.scatter_add, Tensor.scatter_add])
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`torch.scatter_add`: sums all values that are written to the same place, wherever the index came from."""

    def laid_out(x: Tensor) -> Tensor:
        return torch.zeros(output.shape, dtype=x.dtype, device=x.device).scatter_add(dim, index, x)

    output = torch.scatter_add(input, dim, index, src)
    if src.shape != index.shape:  # torch reads as much of it as the index has places for
        src = rearranged(lambda x: x[tuple(slice(size) for size in index.shape)], src)
    summands = [Operand(input, Broadcast(output.shape)), Operand(src, Average(laid_out, leaves_out=True))]
    return shares(output, summands, nonnegative=both_nonnegative(input, src))


@register_operation([torch.index_add, Tensor.index_add])
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """`torch.index_add`: adds slices at an index."""

    def laid_out(x: Tensor) -> Tensor:
        return torch.zeros(output.shape, dtype=x.dtype, device=x.device).index_add(dim, index, x)

    source = scaled(source, alpha)
    output = torch.index_add(input, dim, index, source)
    summands = [Operand(input, Broadcast(output.shape)), Operand(source, Average(laid_out, leaves_out=True))]
    return shares(output, summands, nonnegative=both_nonnegative(input, source))


@register_operation([torch.scatter, Tensor.scatter])
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """`torch.scatter`: `input[..., index, ...] = src` along one axis."""
    src = value if src is None else src
    if reduce is not None:
        output = torch.scatter(input, dim, index, src, reduce=reduce)
        return refuse(output, input, src, advice="has a rule without reduce= only; use scatter_add")
    if isinstance(src, Tensor) and src.dim():
        src = rearranged(lambda x: x[tuple(slice(size) for size in index.shape)], src)
    places = list(torch.meshgrid(*(torch.arange(size, device=index.device) for size in index.shape), indexing="ij"))
    places[dim] = index
    return write(input, tuple(places), src)


@register_operation([torch.scatter_reduce, Tensor.scatter_reduce])
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`torch.scatter_reduce` for sums and means (merged tokens: Bolya et al. 2023, arXiv:2210.09461)."""
    if reduce not in ("sum", "mean"):
        output = torch.scatter_reduce(input, dim, index, src, reduce, include_self=include_self)
        return refuse(output, input, src, advice=f"has a rule for sums and means only, not for reduce={reduce!r}")
    ones = torch.ones_like(src)
    written = torch.zeros_like(input).scatter_add(dim, index, ones)
    if not include_self:
        input = mul(input, written == 0) if active_tracer().is_signal(input) else input * (written == 0)
    total = scatter_add(input, dim, index, src)
    return total if reduce == "sum" else div(total, (written + include_self).clamp(min=1))


# --------------------------------------------------------------------------------------------------- selections


@register_operation([torch.masked_select, Tensor.masked_select])
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """`torch.masked_select`: the values where the mask is set, in a row."""
    shape = torch.broadcast_shapes(input.shape, mask.shape)
    return rearranged(lambda x: x.expand(shape)[mask.expand(shape)], input)


@register_operation([torch.narrow_copy, Tensor.narrow_copy])
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`torch.narrow_copy`: a copy of a slice."""
    return rearranged(lambda x: x.narrow(dim, start, length), input)
