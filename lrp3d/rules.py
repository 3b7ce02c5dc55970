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

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from lrp3d.compute.terms import Share, Signed, Term, Weight
from lrp3d.values import as_tensor


def _term(a: Weight | None, v: Weight | None) -> Term:
    assert isinstance(a, Tensor)
    assert v is not None
    return Term(a, v)


def _check_numbers(rule: Rule, *names: str) -> None:
    """Raises TypeError unless parameters of a rule are numbers; a tensor of one value becomes that number."""
    for name in names:
        value = getattr(rule, name)
        if isinstance(value, Tensor) and value.numel() == 1:
            object.__setattr__(rule, name, float(value))
        elif not isinstance(value, numbers.Real):
            raise TypeError(f"{name} of {type(rule).__name__} must be a number, got {value!r}")


def _check_finite(rule: Rule, *names: str) -> None:
    """Raises ValueError unless parameters of a rule, numbers or tensors, are finite."""
    for name in names:
        value = getattr(rule, name)
        if not (bool(value.isfinite().all()) if isinstance(value, Tensor) else math.isfinite(value)):
            raise ValueError(f"{name} of {type(rule).__name__} must be finite, got {value}")


def _check_not_negative(rule: Rule, *names: str) -> None:
    """Raises ValueError if numbers that are parameters of a rule are negative."""
    for name in names:
        if (value := getattr(rule, name)) < 0:
            raise ValueError(f"{name} of {type(rule).__name__} must be at least 0, got {value}")


def _agreeing(x: Signed, w: Signed) -> list[Term]:
    """Products that are never negative: `a+ v+ + a- v-`."""
    both = [] if x.nonnegative or w.nonnegative else [_term(x.negative, w.negative)]
    return [_term(x.positive, w.positive), *both]


def _opposing(x: Signed, w: Signed) -> list[Term]:
    """Products that are never positive: `a+ v- + a- v+`."""
    terms = [] if w.nonnegative else [_term(x.positive, w.negative)]
    return terms if x.nonnegative else [*terms, _term(x.negative, w.positive)]


class Rule:
    """Base of all rules; a rule for linear operations overrides `shares`.

    The attributes below are all that the engine knows about a rule, and a rule overrides those in which it differs. No
    other file distinguishes rules by their type.
    """

    epsilon: float = 0.0
    """Added to the denominator with its sign; what it absorbs is booked in the ledger."""
    by_sign: bool = False
    """Whether the first of two shares is for outputs that are positive or zero, the second for negative ones."""
    absorbs: bool = True
    """Whether the denominator may contain more than contributions (a bias, epsilon), which absorbs relevance.

    False promises that all relevance is handed on. A single input that has the shape of the output (a constant is added
    to it) then gets the relevance unchanged, and nothing is computed.
    """
    elementwise: bool = False
    """Whether shares of a sum need no more than the values at each place, whichever axes there are.

    A large sum is then shared block by block, in flattened pieces. Whoever overrides `shares` says it anew.
    """
    proportional: bool = False
    """Whether every input gets exactly its part `a w` of the output, so that the relevance of a mean is the mean of
    relevances."""
    unchanged: bool = False
    """Whether relevance is handed on as it is, without shares, as activations and norms need it."""
    contrasts: bool = True
    """Whether what speaks for an output gets the relevance, so that the rule under -w gives it to what speaks against.

    Under -w, signed contributions and their sum both change their sign, so that the shares stay the same, but for the
    bias, or nearly the same where positive weights count a little more (gamma): the difference carries no information.
    """
    on_maxima: bool = False
    """Whether the rule can be used for a maximum, where it is winner-takes-all."""
    on_softmax: bool = False
    """Whether the rule can be used for a softmax."""

    @property
    def on_linear(self) -> bool:
        """Whether the rule can be used for linear operations, that is, whether it has shares."""
        return type(self).shares is not Rule.shares

    def __init_subclass__(cls) -> None:
        if "shares" in vars(cls) and "elementwise" not in vars(cls):
            cls.elementwise = False

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """The shares of input `x` under weight `w`; raises TypeError if the rule is not for linear operations."""
        raise TypeError(f"{self} is not a rule for linear operations (convolution, linear, average, sum)")


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
        return [Share(1.0, _agreeing(x, w))]


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
        return [Share(1.0, _agreeing(x, w)), Share(1.0, _opposing(x, w))]


@dataclass(frozen=True)
class ZBeta(Rule):
    """For the layer that sees the clip: `a w - low w+ - high w-` (z-beta; paper Sec. 3.1, Montavon et al. 2017).

    `low` and `high` are the valid range of an input: numbers, or tensors that broadcast with it, such as (c, 1, 1, 1)
    for one value per channel. An end that is not given is that of the range tracked from the clip.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.ZBeta(0., 4.)}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[1.6667, 3.3333]])
    """

    absorbs = False

    low: float | Tensor | None = None
    high: float | Tensor | None = None

    @property
    def elementwise(self) -> bool:  # type: ignore[override]  # follows from the ends, cannot be set
        """Whether the ends are numbers: tensors have axes of their own."""
        return not isinstance(self.low, Tensor) and not isinstance(self.high, Tensor)

    def __eq__(self, other: object) -> bool:
        return self._ends == other._ends if isinstance(other, ZBeta) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._ends)

    @property
    def _ends(self) -> tuple[Any, ...]:
        """The range as plain numbers, which can be compared."""
        ends = (self.low, self.high)
        return tuple((tuple(x.shape), *x.flatten().tolist()) if isinstance(x, Tensor) else x for x in ends)

    def __post_init__(self) -> None:
        ends = [end for end in ("low", "high") if getattr(self, end) is not None]
        for end in ends:
            if not isinstance(value := getattr(self, end), (numbers.Real, Tensor)):
                raise TypeError(f"{end} of ZBeta must be a number or a tensor, got {value!r}")
        _check_finite(self, *ends)
        if self.low is None or self.high is None:
            return
        if bool(as_tensor(self.low > self.high).any()):
            raise ValueError(f"low of ZBeta must be at most high, got low={self.low} and high={self.high}")

    def _check_axes(self, x: Tensor | float) -> None:
        """Refuses one number per channel in a shape that torch would lay along the width of a clip or an image."""
        for end in (self.low, self.high):
            if isinstance(x, Tensor) and x.dim() > 3 and isinstance(end, Tensor) and end.dim() == 1 and len(end) > 1:
                raise ValueError(
                    f"low and high of ZBeta must broadcast with the input {tuple(x.shape)}, got shape "
                    f"{tuple(end.shape)}; for one value per channel shape them as {(len(end), *[1] * (x.dim() - 2))}"
                )

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share, written as `(a - low) w+ + (a - high) w-`: non-negative inside the range."""
        low = x.low if self.low is None else self.low
        high = x.high if self.high is None else self.high
        if low is None or high is None:
            raise ValueError(
                "ZBeta needs the range of valid inputs, and this layer does not see the clip: "
                "give it as ZBeta(low, high), or use another rule here"
            )
        self._check_axes(x.value)
        above, below = x.value - low, x.value - high
        if x.is_input is not None:  # constants are no pixels: they contribute nothing
            above, below = above * x.is_input, below * x.is_input
        terms = [] if w.nonnegative else [_term(below, w.negative)]
        return [Share(1.0, [_term(above, w.positive), *terms])]


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
        _check_numbers(self, "epsilon")
        _check_finite(self, "epsilon")
        _check_not_negative(self, "epsilon")

    @property
    def proportional(self) -> bool:  # type: ignore[override]  # follows from the rule, cannot be set
        """Whether shares are proportional to contributions; epsilon changes that."""
        return not self.epsilon

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share of signed terms; the parts of the bias and of epsilon are absorbed."""
        return [Share(1.0, [_term(x.value, w.value)], bias)]


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
        _check_numbers(self, "gamma", "epsilon")
        _check_finite(self, "gamma", "epsilon")
        _check_not_negative(self, "gamma", "epsilon")

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share of signed terms; the part of the bias is absorbed."""
        favoured = w.value + self.gamma * w.positive
        if bias is not None:
            bias = bias + self.gamma * bias.clamp(min=0)
        return [Share(1.0, [_term(x.value, favoured)], bias)]


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
        _check_numbers(self, "alpha", "beta")
        _check_finite(self, "alpha", "beta")
        if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:
            raise ValueError(
                "alpha and beta of AlphaBeta must be such that alpha - beta = 1 and beta >= 0, else relevance is not "
                f"conserved, got alpha={self.alpha} and beta={self.beta}"
            )

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """A share of the positive terms and, unless beta is 0, one of the negative terms."""
        positive = Share(self.alpha, _agreeing(x, w))
        negative = Share(-self.beta, _opposing(x, w))
        return [positive, negative] if self.beta else [positive]


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
        return [Share(1.0, [_term(x.ones, w.squared)])]


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
        return [Share(1.0, [_term(x.ones, w.ones)])]


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


@dataclass(frozen=True)
class Contrastive(Rule):
    """`rule` under `w` minus `rule` under `-w`: what speaks for a class minus what speaks against it (paper Eq. 2).

    R and Rbar differ only in the classifier's row k, and below the classifier LRP is linear in the relevance that
    comes in, so applying this to the classifier alone gives R - Rbar at the clip, exactly, in one signed pass. Their
    positive part is taken per input value, at the clip.
    """

    rule: Rule = field(default_factory=ZPlus)
    instead_of: Rule | None = field(default=None, repr=False, compare=False)
    """The rule that the composite has for the layer, where `rule` stands for it because it has no contrast."""

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):
            raise TypeError(f"rule of Contrastive must be a rule, such as lrp3d.rules.ZPlus(), got {self.rule!r}")
        if self.rule.by_sign or self.rule.unchanged:
            raise ValueError(
                f"{self.rule} shares in the same way under w and -w, so nothing is left of their difference: "
                "give the classifier another rule (classifier=ZPlus()), or pass contrastive=False"
            )

    @property
    def epsilon(self) -> float:  # type: ignore[override]  # follows from the rule, cannot be set
        """The epsilon of the rule that is contrasted."""
        return self.rule.epsilon

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """The rule's shares and, subtracted, those under negated weights."""
        against = self.rule.shares(x, -w, bias)
        return self.rule.shares(x, w, bias) + [share._replace(coefficient=-share.coefficient) for share in against]


@dataclass(frozen=True)
class Opposed(Rule):
    """`rule` under `-w`, for a logit that is the negative of the classifier's output, such as a negative lone logit.

    Source: Eq. 2 of the paper, whose second class has the negated row.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> rule = lrp3d.rules.Opposed(lrp3d.rules.ZPlus())
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: rule}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[0., 5.]])
    """

    rule: Rule = field(default_factory=ZPlus)
    sign: Tensor | None = field(default=None, repr=False, compare=False)
    """For every output: -1 where the class of its clip is the opposed one, else 1; None if all are opposed."""

    def __post_init__(self) -> None:
        if self.rule.by_sign:
            raise ValueError(
                f"{self.rule} cannot explain what speaks against the classifier's output, as it has to where that "
                "enters the logit with a negative sign: give the classifier another rule"
            )

    @property
    def epsilon(self) -> float:  # type: ignore[override]  # follows from the rule, cannot be set
        """The epsilon of the rule that is wrapped."""
        return self.rule.epsilon

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """The rule's shares under negated weights; under the weights themselves for other clips."""
        against = self.rule.shares(x, -w, None if bias is None else -bias)
        if self.sign is None:
            return against
        own, turned = (self.sign > 0).to(self.sign), (self.sign < 0).to(self.sign)
        shares = [(share, own) for share in self.rule.shares(x, w, bias)] + [(share, turned) for share in against]
        return [share._replace(coefficient=share.coefficient * where) for share, where in shares]


def opposed(rule: Rule, sign: Tensor | None) -> Rule:
    """The rule, opposed for outputs with a negative `sign` (None: all); itself if it is opposed already."""
    return rule if isinstance(rule, Opposed) else Opposed(rule, sign)


def contrasted(rule: Rule) -> Contrastive:
    """The rule with its contrast; itself if it has one already."""
    return rule if isinstance(rule, Contrastive) else Contrastive(rule)


def one_sided(rule: Rule) -> Rule:
    """The rule without its contrast: R of Eq. 2 alone."""
    if isinstance(rule, Opposed):
        return replace(rule, rule=one_sided(rule.rule))
    return one_sided(rule.rule) if isinstance(rule, Contrastive) else rule
