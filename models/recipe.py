"""The recipe of a training: epochs, batches and learning rates, which identify a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from .base import check_at_least


@dataclass(frozen=True)
class Recipe:
    """How to train. Two runs with the same recipe on the same data and machine end with the same weights.

    Args:
        epochs: passes over the data.
        batch_size: clips per step in all processes together.
        learning_rate: the peak after the warm-up; the rate ends at zero (Loshchilov & Hutter 2017).
        momentum: Nesterov momentum.
        weight_decay: weight decay of every parameter.
        warmup_epochs: epochs of linear increase from zero; may be a fraction.
        clip_gradient: largest norm of the gradient, None for no limit.
        seed: seed of shuffling, augmentation and dropout.

    Raises:
        ValueError: a number is outside of its range.

    >>> recipe = Recipe(epochs=30, learning_rate=0.02, warmup_epochs=1)
    >>> recipe.batch_size, recipe.learning_rate_at(0.5)
    (16, 0.01)
    """

    epochs: int = 50
    batch_size: int = 16
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 0.0
    clip_gradient: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        check_at_least(0, seed=self.seed)
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be a number above 0, got {self.learning_rate}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be a number from 0 on, got {self.weight_decay}")
        if self.clip_gradient is not None and not self.clip_gradient > 0:
            raise ValueError(f"clip_gradient must be a number above 0, or None, got {self.clip_gradient}")
        if not 0 <= self.warmup_epochs <= self.epochs:
            raise ValueError(f"warmup_epochs must be between 0 and {self.epochs}, got {self.warmup_epochs}")

    def learning_rate_at(self, epoch: float) -> float:
        """The learning rate after `epoch` epochs, which may be a fraction.

        >>> recipe = Recipe(epochs=4, learning_rate=1.0, warmup_epochs=2)
        >>> [round(recipe.learning_rate_at(epoch), 2) for epoch in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        """
        if epoch < self.warmup_epochs:
            return self.learning_rate * epoch / self.warmup_epochs
        rest = self.epochs - self.warmup_epochs
        done = (epoch - self.warmup_epochs) / rest if rest else 1.0
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2


def recipe_from(recipe: Recipe | None, options: dict[str, Any]) -> Recipe:
    """The given recipe, or one with the given fields.

    Raises:
        ValueError: both are given, or a field is unknown.
    """
    names = [field.name for field in fields(Recipe)]
    unknown = sorted(set(options) - set(names))
    if unknown:
        raise ValueError(f"a recipe has {', '.join(names)}, not {', '.join(unknown)}")
    if recipe is not None and options:
        raise ValueError(f"give a recipe or its fields ({', '.join(options)}), not both")
    return recipe or Recipe(**options)
