"""Statistics over axes: relevance goes to every value in proportion to what it contributed to the statistic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lrp3d.rules import ByContribution, Rule
from lrp3d.steps.over_axes import OverAxes


class Proportional(OverAxes):
    """A statistic over axes of one tensor (norm, variance, log-sum-exp) that shares by non-negative contributions.

    The contributions are computed when relevance arrives, which never happens where the statistic is only a divisor.
    Constants beside the signal (`is_input` is 0) contribute nothing. `function` computes the statistic, (*output).
    """

    def __init__(
        self,
        x: Tensor,
        axes: tuple[int, ...],
        function: Callable[[Tensor], Tensor],
        contributions: Callable[[Tensor], Tensor],
        is_input: Tensor | None = None,
    ):
        self.x = x
        self.function = function
        self.axes = axes
        self.contributions = contributions
        self.is_input = is_input
        self._part: Tensor | None = None

    @property
    def is_booked(self) -> bool:
        """It is not: contributions are parts of one."""
        return False

    @property
    def default_rule(self) -> Rule:
        """By contribution, which is the only rule that it has."""
        return ByContribution()

    def accepts(self, rule: Rule) -> bool:
        """Accepts no rule that would change it."""
        return rule.on_statistics or rule.unchanged

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Shares in proportion to the contributions, and equally where all of them are zero."""
        if self._part is None:
            inputs = torch.ones_like(self.x) if self.is_input is None else self.is_input
            contributed = self.contributions(self.x) * inputs  # (*input)
            total = contributed.sum(self.axes, keepdim=True)  # (*input), with size one at the axes
            equal = inputs / inputs.sum(self.axes, keepdim=True).clamp(min=1)  # (*input)
            empty = total <= torch.finfo(total.dtype).tiny
            self._part = torch.where(empty, equal, contributed / torch.where(empty, 1.0, total))
        return [r.reshape(len(r), *self._kept) * self._part]

    @property
    def _kept(self) -> list[int]:
        """The shape of the output with its axes of size one."""
        return [1 if axis - self.x.dim() in self.axes else size for axis, size in enumerate(self.x.shape)]

    def slopes(self, r: Tensor) -> Tensor:
        """The derivative: a norm falls as a negative value rises, a deviation as a value below the mean does."""
        with torch.enable_grad():
            x = self.x.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(self.function(x), x, r)
        return slopes

    def spread(self, r: Tensor) -> Tensor:
        """Hands `r` (*output) to every value, whatever it contributed."""
        return r.reshape(self._kept).expand(self.x.shape)
