"""Linear maps: the operations that rules share relevance over, each with its adjoint.

A map is bilinear in an input `a` and a weight `v`: `map(a, v)` is the operation, `map.adjoint(r, v, shape)` carries
`r` (s, *output) back to (s, *shape), for all seeds `s` at once. Maps know nothing of rules or relevance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute.bands import Band
from lrp3d.compute.terms import Term, Weight


class LinearMap:
    """Base of all maps; the adjoint here is torch's own derivative, right for any map, if not the fastest."""

    keeps_bands = False
    """Nothing is zero in what it carries back unless something was zero before: there is no band to look for."""

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """The operation on input `a` (as in the network, no seeds) and weight `v`."""
        raise NotImplementedError

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """The transposed operation: `r` (s, *output) to (s, *shape)."""
        with torch.enable_grad():
            point = r.new_zeros(shape, requires_grad=True)
            output = self(point, v)

        def of_seed(r: Tensor) -> Tensor:
            return torch.autograd.grad(output, point, r, retain_graph=True)[0]

        return torch.func.vmap(of_seed)(r)

    def total(self, terms: Sequence[Term]) -> Tensor:
        """The sum of the operation over several terms."""
        parts = [self(a, v) for a, v in terms]
        return sum(parts[1:], parts[0])

    def adjoints(self, r: Tensor, weights: Sequence[Weight], shape: torch.Size) -> Sequence[Tensor]:
        """The transposed operation for several weights."""
        return [self.adjoint(r, v, shape) for v in weights]

    def within(self, band: Band, shape: torch.Size) -> tuple[LinearMap, Band] | None:
        """The map that carries back what lies in a band of the output, and the band of the input it ends in.

        That map's adjoints take and return the bands' parts alone; None where an axis loses its meaning here.
        """
        return None

    def bias(self, b: Tensor, output: Tensor) -> Tensor:
        """The layer's bias, shaped to be added to an output."""
        return b

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """The axis (from the end) of the input that this averages away and that can be time, None if there is none.

        In a clip's layout (b, c, t, h, w) that is the third; of (b, n, k) or (b, c, n) the only one that is reduced.
        """
        return None

    def time_axes(self, shape: torch.Size, output: torch.Size) -> list[int]:
        """All axes that can be time here, the likeliest first."""
        axis = self.time_axis(shape, output)
        return [] if axis is None else [axis]

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The same average over everything but time, for an input of `shape`; None where frames weigh differently."""
        return None

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """How many inputs each output has, given one for every real input."""
        return self(ones, torch.ones_like(w) if isinstance(w, Tensor) else 1.0)

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """The adjoint under weights that are all one: `r` (s, *output) handed equally to the inputs (s, *shape).

        The weight only says its shape: inside of `torch.autocast` it may be of another type than what it is met with.
        """
        return self.adjoint(r, torch.ones_like(w, dtype=r.dtype) if isinstance(w, Tensor) else 1.0, shape)


@dataclass(frozen=True)
class Bilinear(LinearMap):
    """Any function bilinear in input and weight (matmul with a constant, einsum, affine scaling)."""

    function: Callable[[Any, Any], Tensor]

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """`function(a, v)`."""
        return self.function(a, v)


def channelwise(b: Tensor, output: Tensor) -> Tensor:
    """A bias per channel (axis 1), shaped to be added to an output (b, c, ...)."""
    return b.reshape(-1, *[1] * (output.dim() - 2))


def sum_to_shape(r: Tensor, shape: Sequence[int]) -> Tensor:
    """`r` (s, *broadcast) summed to (s, *shape): the adjoint of broadcasting."""
    extra = r.dim() - 1 - len(shape)
    if extra > 0:
        r = r.sum(tuple(range(1, 1 + extra)))
    stretched = tuple(i + 1 for i, size in enumerate(shape) if size == 1 and r.shape[i + 1] != 1)
    return r.sum(stretched, keepdim=True) if stretched else r
