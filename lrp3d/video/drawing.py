"""Draws a clip for examples that have no video."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lrp3d.values import check_counts


def draw_clip(frames: int = 16, size: int = 112, seed: int = 0) -> Tensor:
    """Draw a clip of a disc, a square and a ring that move, bounce off the walls and pass over one another.

    Args:
        frames: number of frames t.
        size: height and width in pixels.
        seed: decides colours, places and velocities; the same seed draws the same clip on every machine.

    Returns:
        uint8 RGB (t, h, w, 3).

    Raises:
        TypeError: a number is not whole.
        ValueError: a number is not positive.

    >>> import lrp3d
    >>> lrp3d.video.draw_clip(frames=4, size=32).shape
    torch.Size([4, 32, 32, 3])
    """
    check_counts(frames=frames, size=size)
    generator = torch.Generator().manual_seed(seed)
    axis = (torch.arange(size, dtype=torch.float64, device="cpu") + 0.5) / size
    picture = _background(axis, frames, torch.rand(2, 3, generator=generator, dtype=torch.float64, device="cpu"))
    radii = torch.tensor([0.14, 0.11, 0.16], dtype=torch.float64, device="cpu")
    places = _bounce(frames, radii, generator)
    for kind, radius in enumerate(radii):
        hue = torch.rand(3, generator=generator, dtype=torch.float64, device="cpu")
        # The brightest channel is full and the darkest empty, so that shapes stand out from the muted background.
        colour = (hue - hue.min()) / (hue.max() - hue.min()).clamp(min=1e-6)
        x, y = (axis - places[:, kind, dim, None] for dim in range(2))
        cover = _cover(kind, x.unsqueeze(-2), y.unsqueeze(-1), float(radius), size).unsqueeze(-1)
        picture = picture + cover * (colour - picture)
    return (picture * 255).round().to(torch.uint8)


def _background(axis: Tensor, frames: int, corners: Tensor) -> Tensor:
    """A muted slope from one colour to another, (t, h, w, 3)."""
    slope = ((axis.unsqueeze(0) + axis.unsqueeze(1)) / 2).unsqueeze(-1)
    return (0.25 + 0.3 * (corners[0] + slope * (corners[1] - corners[0]))).expand(frames, -1, -1, -1)


def _bounce(frames: int, radii: Tensor, generator: torch.Generator) -> Tensor:
    """Centres (t, shapes, 2) that move straight and are reflected at the walls."""
    start = torch.rand(len(radii), 2, generator=generator, dtype=torch.float64, device="cpu")
    angle = 2 * math.pi * torch.rand(len(radii), generator=generator, dtype=torch.float64, device="cpu")
    heading = torch.stack([angle.cos(), angle.sin()], -1)
    # 1.2 widths in a clip, however many frames it has.
    travelled = start + 1.2 / frames * torch.arange(frames, dtype=torch.float64, device="cpu").view(-1, 1, 1) * heading
    folded = 1 - (travelled % 2 - 1).abs()
    room = radii.unsqueeze(-1)
    return room + folded * (1 - 2 * room)


def _cover(kind: int, x: Tensor, y: Tensor, radius: float, size: int) -> Tensor:
    """The part of each pixel, from 0 to 1, that a disc (0), a square (1) or a ring (2) covers."""
    if kind == 1:
        inside = radius - torch.maximum(x.abs(), y.abs())
    else:
        distance = (x.square() + y.square()).sqrt()
        inside = radius - distance if kind == 0 else 0.3 * radius - (distance - 0.7 * radius).abs()
    return (inside * size + 0.5).clamp(0, 1)
