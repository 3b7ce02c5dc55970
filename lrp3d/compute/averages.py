"""Averages and sums over axes as linear maps; one of the axes may be time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute.geometry import Geometry
from lrp3d.compute.linear_map import LinearMap
from lrp3d.compute.terms import Weight


@dataclass(frozen=True)
class Average(LinearMap):
    """An average with fixed, non-negative weights (a pool, an interpolation), given as a function of its input."""

    function: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, torch.Size], Tensor] | None = None
    """Carries a gradient (b, ...) of the output back to an input of the given shape, where torch has that by itself."""
    over_space: Average | None = None
    """The same average over space alone, where all frames have equal weight in the average; else None."""
    windows: Geometry | None = None
    """How its windows move over its input, if it is a pool."""
    leaves_out: bool = False
    """Whether some outputs may be made of no input, as where values are added into zeros."""

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Computes `v * function(a)`."""
        return self.function(a) if v == 1.0 else self.function(a) * v

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """The time axis of a clip, or the only axis of a signal (b, c, t), if it is averaged to one position."""
        return _pooled_axis(shape, output)

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The average over space alone, where it is known (`over_space`)."""
        return self.over_space

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Carries seeds back as more samples of the batch."""
        if self.gradient is None:
            return super().adjoint(r, v, shape)
        samples = torch.Size((len(r) * shape[0], *shape[1:]))
        out = torch.unflatten(self.gradient(r.flatten(0, 1), samples), 0, (len(r), shape[0]))
        return out if v == 1.0 else out * v

    def may_leave_out(self, shape: torch.Size) -> bool:
        """As it was said when it was made."""
        return self.leaves_out

    def count(self, ones: Tensor, w: Weight) -> Tensor:
        """Sums the fixed weights of the real inputs, because `spread` shares by the same weights."""
        return self.function(ones)

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Distributes relevance in proportion to the fixed weights of the average."""
        return self.adjoint(r, 1.0, shape)


@dataclass(frozen=True)
class AxisMatrices(LinearMap):
    """A matrix (outputs, inputs) for each trailing axis: adaptive average pools, even those with uneven windows."""

    matrices: tuple[Tensor, ...]

    @staticmethod
    def _contract(a: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        for axis, matrix in enumerate(reversed(matrices), start=1):
            a = (a.movedim(-axis, -1) @ matrix.T.to(a)).movedim(-1, -axis)  # (..., inputs, ...) to (..., outputs, ...)
        return a

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """The time axis of a clip, or the only axis of a signal (b, c, t), if it is averaged to one position."""
        return _pooled_axis(shape, output)

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The first matrix averages all frames alike; without it every frame stays itself."""
        keep = torch.eye(shape[axis], dtype=self.matrices[0].dtype, device=self.matrices[0].device)
        return AxisMatrices((keep, *self.matrices[1:]))

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Maps (..., i, j, k) to (..., o, p, q)."""
        out = self._contract(a, self.matrices)
        return out if v == 1.0 else out * v

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Multiplies by the transposed matrices; seeds are one more leading axis."""
        out = self._contract(r, [matrix.T for matrix in self.matrices])
        return out if v == 1.0 else out * v

    def spread(self, r: Tensor, w: Weight, shape: torch.Size) -> Tensor:
        """Distributes relevance in proportion to the entries of the averaging matrices."""
        return self.adjoint(r, 1.0, shape)


def averaging_matrix(inputs: int, outputs: int) -> Tensor:
    """Torch's adaptive average as a matrix (outputs, inputs): row `i` averages `floor(i I/O)` to `ceil((i+1) I/O)`."""
    matrix = torch.zeros(outputs, inputs, dtype=torch.float64, device="cpu")
    for i in range(outputs):
        start, end = i * inputs // outputs, -(-(i + 1) * inputs // outputs)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


def _pooled_axis(shape: torch.Size, output: torch.Size) -> int | None:
    """The time axis (counted from the end) of a pool that reduces time to one position; else None."""
    axis = {5: -3, 3: -1}.get(len(shape))
    return axis if axis is not None and output[axis] == 1 else None


@dataclass(frozen=True)
class SumOver(LinearMap):
    """Sum over axes (counted from the end), times a fixed scale: `sum` and `mean`."""

    axes: tuple[int, ...]
    keepdim: bool
    scale: float = 1.0

    def time_axis(self, shape: torch.Size, output: torch.Size) -> int | None:
        """The third of five axes if it is summed; of other tensors the only summed axis, unless it is the batch."""
        if len(shape) == 5:
            return -3 if -3 in self.axes else None
        axes = [axis for axis in self.axes if shape[axis] > 1]
        return axes[0] if len(axes) == 1 and axes[0] != -len(shape) else None

    def time_axes(self, shape: torch.Size, output: torch.Size) -> list[int]:
        """The likeliest axis, then all other summed ones: channels may be last, and a frame may be several tokens."""
        likeliest = super().time_axes(shape, output)
        summed = [axis for axis in sorted(self.axes) if shape[axis] > 1 and axis != -len(shape)]
        return likeliest + [axis for axis in summed if axis not in likeliest]

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The sum over the other axes, multiplied by the number of frames."""
        others = tuple(other for other in self.axes if other != axis)
        return SumOver(others, True, self.scale * shape[axis])

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Sums over the axes, which disappear or, with `keepdim`, have size one."""
        total = a.sum(self.axes, keepdim=self.keepdim) if self.axes else a  # given no axes, torch sums all
        return total * (self.scale * v)

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Gives every summand the value of its output."""
        if not self.keepdim:
            for axis in sorted(self.axes, key=lambda axis: axis % len(shape)):
                r = r.unsqueeze(axis % len(shape) + 1)
        return (r * (self.scale * v)).expand(r.shape[0], *shape)
