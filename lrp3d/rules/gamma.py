"""The gamma rule: all contributions, of which positive weights count more."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.contributions import term
from lrp3d.rules.parameters import check_finite, check_not_negative, check_numbers
from lrp3d.rules.rule import Rule


@dataclass(frozen=True)
class Gamma(Rule):
    """Contributions `a (w + gamma w+)`: positive weights count more, as does a positive bias (Montavon et al. 2019).

    It is usually used for convolutions.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.Gamma(1.)}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[-2.5000, 7.5000]])
    """

    elementwise = True
    contrasts = False
    gamma: float = 0.25
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, "gamma", "epsilon")
        check_finite(self, "gamma", "epsilon")
        check_not_negative(self, "gamma", "epsilon")

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share of signed terms; the part of the bias is absorbed."""
        favoured = w.value + self.gamma * w.positive
        if bias is not None:
            bias = bias + self.gamma * bias.clamp(min=0)
        return [Share(1.0, [term(x.value, favoured)], bias)]
