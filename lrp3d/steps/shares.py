"""The parts of a linear step's shares that are the same for all seeds: contributions over denominators.

A share hands relevance R of the outputs to the inputs as `coefficient * a * f^T(v, R / z)` (see `lrp3d.rules`).
Everything but R is the same for every seed; `prepared` computes it when the first seed arrives.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lrp3d.compute.bands import Band, whole_axis
from lrp3d.compute.maps import Broadcast, LinearMap
from lrp3d.compute.plain import is_plain
from lrp3d.compute.terms import Share, Term, Weight
from lrp3d.rules import Rule
from lrp3d.steps.coefficients import coefficients, sum_of
from lrp3d.steps.factor import Factor, times
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.operands import PreparedOperand, without_values
from lrp3d.steps.summands import ElementwiseShare, elementwise, hands_on


class PreparedShares:
    """The shares that a step prepared last, for relevance of one type and with one factor."""

    def __init__(self) -> None:
        self.shares: Sequence[MappedShare | ElementwiseShare] = ()
        self.always_handed_on_all: bool = True
        """Whether nothing could stay in the step by any of the shares that were prepared so far."""
        # Not held: it may be the output of this very node, and a node that holds its output is never freed.
        self._factor: weakref.ref[Factor] | None = None
        self._type: torch.dtype | None = None

    def fit(self, relevance: LazyRelevance) -> bool:
        """Whether the shares were prepared for the type and the factor of this relevance."""
        # A factor that was freed is not the same as no factor.
        if self._type != relevance.value.dtype:
            return False
        if self._factor is None or relevance.factor is None:
            return self._factor is None and relevance.factor is None
        factor = self._factor()
        return factor is not None and factor.equals(relevance.factor)

    def keep(self, shares: Sequence[MappedShare | ElementwiseShare], relevance: LazyRelevance) -> None:
        """Keeps shares that were prepared for the type and the factor of this relevance."""
        self.shares = [share.to(relevance.value.dtype) for share in shares]
        self.count(shares)
        self._factor = None if relevance.factor is None else weakref.ref(relevance.factor)
        self._type = relevance.value.dtype

    def count(self, shares: Sequence[MappedShare | ElementwiseShare]) -> None:
        """Counts shares among those that were prepared, wherever they are kept."""
        self.always_handed_on_all &= all(share.hands_on_all for share in shares)

    def release(self) -> None:
        """Releases the inputs of the step; what waits as a factor stays until it is released as well."""
        for share in self.shares:
            if isinstance(share, MappedShare):
                share.release()

    @property
    def elementwise(self) -> list[ElementwiseShare] | None:
        """The shares, if all of them are elementwise and so need no operand any more; else None."""
        shares = [share for share in self.shares if isinstance(share, ElementwiseShare)]
        return shares if len(shares) == len(self.shares) else None


def prepared(
    rule: Rule, operands: Sequence[PreparedOperand], bias: Tensor | None, shape: torch.Size, factor: Tensor | None
) -> Sequence[MappedShare | ElementwiseShare]:
    """The shares of a rule.

    Args:
        rule: says what contributes.
        operands: the inputs of the step.
        bias: the bias of the step, if there is one.
        shape: shape of the output.
        factor: the factor with which relevance comes, None without one.
    """
    if all(isinstance(operand.map, Broadcast) and operand.shape == shape for operand in operands):
        return elementwise(rule, operands, bias, factor)
    return mapped_shares(rule, operands, bias, shape, factor)


def mapped_shares(
    rule: Rule, operands: Sequence[PreparedOperand], bias: Tensor | None, shape: torch.Size, factor: Tensor | None
) -> Sequence[MappedShare]:
    """The same without joining contributions and denominators of sums, so that single inputs stay known."""
    per_operand = [rule.shares(o.x, o.w, bias if i == 0 else None) for i, o in enumerate(operands)]
    shares = list(zip(*per_operand, strict=True))
    if rule.by_sign and not any(share.terms for share in shares[1]):
        shares = shares[:1]
    totals = [_total(operands, share, shape) for share in shares]
    if rule.by_sign and len(shares) > 1:
        positive, negative = totals
        is_positive = torch.ge(positive + negative, 0, out=torch.empty_like(positive))  # one or zero
        # An infinite denominator hands out nothing, so that this output belongs to the other share. (What is added is
        # zero or infinite; `where` would branch at every value, which takes many times as long.)
        totals = [positive + (1 / is_positive - 1), negative + (1 / (1 - is_positive) - 1)]
    all_of_rule = [hands_on(rule, of_operand) for of_operand in per_operand]
    return [
        _mapped_share(rule, operands, share, factor, z, all(all_of_rule))
        for share, z in zip(shares, totals, strict=True)
    ]


def _total(operands: Sequence[PreparedOperand], shares: tuple[Share, ...], shape: torch.Size) -> Tensor:
    """The denominators of a share."""
    totals = [_total_of(o, share.terms) for o, share in zip(operands, shares, strict=True) if share.terms]
    # it can be that nothing contributes, as in an average over inputs that are all negative
    z = sum_of(totals) if totals else operands[0].source.new_zeros(shape)  # (*output)
    return z if shares[0].bias is None else z + shares[0].bias


def _total_of(operand: PreparedOperand, terms: list[Term]) -> Tensor:
    """The sum of an operand's terms; where it is what the model computes, terms may cancel, and it is rounded alike.

    What of it was rounded otherwise would be much of a denominator near zero.
    """
    if len(terms) == 1 and terms[0].a is operand.x.value and terms[0].v is operand.w.value:
        return operand.map.as_the_model(*terms[0])
    return operand.map.total(terms)


def _mapped_share(
    rule: Rule,
    operands: Sequence[PreparedOperand],
    shares: tuple[Share, ...],
    factor: Tensor | None,
    z: Tensor,
    handed_on: bool,
) -> MappedShare:
    own = all(z.untyped_storage().data_ptr() != t.a.untyped_storage().data_ptr() for s in shares for t in s.terms)

    counts: list[Tensor] = []

    def count() -> Tensor:
        counts.append(sum_of([o.map.count(cast(Tensor, o.x.ones), o.w.value) for o in operands]))
        return counts[0]

    reciprocal, equal = coefficients(z, rule.epsilon, shares[0].coefficient, factor, count, own)
    hands_on_all = handed_on and (equal is None or _has_inputs(counts[0]))
    return MappedShare(reciprocal, equal, [share.terms for share in shares], hands_on_all)


def _has_inputs(counts: Tensor) -> bool:
    """Whether no output sees padding and constants only, so that nobody gets what arrives there.

    A GPU would have to wait for the answer, so there it is no.
    """
    return counts.device.type == "cpu" and (counts.numel() == 0 or bool(counts.min() > 0))


@dataclass
class _Scaled:
    """Relevance (s, *output) times a factor (*output): multiplied once for all operands, if at all."""

    value: Tensor
    factor: Tensor

    @functools.cached_property
    def product(self) -> Tensor:
        """The product, (s, *output)."""
        return times(self.value, self.factor)

    def carried_by(self, map: LinearMap, weights: Sequence[Weight], shape: torch.Size) -> Sequence[Tensor]:
        """The product, carried back by a map with each of several weights to (s, *shape)."""
        if len(weights) == 1:
            carried = map.scaled_adjoint(self.value, self.factor, weights[0], shape)
            if carried is not None:
                return [carried]
        return map.adjoints(self.product, weights, shape) if weights else []


@dataclass
class MappedShare:
    """A share of a linear step, with what is the same for all seeds."""

    reciprocal: Tensor
    """(*output): coefficient * factor / z, zero where z is zero."""
    equal: Tensor | None
    """(*output): coefficient * factor / number of inputs where z is zero, else zero; None if z is zero nowhere."""
    terms: list[list[Term]]
    """The terms of each operand."""
    hands_on_all: bool = False
    """Whether all relevance goes to the operands."""

    def __post_init__(self) -> None:
        self.factors: list[list[Factor]] = [[Factor(term.a) for term in terms] for terms in self.terms]
        """What the relevance of each term is to be multiplied with."""

    def release(self) -> None:
        """Releases the inputs, of which the weights and shapes remain."""
        self.terms = [[Term(without_values(a), v) for a, v in terms] for terms in self.terms]

    def to(self, dtype: torch.dtype) -> MappedShare:
        """The same share in the type of the relevance."""
        if self.reciprocal.dtype == dtype:
            return self
        equal = None if self.equal is None else self.equal.to(dtype)
        terms = [[Term(a.to(dtype), v.to(dtype) if isinstance(v, Tensor) else v) for a, v in ts] for ts in self.terms]
        return MappedShare(self.reciprocal.to(dtype), equal, terms, self.hands_on_all)

    def distribute(
        self, operands: Sequence[PreparedOperand], shape: torch.Size, lazy: LazyRelevance
    ) -> list[LazyRelevance]:
        """The relevance that this share hands to each operand."""
        value, band = _in_a_band(operands, shape, lazy)
        scaled = self.scaled(value, band)
        raw = [
            scaled.carried_by(map, self.weights(i), below)
            for i, (map, below, _) in enumerate(_below(operand, band) for operand in operands)
        ]
        return self.handed_on(operands, raw, value, band)

    def weights(self, operand: int) -> list[Weight]:
        """The weights of the terms of an operand."""
        return [term.v for term in self.terms[operand]]

    def scaled(self, value: Tensor, band: Band | None) -> _Scaled:
        """Relevance (s, *output) in a band, to be multiplied with the coefficient over the denominators."""
        return _Scaled(value, self.reciprocal if band is None else band.of(self.reciprocal))

    def handed_on(
        self, operands: Sequence[PreparedOperand], raw: Sequence[Sequence[Tensor]], value: Tensor, band: Band | None
    ) -> list[LazyRelevance]:
        """What each operand gets: `raw` (s, *input) of each of its terms, and its part of what is shared equally."""
        equal = None if self.equal is None else times(value, self.equal if band is None else band.of(self.equal))
        parts = []
        for operand, of_terms, factors in zip(operands, raw, self.factors, strict=True):
            map, shape, below = _below(operand, band)
            contributions = [LazyRelevance(r, factor, band=below) for r, factor in zip(of_terms, factors, strict=True)]
            if equal is not None:
                contributions.append(_shared_equally(operand, map, equal, shape, below))
            if not contributions:
                contributions = [LazyRelevance(value.new_zeros(len(value), *shape), band=below)]
            parts.append(functools.reduce(lambda a, b: a.plus(b, operand.shape), contributions))
        return parts


def distribute(
    shares: Sequence[MappedShare | ElementwiseShare],
    operands: Sequence[PreparedOperand],
    shape: torch.Size,
    lazy: LazyRelevance,
) -> list[list[LazyRelevance]]:
    """The relevance that each share hands to each operand."""
    mapped = [share for share in shares if isinstance(share, MappedShare)]
    if len(mapped) < len(shares) or len(mapped) < 2 or not _gain_together(mapped, operands):
        return [share.distribute(operands, shape, lazy) for share in shares]
    value, band = _in_a_band(operands, shape, lazy)
    # As if the shares were further seeds: attention maps, far larger than what they are applied to, are read once.
    scaled = torch.cat([share.scaled(value, band).product for share in mapped])
    raw = []
    for i, (map, below, _) in enumerate(_below(operand, band) for operand in operands):
        of_terms = map.adjoints(scaled, mapped[0].weights(i), below)
        raw.append(list(zip(*(r.split(len(value)) for r in of_terms), strict=True)))
    of_shares = zip(*raw, strict=True)
    return [share.handed_on(operands, r, value, band) for share, r in zip(mapped, of_shares, strict=True)]


def _gain_together(shares: Sequence[MappedShare], operands: Sequence[PreparedOperand]) -> bool:
    """Whether all shares have the same weights, and maps that carry several seeds in far less time."""
    if is_plain() or not all(operand.map.gains_from_seeds for operand in operands):
        return False
    first = [shares[0].weights(i) for i in range(len(operands))]
    return all(first) and all(
        len(weights) == len(others) and all(v is other for v, other in zip(weights, others, strict=True))
        for share in shares[1:]
        for weights, others in ((of_first, share.weights(i)) for i, of_first in enumerate(first))
    )


def _in_a_band(
    operands: Sequence[PreparedOperand], shape: torch.Size, lazy: LazyRelevance
) -> tuple[Tensor, Band | None]:
    """The relevance and its band, or all of it and None where a band cannot pass a map."""
    value, band = lazy.value, lazy.band
    if band is not None and any(o.map.restrict(band, o.shape) is None for o in operands):
        return band.widened(value, whole_axis(band.axis, shape[band.axis])), None
    return value, band


def _below(operand: PreparedOperand, band: Band | None) -> tuple[LinearMap, torch.Size, Band | None]:
    """The map that carries relevance in a band, the shape of its result, and the band in which it lies."""
    if band is None:
        return operand.map, operand.shape, None
    map, below = cast(tuple[LinearMap, Band], operand.map.restrict(band, operand.shape))
    return map, below.shape(operand.shape), below


def _shared_equally(
    operand: PreparedOperand, map: LinearMap, equal: Tensor, shape: torch.Size, band: Band | None
) -> LazyRelevance:
    """What inputs get of outputs with a denominator of zero; constants among the inputs get nothing."""
    w = operand.w.value.to(equal.dtype) if isinstance(operand.w.value, Tensor) else operand.w.value
    spread = map.spread(equal, w, shape)
    if operand.x.is_input is None:
        return LazyRelevance(spread, band=band)
    is_input = operand.x.is_input.to(equal.dtype)
    return LazyRelevance(times(spread, is_input if band is None else band.of(is_input)), band=band)
