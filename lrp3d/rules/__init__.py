"""Relevance rules: the proportions in which a neuron distributes its relevance among its inputs.

A rule is mathematics on tensors and knows nothing of modules, seeds or videos. For an operation that is linear in
its input, `z = f(x, w) + b`, it says what counts as a contribution: one or more *shares*, each a sum of terms
`f(a, v)` with `a` made from the input and `v` from the weight. Relevance R of the outputs then goes to the inputs as

    R_in = sum over shares of  coefficient * sum over terms of  a * f^T(v, R / z),      z = sum of f(a, v) (+ b)

which is Eq. 1 of the paper for every choice of `a` and `v`; `lrp3d.steps.linear` evaluates it, for any number of
seeds. Epsilon and Gamma keep the bias in the denominator, and the ledger books what it absorbs; all other rules leave
the bias out and conserve.

The rules distribute relevance 5 at the output of a neuron with inputs 3 and 2, weights 1 and -2, and bias 6 as follows:

>>> import torch, lrp3d
>>> neuron, x = torch.nn.Linear(2, 1).eval(), torch.tensor([[3.0, 2.0]], requires_grad=True)
>>> neuron.weight.data, neuron.bias.data = torch.tensor([[1.0, -2.0]]), torch.tensor([6.0])
>>> for rule in (ZPlus(), Epsilon(), Gamma(1.0), AlphaBeta(2.0, 1.0), ZBeta(0.0, 3.0), WSquare(), Flat()):
...     twin = lrp3d.convert(neuron, lrp3d.Composite(layers={torch.nn.Linear: rule}))
...     print(rule, *torch.autograd.grad(twin(x), x, torch.tensor([[5.0]])))
ZPlus() tensor([[5., 0.]])
Epsilon(epsilon=1e-09) tensor([[ 3., -4.]])
Gamma(gamma=1.0, epsilon=0.0) tensor([[ 2.1429, -1.4286]])
AlphaBeta(alpha=2.0, beta=1.0) tensor([[10., -5.]])
ZBeta(low=0.0, high=3.0) tensor([[3., 2.]])
WSquare() tensor([[1., 4.]])
Flat() tensor([[2.5000, 2.5000]])
"""

from lrp3d.compute.terms import Share, Signed, Term, Weight
from lrp3d.rules.alpha_beta import AlphaBeta
from lrp3d.rules.contrast import Contrastive, Opposed, contrasted, one_sided, opposed
from lrp3d.rules.epsilon import Epsilon
from lrp3d.rules.gamma import Gamma
from lrp3d.rules.rule import Rule
from lrp3d.rules.same_sign import SameSign
from lrp3d.rules.whatever_the_input import Flat, WSquare
from lrp3d.rules.without_shares import ByContribution, Identity, InHalves, SoftmaxTaylor, WinnerTakesAll
from lrp3d.rules.z_beta import ZBeta
from lrp3d.rules.z_plus import ZPlus

__all__ = [
    "AlphaBeta",
    "ByContribution",
    "Contrastive",
    "Epsilon",
    "Flat",
    "Gamma",
    "Identity",
    "InHalves",
    "Opposed",
    "Rule",
    "SameSign",
    "Share",
    "Signed",
    "SoftmaxTaylor",
    "Term",
    "WSquare",
    "Weight",
    "WinnerTakesAll",
    "ZBeta",
    "ZPlus",
    "contrasted",
    "one_sided",
    "opposed",
]
