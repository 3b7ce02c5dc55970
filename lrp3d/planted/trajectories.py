"""Moving-shape trajectories: five classes that differ only in motion over many frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lrp3d.planted.randomness import Dice

CLASSES = ("circle", "arc", "spiral", "line", "rectangle")


def steps(label: Tensor, dice: Dice, frames: int) -> Tensor:
    """Velocities (b, t, 2) in pixels per frame for each label, with random direction, phase and speed.

    Source: the classes of Broome et al., "Recur, Attend or Convolve?" (WACV 2023), from their description.
    """
    turn = torch.linspace(0, 2 * math.pi, frames + 1, device=label.device)[:-1]
    speed = 1 + 2 * dice.uniform("speed", 1)
    heading = 2 * math.pi * dice.uniform("heading", 1)
    grow = torch.linspace(0, 10, frames + 1, device=label.device)
    tightness = 0.2 + 0.8 * dice.uniform("spiral", 1)
    winding = torch.stack([grow.cos(), grow.sin()], -1) * grow[:, None]
    corner = torch.arange(frames, device=label.device) * 4 // frames * (math.pi / 2)
    paths = [
        _polar(2.0, turn.expand(len(label), -1)),
        _polar(2.0, turn.expand(len(label), -1) / 2),
        tightness[..., None] * winding.diff(dim=0),
        _polar(speed, heading.expand(-1, frames)),
        _polar(speed, corner.expand(len(label), -1)),
    ]
    chosen = torch.stack(paths)[label, torch.arange(len(label), device=label.device)]
    shift = dice.integer("phase", frames, 1)
    order = (torch.arange(frames, device=label.device) + shift) % frames
    rolled = chosen.gather(1, order[..., None].expand(-1, -1, 2))
    return torch.where((dice.uniform("reversed", 1) < 0.5)[..., None], -rolled.flip(1), rolled)


def walk(velocity: Tensor, start: Tensor, low: float, high: float) -> Tensor:
    """Positions (b, t, 2) from velocities (b, t, 2); a wall negates the component that runs into it.

    >>> walk(torch.tensor([[[0.0, 0], [2, 0], [2, 0], [2, 0]]]), torch.tensor([[1.0, 1]]), 0, 4)[0, :, 0]
    tensor([1., 3., 1., 3.])
    """
    position, sign, places = start, torch.ones_like(start), []
    for step in velocity.unbind(1):
        ahead = position + sign * step
        sign = torch.where((ahead < low) | (ahead > high), -sign, sign)
        position = (position + sign * step).clamp(low, high)
        places.append(position)
    return torch.stack(places, 1)


def _polar(radius: Tensor | float, angle: Tensor) -> Tensor:
    """(b, t, 2) of an angle (b, t)."""
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
