"""Chooses the kernel of each convolution and of its adjoint; no other file does.

The plain path is torch's own convolution and input gradient. These are faster, and equal up to rounding:

- a kernel of one (1x1x1) is a matrix product (`matmul`);
- a convolution along time only is a sum of shifted products, one for each tap; a depthwise one along one axis is a sum
  of shifted, scaled copies;
- the adjoint of a convolution without stride is a convolution with the flipped kernel, and that of a strided one is
  such a convolution for each phase of the stride;
- the adjoint of a strided convolution of few channels (a stem) is one dense convolution with one output channel for
  each input channel and phase of the stride;
- the adjoint of a dense convolution of three frames and without stride takes several frames at once, with half of the
  products;
- the adjoint of a convolution of few frames is a convolution over space, of every frame with all taps over time;
- several weights applied to the same relevance are one convolution with as many times the channels (`joins`).

`with plain(): ...` forces the plain path. `benchmarks/layers.py` measures the difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute import buffers, matmul, onednn, phases, time_tiles, wide_products
from lrp3d.compute.along_axis import LEAST_PER_TAP, dense_sum, depthwise_sum
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.plain import is_plain as is_plain
from lrp3d.compute.plain import plain as plain

WORTHWHILE_ALONE = 2**20  # multiplications of one seed; with fewer, those of all seeds are one product
WORTHWHILE_TILES = 2**20  # multiplications of one frame and one tap
LARGE = 8  # values of a kernel for each value that it is applied to; copies of such kernels take most of the memory


def convolve(x: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The convolution of x (b, c, ...) with w in torch's layout, without bias."""
    if not is_plain() and x.numel():
        if _is_pointwise(w, g):
            return _pointwise(_strided(x, g.stride), w.flatten(1))
        axis = _depthwise_axis(x.shape[1], w, g)
        if axis is not None:
            k, d, p = w.shape[2 + axis], g.dilation[axis], g.padding[axis]
            length = x.shape[2 + axis] + 2 * p - d * (k - 1)
            if length > 0:
                return depthwise_sum(x, w, axis, [d * tap - p for tap in range(k)], length)
        if _is_dense_in_time(x, w, g):
            taps = buffers.derived("taps", [w], lambda: w.flatten(2).permute(2, 0, 1).contiguous())  # (k, c', c)
            d, p = g.dilation[0], g.padding[0]
            length = x.shape[2] + 2 * p - d * (len(taps) - 1)
            if length > 0:
                return dense_sum(x, taps, [d * tap - p for tap in range(len(taps))], length)
    return torch.convolution(x, w, None, g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups)


def outruns_torch(x: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether `convolve` is worth it for a convolution of the model itself, of which it differs by rounding."""
    return matmul.may_replace(x, w) and (_is_pointwise(w, g) or _depthwise_axis(x.shape[1], w, g) is not None)


def convolve_as_the_model(x: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The same convolution, rounded as the model's own."""
    if outruns_torch(x, w, g):
        return convolve(x, w, g)
    with plain():
        return convolve(x, w, g)


def adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """The transposed convolution: carries r, shaped like an output, back to a new tensor of `shape` (b, c, ...)."""
    if r.numel() == 0:
        return r.new_zeros(shape)
    return _input_gradient(r, w, g, shape) if is_plain() else _fast_adjoint(r, w, g, shape)


def _fast_adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    if _is_pointwise(w, g):
        return _placed(_pointwise(r, _transposed(w)), g.stride, shape)
    axis = _depthwise_axis(shape[1], w, g)
    if axis is not None:
        return _depthwise_adjoint(r, w, g, shape, axis)
    if _is_dense_in_time(r, w, g):
        taps = buffers.derived("transposed taps", [w], lambda: w.flatten(2).permute(2, 1, 0).contiguous())
        return dense_sum(r, taps, [g.padding[0] - g.dilation[0] * tap for tap in range(len(taps))], shape[2])
    if _phases_fit_at_once(w, g):
        return phases.at_once(r, w, g, shape, _convolve_relevance)
    if _few_frames(r, w, g):
        return _by_frames(r, w, g, shape, -g.padding[0])
    if _has_enough_channels(r, w, g) and max(g.stride) > 1 and max(g.dilation) == 1:
        return phases.one_by_one(r, w, g, shape, _convolve_relevance)
    of_flipped = _geometry_of_flipped(r, w, g)
    if of_flipped is not None:
        return _by_flipped(r, w, of_flipped)
    return _input_gradient(r, w, g, shape)


def _input_gradient(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """Torch's own input gradient."""
    like = r.new_empty(1).expand(shape)
    numbers = g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups
    gradients: Sequence[Tensor] = torch.ops.aten.convolution_backward(r, like, w, None, *numbers, [True, False, False])
    return gradients[0]


def scaled_adjoint(r: Tensor, scale: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor | None:
    """The adjoint of r (s b, c, ...) * scale (b, c, ...) in one go; None where to multiply first is as fast."""
    if is_plain() or r.numel() == 0:
        return None
    if _is_pointwise(w, g) and max(g.stride) == 1:
        return _scaled_pointwise(r, scale, w.flatten(1).T)
    axis = _depthwise_axis(shape[1], w, g)
    return None if axis is None else _depthwise_adjoint(r, w, g, shape, axis, scale)


def _depthwise_adjoint(
    r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], axis: int, scale: Tensor | None = None
) -> Tensor:
    k, d, p = w.shape[2 + axis], g.dilation[axis], g.padding[axis]
    return depthwise_sum(r, w, axis, [p - d * tap for tap in range(k)], shape[2 + axis], scale)


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
    along_axis = _depthwise_axis(shape[1], w, g) == axis or (axis == 0 and _is_dense_in_time(r, w, g))
    if along_axis and not is_plain():
        return adjoint(r, w, _on_window(g, axis, start, stop, size), shape)
    if axis == 0 and k > 1 and _few_frames(r, w, replace(g, padding=_with(g.padding, axis, 0))):
        return _by_frames(r, w, g, shape, begin - first)
    # Computed without padding, whose part of the result is cut off at the end.
    length = (r.shape[2 + axis] - 1) * s + d * (k - 1) + 1
    if first < begin or last > begin + length:  # these outputs see only padding
        return r.new_zeros(shape)
    carried = adjoint(r, w, replace(g, padding=_with(g.padding, axis, 0)), _with(shape, 2 + axis, length))
    return carried.narrow(2 + axis, first - begin, last - first)


def scaled_adjoint_in_window(
    r: Tensor, scale: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], axis: int, start: int, size: int
) -> Tensor | None:
    """The same for r (s b, c, ...) * scale (b, c, ...) in one go; None where to multiply first is as fast."""
    if r.numel() == 0 or is_plain() or _depthwise_axis(shape[1], w, g) != axis:
        return None
    return _depthwise_adjoint(r, w, _on_window(g, axis, start, start + r.shape[2 + axis], size), shape, axis, scale)


def _on_window(g: Geometry, axis: int, start: int, stop: int, size: int) -> Geometry:
    """The geometry of outputs `start` to `stop` over their window of the inputs, which may cut the padding off."""
    first, _ = window(size, start, stop, g, axis)
    begin = start * g.stride[axis] - g.padding[axis]
    return replace(g, padding=_with(g.padding, axis, first - begin))


def _with(values: Sequence[int], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


def joins(g: Geometry) -> bool:
    """Whether several weights can be laid side by side along the input channels."""
    return not is_plain() and not g.transposed and g.groups == 1


def joint_convolve(xs: Sequence[Tensor], ws: Sequence[Tensor], g: Geometry) -> Tensor:
    """The sum of the convolutions of each x with its w."""
    return convolve(torch.cat(list(xs), 1), torch.cat(list(ws), 1), g)


# ------------------------------------------------------------------------------------------ kernels of one


def _is_pointwise(w: Tensor, g: Geometry) -> bool:
    return not g.transposed and g.groups == 1 and w[0, 0].numel() == 1 and not any(g.padding)


def _pointwise(x: Tensor, w: Tensor) -> Tensor:
    """Multiplies x (b, i, ...) by w (o, i)."""
    flat = x.flatten(2)  # (b, i, t h w)
    if _fills_cores(w, flat):
        if len(x) == 1:
            out = matmul.product(w, flat[0]).unsqueeze(0)
        else:
            out = buffers.empty((len(x), len(w), flat.shape[2]), x)
            for sample, product in zip(flat, out, strict=True):
                matmul.multiply(w, sample, product)
    else:
        out = torch.bmm(w.expand(len(x), *w.shape), flat)
    return torch.unflatten(out, 2, x.shape[2:])


def _transposed(w: Tensor) -> Tensor:
    """The matrix (i, o) of w (o, i, 1, ...), laid out anew once for all products where each would have to do so."""
    if not onednn.outruns_mkl():
        return w.flatten(1).T
    return buffers.derived("transposed", [w], lambda: w.flatten(1).T.contiguous())


def _fills_cores(w: Tensor, flat: Tensor) -> bool:
    """Whether the product of w (o, i) with a single one of `flat` (b, i, n) is worth all cores of a CPU."""
    return flat.device.type == "cpu" and w.numel() * flat.shape[2] > WORTHWHILE_ALONE


def _scaled_pointwise(x: Tensor, scale: Tensor, w: Tensor) -> Tensor | None:
    """Multiplies x (s b, i, ...) * scale (b, i, ...) by w (o, i); None where to multiply first is as fast."""
    flat = x.flatten(2)  # (s b, i, t h w)
    if not _fills_cores(w, flat) or not matmul.scales_on_the_way(w, flat[0]) or not scale.is_contiguous():
        return None
    out = buffers.empty((len(x), len(w), flat.shape[2]), x)
    for i, (sample, product) in enumerate(zip(flat, out, strict=True)):
        wide_products.multiply(w, sample, product, scale[i % len(scale)].flatten(1))
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


# ------------------------------------------------------------------------------ dense convolutions along time


def _is_dense_in_time(x: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether a dense kernel without stride is longer than one along the first axis only, and `x` is worth products."""
    if x.device.type != "cpu" or g.transposed or g.groups > 1 or max(g.stride) > 1 or any(g.padding[1:]):
        return False
    along_time = w.shape[2] > 1 and w[0, 0, 0].numel() == 1
    return along_time and w[:, :, 0].numel() * x.shape[2:].numel() >= LEAST_PER_TAP


# ------------------------------------------------------------------------------------------ flipped kernels


def _has_enough_channels(r: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether convolutions are faster than torch's input gradient: far slower ones compute few channels of many."""
    if r.device.type != "cpu" or g.transposed:
        return False
    return w.shape[1] >= 8 if g.groups == 1 else w.shape[:2] == (g.groups, 1)


def _geometry_of_flipped(r: Tensor, w: Tensor, g: Geometry) -> Geometry | None:
    """How the flipped kernel moves over r; None where that is not the adjoint, or not worth it."""
    padding = tuple(d * (k - 1) - p for d, k, p in zip(g.dilation, g.kernel, g.padding, strict=True))
    fits = _has_enough_channels(r, w, g) and max(g.stride) == 1 and min(padding) >= 0
    return replace(g, padding=padding) if fits else None


def _by_flipped(r: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """Computes in[i] = sum over taps k of out[i + p - d k] w[k]; `g` is how the flipped kernel moves over out."""

    def flipped() -> Tensor:
        return (w.transpose(0, 1) if g.groups == 1 else w).flip(*range(2, w.dim()))  # (c, c', ...)

    if _fits_tiles(r, w, g):
        kernels = buffers.derived("tiles, flipped", [w], lambda: time_tiles.kernels_at_points(flipped()))
        return time_tiles.convolve(r, kernels, g)
    kernel = buffers.derived("flipped", [w], lambda: flipped().contiguous())
    return torch.convolution(r, kernel, None, g.stride, g.padding, g.dilation, False, g.output_padding, g.groups)


# ------------------------------------------------------------------------------------------ several frames at once


def _convolve_relevance(r: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The same as `convolve`, for relevance: denominators are not to be computed in tiles."""
    if not _fits_tiles(r, w, g):
        return convolve(r, w, g)
    return time_tiles.convolve(r, buffers.derived("tiles", [w], lambda: time_tiles.kernels_at_points(w)), g)


def _fits_tiles(r: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether tiles of frames take far fewer convolutions over space than there are pairs of a frame and a tap."""
    if r.dim() != 5 or r.device.type != "cpu" or w.shape[2] != time_tiles.TAPS or w[0, 0, 0].numel() == 1:
        return False
    if g.transposed or g.groups > 1 or g.stride[0] > 1 or g.dilation[0] > 1:
        return False
    # The kernels of all points are twice as large as the kernel.
    if w[:, :, 0].numel() * r[0, 0, 0].numel() < WORTHWHILE_TILES or w.numel() > LARGE * r.numel():
        return False
    frames, p = r.shape[2], g.padding[0]
    length = frames + 2 * p - time_tiles.TAPS + 1
    if length < 1:
        return False
    pairs = sum(0 <= i + tap - p < frames for i in range(length) for tap in range(time_tiles.TAPS))
    return 1.25 * time_tiles.products(length) <= pairs


# ------------------------------------------------------------------------------------------ few frames


def _few_frames(r: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether torch's own kernel would leave cores idle, because it divides the frames of one clip among them.

    Nor does it pay to lay out a kernel a second time, for more frames, that is far larger than what it is applied to.
    """
    if r.dim() != 5 or len(r) > 1 or r.device.type != "cpu" or g.transposed or g.groups > 1 or is_plain():
        return False
    of_flipped = _geometry_of_flipped(r, w, g)
    in_tiles = of_flipped is not None and _fits_tiles(r, w, of_flipped)
    return (r.shape[2] <= 5 or (w.shape[2] > 1 and w.numel() > LARGE * r.numel())) and not in_tiles


def _by_frames(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], begin: int) -> Tensor:
    """Adds out[o] w[k] to in[begin + s o + d k] over time; each product is a convolution over space of b t frames."""
    batch, inputs, frames, taps = len(r), w.shape[1], r.shape[2], w.shape[2]
    spatial = shape[3:]
    folded = r.transpose(1, 2).flatten(0, 1)  # (b t, c', h, w)
    in_space = Geometry(g.kernel[1:], g.stride[1:], g.padding[1:], g.dilation[1:], 1, False, g.output_padding[1:])

    def every_tap() -> Tensor:
        return w.transpose(1, 2).flatten(1, 2)  # (c', k c, h, w)

    of_flipped = _geometry_of_flipped(folded, w[:, :, 0], in_space)
    if of_flipped is None:
        kernel = buffers.derived("every tap", [w], every_tap)
        every = _fast_adjoint(folded, kernel, in_space, (batch * frames, taps * inputs, *spatial))
    else:
        kernel = buffers.derived(
            "every tap, flipped", [w], lambda: every_tap().transpose(0, 1).flip(2, 3).contiguous()
        )  # (k c, c', h, w)
        numbers = of_flipped.stride, of_flipped.padding, of_flipped.dilation
        every = torch.convolution(folded, kernel, None, *numbers, False, of_flipped.output_padding, 1)
    contributions = every.view(batch, frames, taps, inputs, *spatial)  # (b, t, k, c, h, w)
    out = buffers.empty(shape, r).zero_()
    in_frames = out.transpose(1, 2)  # (b, t, c, h, w)
    stride = g.stride[0]
    for k in range(taps):
        position = begin + g.dilation[0] * k  # the input frame that the first output frame sees through this tap
        first, last = max(0, -(position // stride)), min(frames, -((position - shape[2]) // stride))
        if first < last:
            from_first = position + stride * first
            in_frames[:, from_first : position + stride * last : stride] += contributions[:, first:last, k]
    return out


# ------------------------------------------------------------------------- stems: few channels and a stride


def _phases_fit_at_once(w: Tensor, g: Geometry) -> bool:
    """Whether all phases of the stride together have few enough channels to be computed at once."""
    count = math.prod(g.stride)
    return not g.transposed and g.groups == 1 and max(g.dilation) == 1 and count > 1 and w.shape[1] * count <= 32
