"""Relevance on its way between two steps, for many seeds: without zero frames, and multiplied only when it must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.bands import Band, nonzero_band, outermost_dropped, outermost_zeroed, whole_axis
from lrp3d.compute.totals import sums_of_products
from lrp3d.steps.factor import Factor, times


class LazyRelevance:
    """Relevance on its way, as a product: `value` (s, ...) times a `factor` (...) that is the same for all seeds.

    Between two linear steps the factor waits: the activation of one and the denominator of the next become a single
    multiplication per seed. With a `band`, `value` is only the part in the band, and the rest is zero; the factor is
    always whole. `value` may be shared and is never written to. `total` is the sum of every seed's relevance, or a
    function that returns it, where that is known without adding up.
    """

    def __init__(
        self,
        value: Tensor,
        factor: Factor | None = None,
        total: Tensor | Callable[[], Tensor] | None = None,
        band: Band | None = None,
    ):
        self.value = value
        self.factor = factor
        self._total = total
        self.band = band
        self.is_awaited: bool = False
        """Whether the total of another follows from the total of this."""

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

    def trimmed(self, tolerance: float, clips: int) -> LazyRelevance:
        """The same without the outermost frames, which hold less than `tolerance` of |R| for every seed and clip."""
        if self.value.device.type != "cpu":  # cutting would make a GPU wait
            return LazyRelevance(outermost_zeroed(self.part(), tolerance, clips), band=self.band)
        inner = outermost_dropped(self.part(), tolerance, clips)
        if inner is None:
            return self
        start = 0 if self.band is None else self.band.start
        kept = inner.inside(self.value, whole_axis(inner.axis, self.value.shape[1 + inner.axis]))
        return LazyRelevance(kept, self.factor, band=Band(inner.axis, start + inner.start, start + inner.stop))

    def part(self) -> Tensor:
        """The relevance inside the band, (s, ...)."""
        return self._times([] if self.factor is None else self.factor.parts(self.band))

    def multiplied(self) -> LazyRelevance:
        """The same relevance without a factor that waits."""
        return self if self.factor is None else LazyRelevance(self.part(), None, self._total, self.band)

    def _unscaled(self) -> Tensor:
        """The value times the scale of the factor, (s, ...); the factor's activation still waits."""
        scale = None if self.factor is None else self.factor.scale
        return self._times([] if scale is None else [scale if self.band is None else self.band.of(scale)])

    def _times(self, factors: Sequence[Tensor]) -> Tensor:
        product = self.value
        for i, factor in enumerate(factors):
            product = product.mul_(factor) if i else times(product, factor)
        return product

    def tensor(self, shape: torch.Size) -> Tensor:
        """The whole relevance, (s, *shape)."""
        part = self.part()
        return part if self.band is None else self.band.widened(part, whole_axis(self.band.axis, shape[self.band.axis]))

    def total(self) -> Tensor:
        """The sum of every seed's relevance, (s,)."""
        if self._total is None:
            self._total = sums_of_products(self.value, [] if self.factor is None else self.factor.parts(self.band))
        elif not isinstance(self._total, Tensor):
            self._total = self._total()
        return self._total

    def share_total(self, handed_on: LazyRelevance, is_smaller: bool) -> None:
        """Takes note that all of this is handed on as `handed_on`, so that only the smaller tensor is added up.

        Which one is smaller depends on the step alone: whatever the bands of seeds are, all read the same factors.
        """
        if self._total is None and is_smaller:
            self._total = handed_on.total
        else:
            handed_on._total = self.total if self._total is None else self._total

    def settle_total(self) -> None:
        """Computes the total if it follows from others, so that it does not keep them."""
        if self._total is not None:
            self.total()

    def forget_total(self) -> None:
        """Leaves the total to be added up if it is asked for, and frees what it would have been computed from."""
        self._total = None
        self.is_awaited = False

    def plus(self, other: LazyRelevance, shape: torch.Size) -> LazyRelevance:
        """The sum of two relevances that are (s, *shape) as a whole."""
        for summand in (self, other):
            if summand.is_awaited:
                summand.total()  # while its factor is there, which the sum may release
        total = None if self._total is None or other._total is None else lambda: self.total() + other.total()
        if self.band != other.band:
            return self._within_another(other, total, shape)
        if self._one_activation(other):
            return self._plus_branch(other, total)
        lazy, summand = (self, other) if self.factor is not None else (other, self)
        result = summand.part() if summand.factor is not None else None
        *scales, activation = cast(Factor, lazy.factor).parts(self.band)
        value = lazy._times(scales)
        if result is None:
            result = torch.addcmul(summand.value, value, activation, out=buffers.empty(value.shape, value))
        else:
            result.addcmul_(value, activation)
        return LazyRelevance(result, total=total, band=self.band)

    def _one_activation(self, other: LazyRelevance) -> bool:
        """Whether both come from branches of one activation, so that it can wait on."""
        if self.factor is None or other.factor is None:
            return self.factor is other.factor
        return self.factor.of_one_activation(other.factor)

    def _plus_branch(self, other: LazyRelevance, total: Callable[[], Tensor] | None) -> LazyRelevance:
        """The sum with the relevance of another branch of the same activation, in the same band."""
        out = buffers.empty(self.value.shape, self.value)
        if self.factor is None or other.factor is None or self.factor.same_scale(other.factor):
            return LazyRelevance(torch.add(self.value, other.value, out=out), self.factor, total, self.band)
        plain, scaled = (self, other) if self.factor.scale is None else (other, self)
        scale = cast(Tensor, cast(Factor, scaled.factor).scale)
        scale = scale if self.band is None else self.band.of(scale)
        result = torch.addcmul(plain._unscaled(), scaled.value, scale, out=out)
        return LazyRelevance(result, self._activation(other), total, self.band)

    def _activation(self, other: LazyRelevance) -> Factor | None:
        """The activation of two branches that have the same one, always as the same object where one has no scale."""
        if self.factor is None or other.factor is None:
            return None
        return (self.factor if self.factor.scale is None else other.factor).unscaled

    def _within_another(
        self, other: LazyRelevance, total: Callable[[], Tensor] | None, shape: torch.Size
    ) -> LazyRelevance:
        axis = cast(Band, self.band or other.band).axis
        bands = [whole_axis(axis, shape[axis]) if c.band is None else c.band for c in (self, other)]
        if bands[0].axis != bands[1].axis:
            return LazyRelevance(self.tensor(shape), total=self._total).plus(LazyRelevance(other.tensor(shape)), shape)
        union = bands[0] | bands[1]
        alike = self._one_activation(other)  # then it waits on, as where bands are equal
        values = (self._unscaled(), other._unscaled()) if alike else (self.part(), other.part())
        out = bands[0].widened(values[0], union)
        bands[1].inside(out, union).add_(values[1])
        band = None if union == whole_axis(axis, shape[axis]) else union
        return LazyRelevance(out, self._activation(other) if alike else None, total, band)
