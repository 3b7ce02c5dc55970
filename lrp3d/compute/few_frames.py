"""The adjoint of a dense convolution of few frames: a convolution over space, of every frame with all taps over time.

Torch's own kernel divides the frames of one clip among the cores of a CPU, so that of few frames some stay idle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lrp3d.compute import buffers, time_tiles
from lrp3d.compute.flipped import geometry_of_flipped
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.plain import is_plain

MOST_FRAMES = 5  # with more, torch's own kernel keeps enough cores busy
Adjoint = Callable[[Tensor, Tensor, Geometry, Sequence[int]], Tensor]


def are_few(r: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether torch's own kernel would leave cores idle.

    Nor does it pay to lay out a kernel a second time, for more frames, that is far larger than what it is applied to.
    """
    if r.dim() != 5 or len(r) > 1 or r.device.type != "cpu" or g.transposed or g.groups > 1 or is_plain():
        return False
    of_flipped = geometry_of_flipped(r, w, g)
    in_tiles = of_flipped is not None and time_tiles.are_worth_it(r, w, of_flipped)
    return (r.shape[2] <= MOST_FRAMES or (w.shape[2] > 1 and buffers.is_far_larger(w, r))) and not in_tiles


def adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], begin: int, in_space: Adjoint) -> Tensor:
    """Adds out[o] w[k] to in[begin + s o + d k] over time.

    Args:
        r: what is carried back (b, c', t, h, w), here called out.
        w: the kernel (c', c, k, kh, kw).
        g: the geometry of the convolution.
        shape: that of the result, here called in (b, c, t, h, w).
        begin: the input frame that the first output frame sees through the first tap.
        in_space: the adjoint of a convolution over space whose flipped kernel is not faster.
    """
    frames, taps = r.shape[2], w.shape[2]
    contributions = _of_every_tap(r, w, g, shape, in_space)  # (b, t, k, c, h, w)
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


def _of_every_tap(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], in_space: Adjoint) -> Tensor:
    """What every frame of r hands down through every tap, (b, t, k, c, h, w)."""
    batch, inputs, frames, taps = len(r), w.shape[1], r.shape[2], w.shape[2]
    spatial = shape[3:]
    folded = r.transpose(1, 2).flatten(0, 1)  # (b t, c', h, w)
    geometry = Geometry(g.kernel[1:], g.stride[1:], g.padding[1:], g.dilation[1:], 1, False, g.output_padding[1:])

    def every_tap() -> Tensor:
        return w.transpose(1, 2).flatten(1, 2)  # (c', k c, h, w)

    of_flipped = geometry_of_flipped(folded, w[:, :, 0], geometry)
    if of_flipped is None:
        kernel = buffers.derived("every tap", [w], every_tap)
        every = in_space(folded, kernel, geometry, (batch * frames, taps * inputs, *spatial))
    else:
        kernel = buffers.derived(
            "every tap, flipped", [w], lambda: every_tap().transpose(0, 1).flip(2, 3).contiguous()
        )  # (k c, c', h, w)
        numbers = of_flipped.stride, of_flipped.padding, of_flipped.dilation
        every = torch.convolution(folded, kernel, None, *numbers, False, of_flipped.output_padding, 1)
    return every.view(batch, frames, taps, inputs, *spatial)
