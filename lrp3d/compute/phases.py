"""The adjoint of a strided convolution, phase by phase.

With a stride s, the inputs at positions i, i + s, i + 2 s, ... (phase i) see the same taps of the kernel, so that their
part of the adjoint is a convolution without stride: in[s y + i] = sum over shifts d of out[y + d] w[i + p - s d]. All
phases together multiply as often as the strided convolution does, with the kernels that are fast.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lrp3d.compute import buffers
from lrp3d.compute.geometry import Geometry

LANES = 16  # values that a processor multiplies at once; output channels are padded to a multiple of it
MOST_CHANNELS = 32  # of all phases together; of more, the zeros of one dense kernel cost more than empty lanes
Convolve = Callable[[Tensor, Tensor, Geometry], Tensor]


def fit_at_once(w: Tensor, g: Geometry) -> bool:
    """Whether all phases of the stride together have few enough channels to be computed at once."""
    count = math.prod(g.stride)
    is_dense = not g.transposed and g.groups == 1 and max(g.dilation) == 1
    return is_dense and count > 1 and w.shape[1] * count <= MOST_CHANNELS


def one_by_one(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], convolve: Convolve) -> Tensor:
    """The adjoint (b, c, ...) of r (b, c', ...), one convolution per phase.

    The kernel is dense or depthwise, and without dilation.
    """
    out = buffers.empty(shape, r)
    for phase in itertools.product(*map(range, g.stride)):
        place: tuple[Any, ...] = (..., *(slice(i, None, s) for i, s in zip(phase, g.stride, strict=True)))
        target = out[place]
        shifts = [_shifts(i, k, p, s) for i, k, p, s in zip(phase, g.kernel, g.padding, g.stride, strict=True)]
        if not all(shifts):  # the stride is longer than the kernel
            target.zero_()
        elif target.numel():
            kernel = buffers.derived(("phase", g, phase), [w], functools.partial(_kernel, w, g, phase, shifts))
            firsts, cells, sizes = [d[0] for d in shifts], target.shape[2:], r.shape[2:]
            # r is padded where shifts reach beyond it, by the same amount at both ends
            reach = zip(shifts, cells, sizes, strict=True)
            overhang = tuple(max(-d[0], n + d[-1] - size, 0) for d, n, size in reach)
            convolved = convolve(r, kernel, Geometry.dense(tuple(map(len, shifts)), overhang, g.groups))
            starts = [p + d for p, d in zip(overhang, firsts, strict=True)]
            cut: tuple[Any, ...] = (..., *(slice(a, a + n) for a, n in zip(starts, cells, strict=True)))
            target.copy_(convolved[cut])
    return out


def _shifts(phase: int, kernel: int, padding: int, stride: int) -> range:
    """The shifts d for which the tap i + p - s d lies inside the kernel."""
    return range(-((kernel - 1 - phase - padding) // stride), (phase + padding) // stride + 1)


def _kernel(w: Tensor, g: Geometry, phase: Sequence[int], shifts: Sequence[range]) -> Tensor:
    """The kernel of a phase, (c, c', ...) or depthwise (c, 1, ...): its taps in the order of their shifts."""
    kernel = w.transpose(0, 1) if g.groups == 1 else w
    taps = [[i + p - s * d for d in ds] for i, p, s, ds in zip(phase, g.padding, g.stride, shifts, strict=True)]
    # Tap by tap, because `flip` is several times slower along axes this short.
    places: list[tuple[Any, ...]] = [(slice(None), slice(None), *tap) for tap in itertools.product(*taps)]
    at_taps = torch.stack([kernel[place] for place in places], -1)
    return at_taps.view(*kernel.shape[:2], *map(len, shifts))


def at_once(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], convolve: Convolve) -> Tensor:
    """The same in one dense convolution, whose output channels are the input channels of all phases."""
    channels = w.shape[1]
    steps = _outputs_of_a_cell(channels, g)
    sides = [m * s for m, s in zip(steps, g.stride, strict=True)]  # inputs of a cell
    shifts = [_shifts_of_a_cell(*numbers) for numbers in zip(sides, g.kernel, g.padding, g.stride, strict=True)]
    dense = buffers.derived(("phases", g), [w], lambda: _joint_kernel(w, g, sides, shifts))
    cells = [-(-n // side) for n, side in zip(shape[2:], sides, strict=True)]
    # Cell y needs outputs m y + d for all shifts d, so r is padded where these lie beyond it, by the same at both ends.
    overhang = [_overhang(d, m, n, size) for d, m, n, size in zip(shifts, steps, cells, r.shape[2:], strict=True)]
    geometry = replace(Geometry.dense(tuple(map(len, shifts)), tuple(overhang)), stride=tuple(steps))
    convolved = convolve(r, dense, geometry)  # (b, phases c, cells and more)
    starts = [(p + d[0]) // m for p, d, m in zip(overhang, shifts, steps, strict=True)]
    wanted = tuple(slice(a, a + n) for a, n in zip(starts, cells, strict=True))
    out = buffers.empty((len(r), channels, *(n * side for n, side in zip(cells, sides, strict=True))), r)
    for number, phase in enumerate(itertools.product(*map(range, sides))):
        place: tuple[Any, ...] = (..., *(slice(i, None, side) for i, side in zip(phase, sides, strict=True)))
        of_phase: tuple[Any, ...] = (slice(None), slice(number * channels, (number + 1) * channels), *wanted)
        out[place] = convolved[of_phase]
    real: tuple[Any, ...] = (..., *(slice(n) for n in shape[2:]))
    return out[real]


def _outputs_of_a_cell(channels: int, g: Geometry) -> list[int]:
    """How many outputs along each axis share a cell of inputs, so that few lanes of the processor run empty."""

    def cost(steps: Sequence[int]) -> float:
        phases = math.prod(m * s for m, s in zip(steps, g.stride, strict=True))
        shifts = math.prod(
            len(_shifts_of_a_cell(m * s, k, p, s))
            for m, k, p, s in zip(steps, g.kernel, g.padding, g.stride, strict=True)
        )
        return -(-channels * phases // LANES) * shifts / math.prod(steps)

    alone = [1] * len(g.stride)
    pairs = [[2 if i == axis else 1 for i in range(len(alone))] for axis, s in enumerate(g.stride) if s > 1]
    return min([alone, *pairs], key=cost)


def _shifts_of_a_cell(side: int, kernel: int, padding: int, stride: int) -> range:
    """The shifts d for which some tap i + p - s d of an input i of the first cell lies inside the kernel."""
    first, last = (_shifts(i, kernel, padding, stride) for i in (0, side - 1))
    return range(first.start, last.stop)


def _overhang(shifts: range, step: int, cells: int, size: int) -> int:
    """By how much r is padded at both ends, so that all cells find what they need, and a convolution stops at each."""
    least = max(-shifts[0], step * (cells - 1) + shifts[-1] + 1 - size, 0)
    return least + -(least + shifts[0]) % step


def _joint_kernel(w: Tensor, g: Geometry, sides: Sequence[int], shifts: Sequence[range]) -> Tensor:
    """The kernels of all phases (phases c, c', ...), their shifts in the order of a convolution."""
    dense = w.transpose(0, 1)
    for side, kernel, p, s, ds in zip(sides, g.kernel, g.padding, g.stride, shifts, strict=True):
        # Phase i takes the taps i + p - s d, here with zeros where they lie outside the kernel.
        lowest, highest = p - s * ds[-1], side - 1 + p - s * ds[0]
        taps = functional.pad(dense.movedim(2, -1), (-lowest, highest + 1 - kernel))  # the axis of taps comes last
        dense = torch.stack([taps[..., i : i + s * (len(ds) - 1) + 1 : s].flip(-1) for i in range(side)], -2)
    axes = len(sides)  # dense is (c, c', phases and shifts of one axis after the other)
    phases, places = (range(first, 2 + 2 * axes, 2) for first in (2, 3))
    return dense.permute(*phases, 0, 1, *places).flatten(0, axes).contiguous()
