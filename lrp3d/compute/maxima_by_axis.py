"""The maxima of windows and where they stand, axis by axis; torch's max pools compare a window's positions one by one.

A window of 3x3x3 takes 6 comparisons in place of 26, each of whole rows. The values are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.plain import is_plain

LEAST = 2**14  # values; of fewer, torch's own pool is as fast


def are_worth_it(x: Tensor) -> bool:
    """Whether this is faster than torch's own pool, and as precise, which under autocast may be another type."""
    ours = x.device.type == "cpu" and not is_plain() and not torch.is_autocast_enabled("cpu")
    return ours and x.dtype in (torch.float32, torch.float64) and x.numel() >= LEAST


def maxima(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    sizes: Sequence[int],
) -> Tensor:
    """The maxima of all windows of x, which move along its last axes; they number `sizes`.

    What lies outside of x counts nowhere, and every window holds some of it.
    """
    axes = len(kernel)
    for axis, numbers in enumerate(zip(kernel, stride, padding, dilation, sizes, strict=True)):
        x = _maxima_along(x, axis - axes, *numbers)
    return x


def _maxima_along(x: Tensor, axis: int, kernel: int, stride: int, padding: int, dilation: int, size: int) -> Tensor:
    """The maxima of windows that are longer than one along this axis only."""
    if kernel == stride == 1 and not padding and x.shape[axis] == size:
        return x
    shape = list(x.shape)
    shape[axis] = size
    out = x.new_full(shape, -torch.inf)
    for tap in range(kernel):
        first = tap * dilation - padding  # what the first window sees through this tap
        start, stop = max(0, -(first // stride)), min(size, -((first - x.shape[axis]) // stride))
        if start < stop:
            part = out.narrow(axis, start, stop - start)
            torch.maximum(part, _every(x, axis, first + stride * start, stride, stop - start), out=part)
    return out


class Winners(NamedTuple):
    """Of every window in every plane, (planes, *sizes)."""

    largest: Tensor
    """The maximum."""
    number: Tensor
    """How many of its positions have it."""
    position: Tensor
    """One of these, numbered within the plane."""


def can_be_numbered(x: Tensor) -> bool:
    """Whether all positions in a plane of x (planes, ...) are numbers of its type."""
    return x.dtype in (torch.float32, torch.float64) and x[0].numel() < 1 / torch.finfo(x.dtype).eps


def winners(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], sizes: Sequence[int]
) -> Winners:
    """What wins in every window of x (planes, ...), which is padded already; windows number `sizes`.

    Numbers and positions are whole numbers in the type of x: `lerp` chooses between these without branches, many times
    faster than `where`.
    """
    found, axes = _alone(x), len(kernel)
    for axis, numbers in enumerate(zip(kernel, stride, dilation, sizes, strict=True)):
        found = _winners_along(found, axis - axes, *numbers)
    return found


class Stage(NamedTuple):
    """How the windows along one axis share what they get, of (planes, ...) with `sizes` behind that axis."""

    axis: int
    sizes: torch.Size
    """Of a plane before this axis."""
    dilation: int
    stride: int
    parts: Sequence[Tensor]
    """For each tap, the part that goes to what is seen through it: as much as it has of the winners."""


def stages(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], sizes: Sequence[int]
) -> tuple[list[Stage], Tensor]:
    """How relevance goes back to all winners in equal parts, axis by axis, and the maxima; arguments as of `winners`.

    Winners that tie get equal parts, because at each axis everything gets as much as it has of them.
    """
    found, axes, made = _alone(x), len(kernel), []
    for i, (k, s, d, size) in enumerate(zip(kernel, stride, dilation, sizes, strict=True)):
        axis, before = i - axes, found
        found = _winners_along(before, axis, k, s, d, size)
        if found is not before:
            seen = [Winners(*(_every(x, axis, tap * d, s, size) for x in before)) for tap in range(k)]
            parts = [(one.largest == found.largest) * one.number / found.number for one in seen]
            made.append(Stage(axis, before.largest.shape[1:], d, s, parts))
    return made, found.largest


def handed_down(r: Tensor, made: Sequence[Stage]) -> Tensor:
    """Relevance r (s, planes, *sizes) of windows, handed down to what wins in them."""
    for stage in reversed(made):
        below = buffers.empty((*r.shape[:2], *stage.sizes), r).zero_()
        for tap, part in enumerate(stage.parts):
            seen = _every(below, stage.axis, tap * stage.dilation, stage.stride, r.shape[stage.axis])
            seen.addcmul_(r, part)
        r = below
    return r


def _alone(x: Tensor) -> Winners:
    """Every position of x (planes, ...) as the winner of a window of its own."""
    position = torch.arange(x[0].numel(), dtype=x.dtype, device="cpu").view(x.shape[1:]).expand(x.shape)
    return Winners(x, torch.ones((), dtype=x.dtype, device="cpu").expand(x.shape), position)


def _winners_along(before: Winners, axis: int, kernel: int, stride: int, dilation: int, size: int) -> Winners:
    """The winners of windows along one axis, of what won along those before."""
    if kernel == stride == 1 and before.largest.shape[axis] == size:
        return before
    largest, number, position = (
        _every(x, axis, 0, stride, size).clone(memory_format=torch.contiguous_format) for x in before
    )
    is_same, is_larger = torch.empty_like(largest), torch.empty_like(largest)
    for tap in range(1, kernel):
        seen = Winners(*(_every(x, axis, tap * dilation, stride, size) for x in before))
        if axis == -1 and stride > 1:  # with gaps, each of the operations below would read value by value
            seen = Winners(*(x.contiguous() for x in seen))
        torch.eq(seen.largest, largest, out=is_same)
        torch.gt(seen.largest, largest, out=is_larger)
        number.addcmul_(is_same, seen.number)
        torch.lerp(number, seen.number, is_larger, out=number)
        torch.lerp(position, seen.position, is_larger, out=position)
        torch.maximum(largest, seen.largest, out=largest)
    return Winners(largest, number, position)


def _every(x: Tensor, axis: int, first: int, stride: int, length: int) -> Tensor:
    """So many values along an axis, counted from the end, each `stride` from the one before."""
    seen = slice(first, first + stride * (length - 1) + 1, stride)
    place: tuple[Any, ...] = (..., seen, *[slice(None)] * (-1 - axis))
    return x[place]
