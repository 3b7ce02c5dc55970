"""The signal that weighs another one in a product: no relevance reaches it, but a result may belong to its frame.

Attention of frames to frames makes results of which each belongs to two frames: that whose value is weighed, and that
for which it is. The first is found along the values, the second along the weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.compute.linear_map import LinearMap


class Weigher(NamedTuple):
    """An input of a product that is constant to relevance."""

    edge: tuple[Any, int]
    """The edge of the graph that stands for it."""
    shape: torch.Size
    map: LinearMap
    """The product as a linear map of it."""
    other: Tensor | float = 1.0
    """The weight of that map, of which only the shape matters."""
    descendant: Tensor | None = None
    """A tensor without values that was made of it, where torch would forget its node; else None."""
    token: Any = None
    """The token that stands for it in the tape of its run."""
    value: Tensor | None = None
    """Its values, where these are few, as of what weighs features that were pooled; else None."""

    def spread(self, r: Tensor) -> Tensor:
        """Hands `r` (*output), without seeds, equally to all of its values that each output sees."""
        return self.map.spread(r[None], self.other, self.shape)[0]
