"""The adjoint of a convolution without stride, as a convolution with the flipped kernel.

Torch's input gradient is the same up to rounding; on a CPU, its convolution is the faster of the two.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.geometry import Geometry

LEAST_CHANNELS = 8  # of the input; a convolution that computes fewer, of many, is far slower than an input gradient


def has_enough_channels(r: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether convolutions are faster than torch's input gradient."""
    if r.device.type != "cpu" or g.transposed:
        return False
    return w.shape[1] >= LEAST_CHANNELS if g.groups == 1 else w.shape[:2] == (g.groups, 1)


def geometry_of_flipped(r: Tensor, w: Tensor, g: Geometry) -> Geometry | None:
    """How the flipped kernel moves over r; None where that is not the adjoint, or not worth it."""
    padding = tuple(d * (k - 1) - p for d, k, p in zip(g.dilation, g.kernel, g.padding, strict=True))
    fits = has_enough_channels(r, w, g) and max(g.stride) == 1 and min(padding) >= 0
    return replace(g, padding=padding) if fits else None


def flipped_kernel(w: Tensor, groups: int) -> Tensor:
    """The flipped kernel (c, c', ...), or (c, 1, ...) of a depthwise one, of w in torch's layout."""
    return (w.transpose(0, 1) if groups == 1 else w).flip(*range(2, w.dim()))


def convolve(r: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """Computes in[i] = sum over taps k of out[i + p - d k] w[k]; `g` is how the flipped kernel moves over out."""
    kernel = buffers.derived("flipped", [w], lambda: flipped_kernel(w, g.groups).contiguous())
    return torch.convolution(r, kernel, None, g.stride, g.padding, g.dilation, False, g.output_padding, g.groups)
