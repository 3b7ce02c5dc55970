"""Linear maps: the operations over which rules share relevance, each with its adjoint.

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

NOT_BATCHED = ("UpsampleNearestExact", "Take")
"""Beginnings of names of torch's nodes that have no batching rule: vmap runs them seed by seed as well, and warns."""


class LinearMap:
    """Base class of all maps; its adjoint is torch's own derivative, which is right for any map but not the fastest."""

    keeps_bands = False
    """Whether the adjoint creates no zero frames of its own, so that it is useless to look for a new band after it."""

    gains_from_seeds = False
    """Whether several seeds are carried back in far less time than one after the other."""

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Applies the operation to the input `a` (as in the network, without seeds) and the weight `v`."""
        raise NotImplementedError

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Applies the transposed operation: carries `r` (s, *output) back to (s, *shape)."""
        with torch.enable_grad():
            point = r.new_zeros(shape, requires_grad=True)
            output = self(point, v)

        def of_seed(r: Tensor) -> Tensor:
            return torch.autograd.grad(output, point, r, retain_graph=True)[0]

        if output.grad_fn is not None and output.grad_fn.name().startswith(NOT_BATCHED):
            return torch.stack([of_seed(one) for one in r])
        return torch.func.vmap(of_seed)(r)

    def as_the_model(self, a: Tensor, v: Weight) -> Tensor:
        """The same, rounded as the model's own operation."""
        return self(a, v)

    def total(self, terms: Sequence[Term]) -> Tensor:
        """Sums the operation over several terms."""
        parts = [self(a, v) for a, v in terms]
        return sum(parts[1:], parts[0])

    def adjoints(self, r: Tensor, weights: Sequence[Weight], shape: torch.Size) -> Sequence[Tensor]:
        """Applies the transposed operation with each of several weights."""
        return [self.adjoint(r, v, shape) for v in weights]

    def scaled_adjoint(self, r: Tensor, scale: Tensor, v: Weight, shape: torch.Size) -> Tensor | None:
        """The adjoint of r (s, *output) * scale (*output) in one go; None where to multiply first is as fast."""
        return None

    def restrict(self, band: Band, shape: torch.Size) -> tuple[LinearMap, Band] | None:
        """The map that carries a band of the output back, and the band of the input in which the result lies.

        The adjoints of that map take and return only the parts in the bands. None where a band cannot pass the map.
        """
        return None

    def bias(self, b: Tensor, output: Tensor) -> Tensor:
        """The layer's bias, shaped to be added to an output."""
        return b

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """The axis of the input (counted from the end) that the map averages away and that can be time, else None.

        Of (b, c, t, h, w) it is the third axis; of (b, n, k) or (b, c, n) the only one that is reduced.
        """
        return None

    def time_axes(self, shape: torch.Size, output: torch.Size) -> list[int]:
        """All axes that can be time here, the likeliest first."""
        axis = self.time_axis(shape, output)
        return [] if axis is None else [axis]

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The same average without time, for an input of `shape`: what each frame, were it all frames, would add.

        None where frames have different weights, but for those that are the weight of the map.
        """
        return None

    def of_groups(self, shape: torch.Size, axis: int, groups: Tensor) -> LinearMap | None:
        """What each of several groups of entries of an axis, were it all of them, would add to a sum over that axis.

        None where `without_time` and a mean over each group are no more work.

        Args:
            shape: of the input.
            axis: the axis, counted from the end.
            groups: (groups, entries), all of one size.
        """
        return None

    def may_leave_out(self, shape: torch.Size) -> bool:
        """Whether some outputs may be made of none of the inputs (*shape), so that they are constants."""
        return False

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Counts the inputs of each output; `ones` is one at every real input."""
        return self(ones, torch.ones_like(w) if isinstance(w, Tensor) else 1.0)

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Applies the adjoint with all weights one: hands `r` (s, *output) equally to the inputs (s, *shape).

        Of the weight only the shape matters: inside `torch.autocast` its type may differ from that of the relevance.
        """
        return self.adjoint(r, torch.ones_like(w, dtype=r.dtype) if isinstance(w, Tensor) else 1.0, shape)


@dataclass(frozen=True)
class Bilinear(LinearMap):
    """A function that is bilinear in input and weight (matmul with a constant, einsum, affine scaling)."""

    function: Callable[[Any, Any], Tensor]

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Computes `function(a, v)`."""
        return self.function(a, v)


def of_every_entry(contributions: Callable[[Tensor, Any], Tensor], axis: int, number: int) -> Bilinear:
    """What each entry, were it all entries, would add to a sum over an axis that a weight shares with the input.

    Args:
        contributions: of every entry, or group of entries, (*output, entries), as a function of input and weight.
        axis: where the result has the entries, counted from the end.
        number: of entries, or of groups.
    """

    def function(a: Tensor, v: Any) -> Tensor:
        each = contributions(a, v) * number
        return each.reshape(*each.shape, *[1] * (-1 - axis))

    return Bilinear(function)


def grouped(x: Tensor, axis: int, groups: Tensor) -> Tensor:
    """The entries of a negative axis by their groups (groups, entries), which are one more axis before it.

    >>> grouped(torch.tensor([[1, 2, 3, 4]]), -1, torch.tensor([[0, 2], [1, 3]])).tolist()
    [[[1, 3], [2, 4]]]
    """
    return torch.unflatten(x.index_select(axis, groups.flatten().to(x.device)), axis, tuple(groups.shape))


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
