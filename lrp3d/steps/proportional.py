"""Statistics over axes: relevance goes to every value in proportion to what it contributed to the statistic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lrp3d.steps.step import Step


class Proportional(Step):
    """A statistic over axes of one tensor (norm, variance, log-sum-exp) that shares by non-negative contributions.

    The contributions are computed when relevance arrives, which never happens where the statistic is only a divisor.
    """

    def __init__(self, x: Tensor, axes: tuple[int, ...], contributions: Callable[[Tensor], Tensor]):
        self.x = x
        self.axes = axes
        self.contributions = contributions
        self._part: Tensor | None = None

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Shares in proportion to the contributions, and equally where all of them are zero."""
        if self._part is None:
            contributed = self.contributions(self.x)
            total = contributed.sum(self.axes, keepdim=True)  # (*input), with size one at the axes
            count = 1
            for axis in self.axes:
                count *= self.x.shape[axis]
            empty = total <= torch.finfo(total.dtype).tiny
            self._part = torch.where(empty, 1 / count, contributed / torch.where(empty, 1.0, total))
        kept = [1 if axis - self.x.dim() in self.axes else size for axis, size in enumerate(self.x.shape)]
        return [r.reshape(len(r), *kept) * self._part]
