"""Relevance through a softmax, for composites that have a rule for it.

Without such a rule a softmax is constant to relevance, and its outputs are weights: `lrp3d.operations.attention`
decides which of the two it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.rules import Rule, SoftmaxTaylor
from lrp3d.steps.step import Step


class SoftmaxStep(Step):
    """`s = softmax(x)` over an axis, expanded to first order: `R_i = x_i (R_i - s_i sum_j R_j)`.

    Source: Achtibat et al. 2024, arXiv:2402.05602, Prop. 3.1, Eq. 13. What the constant term of the expansion gets is
    absorbed and booked.
    """

    def __init__(self, x: Tensor, output: Tensor, dim: int):
        self.x = x
        self.output = output
        self.dim: int = dim if dim < 0 else dim - x.dim()

    @property
    def default_rule(self) -> Rule:
        """The expansion: this step exists only where the composite gives it to a softmax."""
        return SoftmaxTaylor()

    def accepts(self, rule: Rule) -> bool:
        """Accepts rules that expand the softmax, and no others."""
        return rule.on_softmax

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Applies Eq. 13; inputs that are masked out (minus infinity) get nothing."""
        x = torch.where(torch.isinf(self.x), 0.0, self.x)
        return [x * (r - self.output * r.sum(self.dim, keepdim=True))]
