"""The epsilon rule: all contributions, with the bias."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.contributions import term
from lrp3d.rules.parameters import check_finite, check_not_negative, check_numbers
from lrp3d.rules.rule import Rule


@dataclass(frozen=True)
class Epsilon(Rule):
    """All contributions `a w`, with the bias and `epsilon` in the denominator (epsilon rule; Bach et al. 2015).

    It is usually used for linear layers and, as the paper does, for pools.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.Epsilon()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[-1., 6.]])
    """

    elementwise = True
    contrasts = False
    on_maxima = True
    epsilon: float = 1e-9

    def __post_init__(self) -> None:
        check_numbers(self, "epsilon")
        check_finite(self, "epsilon")
        check_not_negative(self, "epsilon")

    @property
    def proportional(self) -> bool:  # type: ignore[override]  # follows from the rule, cannot be set
        """Whether shares are proportional to contributions; epsilon changes that."""
        return not self.epsilon

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share of signed terms; the parts of the bias and of epsilon are absorbed."""
        return [Share(1.0, [term(x.value, w.value)], bias)]
