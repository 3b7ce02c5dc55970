"""Convolutions of three frames with fewer multiplications, several frames at once (Toom, Cook, Winograd).

Four frames of the output depend on six frames of the input. In time this is a product of polynomials, which its values
at six points determine: six convolutions over space take the place of twelve, one at each point, of sums of frames and
of taps. The result is the same up to rounding, which is up to ten times coarser where values have both signs. Rows of a
matrix do not show it: they are rounded more by the forward pass.

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
POINTS = {2: (0, 1, -1), 3: (0, 1, -1, 2), 4: (0, 1, -1, 2, -2)}
"""The points beside infinity, by the number of frames of a tile."""


def fewest(length: int) -> tuple[int, int]:
    """The size of the tiles with which `length` frames take the fewest convolutions over space, and their number.

    >>> fewest(8)
    (4, 12)
    """
    return min(((size, -(-length // size) * (size + TAPS - 1)) for size in POINTS), key=lambda choice: choice[1])


def convolve(x: Tensor, w: Tensor, g: Geometry) -> Tensor:
    """The convolution of x (b, c, t, h, w) with w (c', c, 3, kh, kw); along time without stride and dilation."""
    batch, channels, frames, *space = x.shape
    length = frames + 2 * g.padding[0] - TAPS + 1
    size, _ = fewest(length)
    tiles, points = -(-length // size), size + TAPS - 1
    before, after = _matrices(size, tiles, -g.padding[0], frames, length)
    kernels = buffers.derived(("tiles", size), [w], lambda: _kernels(w, size))
    sums = buffers.empty((points, batch, tiles, channels, *space), x)
    matrices = before.to(x).expand(channels, *before.shape)
    at_points = buffers.empty((channels, points * tiles, math.prod(space)), x)
    for sample, summed in zip(x, sums.transpose(0, 1), strict=True):
        torch.bmm(matrices, sample.flatten(2), out=at_points)
        summed.copy_(at_points.transpose(0, 1).view(summed.shape))
    numbers = g.stride[1:], g.padding[1:], g.dilation[1:], False, [0, 0], 1
    products: Tensor | None = None  # (points, b tiles, c', h, w)
    for i, (summed, kernel) in enumerate(zip(sums, kernels, strict=True)):
        product = torch.convolution(summed.flatten(0, 1), kernel, None, *numbers)
        products = buffers.empty((points, *product.shape), x) if products is None else products
        products[i] = product
    assert products is not None
    channels, *space = products.shape[2:]
    out = buffers.empty((batch, channels, length, *space), x)
    matrices = after.to(x).expand(channels, *after.shape)
    for sample, result in zip(products.unflatten(1, (batch, tiles)).transpose(0, 1), out, strict=True):
        at_points = sample.flatten(0, 1).flatten(2).transpose(0, 1)  # (c', points tiles, h w)
        torch.bmm(matrices, at_points, out=result.flatten(2))
    return out


def _kernels(w: Tensor, size: int) -> Tensor:
    """The kernels (points, c', c, kh, kw) over space at every point."""
    _, of_taps, _ = _coefficients(size)
    taps = w.transpose(1, 2).transpose(0, 1).flatten(1)  # (3, c' c kh kw)
    return (of_taps.to(w) @ taps).view(-1, *w.shape[:2], *w.shape[3:])


@functools.lru_cache(maxsize=256)
def _matrices(size: int, tiles: int, start: int, frames: int, length: int) -> tuple[Tensor, Tensor]:
    """The matrices (points tiles, frames) before the convolutions and (length, points tiles) after them."""
    of_frames, _, of_products = _coefficients(size)
    points = len(of_frames)
    before = of_frames.new_zeros(points, tiles, frames)
    after = of_frames.new_zeros(tiles, size, points, tiles)
    for tile in range(tiles):
        first = tile * size + start
        inside = slice(max(0, first), min(frames, first + points))
        if inside.start < inside.stop:
            before[:, tile, inside] = of_frames[:, inside.start - first : inside.stop - first]
        after[tile, :, :, tile] = of_products
    return before.flatten(0, 1), after.flatten(2).flatten(0, 1)[:length]


@functools.cache
def _coefficients(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """What frames and taps are multiplied with in the sums at every point, and products in the sums of the result.

    Returns:
        (points, points) for frames, (points, 3) for taps, (size, points) for products, in float64.
    """
    finite = torch.tensor(POINTS[size], dtype=torch.float64)

    def powers(count: int) -> Tensor:
        """The values of the first `count` powers at all points; at infinity the last one alone counts."""
        at_infinity = torch.eye(count, dtype=torch.float64)[-1:]
        return torch.cat([finite[:, None] ** torch.arange(count), at_infinity])

    # Multiplying a polynomial of `size` coefficients by one of 3 goes by values at the points; this is the transpose.
    of_frames = torch.linalg.inv(powers(len(finite) + 1)).T
    scale = of_frames.abs().amax(1, keepdim=True)  # so that sums of frames are about as large as frames
    return of_frames / scale, powers(TAPS) * scale, powers(size).T
