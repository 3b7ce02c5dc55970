"""Contributions that have the sign of their sum."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.contributions import agreeing, opposing
from lrp3d.rules.rule import Rule


@dataclass(frozen=True)
class SameSign(Rule):
    """Only contributions that have the sign of their sum: `a w` where `a w` and `sum a w` agree, without bias.

    It is z+ for positive outputs, and the same with reversed signs for negative ones: a negative output is explained by
    what made it negative. Where no output is negative (averages and sums after a ReLU) it is z+. Relevance is never
    amplified, and a denominator is zero only where nothing contributes. It is usually used for sums, averages and
    attention over signed values. Source: the limit gamma -> infinity of the generalised gamma rule
    (Letzgus et al. 2022, arXiv:2112.11407).

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.SameSign()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[0., 5.]])
    """

    elementwise = True
    by_sign = True
    absorbs = False
    contrasts = False

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """A share of the terms that are never negative, and one of those that are never positive."""
        return [Share(1.0, agreeing(x, w)), Share(1.0, opposing(x, w))]
