"""What frames contribute to logits, by relevance or by differences between logits."""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.values import in_widest_type

__all__ = ["frame_scores", "without_rounding"]

DOUBLE, SINGLE, ROUNDINGS = 1e-12, 1e-6, 8
"""Shares of the greatest logit up to which differences are rounding, in double and single precision; of less precise
types, so many units of the last place."""


def without_rounding(differences: Tensor, logits: Tensor) -> Tensor:
    """Differences between logits, with zeros where they are no more than rounding.

    Args:
        differences: (b, ...) of real numbers.
        logits: (b, k) the logits; differences below a share of the greatest of them are rounding: 1e-12 of double
            precision, 1e-6 of single, and 8 units of the last place of less.

    >>> without_rounding(torch.tensor([[0.5, 1e-6]]), torch.tensor([[9.0, -2.0]]))
    tensor([[0.5000, 0.0000]])
    """
    share = DOUBLE if logits.dtype == torch.float64 else max(SINGLE, ROUNDINGS * torch.finfo(logits.dtype).eps)
    least = (share * in_widest_type(logits).abs().amax(1)).to(differences.device)
    return differences.masked_fill(differences.abs() <= least.view(-1, *[1] * (differences.dim() - 1)), 0)


def frame_scores(matrix: Tensor) -> Tensor:
    """One score per frame (b, t): the sum of its column, which is what the frame contributed to the clip's logit."""
    return in_widest_type(matrix).sum(1)
