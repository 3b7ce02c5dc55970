"""Alpha-beta: positive and negative contributions, each with a share of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.contributions import agreeing, opposing
from lrp3d.rules.parameters import check_finite, check_numbers
from lrp3d.rules.rule import Rule


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """Shares `alpha` R by positive and `-beta` R by negative contributions, `alpha - beta = 1` (Bach et al. 2015).

    It is usually used for convolutions.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.AlphaBeta(2., 1.)}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[10., -5.]])
    """

    elementwise = True
    absorbs = False

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, "alpha", "beta")
        check_finite(self, "alpha", "beta")
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:
            raise ValueError(
                "alpha and beta of AlphaBeta must be such that alpha - beta = 1 and beta >= 0, else relevance is not "
                f"conserved, got alpha={self.alpha} and beta={self.beta}"
            )

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """A share of the positive terms and, unless beta is 0, one of the negative terms."""
        positive = Share(self.alpha, agreeing(x, w))
        negative = Share(-self.beta, opposing(x, w))
        return [positive, negative] if self.beta else [positive]
