"""Convolutions of three frames with fewer multiplications, several frames at once (Toom, Cook, Winograd).

Four frames of the output depend on six frames of the input. In time this is a product of polynomials, which its values
at six points determine: six convolutions over space take the place of twelve, one at each point, of sums of frames and
of taps. The result is the same up to rounding, which is up to ten times coarser. Rows of a matrix do not show it: they
are rounded more by the forward pass.

A frame's rounding errors are as large as those of the largest frame of its tile, also where the frame itself is zero.
So this is no way to compute denominators, which may be small beside those of other frames.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.geometry import Geometry

TAPS = 3
SIZE = 4  # frames of a tile
POINTS = (0, 1, -1, 2, -2)
"""The points beside infinity."""
WORTHWHILE = 2**20  # multiplications of one frame and one tap
LEAST_GAIN = 1.25  # convolutions over space for each that tiles take; adding up frames and results takes time, too


def are_worth_it(r: Tensor, w: Tensor, g: Geometry) -> bool:
    """Whether tiles of frames take far fewer convolutions over space than there are pairs of a frame and a tap."""
    if r.dim() != 5 or r.device.type != "cpu" or w.shape[2] != TAPS or w[0, 0, 0].numel() == 1:
        return False
    if g.transposed or g.groups > 1 or g.stride[0] > 1 or g.dilation[0] > 1:
        return False
    # The kernels of all points are twice as large as the kernel.
    if w[:, :, 0].numel() * r[0, 0, 0].numel() < WORTHWHILE or buffers.is_far_larger(w, r):
        return False
    frames, p = r.shape[2], g.padding[0]
    length = frames + 2 * p - TAPS + 1
    if length < 1:
        return False
    pairs = sum(0 <= i + tap - p < frames for i in range(length) for tap in range(TAPS))
    return LEAST_GAIN * products(length) <= pairs


def products(length: int) -> int:
    """The number of convolutions over space that `length` frames of the output take.

    >>> products(8)
    12
    """
    return -(-length // SIZE) * (SIZE + TAPS - 1)


def convolve(x: Tensor, kernels: Tensor, g: Geometry) -> Tensor:
    """The convolution (b, c', t, h, w) of x (b, c, t, h, w), along time without stride and dilation.

    Args:
        x: the input.
        kernels: (points, c', c, kh, kw), of `kernels_at_points`.
        g: the geometry of the convolution.
    """
    batch, channels, frames, *space = x.shape
    length = frames + 2 * g.padding[0] - TAPS + 1
    tiles, points = -(-length // SIZE), SIZE + TAPS - 1
    before, after = _matrices(tiles, -g.padding[0], frames, length)
    sums = buffers.empty((points, batch, tiles, channels, *space), x)
    matrices = before.to(x).expand(channels, *before.shape)
    at_points = buffers.empty((channels, points * tiles, math.prod(space)), x)
    for sample, summed in zip(x, sums.transpose(0, 1), strict=True):
        torch.bmm(matrices, sample.flatten(2), out=at_points)
        summed.copy_(at_points.transpose(0, 1).view(summed.shape))
    numbers = g.stride[1:], g.padding[1:], g.dilation[1:], False, [0, 0], 1
    results: Tensor | None = None  # (points, b tiles, c', h, w)
    for i, (summed, kernel) in enumerate(zip(sums, kernels, strict=True)):
        result = torch.convolution(summed.flatten(0, 1), kernel, None, *numbers)
        results = buffers.empty((points, *result.shape), x) if results is None else results
        results[i] = result
    assert results is not None
    channels, *space = results.shape[2:]
    out = buffers.empty((batch, channels, length, *space), x)
    matrices = after.to(x).expand(channels, *after.shape)
    for sample, frames_of_sample in zip(results.unflatten(1, (batch, tiles)).transpose(0, 1), out, strict=True):
        of_channels = sample.flatten(0, 1).flatten(2).transpose(0, 1)  # (c', points tiles, h w)
        torch.bmm(matrices, of_channels, out=frames_of_sample.flatten(2))
    return out


def kernels_at_points(w: Tensor) -> Tensor:
    """The kernels (points, c', c, kh, kw) over space at every point, of w (c', c, 3, kh, kw)."""
    _, of_taps, _ = _coefficients()
    taps = w.transpose(1, 2).transpose(0, 1).flatten(1)  # (3, c' c kh kw)
    return (of_taps.to(w) @ taps).view(-1, *w.shape[:2], *w.shape[3:])


@functools.lru_cache(maxsize=256)
def _matrices(tiles: int, start: int, frames: int, length: int) -> tuple[Tensor, Tensor]:
    """The matrices (points tiles, frames) before the convolutions and (length, points tiles) after them."""
    of_frames, _, of_products = _coefficients()
    points = len(of_frames)
    before = of_frames.new_zeros(points, tiles, frames)
    after = of_frames.new_zeros(tiles, SIZE, points, tiles)
    for tile in range(tiles):
        first = tile * SIZE + start
        inside = slice(max(0, first), min(frames, first + points))
        if inside.start < inside.stop:
            before[:, tile, inside] = of_frames[:, inside.start - first : inside.stop - first]
        after[tile, :, :, tile] = of_products
    return before.flatten(0, 1), after.flatten(2).flatten(0, 1)[:length]


@functools.cache
def _coefficients() -> tuple[Tensor, Tensor, Tensor]:
    """What frames and taps are multiplied with in the sums at every point, and products in the sums of the result.

    Returns:
        (points, points) for frames, (points, 3) for taps, (4, points) for products, in float64.
    """
    finite = torch.tensor(POINTS, dtype=torch.float64, device="cpu")

    def powers(count: int) -> Tensor:
        """The values of the first `count` powers at all points; at infinity the last one alone counts."""
        at_infinity = torch.eye(count, dtype=torch.float64, device="cpu")[-1:]
        return torch.cat([finite[:, None] ** torch.arange(count, device="cpu"), at_infinity])

    # Multiplying a polynomial of 4 coefficients by one of 3 goes by values at the points; this is the transpose.
    of_frames = torch.linalg.inv(powers(len(finite) + 1)).T
    scale = of_frames.abs().amax(1, keepdim=True)  # so that sums of frames are about as large as frames
    return of_frames / scale, powers(TAPS) * scale, powers(SIZE).T
