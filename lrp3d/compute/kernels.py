"""Chooses the kernel of each convolution and of its adjoint; no other file does.

The plain path is torch's own convolution and input gradient. These are faster, and equal up to rounding:

- a kernel of one (1x1x1) is a matrix product (`pointwise`);
- a convolution along time only is a sum of shifted products, one for each tap; a depthwise one along one axis is a sum
  of shifted, scaled copies (`along_axis`);
- the adjoint of a convolution without stride is a convolution with the flipped kernel (`flipped`), and that of a
  strided one is such a convolution for each phase of the stride (`phases`);
- the adjoint of a strided convolution of few channels (a stem) is one dense convolution with one output channel for
  each input channel and phase of the stride (`phases` as well);
- the adjoint of a dense convolution of three frames and without stride takes several frames at once, with half of the
  products (`time_tiles`);
- the adjoint of a convolution of few frames is a convolution over space, of every frame with all taps over time
  (`few_frames`);
- several weights applied to the same relevance are one convolution with as many times the channels (`joins`).

Each of these files says for which convolutions its kernel is meant; which one is asked first stands here. `windows`
carries back a part of the outputs. `with plain(): ...` forces the plain path. `benchmarks/layers.py` measures the
difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.compute import along_axis, buffers, few_frames, flipped, matmul, phases, pointwise, time_tiles
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.plain import is_plain as is_plain
from lrp3d.compute.plain import plain as plain


def convolve(x: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The convolution of x (b, c, ...) with w in torch's layout, without bias."""
    if not is_plain() and x.numel():
        if pointwise.is_pointwise(w, g):
            return pointwise.convolve(x, w, g)
        axis = along_axis.depthwise_axis(x.shape[1], w, g)
        if axis is not None and (length := along_axis.length_of_output(x, g, axis)) > 0:
            return along_axis.depthwise_sum(x, w, axis, along_axis.shifts(g, axis), length)
        if along_axis.is_dense_in_time(x, w, g) and (length := along_axis.length_of_output(x, g, 0)) > 0:
            taps = buffers.derived("taps", [w], lambda: w.flatten(2).permute(2, 0, 1).contiguous())  # (k, c', c)
            return along_axis.dense_sum(x, taps, along_axis.shifts(g, 0), length)
    return torch.convolution(x, w, None, g.stride, g.padding, g.dilation, g.transposed, g.output_padding, g.groups)


def outruns_torch(x: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether `convolve` is worth it for a convolution of the model itself, of which it differs by rounding."""
    return matmul.may_replace(x, w) and (
        pointwise.is_pointwise(w, g) or along_axis.depthwise_axis(x.shape[1], w, g) is not None
    )


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
    return _input_gradient(r, w, g, shape) if is_plain() else fast_adjoint(r, w, g, shape)


def fast_adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """The adjoint by the kernel that is fastest for this convolution; `adjoint` also knows the plain path."""
    if pointwise.is_pointwise(w, g):
        return pointwise.adjoint(r, w, g, shape)
    axis = along_axis.depthwise_axis(shape[1], w, g)
    if axis is not None:
        return along_axis.depthwise_adjoint(r, w, g, shape, axis)
    if along_axis.is_dense_in_time(r, w, g):
        return along_axis.dense_adjoint(r, w, g, shape)
    if phases.fit_at_once(w, g):
        return phases.at_once(r, w, g, shape, _convolve_relevance)
    if few_frames.are_few(r, w, g):
        return few_frames.adjoint(r, w, g, shape, -g.padding[0], fast_adjoint)
    if flipped.has_enough_channels(r, w, g) and max(g.stride) > 1 and max(g.dilation) == 1:
        return phases.one_by_one(r, w, g, shape, _convolve_relevance)
    of_flipped = flipped.geometry_of_flipped(r, w, g)
    if of_flipped is not None:
        return _by_flipped(r, w, of_flipped)
    return _input_gradient(r, w, g, shape)


def _by_flipped(r: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The convolution of r with the flipped kernel, which moves over r as `g` says."""
    if not time_tiles.are_worth_it(r, w, g):
        return flipped.convolve(r, w, g)
    kernels = buffers.derived(
        "tiles, flipped", [w], lambda: time_tiles.kernels_at_points(flipped.flipped_kernel(w, g.groups))
    )
    return time_tiles.convolve(r, kernels, g)


def _convolve_relevance(r: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The same as `convolve`, for relevance: denominators are not to be computed in tiles."""
    if not time_tiles.are_worth_it(r, w, g):
        return convolve(r, w, g)
    return time_tiles.convolve(r, buffers.derived("tiles", [w], lambda: time_tiles.kernels_at_points(w)), g)


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
    if pointwise.is_pointwise(w, g) and max(g.stride) == 1:
        return pointwise.scaled_adjoint(r, scale, w)
    axis = along_axis.depthwise_axis(shape[1], w, g)
    return None if axis is None else along_axis.depthwise_adjoint(r, w, g, shape, axis, scale)


def joins(g: Geometry) -> bool:
    """Whether several weights can be laid side by side along the input channels."""
    return not is_plain() and not g.transposed and g.groups == 1


def joint_convolve(xs: Sequence[Tensor], ws: Sequence[Tensor], g: Geometry) -> Tensor:
    """The sum of the convolutions of each x with its w."""
    return convolve(torch.cat(list(xs), 1), torch.cat(list(ws), 1), g)
