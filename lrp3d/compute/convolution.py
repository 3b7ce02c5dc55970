"""Convolutions as linear maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute import buffers, kernels, windows
from lrp3d.compute.bands import Band
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.linear_map import LinearMap, channelwise
from lrp3d.compute.terms import Term, Weight


@dataclass(frozen=True)
class Convolution(LinearMap):
    """Convolution or transposed convolution over 1 to 3 axes; `lrp3d.compute.kernels` chooses how it is computed."""

    keeps_bands = True

    geometry: Geometry

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Maps `a` (b, c, ...) to (b, c', ...); `v` has torch's weight layout."""
        assert isinstance(v, Tensor)
        return kernels.convolve(a, v, self.geometry)

    def as_the_model(self, a: Tensor, v: Weight) -> Tensor:
        """Maps as `kernels` lets the model map."""
        assert isinstance(v, Tensor)
        return kernels.convolve_as_the_model(a, v, self.geometry)

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Carries all seeds back at once, folded into the batch."""
        assert isinstance(v, Tensor)
        seeds, batch = r.shape[:2]
        folded = self._carry(r.flatten(0, 1), v, (seeds * batch, *shape[1:]))  # (s b, c, ...)
        return torch.unflatten(folded, 0, (seeds, batch))

    def may_leave_out(self, shape: torch.Size) -> bool:
        """Where kernels leave gaps between the inputs, or see nothing but padding."""
        return self.geometry.leaves_out(shape[-len(self.geometry.kernel) :])

    def scaled_adjoint(self, r: Tensor, scale: Tensor, v: Weight, shape: torch.Size) -> Tensor | None:
        """Multiplies where the kernel takes the relevance through the caches block by block."""
        assert isinstance(v, Tensor)
        seeds, batch = r.shape[:2]
        folded = self._carry_scaled(r.flatten(0, 1), scale, v, (seeds * batch, *shape[1:]))  # (s b, c, ...)
        return None if folded is None else torch.unflatten(folded, 0, (seeds, batch))

    def _carry(self, r: Tensor, w: Tensor, shape: Sequence[int]) -> Tensor:
        return kernels.adjoint(r, w, self.geometry, shape)

    def _carry_scaled(self, r: Tensor, scale: Tensor, w: Tensor, shape: Sequence[int]) -> Tensor | None:
        return kernels.scaled_adjoint(r, scale, w, self.geometry, shape)

    def restrict(self, band: Band, shape: torch.Size) -> tuple[LinearMap, Band] | None:
        """A band along the batch axis (clips or frames) stays as it is; the kernel widens a band along time."""
        if band.axis == 0:
            return self, band
        if self.geometry.transposed:
            return None
        axis = band.axis - 2
        first, last = windows.inputs_seen(shape[band.axis], band.start, band.stop, self.geometry, axis)
        return Window(self.geometry, axis, band.start, shape[band.axis]), Band(band.axis, first, last)

    def total(self, terms: Sequence[Term]) -> Tensor:
        """Computes all terms in one convolution, side by side in the channels, where the kernel allows it."""
        ws = [v for _, v in terms if isinstance(v, Tensor)]
        if len(terms) == 1 or not kernels.joins(self.geometry):
            return super().total(terms)
        return kernels.joint_convolve([a for a, _ in terms], ws, self.geometry)

    def adjoints(self, r: Tensor, weights: Sequence[Weight], shape: torch.Size) -> Sequence[Tensor]:
        """Carries `r` back in one convolution, the weights side by side in the channels, where the kernel allows it."""
        ws = [v for v in weights if isinstance(v, Tensor)]
        if len(weights) == 1 or not kernels.joins(self.geometry):
            return super().adjoints(r, weights, shape)
        joint = buffers.derived("joint", ws, lambda: torch.cat(ws, 1))  # (c', m c, ...) for m weights
        wide = self.adjoint(r, joint, torch.Size([shape[0], shape[1] * len(ws), *shape[2:]]))  # (s, b, m c, ...)
        return torch.split(wide, shape[1], 2)

    def bias(self, b: Tensor, output: Tensor) -> Tensor:
        """One bias for each output channel."""
        return channelwise(b, output)

    # If all weights are one, all output channels of a group have the same value, so one channel per group is enough.

    def _one_channel(self, w: Tensor) -> Tensor:
        inputs, outputs = (0, 1) if self.geometry.transposed else (1, 0)
        size = list(w.shape)
        size[inputs] = self.geometry.groups if self.geometry.transposed else 1
        size[outputs] = 1 if self.geometry.transposed else self.geometry.groups
        return w.new_ones(size)

    def _in_groups(self, a: Tensor, axis: int) -> Tensor:
        """Sums the channels of each group."""
        return torch.unflatten(a, axis, (self.geometry.groups, -1)).sum(axis + 1)

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Counts the inputs of each output; zero padding does not count."""
        assert isinstance(w, Tensor)
        counts = self(self._in_groups(ones, 1), self._one_channel(w))  # (b, groups, ...)
        groups = self.geometry.groups
        channels = w.shape[1] * groups if self.geometry.transposed else w.shape[0]
        return counts.unsqueeze(2).expand(-1, -1, channels // groups, *counts.shape[2:]).flatten(1, 2)

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Hands `r` equally to every input of the window and the group."""
        assert isinstance(w, Tensor)
        small = torch.Size([shape[0], self.geometry.groups, *shape[2:]])
        ones = self._one_channel(w).to(r.dtype)
        parts = self.adjoint(self._in_groups(r, 2), ones, small)  # (s, b, groups, ...)
        in_group = shape[1] // self.geometry.groups
        return parts.unsqueeze(3).expand(-1, -1, -1, in_group, *parts.shape[3:]).flatten(2, 3)


@dataclass(frozen=True)
class Window(Convolution):
    """A convolution of which only the outputs from `start` on are used along `axis` (0 is the first after channels)."""

    axis: int
    start: int
    size: int
    """Size of the whole input along that axis."""

    def _carry(self, r: Tensor, w: Tensor, shape: Sequence[int]) -> Tensor:
        return windows.adjoint(r, w, self.geometry, shape, self.axis, self.start, self.size)

    def _carry_scaled(self, r: Tensor, scale: Tensor, w: Tensor, shape: Sequence[int]) -> Tensor | None:
        return windows.scaled_adjoint(r, scale, w, self.geometry, shape, self.axis, self.start, self.size)
