"""Factors: what relevance on its way is still to be multiplied with, the same for all seeds."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.bands import Band


class Factor:
    """An activation times a scale, both (...): relevance in proportion to an activation.

    What waits apart need not be multiplied where branches of a network that start from one activation meet again, as a
    residual block and its shortcut do: only the scales differ there.

    Args:
        activation: contributions, such as the input of a layer.
        scale: by which they are multiplied; None for one.
        positive: whether only the positive part of the activation counts.
    """

    def __init__(self, activation: Tensor, scale: Tensor | None = None, positive: bool = False):
        self.activation = activation
        self.scale = scale
        self.positive = positive

    def whole(self) -> Tensor:
        """The product, (...); it is computed in every call."""
        like = self.activation
        if not self.positive:
            return like if self.scale is None else times(like, self.scale)
        product = torch.clamp(like, min=0, out=buffers.empty(like.shape, like))
        return product if self.scale is None else product.mul_(self.scale)

    def parts(self, band: Band | None) -> list[Tensor]:
        """Tensors whose product is the factor, of all of it or of what lies in a band."""
        parts = [self.whole()] if self.positive else [t for t in (self.scale, self.activation) if t is not None]
        return parts if band is None else [band.of(part) for part in parts]

    @property
    def unscaled(self) -> Factor:
        """The activation alone; the same object in every call, by which steps know what they have prepared for."""
        return self if self.scale is None else self._alone

    @functools.cached_property
    def _alone(self) -> Factor:
        return Factor(self.activation, None, self.positive)

    def of_one_activation(self, other: Factor) -> bool:
        """Whether both are the same activation, perhaps seen through two views, however scaled."""
        return self is other or (self.positive == other.positive and same_memory(self.activation, other.activation))

    def same_scale(self, other: Factor) -> bool:
        """Whether both have the same scale."""
        if self.scale is None or other.scale is None:
            return self.scale is other.scale
        return same_memory(self.scale, other.scale)

    def to(self, dtype: torch.dtype) -> Factor:
        """The same in another type."""
        if self.activation.dtype == dtype:
            return self
        return Factor(self.activation.to(dtype), None if self.scale is None else self.scale.to(dtype), self.positive)


def same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same values in memory."""
    return a is b or (a.data_ptr(), a.shape, a.stride(), a.dtype) == (b.data_ptr(), b.shape, b.stride(), b.dtype)


def times(a: Tensor, b: Tensor) -> Tensor:
    """Computes a * b, shaped like `a`."""
    return torch.mul(a, b, out=buffers.empty(a.shape, a))
