"""The networks that come with the package, and clips of what each was trained for."""

from __future__ import annotations

from dataclasses import fields
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
        return self._as_taken(made.clips), made

    def balanced_clips(self, count: int, seed: int = SEED) -> tuple[Tensor, planted.Planted]:
        """The first clips of a seed that are as many of each class; the classes of the first few clips may be rare."""
        classes = len(self.task.classes)
        each, drawn = max(1, count // classes), 4 * count + 8 * classes
        made = self.task.clips(drawn, seed=seed)
        chosen = torch.cat([(made.labels == label).nonzero().flatten()[:each] for label in range(classes)])
        if len(chosen) < each * classes:
            raise ValueError(f"{drawn} clips of seed {seed} have less than {each} of a class of {self.task.family!r}")
        chosen = chosen.sort().values
        made = planted.Planted(**{field.name: getattr(made, field.name)[chosen] for field in fields(made)})
        return self._as_taken(made.clips), made

    def _as_taken(self, clips: Tensor) -> Tensor:
        return planted.normalise(clips, self.network).to(next(self.network.parameters()).device)


def shipped(name: str, device: torch.device) -> Shipped:
    """A network of the package by its name."""
    task = planted.Task(**models.pretrained_facts(name)["task"])
    return Shipped(models.load_pretrained(name).to(device).eval(), task)
