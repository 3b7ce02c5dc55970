"""z+: positive contributions only."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.contributions import agreeing
from lrp3d.rules.rule import Rule


@dataclass(frozen=True)
class ZPlus(Rule):
    """Positive contributions only, without bias: `a+ w+ + a- w-` (z+; paper Eq. 1 and Sec. 3.1, Montavon et al. 2017).

    For inputs after a ReLU this is `a w+`; signed inputs need both halves.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[3., -1.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.ZPlus()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[3., 2.]])
    """

    elementwise = True
    absorbs = False

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share of non-negative terms."""
        return [Share(1.0, agreeing(x, w))]
