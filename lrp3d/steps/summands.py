"""Shares of a sum of summands of one shape, position by position: nothing is computed for a seed, a factor waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.buffers import BLOCK
from lrp3d.compute.plain import is_plain
from lrp3d.compute.terms import Share, Signed, Term
from lrp3d.rules import Rule
from lrp3d.steps.coefficients import coefficients, over_denominators, sum_of
from lrp3d.steps.factor import Factor, times
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.operands import PreparedOperand


@dataclass
class ElementwiseShare:
    """A share of a sum of summands of one shape: each gets its part of the output, position by position."""

    factors: list[Factor]
    """For each summand, the factor (*output) by which relevance is multiplied."""
    hands_on_all: bool = False
    """Whether all relevance goes to the summands: their factors add up to the factor with which relevance came."""

    def to(self, dtype: torch.dtype) -> ElementwiseShare:
        """The same share in the type of the relevance."""
        return ElementwiseShare([factor.to(dtype) for factor in self.factors], self.hands_on_all)

    def of_shape(self, shape: torch.Size) -> ElementwiseShare:
        """The same share with factors of another shape, that are still to be written."""
        factors = [Factor(buffers.empty(shape, factor.activation)) for factor in self.factors]
        return ElementwiseShare(factors, self.hands_on_all)

    def times(self, factor: Tensor | None) -> ElementwiseShare:
        """The same share for relevance that comes with a factor."""
        if factor is None:
            return self
        return ElementwiseShare([Factor(times(own.whole(), factor)) for own in self.factors], self.hands_on_all)

    def distribute(
        self, operands: Sequence[PreparedOperand], shape: torch.Size, lazy: LazyRelevance
    ) -> list[LazyRelevance]:
        """Computes nothing yet: the relevance gets a factor that waits."""
        parts = [LazyRelevance(lazy.value, factor, band=lazy.band) for factor in self.factors]
        if not self.hands_on_all or len(parts) < 2 or is_plain():
            return parts
        # One total follows from the others: that of a shortcut, as what goes into a block is added up below, where
        # tensors are smaller.
        shortcuts = [i for i, factor in enumerate(self.factors) if factor.scale is not None and not factor.positive]
        last = shortcuts[-1] if shortcuts else len(parts) - 1
        others = [part for i, part in enumerate(parts) if i != last]
        for part in others:
            part.is_awaited = True

        def rest() -> Tensor:
            return lazy.total() - sum_of([part.total() for part in others])

        parts[last] = LazyRelevance(lazy.value, self.factors[last], rest, lazy.band)
        return parts


def hands_on(rule: Rule, shares: Sequence[Share]) -> bool:
    """Whether a rule promises, and its shares keep, that outputs to which something contributes hand on everything."""
    whole = all(isinstance(share.coefficient, float) and share.coefficient == 1.0 for share in shares)
    once = len(shares) == 1 or rule.by_sign
    return once and whole and not rule.absorbs and not rule.epsilon and all(share.bias is None for share in shares)


def elementwise(
    rule: Rule, operands: Sequence[PreparedOperand], bias: Tensor | None, factor: Tensor | None
) -> list[ElementwiseShare]:
    """The shares of a sum; rules see tensors and do not know which part of the whole they get.

    On a CPU they are computed block by block.
    """
    tensors = [t for o in operands for t in (o.source, o.x.is_input)] + [bias, factor]
    shape = operands[0].shape
    # Blocks are stretches of memory, so all tensors must have the same layout in memory.
    blockwise = rule.elementwise and all(t is None or (t.shape == shape and t.is_contiguous()) for t in tensors)
    blockwise = blockwise and all(o.x.low is None for o in operands) and operands[0].source.device.type == "cpu"
    if blockwise and factor is not None and bias is None and any(o.x.nonnegative for o in operands):
        scale = _common_scale(rule, operands, factor)
        if scale is not None:
            factors = [Factor(o.source, scale, positive=not o.x.nonnegative) for o in operands]
            return [ElementwiseShare(factors, hands_on_all=True)]
    if not blockwise or shape.numel() <= BLOCK:
        return _shares(rule, [o.x for o in operands], [o.w for o in operands], bias, factor)

    def pieces(t: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * -(-shape.numel() // BLOCK) if t is None else t.flatten().split(BLOCK)

    whole: list[ElementwiseShare] = []
    inputs = zip(*(zip(pieces(o.source), pieces(o.x.is_input), strict=True) for o in operands), strict=True)
    for i, (xs, b, f) in enumerate(zip(inputs, pieces(bias), pieces(factor), strict=True)):
        signed = [
            Signed(cast(Tensor, x) if is_input is None else x * is_input, o.x.nonnegative, is_input=is_input)
            for o, (x, is_input) in zip(operands, xs, strict=True)
        ]
        blocks = _shares(rule, signed, [o.w for o in operands], b, f)
        whole = whole or [block.of_shape(shape) for block in blocks]
        for share, block in zip(whole, blocks, strict=True):
            for factor_of_all, part in zip(share.factors, block.factors, strict=True):
                factor_of_all.activation.view(-1)[i * BLOCK :][: part.activation.numel()] = part.activation
    return whole


def _common_scale(rule: Rule, operands: Sequence[PreparedOperand], factor: Tensor) -> Tensor | None:
    """The factor over the denominators, if all that arrives goes to the positive parts of the summands; else None.

    This is so after a ReLU, where a sum that is negative or zero gets nothing. Every summand then has the same scale.
    """
    are_inputs = all(o.x.is_input is None and o.source.dtype == factor.dtype for o in operands)
    if not are_inputs or rule.epsilon or not factor.numel():
        return None
    scale = buffers.empty(factor.shape, factor)
    blocks = zip(*(t.flatten().split(BLOCK) for t in (factor, scale, *(o.source for o in operands))), strict=True)
    for f, out, *xs in blocks:
        signed = [Signed(x, o.x.nonnegative) for o, x in zip(operands, xs, strict=True)]
        shares = [rule.shares(x, o.w, None) for o, x in zip(operands, signed, strict=True)]
        if not all(_is_positive_part(*pair, by_sign=rule.by_sign) for pair in zip(signed, shares, strict=True)):
            return None
        z = sum_of([of_operand[0].terms[0].a for of_operand in shares])
        negative = [term.a for of_operand in shares for share in of_operand[1:] for term in share.terms]
        if negative and bool(((sum_of([z, *negative]) < 0) & (f != 0)).any()):
            return None
        quotient, empty = over_denominators(f, z, overwrite=True)
        if empty is not None:  # relevance at a zero is shared equally
            return None
        out.copy_(quotient)
    return scale


def _is_positive_part(x: Signed, shares: Sequence[Share], by_sign: bool) -> bool:
    """Whether positive outputs are shared in proportion to the positive part of `x`, and nothing else is shared."""
    first, *others = shares
    if len(first.terms) != 1 or first.bias is not None or bool(others) != by_sign:
        return False
    (a, v), coefficient = first.terms[0], first.coefficient
    return a is x.positive and isinstance(v, float) and isinstance(coefficient, float) and v == coefficient == 1.0


def _shares(
    rule: Rule, xs: Sequence[Signed], ws: Sequence[Signed], bias: Tensor | None, factor: Tensor | None
) -> list[ElementwiseShare]:
    """For each share and summand: its contribution over the sum of all, times coefficient and `factor`."""
    per_operand = [rule.shares(x, w, bias if i == 0 else None) for i, (x, w) in enumerate(zip(xs, ws, strict=True))]
    nothing = torch.zeros_like(cast(Tensor, xs[0].value))
    # Where nothing contributes to an output and its summands are constants, its relevance stays.
    hands_on_all = all(hands_on(rule, s) for s in per_operand) and all(x.is_input is None for x in xs)

    def masks() -> list[Tensor]:
        return [nothing + 1 if x.is_input is None else x.is_input for x in xs]

    shares: list[ElementwiseShare] = []
    for of_operands in _of_one_sign(per_operand) if rule.by_sign else zip(*per_operand, strict=True):
        contributions = [_contribution(share.terms, nothing) for share in of_operands]
        z = sum_of(contributions)
        if of_operands[0].bias is not None:
            z = z + of_operands[0].bias
        reciprocal, equal = coefficients(z, rule.epsilon, of_operands[0].coefficient, factor, lambda: sum_of(masks()))
        factors = [contribution * reciprocal for contribution in contributions]
        if equal is not None:
            factors = [f.addcmul_(equal, mask) for f, mask in zip(factors, masks(), strict=True)]
        shares.append(ElementwiseShare([Factor(f) for f in factors], hands_on_all))
    return shares


def _of_one_sign(per_operand: Sequence[Sequence[Share]]) -> list[tuple[Share, ...]]:
    """One share per summand, of those of its terms that have the sign of the sum, position by position."""
    if not any(share.terms for _, share in per_operand):
        return [tuple(share for share, _ in per_operand)]
    terms = [term for operand_shares in per_operand for share in operand_shares for term in share.terms]
    total = _contribution(terms, torch.zeros((), device="cpu"))

    def agreeing(operand_shares: Sequence[Share]) -> Share:
        signs = zip(operand_shares, (total >= 0, total < 0), strict=True)
        return Share(1.0, [Term(a.where(outputs, 0.0), v) for share, outputs in signs for a, v in share.terms])

    return [tuple(map(agreeing, per_operand))]


def _contribution(terms: Sequence[Term], nothing: Tensor) -> Tensor:
    products = [a if isinstance(v, float) and v == 1.0 else a * v for a, v in terms]
    return sum_of(products) if products else nothing
