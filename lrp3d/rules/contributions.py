"""The terms that count as contributions, made of the signs of inputs and weights."""

from __future__ import annotations

from torch import Tensor

from lrp3d.compute.terms import Signed, Term, Weight


def term(a: Weight | None, v: Weight | None) -> Term:
    """A term of parts that there are."""
    assert isinstance(a, Tensor)
    assert v is not None
    return Term(a, v)


def agreeing(x: Signed, w: Signed) -> list[Term]:
    """Products that are never negative: `a+ v+ + a- v-`."""
    both = [] if x.nonnegative or w.nonnegative else [term(x.negative, w.negative)]
    return [term(x.positive, w.positive), *both]


def opposing(x: Signed, w: Signed) -> list[Term]:
    """Products that are never positive: `a+ v- + a- v+`."""
    terms = [] if w.nonnegative else [term(x.positive, w.negative)]
    return terms if x.nonnegative else [*terms, term(x.negative, w.positive)]
