"""What speaks for a class minus what speaks against it: rules made of another rule."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.rule import Rule
from lrp3d.rules.z_plus import ZPlus


@dataclass(frozen=True)
class Contrastive(Rule):
    """`rule` under `w` minus `rule` under `-w`: what speaks for a class minus what speaks against it (paper Eq. 2).

    R and Rbar differ only in the classifier's row k, and below the classifier LRP is linear in the relevance that
    comes in, so applying this to the classifier alone gives R - Rbar at the clip, exactly, in one signed pass. Their
    positive part is taken per input value, at the clip.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(3, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., 3., -2.]])
    >>> x = torch.tensor([[1., 1., 1.]], requires_grad=True)
    >>> rule = lrp3d.rules.Contrastive(lrp3d.rules.ZPlus())
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: rule}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[4.]]))[0]  # (1, 3, 0) minus (0, 0, 4)
    tensor([[ 1.,  3., -4.]])
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
    """The rule, opposed for outputs with a negative `sign` (None: all); itself if it is opposed already.

    >>> opposed(ZPlus(), None)
    Opposed(rule=ZPlus())
    """
    return rule if isinstance(rule, Opposed) else Opposed(rule, sign)


def contrasted(rule: Rule) -> Contrastive:
    """The rule with its contrast; itself if it has one already.

    >>> contrasted(contrasted(ZPlus()))
    Contrastive(rule=ZPlus())
    """
    return rule if isinstance(rule, Contrastive) else Contrastive(rule)


def one_sided(rule: Rule) -> Rule:
    """The rule without its contrast: R of Eq. 2 alone.

    >>> one_sided(Opposed(Contrastive(ZPlus())))
    Opposed(rule=ZPlus())
    """
    if isinstance(rule, Opposed):
        return replace(rule, rule=one_sided(rule.rule))
    return one_sided(rule.rule) if isinstance(rule, Contrastive) else rule
