"""Factors: what relevance on its way is still to be multiplied with, the same for all seeds."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.bands import Band


class Released(RuntimeError):
    """A seed reads an activation that no later seed was expected to read."""


_kept: ContextVar[bool] = ContextVar("lrp3d_kept_activations", default=False)


@contextmanager
def kept() -> Iterator[None]:
    """Releases no activation inside this block."""
    token = _kept.set(True)
    try:
        yield
    finally:
        _kept.reset(token)


def all_are_kept() -> bool:
    """Whether no activation is to be released."""
    return _kept.get()


class Held:
    """An activation, held until what is made of it is all that later seeds need.

    Most activations are needed once: a step multiplies them into its denominators. Others are read for every seed,
    where branches meet or totals are added up; whoever reads one says so, and it is not released.
    """

    def __init__(self, activation: Tensor):
        self._activation: Tensor | None = activation
        self.is_read: bool = False
        """Whether seeds read it."""

    @property
    def activation(self) -> Tensor:
        """The activation; raises Released if it was released."""
        if self._activation is None:
            raise Released("an activation was released that another seed reads")
        return self._activation

    def release(self) -> None:
        """Releases the activation, unless seeds read it."""
        if not self.is_read and not all_are_kept():
            self._activation = None

    def is_same(self, other: Held) -> bool:
        """Whether both hold the same values in memory."""
        if self is other:
            return True
        if self._activation is None or other._activation is None:
            return False
        return same_memory(self._activation, other._activation)


class Factor:
    """An activation times a scale, both (...): relevance in proportion to an activation.

    What waits apart need not be multiplied where branches of a network that start from one activation meet again, as a
    residual block and its shortcut do: only the scales differ there.

    Args:
        activation: contributions, such as the input of a layer.
        scale: by which they are multiplied; None for one.
        positive: whether only the positive part of the activation counts.
    """

    def __init__(self, activation: Tensor | Held, scale: Tensor | None = None, positive: bool = False):
        self.held: Held = activation if isinstance(activation, Held) else Held(activation)
        self.scale = scale
        self.positive = positive

    @property
    def activation(self) -> Tensor:
        """The activation, (...)."""
        return self.held.activation

    def whole(self) -> Tensor:
        """The product, (...); it is computed in every call."""
        like = self.activation
        if not self.positive:
            return like if self.scale is None else times(like, self.scale)
        product = torch.clamp(like, min=0, out=buffers.empty(like.shape, like))
        return product if self.scale is None else product.mul_(self.scale)

    def parts(self, band: Band | None) -> list[Tensor]:
        """Tensors whose product is the factor, of all of it or of what lies in a band; read for every seed."""
        self.held.is_read = True
        parts = [self.whole()] if self.positive else [t for t in (self.scale, self.activation) if t is not None]
        return parts if band is None else [band.of(part) for part in parts]

    @property
    def unscaled(self) -> Factor:
        """The activation alone; the same object in every call, by which steps know what they have prepared for."""
        return self if self.scale is None else self._alone

    @functools.cached_property
    def _alone(self) -> Factor:
        return Factor(self.held, None, self.positive)

    def of_one_activation(self, other: Factor) -> bool:
        """Whether both are the same activation, perhaps seen through two views, however scaled.

        If so they hold it together from now on, so that it is released for both.
        """
        if self.positive != other.positive or not self.held.is_same(other.held):
            return False
        self.held.is_read = self.held.is_read or other.held.is_read
        other.held = self.held
        return True

    def equals(self, other: Factor) -> bool:
        """Whether both are the same values; which of several branches meets the others first may vary."""
        return self.of_one_activation(other) and self.same_scale(other)

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
