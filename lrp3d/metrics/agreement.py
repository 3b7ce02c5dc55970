"""How similar two matrices, or two orders of frames, are."""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.values import in_widest_type

__all__ = ["cosine", "pearson", "ranks", "spearman"]


def ranks(values: Tensor) -> Tensor:
    """Ranks along the last axis, from 0, in float64; ties get their mean rank, NaN stays NaN.

    >>> ranks(torch.tensor([5.0, 1.0, 5.0]))
    tensor([1.5000, 0.0000, 1.5000], dtype=torch.float64)
    """
    below = (values.unsqueeze(-1) > values.unsqueeze(-2)).sum(-1)  # like values
    equal = (values.unsqueeze(-1) == values.unsqueeze(-2)).sum(-1)
    return (in_widest_type(below) + in_widest_type(equal - 1) / 2).masked_fill(values.isnan(), torch.nan)


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Correlation along the last axis, in [-1, 1]; NaN where one of the tensors is constant."""
    is_constant = (x == x[..., :1]).all(-1) | (y == y[..., :1]).all(-1)  # whose mean may differ by rounding
    x, y = in_widest_type(x), in_widest_type(y)
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    correlation = (x * y).sum(-1) / (x.square().sum(-1) * y.square().sum(-1)).sqrt()
    return correlation.masked_fill(is_constant, torch.nan)


def spearman(x: Tensor, y: Tensor) -> Tensor:
    """Rank correlation along the last axis, in [-1, 1]; NaN where one of the tensors is constant or has a NaN.

    >>> spearman(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.0, 5.0, 6.0]))
    tensor(1., dtype=torch.float64)
    """
    return pearson(ranks(x), ranks(y))


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine similarity (b,) of matrices (b, n, t), in [-1, 1]; NaN where one of them is zero.

    >>> matrices = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    >>> cosine(matrices, torch.ones(2, 1, 2))
    tensor([1.0000,    nan], dtype=torch.float64)
    """
    first, second = (in_widest_type(matrix).flatten(1) for matrix in (x, y))
    is_zero = ~(first.any(1) & second.any(1))
    # Each by its largest value, as torch takes lengths below 1e-8 for that.
    first, second = (matrix / matrix.abs().amax(1, keepdim=True) for matrix in (first, second))
    return torch.cosine_similarity(first, second, dim=1).masked_fill(is_zero, torch.nan)
