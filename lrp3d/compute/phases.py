"""The adjoint of a strided convolution, phase by phase.

With a stride s, the inputs at positions i, i + s, i + 2 s, ... (phase i) see the same taps of the kernel, so that their
part of the adjoint is a convolution without stride: in[s y + i] = sum over shifts d of out[y + d] w[i + p - s d]. All
phases together multiply as often as the strided convolution does, with the kernels that are fast.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.geometry import Geometry

Convolve = Callable[[Tensor, Tensor, Geometry], Tensor]


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
    # The tap of shift d is i + p - s d: every s-th one from the last shift on, in the opposite order.
    firsts = [i + p - s * d[-1] for i, p, s, d in zip(phase, g.padding, g.stride, shifts, strict=True)]
    every: tuple[Any, ...] = (..., *(slice(a, None, s) for a, s in zip(firsts, g.stride, strict=True)))
    return kernel[every].flip(*range(2, w.dim())).contiguous()


def at_once(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int]) -> Tensor:
    """The same in one dense convolution, whose output channels are the input channels of all phases."""
    channels, axes = w.shape[1], len(g.stride)
    # The shifts d for which some tap i + p - s d lies inside the kernel.
    first = [-((k - 1 - p) // s) for k, p, s in zip(g.kernel, g.padding, g.stride, strict=True)]
    last = [(s - 1 + p) // s for p, s in zip(g.padding, g.stride, strict=True)]
    dense = buffers.derived(("phases", g), [w], lambda: _joint_kernel(w, g, first, last))
    cells = [-(-n // s) for n, s in zip(shape[2:], g.stride, strict=True)]  # positions of one phase
    # Every cell y needs all shifts d, so r is padded where they reach beyond it, by the same amount at both ends.
    overhang = [max(-a, n + b - size, 0) for a, b, n, size in zip(first, last, cells, r.shape[2:], strict=True)]
    ones, zeros = [1] * axes, [0] * axes
    convolved = torch.convolution(
        r, dense, None, ones, overhang, ones, False, zeros, 1
    )  # (b, phases c, cells and more)
    wanted = tuple(slice(p + a, p + a + n) for p, a, n in zip(overhang, first, cells, strict=True))
    out = buffers.empty((len(r), channels, *(n * s for n, s in zip(cells, g.stride, strict=True))), r)
    for number, phase in enumerate(itertools.product(*map(range, g.stride))):
        place: tuple[Any, ...] = (..., *(slice(i, None, s) for i, s in zip(phase, g.stride, strict=True)))
        of_phase: tuple[Any, ...] = (slice(None), slice(number * channels, (number + 1) * channels), *wanted)
        out[place] = convolved[of_phase]
    real: tuple[Any, ...] = (..., *(slice(n) for n in shape[2:]))
    return out[real]


def _joint_kernel(w: Tensor, g: Geometry, first: Sequence[int], last: Sequence[int]) -> Tensor:
    """The kernels of all phases (phases c, c', ...), their shifts in the order of a convolution."""
    lengths = [b - a + 1 for a, b in zip(first, last, strict=True)]
    phases = list(itertools.product(*map(range, g.stride)))
    dense = w.new_zeros(len(phases), w.shape[1], len(w), *lengths)
    for phase, kernel in zip(phases, dense, strict=True):
        for shift in itertools.product(*map(range, lengths)):
            tap = [i + p - s * (d + a) for i, p, s, d, a in zip(phase, g.padding, g.stride, shift, first, strict=True)]
            if all(0 <= t < k for t, k in zip(tap, g.kernel, strict=True)):
                kernel.flatten(2)[:, :, _flat(shift, lengths)] = w.flatten(2)[:, :, _flat(tap, g.kernel)].T
    return dense.flatten(0, 1)


def _flat(index: Sequence[int], sizes: Sequence[int]) -> int:
    return functools.reduce(lambda sum, pair: sum * pair[1] + pair[0], zip(index, sizes, strict=True), 0)
