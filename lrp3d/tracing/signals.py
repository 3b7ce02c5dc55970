"""What is known of tensors that descend from the clip: range, sign, constants among them, and whether they weigh."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor

from lrp3d.compute.terms import Signed
from lrp3d.steps.step import Token


class Weighs(IntEnum):
    """How much a signal looks like a weight: of two factors, the one with more of it weighs the other."""

    NOT = 0
    """A feature: what is weighed."""
    SIMILARITY = 1
    """A product of two features summed over an axis (queries and keys), or gates that went through a layer."""
    GATE = 2
    """Output of a sigmoid, of a softmax, or of their kin: a share, a probability, a mask."""
    STATISTIC = 3
    """A norm's divisor or what is made of it (variance, reciprocal root): constant whatever the composite says."""

    @property
    def reason(self) -> str:
        """What inspection calls it."""
        return {0: "feature", 1: "similarity", 2: "gate", 3: "statistic"}[int(self)]


@dataclass
class Signal:
    """What is known of a tensor that descends from the clip."""

    low: Tensor | None = None
    high: Tensor | None = None
    """Valid range, while the tensor still is the clip (moved or normalised)."""
    real: Tensor | None = None
    """0 where the values are constants that the model wrote beside the signal (padding), else 1; None: all real."""
    nonnegative: bool = False
    weighs: Weighs = Weighs.NOT
    """How much it looks like a weight, where it meets another signal in a product."""
    shifted: bool = False
    """A constant was added: clipped then, it is a hand-written hard sigmoid."""
    mean_of: Token | None = None
    """The signal whose mean over some axes this is, spread over those axes or not: subtracted, it only centres."""

    def signed(self, x: Tensor) -> Signed:
        """The tensor as rules see it: constants among its values are no inputs."""
        return Signed(x if self.real is None else x * self.real, self.nonnegative, self.low, self.high, self.real)


def least(signals: list[Signal]) -> Weighs:
    """How much a sum or a rearrangement of several signals weighs: no more than any of them."""
    return min((signal.weighs for signal in signals), default=Weighs.NOT)
