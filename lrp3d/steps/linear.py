"""Linear steps: convolutions, fully connected layers, averages and sums, shared by a rule.

What is the same for all seeds, above all the denominators, is computed at the first seed and kept.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.bands import Band, all_of
from lrp3d.compute.maps import Broadcast, LinearMap
from lrp3d.compute.precision import widened
from lrp3d.compute.terms import Share, Signed, Term
from lrp3d.rules import Rule
from lrp3d.steps.lazy_relevance import LazyRelevance, times
from lrp3d.steps.step import Step


@dataclass
class Operand:
    """One input of a linear step: the tensor, as rules see it, the map it goes through, and the weight there."""

    source: Tensor
    x: Signed
    map: LinearMap
    w: Signed

    @property
    def shape(self) -> torch.Size:
        """Of the input."""
        return self.source.shape

    def widened(self) -> Operand:
        """The same in a type that shares can be computed in."""
        if widened(self.source.dtype) == self.source.dtype:
            return self
        return Operand(self.source.to(widened(self.source.dtype)), self.x.widened(), self.map, self.w.widened())

    def emptied(self) -> Operand:
        """The same without its values: shape, map and weight."""
        nothing = self.source.new_empty(1).expand(self.shape)
        return Operand(nothing, Signed(nothing), self.map, self.w)


class LinearStep(Step):
    """An operation linear in its inputs (convolution, fully connected, average, sum), shared by the rule.

    `z = sum of map(x, w) over the operands + bias`. The denominators are computed at the first seed and kept.
    """

    def __init__(self, operands: list[Operand], bias: Tensor | None = None, weighted: bool = False):
        self.operands: list[Operand] = operands
        self.bias = bias
        self.weighted = weighted
        self._parts: Sequence[_Part | _Elementwise] | None = None
        self._shares: Sequence[_Elementwise] | None = None
        # Not held: it may be the output of this very node, and a node that holds its output is never freed.
        self._factor: weakref.ref[Tensor] | None = None
        self._type: torch.dtype | None = None
        self._unchanged = False

    @property
    def weighed_by_signal(self) -> bool:
        """Whether another signal is the weight: attention probabilities, a kernel that the clip makes."""
        return not self.weighted and any(isinstance(operand.w.value, Tensor) for operand in self.operands)

    def accepts(self, rule: Rule) -> bool:
        """Every rule that shares, and one that hands on unchanged where nothing changes its shape."""
        if rule.unchanged:
            return len(self.operands) == 1 and self.operands[0].shape == self.shape
        return rule.on_linear

    def assign_rule(self, rule: Rule) -> None:
        """Takes the rule; where it will pass relevance on unchanged, the activations are let go."""
        super().assign_rule(rule)
        alone = len(self.operands) == 1 and isinstance(self.operands[0].map, Broadcast)
        self._unchanged = rule.unchanged or (alone and self.operands[0].shape == self.shape and not rule.absorbs)
        if self._unchanged:
            self.operands, self.bias = [], None

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Eq. 1, for every share of the rule."""
        if self._unchanged:
            return [r]
        return [c.tensor(o.shape) for c, o in zip(self.propagate(LazyRelevance(r)), self.operands, strict=True)]

    def propagate(self, carried: LazyRelevance) -> Sequence[LazyRelevance]:
        """Eq. 1, with the last multiplication left to who comes next."""
        if self._unchanged:
            return [carried]
        factor, dtype = carried.factor, carried.value.dtype
        # A factor that is gone is not the same as none.
        same = factor is None if self._factor is None else factor is not None and self._factor() is factor
        if self._parts is None or not same or self._type != dtype:
            assert self.rule is not None
            self.operands = [o.widened() for o in self.operands]
            self._parts = [part.to(dtype) for part in self._prepare(self.rule, factor)]
            self._factor, self._type = None if factor is None else weakref.ref(factor), dtype
            if factor is None and len(self.operands) > 1 and dtype == self.operands[0].source.dtype:
                self._release_inputs(self._parts)
        out: list[LazyRelevance | None] = [None] * len(self.operands)
        for part in self._parts:
            handed = part.distribute(self, carried)
            out = [
                new if old is None else old.plus(new, operand.shape)
                for old, new, operand in zip(out, handed, self.operands, strict=True)
            ]
        whole = cast(list[LazyRelevance], out)
        return [c if o.map.keeps_bands else c.narrowed(carried) for c, o in zip(whole, self.operands, strict=True)]

    def _prepare(self, rule: Rule, factor: Tensor | None) -> Sequence[_Part | _Elementwise]:
        """Everything about the shares that is the same for all seeds, with the `factor` that relevance comes with."""
        if self._shares is not None:
            return [share.times(factor) for share in self._shares]
        if all(isinstance(o.map, Broadcast) and o.shape == self.shape for o in self.operands):
            return _elementwise(rule, self.operands, self.bias, factor)
        per_operand = [rule.shares(o.x, o.w, self.bias if i == 0 else None) for i, o in enumerate(self.operands)]
        shares = list(zip(*per_operand, strict=True))
        if not rule.by_sign:
            return [self._part(rule, share, factor, self._total(share)) for share in shares]
        if not any(share.terms for share in shares[1]):
            return [self._part(rule, shares[0], factor, self._total(shares[0]))]
        positive, negative = map(self._total, shares)
        is_positive = positive + negative >= 0
        # An infinite denominator hands out nothing: that output is the other share's.
        totals = positive.where(is_positive, torch.inf), negative.where(~is_positive, torch.inf)
        return [self._part(rule, share, factor, z) for share, z in zip(shares, totals, strict=True)]

    def _release_inputs(self, parts: Sequence[_Part | _Elementwise]) -> None:
        """Of the summands, once it is known what each contributed: nothing else is asked of them."""
        shares = [part for part in parts if isinstance(part, _Elementwise)]
        if len(shares) == len(parts):
            self._shares = shares
            self.operands = [o.emptied() for o in self.operands]
            self.bias = None

    @property
    def like(self) -> Tensor:
        """A tensor of the output's shape, without memory."""
        return self.operands[0].source.new_empty(1).expand(self.shape)

    def _total(self, shares: tuple[Share, ...]) -> Tensor:
        """The denominators of a share."""
        totals = [o.map.total(share.terms) for o, share in zip(self.operands, shares, strict=True) if share.terms]
        # nothing at all may contribute: an average over inputs that are only negative
        z = sum(totals[1:], totals[0]) if totals else torch.zeros_like(self.like)
        return z if shares[0].bias is None else z + shares[0].bias

    def _part(self, rule: Rule, shares: tuple[Share, ...], factor: Tensor | None, z: Tensor) -> _Part:
        own = all(z.untyped_storage().data_ptr() != t.a.untyped_storage().data_ptr() for s in shares for t in s.terms)
        reciprocal, empty = _reciprocal(z, rule.epsilon, own)
        if empty is not None and factor is not None and z.device.type == "cpu":
            # Where an output is zero, the factor mostly is: nothing ever arrives there.
            empty = empty & (factor != 0)
            empty = empty if bool(empty.any()) else None
        equal = None
        if empty is not None:
            equal = torch.where(empty, 1 / self._count().clamp(min=torch.finfo(z.dtype).tiny), 0.0)
        for more in (shares[0].coefficient, factor):
            if more is not None and not (isinstance(more, float) and more == 1.0):
                reciprocal.mul_(more)
                equal = None if equal is None else equal.mul_(more)
        return _Part(reciprocal, equal, [share.terms for share in shares])

    def _count(self) -> Tensor:
        """How many real inputs each output has."""
        counts = [o.map.count(cast(Tensor, o.x.ones), o.w.value) for o in self.operands]
        return sum(counts[1:], counts[0])


def _reciprocal(z: Tensor, epsilon: float, overwrite: bool = False) -> tuple[Tensor, Tensor | None]:
    """1 / z, zero where z is zero, and where that is (None if nowhere).

    What is so small that R / z could overflow is as good as zero: it is shared equally, so that nothing leaks.
    """
    least = torch.finfo(z.dtype).tiny / torch.finfo(z.dtype).eps
    if epsilon:
        empty = z.abs() <= least
        reciprocal = torch.reciprocal(z + torch.where(z < 0, -epsilon, epsilon))
        looked = z.device.type == "cpu"  # on a GPU, looking would make it wait
        if looked and not bool(empty.any()):
            return reciprocal, None
        return reciprocal.masked_fill_(empty, 0.0), empty
    reciprocal = torch.reciprocal(z, out=z if overwrite else buffers.empty(z.shape, z))
    if z.device.type == "cpu" and (not z.numel() or all(abs(float(r)) < 1 / least for r in torch.aminmax(reciprocal))):
        return reciprocal, None
    empty = ~(reciprocal.abs() < 1 / least)
    return reciprocal.masked_fill_(empty, 0.0), empty


@dataclass
class _Part:
    """A share of a linear step, with what is the same for all seeds."""

    reciprocal: Tensor
    """coefficient / z, zero where z is."""
    equal: Tensor | None
    """coefficient / number of inputs where z is zero, else zero."""
    terms: list[list[Term]]
    """Per operand."""

    def to(self, dtype: torch.dtype) -> _Part:
        """In the type that relevance is carried in."""
        if self.reciprocal.dtype == dtype:
            return self
        equal = None if self.equal is None else self.equal.to(dtype)
        terms = [[Term(a.to(dtype), v.to(dtype) if isinstance(v, Tensor) else v) for a, v in ts] for ts in self.terms]
        return _Part(self.reciprocal.to(dtype), equal, terms)

    def distribute(self, step: LinearStep, carried: LazyRelevance) -> list[LazyRelevance]:
        """What this share hands to every operand."""
        value, band = carried.value, carried.band
        if band is not None and any(o.map.within(band, o.shape) is None for o in step.operands):
            value, band = band.widened(value, all_of(band.axis, step.shape[band.axis])), None
        ratio = times(value, self.reciprocal if band is None else band.of(self.reciprocal))
        equal = None if self.equal is None else times(value, self.equal if band is None else band.of(self.equal))
        return [
            self._to_operand(operand, terms, ratio, equal, band)
            for operand, terms in zip(step.operands, self.terms, strict=True)
        ]

    def _to_operand(
        self, operand: Operand, terms: list[Term], ratio: Tensor, equal: Tensor | None, band: Band | None
    ) -> LazyRelevance:
        map, shape, there = operand.map, operand.shape, None
        if band is not None:
            map, there = cast(tuple[LinearMap, Band], map.within(band, shape))
            shape = there.shape(shape)
        raw = map.adjoints(ratio, [term.v for term in terms], shape) if terms else []
        handed = [LazyRelevance(value, term.a, band=there) for value, term in zip(raw, terms, strict=True)]
        if equal is not None:
            w = operand.w.value.to(equal.dtype) if isinstance(operand.w.value, Tensor) else operand.w.value
            real = None if operand.x.real is None else operand.x.real.to(equal.dtype)
            handed.append(LazyRelevance(map.spread(equal, w, shape), real, band=there))
        if not handed:
            return LazyRelevance(ratio.new_zeros(len(ratio), *shape), band=there)
        return functools.reduce(lambda a, b: a.plus(b, operand.shape), handed)


@dataclass
class _Elementwise:
    """A share of a sum of summands of one shape: each gets its part of the output, position by position."""

    factors: list[Tensor]
    """Per operand, what relevance is multiplied by."""

    def to(self, dtype: torch.dtype) -> _Elementwise:
        """In the type that relevance is carried in."""
        return _Elementwise([factor.to(dtype) for factor in self.factors])

    def times(self, factor: Tensor | None) -> _Elementwise:
        """For relevance that comes with a factor."""
        return self if factor is None else _Elementwise([times(own, factor) for own in self.factors])

    def distribute(self, step: LinearStep, carried: LazyRelevance) -> list[LazyRelevance]:
        """Nothing is computed yet: the factor waits."""
        return [LazyRelevance(carried.value, factor, band=carried.band) for factor in self.factors]


# Elements worked on at once where everything is elementwise: intermediate results stay in a core's cache.
BLOCK = 2**17


def _elementwise(
    rule: Rule, operands: Sequence[Operand], bias: Tensor | None, factor: Tensor | None
) -> list[_Elementwise]:
    """The shares of a sum, computed block by block: rules see tensors and do not know which part they get."""
    whole = [t for o in operands for t in (o.source, o.x.real)] + [bias, factor]
    shape = operands[0].shape
    # Blocks are stretches of memory: everything must lie in it alike.
    alike = all(t is None or (t.shape == shape and t.is_contiguous()) for t in whole)
    alike = alike and all(o.x.low is None for o in operands) and operands[0].source.device.type == "cpu"
    if not alike or shape.numel() <= BLOCK:
        factors = _factors(rule, [o.x for o in operands], [o.w for o in operands], bias, factor)
        return [_Elementwise(of_share) for of_share in factors]

    def pieces(t: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * -(-shape.numel() // BLOCK) if t is None else t.flatten().split(BLOCK)

    found: list[list[Tensor]] = []
    inputs = zip(*(zip(pieces(o.source), pieces(o.x.real), strict=True) for o in operands), strict=True)
    for i, (xs, b, f) in enumerate(zip(inputs, pieces(bias), pieces(factor), strict=True)):
        signed = [
            Signed(cast(Tensor, x) if real is None else x * real, o.x.nonnegative, real=real)
            for o, (x, real) in zip(operands, xs, strict=True)
        ]
        block = _factors(rule, signed, [o.w for o in operands], b, f)
        found = found or [[buffers.empty(shape, part) for part in of_share] for of_share in block]
        for out, of_share in zip(found, block, strict=True):
            for whole_factor, part in zip(out, of_share, strict=True):
                whole_factor.view(-1)[i * BLOCK : i * BLOCK + part.numel()] = part
    return [_Elementwise(of_share) for of_share in found]


def _factors(
    rule: Rule, xs: Sequence[Signed], ws: Sequence[Signed], bias: Tensor | None, factor: Tensor | None
) -> list[list[Tensor]]:
    """Per share and summand: its contribution over the sum of all, times coefficient and `factor`."""
    per_operand = [rule.shares(x, w, bias if i == 0 else None) for i, (x, w) in enumerate(zip(xs, ws, strict=True))]
    nothing = torch.zeros_like(cast(Tensor, xs[0].value))
    shares = []
    for of_operands in _of_one_sign(per_operand) if rule.by_sign else zip(*per_operand, strict=True):
        contributions = [_contribution(share.terms, nothing) for share in of_operands]
        z = sum(contributions[1:], contributions[0])
        if of_operands[0].bias is not None:
            z = z + of_operands[0].bias
        reciprocal, empty = _reciprocal(z, rule.epsilon)
        factors = [contribution * reciprocal for contribution in contributions]
        if empty is not None:
            real = [nothing + 1 if x.real is None else x.real for x in xs]
            equal = empty / sum(real[1:], real[0]).clamp(min=torch.finfo(z.dtype).tiny)
            factors = [f.addcmul_(equal, mask) for f, mask in zip(factors, real, strict=True)]
        for more in (of_operands[0].coefficient, factor):
            if more is not None and not (isinstance(more, float) and more == 1.0):
                factors = [f.mul_(more) for f in factors]
        shares.append(factors)
    return shares


def _of_one_sign(per_operand: Sequence[Sequence[Share]]) -> list[tuple[Share, ...]]:
    """One share per summand, of its terms that have the sign of the sum, position by position."""
    if not any(share.terms for _, share in per_operand):
        return [tuple(share for share, _ in per_operand)]
    terms = [term for of in per_operand for share in of for term in share.terms]
    total = _contribution(terms, torch.zeros(()))

    def agreeing(of: Sequence[Share]) -> Share:
        here = zip(of, (total >= 0, total < 0), strict=True)
        return Share(1.0, [Term(a.where(outputs, 0.0), v) for share, outputs in here for a, v in share.terms])

    return [tuple(map(agreeing, per_operand))]


def _contribution(terms: Sequence[Term], nothing: Tensor) -> Tensor:
    products = [a if isinstance(v, float) and v == 1.0 else a * v for a, v in terms]
    return sum(products[1:], products[0]) if products else nothing
