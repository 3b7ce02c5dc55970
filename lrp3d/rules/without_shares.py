"""Rules of operations that are not linear: activations, maxima, statistics, products of signals, and softmax."""

from __future__ import annotations

from dataclasses import dataclass

from lrp3d.rules.rule import Rule


@dataclass(frozen=True)
class Identity(Rule):
    """Relevance passes unchanged: batch norm and activations (paper App. F).

    >>> import torch, lrp3d
    >>> x = torch.tensor([[-1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(torch.nn.ReLU().eval(), lrp3d.Composite(layers={torch.nn.ReLU: lrp3d.rules.Identity()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[2., 5.]]))[0]
    tensor([[2., 5.]])
    """

    absorbs = False
    unchanged = True


@dataclass(frozen=True)
class WinnerTakesAll(Rule):
    """A window's maximum gets all relevance, ties get equal parts: the epsilon rule on a max pool (paper App. F).

    >>> import torch, lrp3d
    >>> pool = torch.nn.MaxPool1d(4).eval()
    >>> x = torch.tensor([[[1., 3., 3., 2.]]], requires_grad=True)
    >>> twin = lrp3d.convert(pool, lrp3d.Composite(layers={torch.nn.MaxPool1d: lrp3d.rules.WinnerTakesAll()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[[4.]]]))[0]
    tensor([[[0., 2., 2., 0.]]])
    """

    absorbs = False
    on_maxima = True


@dataclass(frozen=True)
class ByContribution(Rule):
    """A statistic over axes (a norm, a variance, a log-sum-exp) is shared by what each value contributed to it.

    These contributions are never negative: the squares of a Euclidean norm, the exponentials of a log-sum-exp. It is
    Eq. 1 of the paper for functions of sums. Where a statistic is only a divisor, it is constant to relevance.

    >>> import torch, lrp3d
    >>> class Length(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.norm(dim=1)
    >>> x = torch.tensor([[3., 4.]], requires_grad=True)
    >>> torch.autograd.grad(lrp3d.convert(Length().eval())(x), x, torch.tensor([25.]))[0]
    tensor([[ 9., 16.]])
    """

    absorbs = False
    on_statistics = True


@dataclass(frozen=True)
class InHalves(Rule):
    """A product of two signals, neither of which is the weight: each gets half (Achtibat et al. 2024, Prop. 3.2).

    >>> import torch, lrp3d
    >>> class Product(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x[:, :1] * x[:, 1:]
    >>> x = torch.tensor([[2., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(Product().eval(), lrp3d.Composite(products="halves"))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[6.]]))[0]
    tensor([[3., 3.]])
    """

    absorbs = False
    on_products = True


@dataclass(frozen=True)
class SoftmaxTaylor(Rule):
    """First-order expansion of a softmax: `R_i = x_i (R_i - s_i sum_j R_j)` (Achtibat et al. 2024, Prop. 3.1).

    Without this rule no relevance flows into a softmax, whose outputs are then constant weights. What the rule absorbs
    is booked.

    >>> import torch, lrp3d
    >>> class Half(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.softmax(1) * 0.5
    >>> x = torch.tensor([[1., 2.]], requires_grad=True)
    >>> composite = lrp3d.Composite(operations={torch.softmax: lrp3d.rules.SoftmaxTaylor()})
    >>> twin = lrp3d.convert(Half().eval(), composite)
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[0., 1.]]))[0]
    tensor([[-0.2689, 0.5379]])
    """

    on_softmax = True
