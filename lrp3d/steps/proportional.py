"""Statistics over axes: relevance goes to every value in proportion to what it contributed to the statistic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lrp3d.steps.step import Step


class Proportional(Step):
    """A statistic over axes of one tensor (norm, variance, log-sum-exp), shared by non-negative contributions.

    The contributions are computed when relevance arrives, which it never does where the statistic only is a divisor.
    """

    def __init__(self, x: Tensor, axes: tuple[int, ...], contributions: Callable[[Tensor], Tensor]):
        self.x = x
        self.axes = axes
        self.contributions = contributions
        self._part: Tensor | None = None

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """In proportion; equally where nothing contributed."""
        if self._part is None:
            contributed = self.contributions(self.x)
            total = contributed.sum(self.axes, keepdim=True)
            count = 1
            for axis in self.axes:
                count *= self.x.shape[axis]
            empty = total <= torch.finfo(total.dtype).tiny
            self._part = torch.where(empty, 1 / count, contributed / torch.where(empty, 1.0, total))
        kept = [1 if axis - self.x.dim() in self.axes else size for axis, size in enumerate(self.x.shape)]
        return [r.reshape(len(r), *kept) * self._part]
