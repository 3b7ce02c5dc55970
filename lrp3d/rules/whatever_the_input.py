"""Rules that do not see the values of the input."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.contributions import term
from lrp3d.rules.rule import Rule


@dataclass(frozen=True)
class WSquare(Rule):
    """Shares by the squared weights, whatever the input is (w-square rule; Montavon et al. 2017).

    It is usually used for the first layer.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.WSquare()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[1., 4.]])
    """

    elementwise = True
    absorbs = False
    contrasts = False

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share that does not see the input's values."""
        return [Share(1.0, [term(x.ones, w.squared)])]


@dataclass(frozen=True)
class Flat(Rule):
    """Shares equally among all inputs of a neuron (flat rule; Lapuschkin et al. 2019).

    It is usually used for the first layer.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.Flat()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[2.5000, 2.5000]])
    """

    elementwise = True
    absorbs = False
    contrasts = False

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share that sees neither inputs nor weights."""
        return [Share(1.0, [term(x.ones, w.ones)])]
