"""Chooses the kernel of each convolution and of its adjoint; no other file does.

The plain path is torch's own convolution and input gradient. These are faster, and equal up to rounding:

- a kernel of one (1x1x1) is a matrix product;
- a depthwise convolution along one axis is a sum of shifted, scaled copies;
- the adjoint of a strided convolution of few channels (a stem) is one dense convolution with one output channel for
  each input channel and phase of the stride;
- the adjoint of a convolution of few frames is a convolution over space, of every frame with all taps over time;
- several weights applied to the same relevance are one convolution with as many times the channels (`joins`).

`with plain(): ...` forces the plain path. `benchmarks/layers.py` measures the difference.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute import buffers

_plain: ContextVar[bool] = ContextVar("lrp3d_plain_kernels", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Uses only torch's own kernels inside this block."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Whether torch's own kernels are asked for."""
    return _plain.get()


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its input; arguments as in torch, one number per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    output_padding: tuple[int, ...]


def convolve(x: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The convolution of x (b, c, ...) with w in torch's layout, without bias."""
    if not _plain.get() and x.numel():
        if _is_pointwise(w, g):
            return _pointwise(_strided(x, g.stride), w.flatten(1))
        axis = _depthwise_axis(x.shape[1], w, g)
        if axis is not None:
            k, d, p = w.shape[2 + axis], g.dilation[axis], g.padding[axis]
            length = x.shape[2 + axis] + 2 * p - d * (k - 1)
            if length > 0:
                return _shifted(x, w, axis, [d * tap - p for tap in range(k)], length)
    return torch.convolution(x, w, None, g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups)


def adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """The transposed convolution: carries r, shaped like an output, back to a new tensor of `shape` (b, c, ...)."""
    if r.numel() == 0:
        return r.new_zeros(shape)
    if not _plain.get():
        if _is_pointwise(w, g):
            return _placed(_pointwise(r, w.flatten(1).T), g.stride, shape)
        axis = _depthwise_axis(shape[1], w, g)
        if axis is not None:
            k, d, p = w.shape[2 + axis], g.dilation[axis], g.padding[axis]
            return _shifted(r, w, axis, [p - d * tap for tap in range(k)], shape[2 + axis])
        if _has_phases(w, g):
            return _by_phases(r, w, g, shape)
        if _few_frames(r, g):
            return _by_frames(r, w, g, shape, -g.padding[0])
    like = r.new_empty(1).expand(shape)
    gradients: Sequence[Tensor] = torch.ops.aten.convolution_backward(
        r,
        like,
        w,
        None,
        g.stride,
        g.padding,
        g.dilation,
        g.transposed,
        g.output_padding,
        g.groups,
        [True, False, False],
    )
    return gradients[0]


def window(size: int, start: int, stop: int, g: Geometry, axis: int) -> tuple[int, int]:
    """The range of inputs, of `size` along an axis, in the receptive field of outputs `start` to `stop`."""
    d, k, s, p = g.dilation[axis], g.kernel[axis], g.stride[axis], g.padding[axis]
    first = min(max(0, start * s - p), size - 1)  # the nearest input where outputs see only padding
    return first, max(min(size, (stop - 1) * s - p + d * (k - 1) + 1), first + 1)


def adjoint_in_window(
    r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], axis: int, start: int, size: int
) -> Tensor:
    """The adjoint for r (b, c, ...), the outputs from `start` on; `shape` is that of their `window` of the inputs."""
    d, k, s, p = g.dilation[axis], g.kernel[axis], g.stride[axis], g.padding[axis]
    stop = start + r.shape[2 + axis]
    first, last = window(size, start, stop, g, axis)
    begin = start * s - p  # the first position these outputs see, negative in the padding
    if _depthwise_axis(shape[1], w, g) == axis and not _plain.get():
        return adjoint(r, w, replace(g, padding=_with(g.padding, axis, first - begin)), shape)
    if axis == 0 and k > 1 and _few_frames(r, g):
        return _by_frames(r, w, g, shape, begin - first)
    # Computed without padding, whose part of the result is cut off at the end.
    length = (r.shape[2 + axis] - 1) * s + d * (k - 1) + 1
    if first < begin or last > begin + length:  # these outputs see only padding
        return r.new_zeros(shape)
    carried = adjoint(r, w, replace(g, padding=_with(g.padding, axis, 0)), _with(shape, 2 + axis, length))
    return carried.narrow(2 + axis, first - begin, last - first)


def _with(values: Sequence[int], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


def joins(w: Tensor, g: Geometry) -> bool:
    """Whether several weights can be laid side by side along the input channels."""
    return not _plain.get() and not g.transposed and g.groups == 1


def joint_convolve(xs: Sequence[Tensor], ws: Sequence[Tensor], g: Geometry) -> Tensor:
    """The sum of the convolutions of each x with its w."""
    return convolve(torch.cat(list(xs), 1), torch.cat(list(ws), 1), g)


# ------------------------------------------------------------------------------------------ kernels of one


def _is_pointwise(w: Tensor, g: Geometry) -> bool:
    return not g.transposed and g.groups == 1 and w[0, 0].numel() == 1 and not any(g.padding)


def _pointwise(x: Tensor, w: Tensor) -> Tensor:
    """Multiplies x (b, i, ...) by w (o, i)."""
    flat = x.flatten(2)  # (b, i, t h w)
    if x.device.type == "cpu" and w.numel() * flat.shape[2] > 2**20:  # one by one, each product uses all cores
        out = buffers.empty((len(x), len(w), flat.shape[2]), x)
        for sample, product in zip(flat, out, strict=True):
            torch.mm(w, sample, out=product)
    else:
        out = torch.bmm(w.expand(len(x), *w.shape), flat)
    return torch.unflatten(out, 2, x.shape[2:])


def _strided(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    return x if max(stride) == 1 else x[_every(stride)].contiguous()


def _every(stride: tuple[int, ...]) -> tuple[Any, ...]:
    """The index that takes every `stride`-th position of the last axes."""
    return (..., *(slice(None, None, s) for s in stride))


def _placed(r: Tensor, stride: tuple[int, ...], shape: Sequence[int]) -> Tensor:
    if max(stride) == 1:
        return r
    out = buffers.empty(shape, r).zero_()
    out[_every(stride)] = r
    return out


# ----------------------------------------------------------------------- depthwise convolutions along one axis


def _depthwise_axis(channels: int, w: Tensor, g: Geometry) -> int | None:
    """The only axis along which a depthwise kernel without stride is longer than one; else None."""
    if g.transposed or not (g.groups == channels == w.shape[0]) or max(g.stride) > 1:
        return None
    long = [i for i, k in enumerate(w.shape[2:]) if k > 1]
    if len(long) != 1 or any(p for i, p in enumerate(g.padding) if i != long[0]):
        return None
    return long[0] if w.shape[2 + long[0]] <= 9 else None


def _shifted(x: Tensor, w: Tensor, axis: int, shifts: Sequence[int], length: int) -> Tensor:
    """Computes out[i] = sum over taps k of w[k] x[i + shifts[k]] along an axis; out has `length` positions there."""
    taps = w.flatten(1)  # (c, k)
    factor = taps.view(*taps.shape, *[1] * (x.dim() - 2))  # (c, k, 1, ...)
    axis, size, shape = 2 + axis, x.shape[2 + axis], list(x.shape)
    shape[axis] = length
    out = buffers.empty(shape, x)
    whole = [k for k, shift in enumerate(shifts) if shift == 0 and length <= size]
    if whole:
        torch.mul(x.narrow(axis, 0, length), factor[:, whole[0]], out=out)
    else:
        out.zero_()
    for k, shift in enumerate(shifts):
        start, stop = max(0, -shift), min(length, size - shift)
        if start < stop and k not in whole:
            target = out.narrow(axis, start, stop - start)
            target.addcmul_(x.narrow(axis, start + shift, stop - start), factor[:, k])
    return out


# ------------------------------------------------------------------------------------------ few frames


def _few_frames(r: Tensor, g: Geometry) -> bool:
    """Whether torch's own kernel would leave cores idle, because it divides the frames of one clip among them."""
    few = r.dim() == 5 and r.shape[2] <= 5 and len(r) == 1 and r.device.type == "cpu"
    return few and not g.transposed and g.groups == 1 and not _plain.get()


def _by_frames(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], begin: int) -> Tensor:
    """Adds out[o] w[k] to in[begin + s o + d k] over time; each product is a convolution over space of b t frames."""
    batch, inputs, frames, taps = len(r), w.shape[1], r.shape[2], w.shape[2]
    spatial = shape[3:]
    folded = r.transpose(1, 2).flatten(0, 1)  # (b t, c', h, w)
    every_tap = buffers.derived("taps", [w], lambda: w.transpose(1, 2).flatten(1, 2))  # (c', k c, h, w)
    like = r.new_empty(1).expand(batch * frames, taps * inputs, *spatial)
    numbers = g.stride[1:], g.padding[1:], g.dilation[1:]
    every = torch.ops.aten.convolution_backward(
        folded, like, every_tap, None, *numbers, False, [0, 0], 1, [True, False, False]
    )[0]
    contributions = every.view(batch, frames, taps, inputs, *spatial)  # (b, t, k, c, h, w)
    out = buffers.empty(shape, r).zero_()
    in_frames = out.transpose(1, 2)  # (b, t, c, h, w)
    for o, k in itertools.product(range(frames), range(taps)):
        frame = begin + g.stride[0] * o + g.dilation[0] * k
        if 0 <= frame < shape[2]:
            in_frames[:, frame] += contributions[:, o, k]
    return out


# ------------------------------------------------------------------------- stems: few channels and a stride


def _has_phases(w: Tensor, g: Geometry) -> bool:
    """Whether all phases of the stride together have few enough channels to be computed at once."""
    phases = math.prod(g.stride)
    return not g.transposed and g.groups == 1 and max(g.dilation) == 1 and phases > 1 and w.shape[1] * phases <= 32


def _by_phases(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """Computes in[s y + i] = sum over d of out[y + d] w[i + p - s d] for all phases i of the stride s at once."""
    channels, axes = w.shape[1], len(g.stride)
    # The shifts d for which some tap i + p - s d lies inside the kernel.
    first = [-((k - 1 - p) // s) for k, p, s in zip(g.kernel, g.padding, g.stride, strict=True)]
    last = [(s - 1 + p) // s for p, s in zip(g.padding, g.stride, strict=True)]
    dense = buffers.derived(("phases", g), [w], lambda: _phases(w, g, first, last))
    cells = [-(-n // s) for n, s in zip(shape[2:], g.stride, strict=True)]  # positions of one phase
    # Every cell y needs all shifts d, so r is padded where they reach beyond it, by the same amount at both ends.
    overhang = [max(-a, n + b - size, 0) for a, b, n, size in zip(first, last, cells, r.shape[2:], strict=True)]
    ones, zeros = [1] * axes, [0] * axes
    convolved = torch.convolution(
        r, dense, None, ones, overhang, ones, False, zeros, 1
    )  # (b, phases c, cells and more)
    wanted = tuple(slice(p + a, p + a + n) for p, a, n in zip(overhang, first, cells, strict=True))
    out = buffers.empty((len(r), channels, *(n * s for n, s in zip(cells, g.stride, strict=True))), r)
    for number, phase in enumerate(itertools.product(*map(range, g.stride))):
        place: tuple[Any, ...] = (..., *(slice(i, None, s) for i, s in zip(phase, g.stride, strict=True)))
        of_phase: tuple[Any, ...] = (slice(None), slice(number * channels, (number + 1) * channels), *wanted)
        out[place] = convolved[of_phase]
    real: tuple[Any, ...] = (..., *(slice(n) for n in shape[2:]))
    return out[real]


def _phases(w: Tensor, g: Geometry, first: Sequence[int], last: Sequence[int]) -> Tensor:
    """The kernels of all phases (phases c, c', ...), their shifts in the order of a convolution."""
    lengths = [b - a + 1 for a, b in zip(first, last, strict=True)]
    phases = list(itertools.product(*map(range, g.stride)))
    dense = w.new_zeros(len(phases), w.shape[1], len(w), *lengths)
    for phase, kernel in zip(phases, dense, strict=True):
        for shift in itertools.product(*map(range, lengths)):
            tap = [i + p - s * (d + a) for i, p, s, d, a in zip(phase, g.padding, g.stride, shift, first, strict=True)]
            if all(0 <= t < k for t, k in zip(tap, g.kernel, strict=True)):
                kernel.flatten(2)[:, :, _flat(shift, lengths)] = w.flatten(2)[:, :, _flat(tap, g.kernel)].T
    return dense.flatten(0, 1)


def _flat(index: Sequence[int], sizes: Sequence[int]) -> int:
    return functools.reduce(lambda sum, pair: sum * pair[1] + pair[0], zip(index, sizes, strict=True), 0)
