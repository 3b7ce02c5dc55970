"""The base of all rules: what the engine knows about a rule."""

from __future__ import annotations

from torch import Tensor

from lrp3d.compute.terms import Share, Signed


class Rule:
    """Base of all rules; a rule for linear operations overrides `shares`.

    The attributes below are all that the engine knows about a rule, and a rule overrides those in which it differs. No
    other file distinguishes rules by their type.

    >>> import torch, lrp3d
    >>> from lrp3d.rules import Rule, Share, Term
    >>> class BySize(Rule):  # inputs count by their size and that of their weight, whatever the signs
    ...     absorbs = False
    ...     def shares(self, x, w, bias):
    ...         return [Share(1.0, [Term(x.value.abs(), w.value.abs())])]
    >>> layer, x = torch.nn.Linear(2, 1, bias=False).eval(), torch.tensor([[3., -1.]], requires_grad=True)
    >>> layer.weight.data = torch.tensor([[1., 2.]])
    >>> twin = lrp3d.convert(layer, lrp3d.Composite(layers={torch.nn.Linear: BySize()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[3., 2.]])
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
    on_statistics: bool = False
    """Whether the rule can be used for a statistic over axes, such as a norm."""
    on_products: bool = False
    """Whether the rule can be used for a product of two signals of which neither is the weight."""

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
