"""Linear maps in which every position has its own output: a factor per channel, a summand of a sum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute.bands import Band
from lrp3d.compute.linear_map import LinearMap, channelwise, sum_to_shape
from lrp3d.compute.terms import Weight


@dataclass(frozen=True)
class Scale(LinearMap):
    """A factor per channel (axis 1): batch norm seen as a linear layer."""

    keeps_bands = True

    def restrict(self, band: Band, shape: torch.Size) -> tuple[LinearMap, Band] | None:
        """The map of a band is the map of the whole, as every position has its own output."""
        return self, band

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Multiplies `a` (b, c, ...) by `v` (c,)."""
        return a * channelwise(v, a) if isinstance(v, Tensor) else a * v

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Multiplies by the same factor, because the map is its own adjoint."""
        return r * channelwise(v, r[0]) if isinstance(v, Tensor) else r * v

    def bias(self, b: Tensor, output: Tensor) -> Tensor:
        """One bias for each channel."""
        return channelwise(b, output)


@dataclass(frozen=True)
class Broadcast(LinearMap):
    """A summand, broadcast to the shape of its sum."""

    keeps_bands = True

    shape: torch.Size

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Broadcasts `a` to `shape`."""
        a = a.expand(self.shape)
        return a if v == 1.0 else a * v

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Sums over the axes that were broadcast."""
        return sum_to_shape(r if v == 1.0 else r * v, shape)
