"""The parts of rules: inputs and weights split by sign, terms (products of the two), and shares (sums of terms)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.precision import widened

Weight = Tensor | float  # a fixed weight of 1.0 stands for pools and sums, which have no parameters


def _at_least_zero(value: Weight) -> Weight:
    if isinstance(value, Tensor):
        return torch.clamp(value, min=0, out=buffers.empty(value.shape, value))
    return max(value, 0.0)


def _at_most_zero(value: Weight) -> Weight:
    if isinstance(value, Tensor):
        return torch.clamp(value, max=0, out=buffers.empty(value.shape, value))
    return min(value, 0.0)


class Signed:
    """An input or a weight, with its positive and its negative part (None where there is none).

    `low` and `high` are the valid range of an input that is still the clip; `is_input` is 0 where the input is a
    constant (padding written by the model), so that constants get no relevance; `nonnegative` saves the half of the
    work that would be multiplied by zero.

    >>> x = Signed(torch.tensor([2.0, 0.0, -1.0]))
    >>> x.positive, x.negative
    (tensor([2., 0., 0.]), tensor([ 0.,  0., -1.]))
    >>> Signed(1.0).negative is None  # the fixed weight of pools and sums
    True
    """

    def __init__(
        self,
        value: Weight,
        nonnegative: bool = False,
        low: Tensor | None = None,
        high: Tensor | None = None,
        is_input: Tensor | None = None,
    ):
        self.value = value
        self.low = low
        self.high = high
        self.is_input = is_input
        self.nonnegative: bool = nonnegative or (isinstance(value, float) and value >= 0)

    @cached_property
    def positive(self) -> Weight:
        """max(0, value)."""
        return self.value if self.nonnegative else _at_least_zero(self.value)

    @cached_property
    def negative(self) -> Weight | None:
        """min(0, value), None where nothing is negative."""
        return None if self.nonnegative else _at_most_zero(self.value)

    @property
    def ones(self) -> Weight:
        """One for every input (zero for constants) or weight; takes no memory where all values are one."""
        if self.is_input is not None:
            return self.is_input.to(self.value.dtype)  # type: ignore[union-attr]  # only tensors have constants
        return self.value.new_ones(()).expand(self.value.shape) if isinstance(self.value, Tensor) else 1.0

    @property
    def squared(self) -> Weight:
        """The square of every weight."""
        return self.value**2

    def widened(self) -> Signed:
        """The same in float32 where it was in a smaller type."""

        def wide(x: Weight | None) -> Any:
            return x.to(widened(x.dtype)) if isinstance(x, Tensor) else x

        return Signed(wide(self.value), self.nonnegative, wide(self.low), wide(self.high), wide(self.is_input))

    def __neg__(self) -> Signed:
        return Signed(-self.value)


class Term(NamedTuple):
    """One product `f(a, v)` of a share: `a` from the input, `v` from the weight.

    >>> x, w = Signed(torch.tensor([2.0, -1.0])), Signed(torch.tensor([3.0, 4.0]))
    >>> Term(x.positive, w.positive)  # the positive part of z+ where the input is positive
    Term(a=tensor([2., 0.]), v=tensor([3., 4.]))
    """

    a: Tensor
    v: Weight


class Share(NamedTuple):
    """`coefficient` times the relevance, shared in proportion to the terms; `bias` enters the denominator only.

    >>> x, w = Signed(torch.tensor([2.0, -1.0])), Signed(torch.tensor([3.0, 4.0]))
    >>> z_plus = Share(1.0, [Term(x.positive, w.positive), Term(x.negative, w.negative)])
    >>> len(z_plus.terms), z_plus.bias is None
    (2, True)
    """

    coefficient: float | Tensor
    """One number for all outputs, or one for each output."""
    terms: list[Term]
    bias: Tensor | None = None
