"""Convolutions whose kernel is one (1x1x1): at every position the same product of matrices over the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute import buffers, matmul, onednn, wide_products
from lrp3d.compute.geometry import Geometry

WORTHWHILE_ALONE = 2**20  # multiplications of one seed; with fewer, those of all seeds are one product


def is_pointwise(w: Tensor, g: Geometry) -> bool:
    """Whether a convolution with w in torch's layout is such a product."""
    return not g.transposed and g.groups == 1 and w[0, 0].numel() == 1 and not any(g.padding)


def convolve(x: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The convolution (b, c', ...) of x (b, c, ...) with w (c', c, 1, ...), without bias."""
    seen = x if max(g.stride) == 1 else x[_every(g.stride)].contiguous()
    return _product(seen, w.flatten(1))


def adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """The adjoint of r (b, c', ...), of `shape` (b, c, ...): zero wherever the stride passes by."""
    carried = _product(r, _transposed(w))
    if max(g.stride) == 1:
        return carried
    out = buffers.empty(shape, carried).zero_()
    out[_every(g.stride)] = carried
    return out


def scaled_adjoint(r: Tensor, scale: Tensor, w: Tensor) -> Tensor | None:
    """The adjoint of r (s b, c', ...) * scale (b, c', ...) without stride; None where to multiply first is as fast."""
    matrix, flat = w.flatten(1).T, r.flatten(2)  # (c, c'), (s b, c', t h w)
    if not _fills_cores(matrix, flat) or not matmul.scales_on_the_way(matrix, flat[0]) or not scale.is_contiguous():
        return None
    out = buffers.empty((len(r), len(matrix), flat.shape[2]), r)
    for i, (sample, product) in enumerate(zip(flat, out, strict=True)):
        wide_products.multiply(matrix, sample, product, scale[i % len(scale)].flatten(1))
    return torch.unflatten(out, 2, r.shape[2:])


def _product(x: Tensor, w: Tensor) -> Tensor:
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


def _every(stride: tuple[int, ...]) -> tuple[Any, ...]:
    """The index that takes every `stride`-th position of the last axes."""
    return (..., *(slice(None, None, s) for s in stride))
