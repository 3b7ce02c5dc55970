"""Relevance on its way between two steps, for many seeds: without zero frames, and multiplied only when it must be."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.bands import Band, nonzero_band, outermost_dropped, outermost_zeroed, whole_axis


def times(a: Tensor, b: Tensor) -> Tensor:
    """Computes a * b, shaped like `a`."""
    return torch.mul(a, b, out=buffers.empty(a.shape, a))


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two factors are the same values in memory, perhaps seen through two views."""
    if a is None or b is None or a is b:
        return a is b
    return (a.data_ptr(), a.shape, a.stride(), a.dtype) == (b.data_ptr(), b.shape, b.stride(), b.dtype)


LONG = 2**19  # values of a row; from this length on a CPU is faster row by row than with a matrix of few rows


def _products(rows: Tensor, x: Tensor) -> Tensor:
    """Computes rows @ x."""
    if rows.device.type != "cpu" or x.numel() < LONG:
        return rows @ x
    return torch.stack([torch.dot(row, x) for row in rows])


class LazyRelevance:
    """Relevance on its way, as a product: `value` (s, ...) times a `factor` (...) that is the same for all seeds.

    Between two linear steps the factor waits: the activation of one and the denominator of the next become a single
    multiplication per seed. With a `band`, `value` is only the part in the band, and the rest is zero; the factor is
    always whole. `value` may be shared and is never written to.
    """

    def __init__(
        self, value: Tensor, factor: Tensor | None = None, total: Tensor | None = None, band: Band | None = None
    ):
        self.value = value
        self.factor = factor
        self._total = total
        self.band = band

    def of_factor(self) -> Tensor | None:
        """The part of the factor that belongs to `value`: all of it, or what lies in the band."""
        return self.factor if self.factor is None or self.band is None else self.band.of(self.factor)

    def narrowed(self, before: LazyRelevance | None = None) -> LazyRelevance:
        """The same relevance, stored without the frames at both ends that are zero.

        Does not look for them where the relevance `before` the step filled all frames.
        """
        filled = before is not None and before.band is None and before.value.dim() == self.value.dim()
        band = nonzero_band(self.value) if self.band is None and not filled else None
        if band is None:
            return self
        inside = band.inside(self.value, whole_axis(band.axis, self.value.shape[1 + band.axis]))
        return LazyRelevance(inside, self.factor, self._total, band)

    def trimmed(self, tolerance: float) -> LazyRelevance:
        """The same without the outermost frames, which together hold less than `tolerance` of every seed's |R|."""
        if self.value.device.type != "cpu":  # cutting would make a GPU wait
            return LazyRelevance(outermost_zeroed(self.part(), tolerance), band=self.band)
        inner = outermost_dropped(self.part(), tolerance)
        if inner is None:
            return self
        start = 0 if self.band is None else self.band.start
        kept = inner.inside(self.value, whole_axis(inner.axis, self.value.shape[1 + inner.axis]))
        return LazyRelevance(kept, self.factor, band=Band(inner.axis, start + inner.start, start + inner.stop))

    def part(self) -> Tensor:
        """The relevance inside the band, (s, ...)."""
        factor = self.of_factor()
        return self.value if factor is None else times(self.value, factor)

    def tensor(self, shape: torch.Size) -> Tensor:
        """The whole relevance, (s, *shape)."""
        part = self.part()
        return part if self.band is None else self.band.widened(part, whole_axis(self.band.axis, shape[self.band.axis]))

    def total(self) -> Tensor:
        """The sum of every seed's relevance, (s,)."""
        if self._total is None:
            flat, factor = self.value.flatten(1), self.of_factor()
            if factor is None:
                self._total = flat.sum(1)
            elif not factor.is_contiguous():  # a band of it, which a product of vectors would copy
                self._total = self.part().flatten(1).sum(1)
            else:
                self._total = _products(flat, factor.expand(self.value.shape[1:]).flatten())
        return self._total

    def plus(self, other: LazyRelevance, shape: torch.Size) -> LazyRelevance:
        """The sum of two relevances that are (s, *shape) as a whole."""
        total = None if self._total is None or other._total is None else self._total + other._total
        if self.band != other.band:
            return self._within_another(other, total, shape)
        lazy, summand = (self, other) if self.factor is not None else (other, self)
        if _same(lazy.factor, summand.factor):  # branches from one activation: the factor waits on
            result = torch.add(lazy.value, summand.value, out=buffers.empty(lazy.value.shape, lazy.value))
            return LazyRelevance(result, lazy.factor, total, self.band)
        if summand.factor is None:
            out = buffers.empty(lazy.value.shape, lazy.value)
            result = torch.addcmul(summand.value, lazy.value, cast(Tensor, lazy.of_factor()), out=out)
        else:
            result = summand.part().addcmul_(lazy.value, cast(Tensor, lazy.of_factor()))
        return LazyRelevance(result, total=total, band=self.band)

    def _within_another(self, other: LazyRelevance, total: Tensor | None, shape: torch.Size) -> LazyRelevance:
        axis = cast(Band, self.band or other.band).axis
        bands = [whole_axis(axis, shape[axis]) if c.band is None else c.band for c in (self, other)]
        if bands[0].axis != bands[1].axis:
            return LazyRelevance(self.tensor(shape), total=self._total).plus(LazyRelevance(other.tensor(shape)), shape)
        union = bands[0] | bands[1]
        one_factor = _same(self.factor, other.factor)  # then the factor waits on, as where bands are equal
        values = (self.value, other.value) if one_factor else (self.part(), other.part())
        out = bands[0].widened(values[0], union)
        bands[1].inside(out, union).add_(values[1])
        band = None if union == whole_axis(axis, shape[axis]) else union
        return LazyRelevance(out, self.factor if one_factor else None, total, band)
