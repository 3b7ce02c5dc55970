"""The parts of a linear step's shares that are the same for all seeds: contributions over denominators.

A share hands relevance R of the outputs to the inputs as `coefficient * a * f^T(v, R / z)` (see `lrp3d.rules`).
Everything but R is the same for every seed; `prepared` computes it when the first seed arrives.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.bands import Band, whole_axis
from lrp3d.compute.maps import Broadcast, LinearMap
from lrp3d.compute.precision import widened
from lrp3d.compute.terms import Share, Signed, Term, Weight
from lrp3d.rules import Rule
from lrp3d.steps.lazy_relevance import LazyRelevance, times


@dataclass
class PreparedOperand:
    """One input of a linear step: the tensor, the same as rules see it, its linear map, and the weight of the map."""

    source: Tensor
    x: Signed
    map: LinearMap
    w: Signed

    @property
    def shape(self) -> torch.Size:
        """Shape of the input."""
        return self.source.shape

    def widened(self) -> PreparedOperand:
        """The same operand in a type in which shares can be computed; autocast may give input and weight two types."""
        types = [t.dtype for t in (self.source, self.w.value) if isinstance(t, Tensor)]
        if all(widened(dtype) == dtype for dtype in types):
            return self
        return PreparedOperand(self.source.to(widened(self.source.dtype)), self.x.widened(), self.map, self.w.widened())

    def emptied(self) -> PreparedOperand:
        """The same operand without its values: it keeps the shape, the map and the weight."""
        nothing = self.source.new_empty(()).expand(self.shape)
        return PreparedOperand(nothing, Signed(nothing), self.map, self.w)


class PreparedShares:
    """The shares that a step prepared last, for relevance of one type and with one factor."""

    def __init__(self) -> None:
        self.shares: Sequence[MappedShare | ElementwiseShare] = ()
        # Not held: it may be the output of this very node, and a node that holds its output is never freed.
        self._factor: weakref.ref[Tensor] | None = None
        self._type: torch.dtype | None = None

    def fit(self, relevance: LazyRelevance) -> bool:
        """Whether the shares were prepared for the type and the factor of this relevance."""
        # A factor that was freed is not the same as no factor.
        same = relevance.factor is None if self._factor is None else self._factor() is relevance.factor is not None
        return same and self._type == relevance.value.dtype

    def keep(self, shares: Sequence[MappedShare | ElementwiseShare], relevance: LazyRelevance) -> None:
        """Keeps shares that were prepared for the type and the factor of this relevance."""
        self.shares = [share.to(relevance.value.dtype) for share in shares]
        self._factor = None if relevance.factor is None else weakref.ref(relevance.factor)
        self._type = relevance.value.dtype

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
        return _elementwise(rule, operands, bias, factor)
    return mapped(rule, operands, bias, shape, factor)


def mapped(
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
        is_positive = positive + negative >= 0
        # An infinite denominator hands out nothing, so that this output belongs to the other share.
        totals = [positive.where(is_positive, torch.inf), negative.where(~is_positive, torch.inf)]
    return [_mapped(rule, operands, share, factor, z) for share, z in zip(shares, totals, strict=True)]


def _total(operands: Sequence[PreparedOperand], shares: tuple[Share, ...], shape: torch.Size) -> Tensor:
    """The denominators of a share."""
    totals = [o.map.total(share.terms) for o, share in zip(operands, shares, strict=True) if share.terms]
    # it can be that nothing contributes, as in an average over inputs that are all negative
    z = _sum(totals) if totals else operands[0].source.new_zeros(shape)  # (*output)
    return z if shares[0].bias is None else z + shares[0].bias


def _mapped(
    rule: Rule, operands: Sequence[PreparedOperand], shares: tuple[Share, ...], factor: Tensor | None, z: Tensor
) -> MappedShare:
    own = all(z.untyped_storage().data_ptr() != t.a.untyped_storage().data_ptr() for s in shares for t in s.terms)

    def count() -> Tensor:
        return _sum([o.map.count(cast(Tensor, o.x.ones), o.w.value) for o in operands])

    reciprocal, equal = _coefficients(z, rule.epsilon, shares[0].coefficient, factor, count, own)
    return MappedShare(reciprocal, equal, [share.terms for share in shares])


def _coefficients(
    z: Tensor,
    epsilon: float,
    coefficient: Tensor | float,
    factor: Tensor | None,
    count: Callable[[], Tensor],
    overwrite: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The factors by which relevance is multiplied before it is handed out.

    Args:
        z: the denominators.
        epsilon: is added to the denominators with their sign.
        coefficient: the coefficient of the share.
        factor: the factor with which relevance comes, None without one.
        count: returns how many inputs each output has.
        overwrite: whether `z` may be written to.

    Returns:
        `coefficient * factor / z`, zero where z is zero; and `coefficient * factor / count` where z is zero, else
        zero, because all inputs get the same there (None if z is zero nowhere).
    """
    if factor is not None and not epsilon and _same_on_a_cpu(factor, z):
        quotient, empty = _over_denominators(factor, z, overwrite)
    else:
        quotient, empty = _reciprocal(z, epsilon, overwrite)
        if factor is not None:
            quotient.mul_(factor)
            if empty is not None and z.device.type == "cpu":  # mostly, the factor is zero where the output is
                empty = empty & (factor != 0)
                empty = empty if bool(empty.any()) else None
    if not (isinstance(coefficient, float) and coefficient == 1.0):
        quotient.mul_(coefficient)
    if empty is None:
        return quotient, None
    equal = torch.where(empty, 1 / count().clamp(min=torch.finfo(z.dtype).tiny), 0.0).mul_(coefficient)
    return quotient, equal if factor is None else equal.mul_(factor)


def _same_on_a_cpu(factor: Tensor, z: Tensor) -> bool:
    """Whether both can be looked at without waiting, and go through memory side by side."""
    alike = factor.shape == z.shape and factor.is_contiguous() and z.is_contiguous()
    return alike and z.numel() > 0 and z.device.type == "cpu"


def _over_denominators(factor: Tensor, z: Tensor, overwrite: bool) -> tuple[Tensor, Tensor | None]:
    """Returns factor / z, zero where z counts as zero, and the mask of zeros with a factor (None if there are none).

    Where an output is zero its factor mostly is as well, so that no relevance arrives there and no mask is needed.
    Values stay in a core's cache, as all is computed block by block.
    """
    quotient, empty = z if overwrite else buffers.empty(z.shape, z), None
    blocks = zip(*(t.view(-1).split(BLOCK) for t in (factor, z, quotient)), strict=True)
    for i, (f, denominators, out) in enumerate(blocks):
        reciprocal = torch.reciprocal(denominators)
        torch.mul(reciprocal, f, out=out).nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)  # 0 / 0
        if all(abs(float(extreme)) < _limit(z) for extreme in torch.aminmax(out)):
            continue
        zeros = ~(reciprocal.abs() < _limit(z))
        out.masked_fill_(zeros, 0.0)
        empty = torch.zeros(z.shape, dtype=torch.bool) if empty is None else empty
        torch.logical_and(zeros, f != 0, out=empty.view(-1)[i * BLOCK : i * BLOCK + len(f)])
    return quotient, empty


def _limit(z: Tensor) -> float:
    """The 1 / z from which on R / z could overflow, so that z counts as zero."""
    return torch.finfo(z.dtype).eps / torch.finfo(z.dtype).tiny


def _reciprocal(z: Tensor, epsilon: float, overwrite: bool = False) -> tuple[Tensor, Tensor | None]:
    """Returns 1 / z, zero where z is zero, and the mask of these zeros (None if there are none).

    A z so small that R / z could overflow counts as zero: its relevance is shared equally, so that nothing leaks.
    """
    if epsilon:
        empty = z.abs() <= 1 / _limit(z)
        reciprocal = torch.reciprocal(z + torch.where(z < 0, -epsilon, epsilon))
        looked = z.device.type == "cpu"  # on a GPU, looking would make it wait
        if looked and not bool(empty.any()):
            return reciprocal, None
        return reciprocal.masked_fill_(empty, 0.0), empty
    reciprocal = torch.reciprocal(z, out=z if overwrite else buffers.empty(z.shape, z))
    if z.device.type == "cpu" and (not z.numel() or all(abs(float(r)) < _limit(z) for r in torch.aminmax(reciprocal))):
        return reciprocal, None
    empty = ~(reciprocal.abs() < _limit(z))
    return reciprocal.masked_fill_(empty, 0.0), empty


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

    def to(self, dtype: torch.dtype) -> MappedShare:
        """The same share in the type of the relevance."""
        if self.reciprocal.dtype == dtype:
            return self
        equal = None if self.equal is None else self.equal.to(dtype)
        terms = [[Term(a.to(dtype), v.to(dtype) if isinstance(v, Tensor) else v) for a, v in ts] for ts in self.terms]
        return MappedShare(self.reciprocal.to(dtype), equal, terms)

    def distribute(
        self, operands: Sequence[PreparedOperand], shape: torch.Size, lazy: LazyRelevance
    ) -> list[LazyRelevance]:
        """The relevance that this share hands to each operand."""
        value, band = lazy.value, lazy.band
        if band is not None and any(o.map.restrict(band, o.shape) is None for o in operands):
            value, band = band.widened(value, whole_axis(band.axis, shape[band.axis])), None
        scaled = _Scaled(value, self.reciprocal if band is None else band.of(self.reciprocal))
        equal = None if self.equal is None else times(value, self.equal if band is None else band.of(self.equal))
        return [
            self._to_operand(operand, terms, scaled, equal, band)
            for operand, terms in zip(operands, self.terms, strict=True)
        ]

    def _to_operand(
        self, operand: PreparedOperand, terms: list[Term], scaled: _Scaled, equal: Tensor | None, band: Band | None
    ) -> LazyRelevance:
        map, shape, below = operand.map, operand.shape, None
        if band is not None:
            map, below = cast(tuple[LinearMap, Band], map.restrict(band, shape))
            shape = below.shape(shape)
        raw = scaled.carried_by(map, [term.v for term in terms], shape)  # (s, *input) each
        contributions = [LazyRelevance(value, term.a, band=below) for value, term in zip(raw, terms, strict=True)]
        if equal is not None:
            w = operand.w.value.to(equal.dtype) if isinstance(operand.w.value, Tensor) else operand.w.value
            is_input = None if operand.x.is_input is None else operand.x.is_input.to(equal.dtype)
            contributions.append(LazyRelevance(map.spread(equal, w, shape), is_input, band=below))
        if not contributions:
            return LazyRelevance(scaled.value.new_zeros(len(scaled.value), *shape), band=below)
        return functools.reduce(lambda a, b: a.plus(b, operand.shape), contributions)


@dataclass
class ElementwiseShare:
    """A share of a sum of summands of one shape: each gets its part of the output, position by position."""

    factors: list[Tensor]
    """For each operand, the factor (*output) by which relevance is multiplied."""

    def to(self, dtype: torch.dtype) -> ElementwiseShare:
        """The same share in the type of the relevance."""
        return ElementwiseShare([factor.to(dtype) for factor in self.factors])

    def times(self, factor: Tensor | None) -> ElementwiseShare:
        """The same share for relevance that comes with a factor."""
        return self if factor is None else ElementwiseShare([times(own, factor) for own in self.factors])

    def distribute(
        self, operands: Sequence[PreparedOperand], shape: torch.Size, lazy: LazyRelevance
    ) -> list[LazyRelevance]:
        """Computes nothing yet: the relevance gets a factor that waits."""
        return [LazyRelevance(lazy.value, factor, band=lazy.band) for factor in self.factors]


# Number of elements per block of an elementwise computation; intermediate results then stay in a core's cache.
BLOCK = 2**17


def _elementwise(
    rule: Rule, operands: Sequence[PreparedOperand], bias: Tensor | None, factor: Tensor | None
) -> list[ElementwiseShare]:
    """The shares of a sum, computed block by block; rules see tensors and do not know which part they get."""
    tensors = [t for o in operands for t in (o.source, o.x.is_input)] + [bias, factor]
    shape = operands[0].shape
    # Blocks are stretches of memory, so all tensors must have the same layout in memory.
    blockwise = all(t is None or (t.shape == shape and t.is_contiguous()) for t in tensors)
    blockwise = blockwise and all(o.x.low is None for o in operands) and operands[0].source.device.type == "cpu"
    if not blockwise or shape.numel() <= BLOCK:
        factors = _factors(rule, [o.x for o in operands], [o.w for o in operands], bias, factor)
        return [ElementwiseShare(of_share) for of_share in factors]

    def pieces(t: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * -(-shape.numel() // BLOCK) if t is None else t.flatten().split(BLOCK)

    of_shares: list[list[Tensor]] = []
    inputs = zip(*(zip(pieces(o.source), pieces(o.x.is_input), strict=True) for o in operands), strict=True)
    for i, (xs, b, f) in enumerate(zip(inputs, pieces(bias), pieces(factor), strict=True)):
        signed = [
            Signed(cast(Tensor, x) if is_input is None else x * is_input, o.x.nonnegative, is_input=is_input)
            for o, (x, is_input) in zip(operands, xs, strict=True)
        ]
        block = _factors(rule, signed, [o.w for o in operands], b, f)
        of_shares = of_shares or [[buffers.empty(shape, part) for part in of_share] for of_share in block]
        for out, of_share in zip(of_shares, block, strict=True):
            for full_factor, part in zip(out, of_share, strict=True):
                full_factor.view(-1)[i * BLOCK : i * BLOCK + part.numel()] = part
    return [ElementwiseShare(of_share) for of_share in of_shares]


def _factors(
    rule: Rule, xs: Sequence[Signed], ws: Sequence[Signed], bias: Tensor | None, factor: Tensor | None
) -> list[list[Tensor]]:
    """For each share and summand: its contribution over the sum of all, times coefficient and `factor`."""
    per_operand = [rule.shares(x, w, bias if i == 0 else None) for i, (x, w) in enumerate(zip(xs, ws, strict=True))]
    nothing = torch.zeros_like(cast(Tensor, xs[0].value))

    def masks() -> list[Tensor]:
        return [nothing + 1 if x.is_input is None else x.is_input for x in xs]

    shares = []
    for of_operands in _of_one_sign(per_operand) if rule.by_sign else zip(*per_operand, strict=True):
        contributions = [_contribution(share.terms, nothing) for share in of_operands]
        z = _sum(contributions)
        if of_operands[0].bias is not None:
            z = z + of_operands[0].bias
        reciprocal, equal = _coefficients(z, rule.epsilon, of_operands[0].coefficient, factor, lambda: _sum(masks()))
        factors = [contribution * reciprocal for contribution in contributions]
        if equal is not None:
            factors = [f.addcmul_(equal, mask) for f, mask in zip(factors, masks(), strict=True)]
        shares.append(factors)
    return shares


def _of_one_sign(per_operand: Sequence[Sequence[Share]]) -> list[tuple[Share, ...]]:
    """One share per summand, of those of its terms that have the sign of the sum, position by position."""
    if not any(share.terms for _, share in per_operand):
        return [tuple(share for share, _ in per_operand)]
    terms = [term for operand_shares in per_operand for share in operand_shares for term in share.terms]
    total = _contribution(terms, torch.zeros(()))

    def agreeing(operand_shares: Sequence[Share]) -> Share:
        signs = zip(operand_shares, (total >= 0, total < 0), strict=True)
        return Share(1.0, [Term(a.where(outputs, 0.0), v) for share, outputs in signs for a, v in share.terms])

    return [tuple(map(agreeing, per_operand))]


def _contribution(terms: Sequence[Term], nothing: Tensor) -> Tensor:
    products = [a if isinstance(v, float) and v == 1.0 else a * v for a, v in terms]
    return _sum(products) if products else nothing


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    return sum(tensors[1:], tensors[0])
