"""Chooses how two matrices are multiplied; no other file does.

The plain path is torch's own product. On one core of a CPU, a small matrix times a wide one goes block by block
(`wide_products`); where torch's own products leave half of a processor idle, those that are large are `onednn`'s.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.compute import buffers, onednn, wide_products
from lrp3d.compute.plain import is_plain

WORTHWHILE_FORWARD = 2**24  # multiplications


def may_replace(x: Tensor, w: Tensor) -> bool:
    """Whether a product or a convolution of the model itself may be computed in another way, up to rounding.

    Small ones are left to torch, so that they stay what they are bit by bit.
    """
    ours = x.device.type == "cpu" and x.dtype == w.dtype and not is_plain() and not torch.is_autocast_enabled("cpu")
    return ours and x.numel() * w.shape[0] >= WORTHWHILE_FORWARD


def product(a: Tensor, b: Tensor) -> Tensor:
    """The product (o, n) of a (o, i) and b (i, n)."""
    if len(a) * b.shape[1] <= onednn.LARGEST and onednn.suits(a, b):
        return onednn.product(a, b)
    out = buffers.empty((len(a), b.shape[1]), a)
    multiply(a, b, out)
    return out


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Writes the product of a (o, i) and b (i, n) to `out` (o, n)."""
    if onednn.suits(a, b):
        onednn.multiply(a, b, out)
    elif not is_plain() and wide_products.is_wide(a, b):
        wide_products.multiply(a, b, out)
    else:
        torch.mm(a, b, out=out)


def scales_on_the_way(a: Tensor, b: Tensor) -> bool:
    """Whether b (i, n) is multiplied with its factors in the blocks in which it is multiplied with a (o, i)."""
    return not is_plain() and wide_products.is_wide(a, b) and not onednn.suits(a, b)


def add_columns(a: Tensor, b: Tensor, columns: slice, out: Tensor) -> None:
    """Adds some columns (o, m) of the product of a (o, i) and b (i, n) to `out` (o, m)."""
    some = b[:, columns]
    # oneDNN computes all columns, so that it pays only where most of them are wanted.
    if onednn.suits(a, b) and 3 * some.shape[1] >= 2 * b.shape[1]:
        out.add_(product(a, b)[:, columns])
    else:
        out.addmm_(a, some)


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `F.linear` computes of x (..., i), w (o, i) and a bias (o,)."""
    if x.dim() > 1 and w.dim() > 1 and onednn.suits(x, w.T):
        return onednn.linear(x, w, bias)
    return F.linear(x, w, bias)


def linear_as_the_model(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same, rounded as in the forward of the model."""
    return linear(x, w, bias) if may_replace(x, w) else F.linear(x, w, bias)


def batched(a: Tensor, b: Tensor) -> Tensor:
    """The products (..., o, n) of a (..., o, i) and b (..., i, n)."""
    # With several cores, torch's own gives each of them whole matrices, which divides the work better.
    alike = a.dim() > 2 and a.shape[:-2] == b.shape[:-2] and a.numel() > 0
    if not alike or torch.get_num_threads() > 1:
        return a @ b
    left, right = a.flatten(0, -3), b.flatten(0, -3)
    if not onednn.suits(left[0], right[0]):
        return a @ b
    out = buffers.empty((*a.shape[:-1], b.shape[-1]), a)
    for one, other, result in zip(left, right, out.flatten(0, -3), strict=True):
        onednn.multiply(one, other, result)
    return out
