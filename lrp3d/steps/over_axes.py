"""Steps whose outputs depend on whole axes of their inputs."""

from __future__ import annotations

from torch import Tensor

from lrp3d.steps.step import Step


class OverAxes(Step):
    """A statistic or a choice over whole axes: every output depends on all inputs along them."""

    def spread(self, r: Tensor) -> Tensor:
        """Hands `r` (*output), without seeds, to every input on which each output depends."""
        raise NotImplementedError

    def slopes(self, r: Tensor) -> Tensor:
        """How much each input counts if its output counts `r` (*output), without seeds: of a choice, the winners."""
        (part,) = self.relevance(r[None])
        assert part is not None
        return part[0]
