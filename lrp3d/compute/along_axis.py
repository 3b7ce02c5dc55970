"""Convolutions along one axis, as a sum over the taps of the kernel of shifted copies of the input.

Where every channel is convolved by itself (depthwise), a tap scales the copy; of few frames, all taps of a channel are
one product with a banded matrix, which reads and writes every value once. Where the kernel is dense, a tap is one
matrix product over all positions, which runs near the machine's best while convolutions along time do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lrp3d.compute import buffers, matmul
from lrp3d.compute.buffers import BLOCK
from lrp3d.compute.geometry import Geometry

LEAST_PER_TAP = 2**17  # multiplications; with fewer, torch's own kernel is called sooner than the products
FRAMES = 48  # inputs along time; with more, zeros of a banded matrix cost more than passes over memory
POSITIONS = 16  # of each frame; with fewer, a product with a banded matrix is hardly one
MOST_TAPS = 9  # of a depthwise kernel; each is a pass over memory, which torch's own kernel does without


def depthwise_axis(channels: int, w: Tensor, g: Geometry) -> int | None:
    """The only axis along which a depthwise kernel without stride is longer than one; else None."""
    if g.transposed or not (g.groups == channels == w.shape[0]) or max(g.stride) > 1:
        return None
    long = [i for i, k in enumerate(w.shape[2:]) if k > 1]
    if len(long) != 1 or any(p for i, p in enumerate(g.padding) if i != long[0]):
        return None
    return long[0] if w.shape[2 + long[0]] <= MOST_TAPS else None


def is_dense_in_time(x: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether a dense kernel without stride is longer than one along the first axis only, and `x` is worth products."""
    if x.device.type != "cpu" or g.transposed or g.groups > 1 or max(g.stride) > 1 or any(g.padding[1:]):
        return False
    along_time = w.shape[2] > 1 and w[0, 0, 0].numel() == 1
    return along_time and w[:, :, 0].numel() * x.shape[2:].numel() >= LEAST_PER_TAP


def shifts(g: Geometry, axis: int) -> list[int]:
    """How far after an output the input stands that each tap sees along an axis without stride."""
    return [g.dilation[axis] * tap - g.padding[axis] for tap in range(g.kernel[axis])]


def length_of_output(x: Tensor, g: Geometry, axis: int) -> int:
    """The number of outputs of x (b, c, ...) along an axis without stride."""
    return x.shape[2 + axis] + 2 * g.padding[axis] - g.dilation[axis] * (g.kernel[axis] - 1)


def depthwise_adjoint(
    r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], axis: int, scale: Tensor | None = None
) -> Tensor:
    """The adjoint, of `shape`, of a depthwise convolution along an axis, of r (s b, c, ...) times a scale."""
    return depthwise_sum(r, w, axis, [-shift for shift in shifts(g, axis)], shape[2 + axis], scale)


def dense_adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """The adjoint, of `shape`, of a dense convolution along the first axis after the channels."""
    taps = buffers.derived("transposed taps", [w], lambda: w.flatten(2).permute(2, 1, 0).contiguous())  # (k, c, c')
    return dense_sum(r, taps, [-shift for shift in shifts(g, 0)], shape[2])


def depthwise_sum(
    x: Tensor, w: Tensor, axis: int, shifts: Sequence[int], length: int, scale: Tensor | None = None
) -> Tensor:
    """Computes out[i] = sum over taps k of w[k] x[i + shifts[k]] along an axis; out has `length` positions there.

    Args:
        x: (s b, c, ...), for s seeds.
        w: (c, 1, ...), longer than one along the axis only.
        axis: 0 is the first axis after the channels.
        shifts: one number for each tap.
        length: number of output positions along the axis.
        scale: (b, c, ...) by which x is multiplied first; None for none.
    """
    taps = w.flatten(1)  # (c, k)
    factor = taps.view(*taps.shape, *[1] * (x.dim() - 2))  # (c, k, 1, ...)
    shape = list(x.shape)
    shape[2 + axis] = length
    out = buffers.empty(shape, x)
    if x.device.type != "cpu" or x.numel() <= BLOCK:
        scaled = x if scale is None else (x.unflatten(0, (-1, len(scale))) * scale).flatten(0, 1)
        _add_taps(scaled, factor, 2 + axis, shifts, out)
        return out
    if axis == 0 and x.shape[2] <= FRAMES and x.shape[3:].numel() >= POSITIONS:
        _multiply_by_bands(x, w, shifts, scale, out)
        return out
    for i, part, taken in _blocks_of_channels(x, scale, BLOCK):
        _add_taps(taken, factor[part], 1 + axis, shifts, out[i, part])
    return out


def _blocks_of_channels(x: Tensor, scale: Tensor | None, values: int) -> Iterator[tuple[int, slice, Tensor]]:
    """The number of a sample, some of its channels, and what they hold, times the scale.

    So many `values` stay in a core's cache while they are taken through several passes.
    """
    channels = max(1, values * x.shape[1] // x[0].numel())
    scratch = None if scale is None else x.new_empty(x[0, :channels].shape)
    for i, sample in enumerate(x):
        for first in range(0, x.shape[1], channels):
            part = slice(first, first + channels)
            taken = sample[part]
            if scratch is not None and scale is not None:
                taken = torch.mul(taken, scale[i % len(scale), part], out=scratch[: len(taken)])
            yield i, part, taken


def _multiply_by_bands(x: Tensor, w: Tensor, shifts: Sequence[int], scale: Tensor | None, out: Tensor) -> None:
    """Writes to `out` (s b, c, length, ...) what `depthwise_sum` computes along the first axis after the channels."""

    def bands() -> Tensor:
        matrices = w.new_zeros(len(w), out.shape[2], x.shape[2])  # (c, length, t)
        for shift, tap in zip(shifts, w.flatten(1).T, strict=True):
            matrices.diagonal(shift, 1, 2).add_(tap.unsqueeze(1))
        return matrices

    matrices = buffers.derived(("bands", tuple(shifts), out.shape[2], x.shape[2]), [w], bands)
    # Without a scale nothing is done twice, and a product of all channels uses all cores.
    values = x[0].numel() if scale is None else 2 * BLOCK
    for i, part, taken in _blocks_of_channels(x, scale, values):
        torch.bmm(matrices[part], taken.flatten(2), out=out[i, part].flatten(2))


def _add_taps(x: Tensor, factor: Tensor, axis: int, shifts: Sequence[int], out: Tensor) -> None:
    """Writes the sum over the taps k of factor[:, k] x, shifted along an axis, to `out`."""
    length, size = out.shape[axis], x.shape[axis]
    whole = _tap_for_all(shifts, length, size)
    if whole is None:
        out.zero_()
    else:
        torch.mul(x.narrow(axis, shifts[whole], length), factor[:, whole], out=out)
    for k, shift in enumerate(shifts):
        start, stop = max(0, -shift), min(length, size - shift)
        if start < stop and k != whole:
            target = out.narrow(axis, start, stop - start)
            target.addcmul_(x.narrow(axis, start + shift, stop - start), factor[:, k])


def dense_sum(x: Tensor, taps: Tensor, shifts: Sequence[int], length: int) -> Tensor:
    """Computes out[i] = sum over taps k of taps[k] @ x[i + shifts[k]] along the first axis after the channels.

    Args:
        x: (b, i, t, ...).
        taps: (k, o, i), one matrix for each tap.
        shifts: one number for each tap.
        length: number of output positions along the axis.
    """
    size, rest = x.shape[2], x.shape[3:]
    out = buffers.empty((len(x), taps.shape[1], length, *rest), x)
    per_position = rest.numel()
    whole = _tap_for_all(shifts, length, size)
    for sample, result in zip(x.flatten(2), out.flatten(2), strict=True):  # (i, t h w), (o, length h w)
        if whole is None:
            result.zero_()
        else:
            first = shifts[whole] * per_position
            matmul.multiply(taps[whole], sample[:, first : first + length * per_position], result)
        for k, shift in enumerate(shifts):
            start, stop = max(0, -shift), min(length, size - shift)
            if start < stop and k != whole:
                target = result[:, start * per_position : stop * per_position]
                seen = slice((start + shift) * per_position, (stop + shift) * per_position)
                matmul.add_columns(taps[k], sample, seen, target)
    return out


def _tap_for_all(shifts: Sequence[int], length: int, size: int) -> int | None:
    """A tap that reaches every output position, so that it can write the output instead of adding to it."""
    return next((k for k, shift in enumerate(shifts) if 0 <= shift <= size - length), None)
