"""What a recorded forward pass of a twin gives: its graph, its inputs and output, and what has no rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lrp3d.steps.step import Step
from lrp3d.tracing.tracer import Tracer


@dataclass
class Trace:
    """One recorded forward pass: the graph, its inputs, its output, and what has no rule."""

    tracer: Tracer
    entries: list[Tensor]
    output: Any
    problems: list[str]
    left_out: list[Step]
    """The softmax or sigmoid steps with which the model ends, if their input is the output here."""
    drew: bool = False
    """Whether the forward drew random numbers."""
    differs: bool = False
    """Whether these change what the model returns, and no seed was given."""
    clip_is_finite: bool = True
    output_is_finite: bool = True
    probabilities: Tensor | None = None
    """What the model returned, if `output` is what went into its final softmax or sigmoid."""

    def prediction(self, target: Any) -> Any:
        """`target`, or for None the classes (b,) with the greatest probabilities, if the model returns these.

        Where several softmaxes are averaged, their inputs may be greatest, on average, for another class.
        """
        returned = self.probabilities
        if target is not None or returned is None or returned.shape != self.output.shape or self.output.shape[1] < 2:
            return target
        return returned.detach().argmax(1)
