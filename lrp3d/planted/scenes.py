"""Paints the frames of a clip: a cluttered background, noise, and at most one rectangle in every frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.planted.randomness import Dice

RED, GREEN, BLUE, WHITE = (0.95, 0.1, 0.1), (0.1, 0.9, 0.1), (0.15, 0.2, 0.95), (1.0, 1.0, 1.0)
CLUTTER = 3  # grey squares of the background


@dataclass
class Rectangles:
    """At most one rectangle in every frame: whether it is there, its corner and sides in pixels, its colour."""

    present: Tensor
    """(b, t), boolean."""
    corner: Tensor
    """(b, t, 2), row and column, int64."""
    sides: Tensor
    """(b, t, 2), height and width, int64."""
    colour: Tensor
    """(b, t, 3) in [0, 1]."""

    def mask(self, size: int) -> Tensor:
        """The pixels (b, t, h, w) that the rectangles cover."""
        line = torch.arange(size, device=self.corner.device)
        inside = (line >= self.corner[..., None]) & (line < (self.corner + self.sides)[..., None])  # (b, t, 2, size)
        return inside[:, :, 0, :, None] & inside[:, :, 1, None, :] & self.present[..., None, None]


def paint(rectangles: Rectangles, dice: Dice, size: int, noise: float) -> Tensor:
    """Pixels (b, 3, t, h, w) in [0, 1]: the rectangles before a static, cluttered, noisy background."""
    frames = rectangles.present.shape[1]
    background = _background(dice, size)[:, :, None].expand(-1, -1, frames, -1, -1)
    covered = rectangles.mask(size)[:, None]
    pixels = torch.where(covered, rectangles.colour.transpose(1, 2)[..., None, None], background)
    if noise:
        pixels = pixels + noise * (2 * dice.uniform("noise", 3, frames, size, size) - 1)
    return pixels.clamp(0, 1)


def _background(dice: Dice, size: int) -> Tensor:
    """Grey (b, 3, h, w), with squares of other greys."""
    shade = 0.35 + 0.2 * dice.uniform("shade", 1 + CLUTTER)
    sides = 2 + dice.integer("clutter sides", max(size // 4, 1), CLUTTER, 2)
    corner = dice.integer("clutter corner", size, CLUTTER, 2)
    present = torch.ones_like(corner[..., 0], dtype=torch.bool)
    masks = Rectangles(present, corner, sides, shade[:, 1:, None]).mask(size)
    picture = shade[:, 0, None, None].expand(-1, size, size)
    for i in range(CLUTTER):
        picture = torch.where(masks[:, i], shade[:, i + 1, None, None], picture)
    return picture[:, None].expand(-1, 3, -1, -1)
