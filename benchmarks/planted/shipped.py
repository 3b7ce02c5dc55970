"""The networks that come with the package, and clips of what each was trained for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lrp3d import models, planted

SEED = 5  # of clips that no network was trained on


class Shipped(NamedTuple):
    """A trained network, and its task."""

    network: models.VideoModel
    task: planted.Task

    def clips(self, count: int, seed: int = SEED) -> tuple[Tensor, planted.Planted]:
        """Clips (b, 3, t, h, w) as the network takes them, where it is, and what was planted in them."""
        made = self.task.clips(count, seed=seed)
        device = next(self.network.parameters()).device
        return planted.normalise(made.clips, self.network).to(device), made


def shipped(name: str, device: torch.device) -> Shipped:
    """A network of the package by its name."""
    task = planted.Task(**models.pretrained_facts(name)["task"])
    return Shipped(models.load_pretrained(name).to(device).eval(), task)
