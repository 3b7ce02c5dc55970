"""The clips among a model's inputs, entered into a tracer with the range of their valid values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrp3d.tracing.tracer import Tracer
from lrp3d.twin.ranges import far_outside, layout_of, ranges_of, warn_of_range


class EnteredClips:
    """The floating-point tensors among the leaves of a model's inputs, as signals of a tracer.

    Args:
        tracer: it will follow the forward.
        leaves: the leaves of the model's inputs.
        input_range: (low, high) of valid inputs, or one for each clip; None for each clip's own extremes.
        layout: the layout of those that are clips.
    """

    def __init__(self, tracer: Tracer, leaves: Sequence[Any], input_range: Any, layout: str):
        places = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.is_floating_point()]
        self.given: list[Tensor] = [leaves[i].detach() for i in places]
        """The clips as they came."""
        self._ranges = ranges_of(input_range, self.given, layout)
        self.leaves = list(leaves)
        """The leaves, with the entered clips in place of those that came."""
        self.entries: list[Tensor] = []
        """The entered clips, from which gradients are relevance."""
        for i, ends in zip(places, self._ranges, strict=True):
            x = leaves[i] if leaves[i].requires_grad else leaves[i].detach().clone().requires_grad_()
            self.leaves[i] = tracer.enter(x, ends.low, ends.high, layout_of(x, layout))
            self.entries.append(self.leaves[i])
        self.device = self.entries[0].device if self.entries else torch.device("cpu")

    def far_outside(self) -> list[Tensor]:
        """Whether each clip has values far outside of its range, as tensors of one value."""
        return [far_outside(x, ends) for x, ends in zip(self.given, self._ranges, strict=True)]

    def warn(self, outside: Sequence[bool]) -> None:
        """Warns of each clip that is far outside of its range."""
        for x, ends, far in zip(self.given, self._ranges, outside, strict=True):
            if far:
                warn_of_range(x, ends)
