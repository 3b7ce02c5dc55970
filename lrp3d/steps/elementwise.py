"""Steps that take values one by one: what arrives at a position goes to the same position of the inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.compute.maps import sum_to_shape
from lrp3d.rules import InHalves, Rule
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.step import Step
from lrp3d.steps.weigher import Weigher


class Elementwise(Step):
    """Values are taken one by one: what arrives at a position goes to the same position of the inputs.

    Inputs that broadcast get the sum over their copies.
    """

    factors: Sequence[Tensor | float]
    """For each input, what the operation multiplies it by, or anything with the same signs, which may turn what speaks
    for a class round."""

    @property
    def is_booked(self) -> bool:
        """It is not: all relevance goes to the inputs."""
        return False

    def forget_factors(self) -> None:
        """Forgets what the operation multiplies by, which relevance does not need."""
        self.factors = [1.0] * len(self.factors)


class PassThrough(Elementwise):
    """Relevance passes unchanged: activations, batch norm, dropout, scaling, and the signal side of a gate.

    Args:
        shape: shape of the input.
        linear: whether the operation is linear.
        shifts: whether it adds a constant.
        factor: what it multiplies by, or anything with the same signs, which may turn what speaks for a class round.
        weigher: the signal that it multiplies or divides by, if it is one.
    """

    def __init__(
        self,
        shape: torch.Size,
        linear: bool = False,
        shifts: bool = False,
        factor: Tensor | float = 1.0,
        weigher: Weigher | None = None,
    ):
        self.input_shape = shape
        self.linear = linear
        self.shifts = shifts
        self.factors = [factor]
        self.weigher = weigher

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Returns the relevance, summed over copies where the input was broadcast."""
        return [sum_to_shape(r, self.input_shape)]

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Returns the relevance unchanged, its factor still waiting, when input and output have one shape."""
        return [lazy] if self.input_shape == self.shape else super().propagate(lazy)

    def release(self, lazy: LazyRelevance) -> None:
        """Releases nothing: relevance that passes unchanged keeps its factor for the step below."""


class RecurrentOutput(PassThrough):
    """The output of a recurrent layer: relevance passes; each time step belongs to the same time step of the input."""

    def __init__(self, shape: torch.Size, sequence_shape: torch.Size):
        super().__init__(shape, linear=True)
        self.sequence_shape = sequence_shape

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Hands everything to the unrolled steps, through which the input gets its relevance."""
        return [r, None]

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Hands everything to the unrolled steps, as `relevance` does."""
        return [lazy, None]

    def input_steps(self, r: Tensor) -> Tensor:
        """A mask (b, t, f) of the input: one at the time steps where `r` (b, t, hidden) of the output is not zero."""
        return (r != 0).any(-1, keepdim=True).to(r).expand(self.sequence_shape)


class SharedInParts(Elementwise):
    """Several signals, each of which gets a part of the relevance, position by position.

    Args:
        shapes: shapes of the signals.
        parts: the part of each, (*output) or one number for all positions, such as `equal_parts`.
        factors: what each is multiplied by, or anything with the same signs; 1 by default.
    """

    def __init__(
        self,
        shapes: Sequence[torch.Size],
        parts: Sequence[Tensor | float],
        factors: Sequence[Tensor | float] | None = None,
    ):
        self.shapes = shapes
        self.parts = parts
        self.factors = [1.0] * len(shapes) if factors is None else factors

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Returns its part of the relevance for each signal, summed over copies where the signal was broadcast."""
        return [sum_to_shape(r * part, shape) for part, shape in zip(self.parts, self.shapes, strict=True)]


class Halves(SharedInParts):
    """A product of two signals, neither of which is the weight: each gets half of the relevance, position by position.

    This is the uniform rule: both factors contribute `a b / 2` to the product `a b` (Achtibat et al. 2024, Prop. 3.2).

    Args:
        shapes: shapes of the two factors.
        inputs: for each factor, (*output): 0 where its values are constants, such as padding, whose half the other
            factor gets; None if all values of both are inputs.
        factors: what each is multiplied by, the other one, or anything with the same signs.
    """

    def __init__(
        self,
        shapes: Sequence[torch.Size],
        inputs: Sequence[Tensor] | None = None,
        factors: Sequence[Tensor | float] | None = None,
    ):
        super().__init__(shapes, [0.5, 0.5] if inputs is None else equal_parts(inputs), factors)

    @property
    def default_rule(self) -> Rule:
        """Halves, which is the only rule that it has."""
        return InHalves()

    def accepts(self, rule: Rule) -> bool:
        """Accepts no rule that would change it."""
        return rule.on_products or rule.unchanged

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Lets the factor of the relevance wait where all shapes are the same; both halves then have it."""
        if any(shape != self.shape for shape in self.shapes) or isinstance(self.parts[0], Tensor):
            return super().propagate(lazy)
        half = LazyRelevance(lazy.value / 2, lazy.factor, band=lazy.band)
        return [half, half]


def equal_parts(masks: Sequence[Tensor]) -> list[Tensor]:
    """The parts of several signals that share equally at every position where their mask is one, not zero.

    >>> equal_parts([torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])])
    [tensor([0.5000, 1.0000, 0.0000]), tensor([0.5000, 0.0000, 0.0000])]
    """
    count = sum(masks[1:], masks[0]).clamp(min=1)
    return [mask / count for mask in masks]
