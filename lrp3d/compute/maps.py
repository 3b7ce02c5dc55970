"""FullyConnected maps: the operations that rules share relevance over, each with its adjoint.

A map is bilinear in an input `a` and a weight `v`: `map(a, v)` is the operation, `map.adjoint(r, v, shape)` carries
`r` (s, *output) back to (s, *shape), for all seeds `s` at once. Maps know nothing of rules or relevance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.compute import buffers, kernels
from lrp3d.compute.bands import Band
from lrp3d.compute.kernels import Geometry
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

        def one(r: Tensor) -> Tensor:
            return torch.autograd.grad(output, point, r, retain_graph=True)[0]

        return torch.func.vmap(one)(r)

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
        """The adjoint under weights that are all one: `r` (s, *output) handed equally to the inputs (s, *shape)."""
        return self.adjoint(r, torch.ones_like(w) if isinstance(w, Tensor) else 1.0, shape)


def channelwise(b: Tensor, output: Tensor) -> Tensor:
    """A bias per channel (axis 1), shaped to be added to an output (b, c, ...)."""
    return b.reshape(-1, *[1] * (output.dim() - 2))


@dataclass(frozen=True)
class Convolution(LinearMap):
    """Convolution or transposed convolution over 1 to 3 axes; `lrp3d.compute.kernels` chooses how it is computed."""

    keeps_bands = True

    geometry: Geometry

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """(b, c, ...) and torch's weight layout to (b, c', ...)."""
        assert isinstance(v, Tensor)
        return kernels.convolve(a, v, self.geometry)

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Seeds folded into the batch."""
        assert isinstance(v, Tensor)
        seeds, batch = r.shape[:2]
        folded = self._carry(r.flatten(0, 1), v, (seeds * batch, *shape[1:]))
        return torch.unflatten(folded, 0, (seeds, batch))

    def _carry(self, r: Tensor, w: Tensor, shape: Sequence[int]) -> Tensor:
        return kernels.adjoint(r, w, self.geometry, shape)

    def within(self, band: Band, shape: torch.Size) -> tuple[LinearMap, Band] | None:
        """A band of clips or frames in front stays itself; along time the kernel widens it."""
        if band.axis == 0:
            return self, band
        if self.geometry.transposed:
            return None
        axis = band.axis - 2
        first, last = kernels.window(shape[band.axis], band.start, band.stop, self.geometry, axis)
        return Window(self.geometry, axis, band.start, shape[band.axis]), Band(band.axis, first, last)

    def total(self, terms: Sequence[Term]) -> Tensor:
        """Terms side by side, where the kernel allows it."""
        ws = [v for _, v in terms if isinstance(v, Tensor)]
        if len(terms) == 1 or not kernels.joins(ws[0], self.geometry):
            return super().total(terms)
        return kernels.joint_convolve([a for a, _ in terms], ws, self.geometry)

    def adjoints(self, r: Tensor, weights: Sequence[Weight], shape: torch.Size) -> Sequence[Tensor]:
        """Weights side by side, where the kernel allows it."""
        ws = [v for v in weights if isinstance(v, Tensor)]
        if len(weights) == 1 or not kernels.joins(ws[0], self.geometry):
            return super().adjoints(r, weights, shape)
        joint = buffers.derived("joint", ws, lambda: torch.cat(ws, 1))
        wide = self.adjoint(r, joint, torch.Size([shape[0], shape[1] * len(ws), *shape[2:]]))
        return torch.split(wide, shape[1], 2)

    def bias(self, b: Tensor, output: Tensor) -> Tensor:
        """Per output channel."""
        return channelwise(b, output)

    # All weights one: inside a group every output channel sees the same sum, so one channel per group does.

    def _one_channel(self, w: Tensor) -> Tensor:
        inputs, outputs = (0, 1) if self.geometry.transposed else (1, 0)
        size = list(w.shape)
        size[inputs] = self.geometry.groups if self.geometry.transposed else 1
        size[outputs] = 1 if self.geometry.transposed else self.geometry.groups
        return w.new_ones(size)

    def _in_groups(self, a: Tensor, axis: int) -> Tensor:
        """Sum of the channels of each group."""
        return torch.unflatten(a, axis, (self.geometry.groups, -1)).sum(axis + 1)

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Inputs of each output; positions of the zero padding are none."""
        assert isinstance(w, Tensor)
        counted = self(self._in_groups(ones, 1), self._one_channel(w))
        groups = self.geometry.groups
        channels = w.shape[1] * groups if self.geometry.transposed else w.shape[0]
        return counted.unsqueeze(2).expand(-1, -1, channels // groups, *counted.shape[2:]).flatten(1, 2)

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Equal parts to every input of the group."""
        assert isinstance(w, Tensor)
        small = torch.Size([shape[0], self.geometry.groups, *shape[2:]])
        handed = self.adjoint(self._in_groups(r, 2), self._one_channel(w), small)
        in_group = shape[1] // self.geometry.groups
        return handed.unsqueeze(3).expand(-1, -1, -1, in_group, *handed.shape[3:]).flatten(2, 3)


@dataclass(frozen=True)
class Window(Convolution):
    """A convolution of which only outputs from `start` on are looked at, along `axis` (without batch and channels)."""

    axis: int
    start: int
    size: int
    """Of the whole input along that axis."""

    def _carry(self, r: Tensor, w: Tensor, shape: Sequence[int]) -> Tensor:
        return kernels.adjoint_in_window(r, w, self.geometry, shape, self.axis, self.start, self.size)


@dataclass(frozen=True)
class FullyConnected(LinearMap):
    """Fully connected: `a @ w.T` on the last axis."""

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """(..., i) and (o, i) to (..., o)."""
        assert isinstance(v, Tensor)
        return F.linear(a, v)

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """(s, ..., o) to (s, ..., i); outputs that nothing arrives at (queries and keys beside values) are left out."""
        assert isinstance(v, Tensor)
        first, last = _reached(r)
        return r @ v if last - first == len(v) else r[..., first:last] @ v[first:last]

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Every output sees every input."""
        assert isinstance(w, Tensor)
        return ones.sum(-1, keepdim=True).expand(*ones.shape[:-1], w.shape[0])

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Equal parts to every input."""
        return r.sum(-1, keepdim=True).expand(*r.shape[:-1], shape[-1])


FEW = 32  # outputs; to look at fewer is no gain


def _reached(r: Tensor) -> tuple[int, int]:
    """Between which outputs (the last axis) all relevance of seeds lies, where that is half of them or less."""
    size = r.shape[-1]
    if size < FEW or r.device.type != "cpu" or kernels.is_plain() or not r.numel():
        return 0, size
    rows = r.flatten(0, -2)
    positions = ((rows.amax(0) != 0) | (rows.amin(0) != 0)).nonzero().flatten().tolist() or [0]  # NaN counts
    first, last = positions[0], positions[-1] + 1
    return (first, last) if 2 * (last - first) <= size else (0, size)


@dataclass(frozen=True)
class MatrixProduct(LinearMap):
    """A product of batched matrices, of which the input stands on the left of the weight, or on its right."""

    left: bool

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """(..., n, k) times (..., k, m), whichever of them the input is."""
        assert isinstance(v, Tensor)
        return a @ v if self.left else v @ a

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Seeds lie side by side in the axis that the weight does not meet, so that no weight is copied for them."""
        assert isinstance(v, Tensor)
        if v.dim() == 2 and self.left:
            return sum_to_shape(r @ v.mT, shape)
        seeds, rows, columns = len(r), *r.shape[-2:]
        if self.left:
            beside = r.movedim(0, -3).flatten(-3, -2) @ v.mT  # (..., s n, k)
            carried = beside.unflatten(-2, (seeds, rows)).movedim(-3, 0)
        else:
            beside = v.mT @ r.movedim(0, -2).flatten(-2)  # (..., k, s m)
            carried = beside.unflatten(-1, (seeds, columns)).movedim(-2, 0)
        return sum_to_shape(carried, shape)

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Every output sees a row, or a column, of the input."""
        assert isinstance(w, Tensor)
        batch = torch.broadcast_shapes(ones.shape[:-2], w.shape[:-2])
        if self.left:
            return ones.sum(-1, keepdim=True).expand(*batch, ones.shape[-2], w.shape[-1])
        return ones.sum(-2, keepdim=True).expand(*batch, w.shape[-2], ones.shape[-1])

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Equal parts to that row or column."""
        total = r.sum(-1 if self.left else -2, keepdim=True)
        return sum_to_shape(total.expand(*r.shape[:-2], *shape[-2:]), shape)


@dataclass(frozen=True)
class Bilinear(LinearMap):
    """Any function bilinear in input and weight (matmul with a constant, einsum, affine scaling)."""

    function: Callable[[Any, Any], Tensor]

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """`function(a, v)`."""
        return self.function(a, v)


@dataclass(frozen=True)
class Average(LinearMap):
    """Any average with fixed, non-negative weights (pools, interpolation), given as a function of the input."""

    function: Callable[[Tensor], Tensor]
    over_space: Callable[[Tensor], Tensor] | None = None
    """The same average without its part over time, where it pools all of time alike."""

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """`v * function(a)`."""
        return self.function(a) if v == 1.0 else self.function(a) * v

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """That of a clip, or the only one."""
        return _pooled_axis(shape, output)

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """Known where the average was made as a pool."""
        return None if self.over_space is None else Average(self.over_space)

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """The fixed weights stay: a window's equal parts are those of its average."""
        return self.function(ones)

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """By the fixed weights."""
        return self.adjoint(r, 1.0, shape)


@dataclass(frozen=True)
class AxisMatrices(LinearMap):
    """One matrix (output, input) per trailing axis: adaptive average pools of any size, uneven windows included."""

    matrices: tuple[Tensor, ...]

    @staticmethod
    def _contract(a: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        for axis, matrix in enumerate(reversed(matrices), start=1):
            a = (a.movedim(-axis, -1) @ matrix.T.to(a)).movedim(-1, -axis)
        return a

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """That of a clip, or the only one."""
        return _pooled_axis(shape, output)

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The first matrix averages all frames alike; without it every frame stays itself."""
        keep = torch.eye(shape[axis], dtype=self.matrices[0].dtype, device=self.matrices[0].device)
        return AxisMatrices((keep, *self.matrices[1:]))

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """(..., i, j, k) to (..., o, p, q)."""
        out = self._contract(a, self.matrices)
        return out if v == 1.0 else out * v

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """The transposed matrices; seeds are one more leading axis."""
        out = self._contract(r, [matrix.T for matrix in self.matrices])
        return out if v == 1.0 else out * v

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """By the matrices themselves."""
        return self.adjoint(r, 1.0, shape)


def averaging_matrix(inputs: int, outputs: int) -> Tensor:
    """(outputs, inputs): torch's adaptive windows, `floor(i I/O)` to `ceil((i+1) I/O)`, each averaged."""
    matrix = torch.zeros(outputs, inputs, dtype=torch.float64)
    for i in range(outputs):
        start, end = i * inputs // outputs, -(-(i + 1) * inputs // outputs)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


def _pooled_axis(shape: torch.Size, output: torch.Size) -> int | None:
    """The time axis of a pool, if it pools time to one."""
    axis = {5: -3, 3: -1}.get(len(shape))
    return axis if axis is not None and output[axis] == 1 else None


@dataclass(frozen=True)
class SumOver(LinearMap):
    """Sum over axes (counted from the end), times a fixed scale: `sum` and `mean`."""

    axes: tuple[int, ...]
    keepdim: bool
    scale: float = 1.0

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """The third of five axes, or the only one that is summed."""
        if len(shape) == 5:
            return -3 if -3 in self.axes else None
        axes = [axis for axis in self.axes if shape[axis] > 1]
        return axes[0] if len(axes) == 1 and axes[0] != -len(shape) else None

    def time_axes(self, shape: torch.Size, output: torch.Size) -> list[int]:
        """That one, else every axis that is summed: channels may be last, tokens of a frame beside each other."""
        likeliest = super().time_axes(shape, output)
        summed = [axis for axis in sorted(self.axes) if shape[axis] > 1 and axis != -len(shape)]
        return likeliest + [axis for axis in summed if axis not in likeliest]

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The sum over the other axes, times the number of frames."""
        others = tuple(other for other in self.axes if other != axis)
        return SumOver(others, True, self.scale * shape[axis])

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """(...) to (...) without, or with size one at, the axes."""
        total = a.sum(self.axes, keepdim=self.keepdim) if self.axes else a  # torch sums everything over no axis
        return total * (self.scale * v)

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Every summand gets its output's value."""
        if not self.keepdim:
            for axis in sorted(self.axes, key=lambda axis: axis % len(shape)):
                r = r.unsqueeze(axis % len(shape) + 1)
        return (r * (self.scale * v)).expand(r.shape[0], *shape)


@dataclass(frozen=True)
class Scale(LinearMap):
    """A factor per channel (axis 1): batch norm seen as a linear layer."""

    keeps_bands = True

    def within(self, band: Band, shape: torch.Size) -> tuple[LinearMap, Band] | None:
        """The same everywhere."""
        return self, band

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """(b, c, ...) times (c,)."""
        return a * channelwise(v, a) if isinstance(v, Tensor) else a * v

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """The same factor."""
        return r * channelwise(v, r[0]) if isinstance(v, Tensor) else r * v

    def bias(self, b: Tensor, output: Tensor) -> Tensor:
        """Per channel."""
        return channelwise(b, output)


@dataclass(frozen=True)
class Broadcast(LinearMap):
    """A summand, broadcast to the shape of its sum."""

    keeps_bands = True

    shape: torch.Size

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """To `shape`."""
        a = a.expand(self.shape)
        return a if v == 1.0 else a * v

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Summed over what was broadcast."""
        return sum_to_shape(r if v == 1.0 else r * v, shape)


def sum_to_shape(r: Tensor, shape: Sequence[int]) -> Tensor:
    """`r` (s, *broadcast) summed to (s, *shape): the adjoint of broadcasting."""
    extra = r.dim() - 1 - len(shape)
    if extra > 0:
        r = r.sum(tuple(range(1, 1 + extra)))
    stretched = tuple(i + 1 for i, size in enumerate(shape) if size == 1 and r.shape[i + 1] != 1)
    return r.sum(stretched, keepdim=True) if stretched else r
