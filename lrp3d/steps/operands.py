"""One input of a linear step, with its map and weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute.maps import LinearMap
from lrp3d.compute.precision import widened
from lrp3d.compute.terms import Signed


@dataclass
class PreparedOperand:
    """One input of a linear step: the tensor, the same as rules see it, its linear map, and the weight of the map."""

    source: Tensor
    x: Signed
    map: LinearMap
    w: Signed

    @property
    def shape(self) -> torch.Size:
        """Shape of the input."""
        return self.source.shape

    def widened(self) -> PreparedOperand:
        """The same operand in a type in which shares can be computed; autocast may give input and weight two types."""
        types = [t.dtype for t in (self.source, self.w.value) if isinstance(t, Tensor)]
        if all(widened(dtype) == dtype for dtype in types):
            return self
        return PreparedOperand(self.source.to(widened(self.source.dtype)), self.x.widened(), self.map, self.w.widened())

    def emptied(self) -> PreparedOperand:
        """The same operand without its values: it keeps the shape, the map, the weight, and which values are inputs."""
        nothing = without_values(self.source)
        return PreparedOperand(nothing, Signed(nothing, is_input=self.x.is_input), self.map, self.w)


def without_values(x: Tensor) -> Tensor:
    """A tensor with the shape and the type of `x` that takes no memory."""
    return x.new_empty(()).expand(x.shape)
