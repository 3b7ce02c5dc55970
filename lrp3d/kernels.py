"""The right kernel for each convolution: one function forward, one for its adjoint, chosen here and nowhere else.

The plain path is torch's own convolution and input gradient. Faster, and equal up to rounding:

- a kernel of one (1x1x1) is a matrix product;
- a depthwise convolution along one axis is a sum of shifted, scaled copies;
- the adjoint of a strided convolution of few channels (a stem) is one dense convolution, of which every output
  channel is a channel at one phase of the stride;
- several weights over the same relevance are one convolution of as many times the channels (`joint_adjoint`).

`with plain(): ...` forces the plain path. `benchmarks/layers.py` measures the difference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_plain: ContextVar[bool] = ContextVar("lrp3d_plain_kernels", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Torch's own kernels only, inside this block."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its input; arguments as in torch, one number per axis."""

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
            return _shifted(x, w, g, axis, -1)
    return torch.convolution(x, w, None, g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups)


def adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """The transposed convolution: r, shaped like an output, to an input of `shape` (b, c, ...); a tensor of its own."""
    if r.numel() == 0:
        return r.new_zeros(shape)
    if not _plain.get():
        if _is_pointwise(w, g):
            return _placed(_pointwise(r, w.flatten(1).T), g.stride, shape)
        axis = _depthwise_axis(shape[1], w, g)
        if axis is not None:
            return _shifted(r, w, g, axis, 1)
        if _has_phases(w, g):
            return _by_phases(r, w, g, shape)
    like = r.new_empty(1).expand(shape)
    return torch.ops.aten.convolution_backward(
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
    )[0]


def joins(w: Tensor, g: Geometry) -> bool:
    """Whether several weights can be laid side by side along the input channels."""
    return not _plain.get() and not g.transposed and g.groups == 1


def joint_convolve(xs: Sequence[Tensor], ws: Sequence[Tensor], g: Geometry) -> Tensor:
    """The sum of the convolutions of each x with its w."""
    return convolve(torch.cat(list(xs), 1), torch.cat(list(ws), 1), g)


def joint_adjoint(r: Tensor, ws: Sequence[Tensor], g: Geometry, shape: Sequence[int]) -> Sequence[Tensor]:
    """The transposed convolutions of r with each w: a stem of few channels costs the same for two as for one."""
    wide = adjoint(r, torch.cat(list(ws), 1), g, (shape[0], shape[1] * len(ws), *shape[2:]))
    return wide.split(shape[1], 1)


# ------------------------------------------------------------------------------------------ kernels of one


def _is_pointwise(w: Tensor, g: Geometry) -> bool:
    return not g.transposed and g.groups == 1 and w[0, 0].numel() == 1 and not any(g.padding)


def _pointwise(x: Tensor, w: Tensor) -> Tensor:
    """(o, i) times (b, i, ...)."""
    flat = x.flatten(2)
    if x.device.type == "cpu" and w.numel() * flat.shape[2] > 2**20:  # one by one, each product fills all cores
        out = x.new_empty(len(x), len(w), flat.shape[2])
        for one, product in zip(flat, out, strict=True):
            torch.mm(w, one, out=product)
    else:
        out = torch.bmm(w.expand(len(x), *w.shape), flat)
    return out.unflatten(2, x.shape[2:])


def _strided(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    return x if max(stride) == 1 else x[_every(stride)].contiguous()


def _every(stride: tuple[int, ...]) -> tuple[Any, ...]:
    """The index of every stride-th position of the last axes."""
    return (..., *(slice(None, None, s) for s in stride))


def _placed(r: Tensor, stride: tuple[int, ...], shape: Sequence[int]) -> Tensor:
    if max(stride) == 1:
        return r
    out = r.new_zeros(shape)
    out[_every(stride)] = r
    return out


# ----------------------------------------------------------------------- depthwise convolutions along one axis


def _depthwise_axis(channels: int, w: Tensor, g: Geometry) -> int | None:
    """The one axis a depthwise kernel extends along, if its output has the input's size; else None."""
    if g.transposed or not (g.groups == channels == w.shape[0]) or max(g.stride) > 1:
        return None
    sizes = w.shape[2:]
    long = [i for i, k in enumerate(sizes) if k > 1]
    if len(long) != 1:
        return None
    axis = long[0]
    same = all(2 * p == d * (k - 1) for p, d, k in zip(g.padding, g.dilation, sizes, strict=True))
    return axis if same and sizes[axis] <= 9 else None


def _shifted(x: Tensor, w: Tensor, g: Geometry, axis: int, direction: int) -> Tensor:
    """Sum over the kernel's taps of scaled copies, shifted against (-1, forward) or with (1, adjoint) the taps."""
    size, taps = x.shape[2 + axis], w.flatten(1)
    factor = taps.view(*taps.shape, *[1] * (x.dim() - 2))  # (c, k, 1, ...)
    shifts = [direction * (k * g.dilation[axis] - g.padding[axis]) for k in range(taps.shape[1])]
    out = x * factor[:, shifts.index(0)] if 0 in shifts else torch.zeros_like(x)
    for k, shift in enumerate(shifts):  # out[i] += w[k] x[i - shift]
        length = size - abs(shift)
        if shift and length > 0:
            target = out.narrow(2 + axis, max(shift, 0), length)
            target.addcmul_(x.narrow(2 + axis, max(-shift, 0), length), factor[:, k])
    return out


# ------------------------------------------------------------------------- stems: few channels and a stride


def _has_phases(w: Tensor, g: Geometry) -> bool:
    """Whether all phases of the stride together are few enough channels to be computed at once."""
    phases = math.prod(g.stride)
    return not g.transposed and g.groups == 1 and max(g.dilation) == 1 and phases > 1 and w.shape[1] * phases <= 32


def _by_phases(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """in[s y + i] = sum over d of out[y + d] w[i + p - s d], for all phases i of the stride s at once."""
    channels, axes = w.shape[1], range(len(g.stride))
    # The shifts d for which some tap i + p - s d lies inside the kernel.
    first = [-((k - 1 - p) // s) for k, p, s in zip(w.shape[2:], g.padding, g.stride, strict=True)]
    last = [(s - 1 + p) // s for p, s in zip(g.padding, g.stride, strict=True)]
    lengths = [b - a + 1 for a, b in zip(first, last, strict=True)]
    phases = list(itertools.product(*(range(s) for s in g.stride)))
    dense = w.new_zeros(len(phases), channels, len(w), *lengths)
    for phase, kernel in zip(phases, dense, strict=True):
        for shift in itertools.product(*(range(n) for n in lengths)):
            tap = [i + p - s * (d + a) for i, p, s, d, a in zip(phase, g.padding, g.stride, shift, first, strict=True)]
            if all(0 <= t < k for t, k in zip(tap, w.shape[2:], strict=True)):
                kernel[(..., *shift)] = w[(slice(None), slice(None), *tap)].T
    cells = [-(-n // s) for n, s in zip(shape[2:], g.stride, strict=True)]  # positions of one phase
    margins = []  # of r, so that out[y + d] exists for every cell y and shift d; negative where r is longer
    for axis in reversed(axes):
        margins += [-first[axis], cells[axis] + last[axis] - r.shape[2 + axis]]
    convolved = torch.convolution(
        torch.nn.functional.pad(r, margins), dense.flatten(0, 1), None, [1] * len(axes), [0] * len(axes),
        [1] * len(axes), False, [0] * len(axes), 1,
    )  # fmt: skip
    out = r.new_empty(len(r), channels, *(n * s for n, s in zip(cells, g.stride, strict=True)))
    for number, phase in enumerate(phases):
        place = tuple(slice(i, None, s) for i, s in zip(phase, g.stride, strict=True))
        out[(..., *place)] = convolved[:, number * channels : (number + 1) * channels]
    return out[(..., *(slice(n) for n in shape[2:]))]
