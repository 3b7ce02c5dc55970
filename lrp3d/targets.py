"""Which class of each clip is explained, and which classes it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lrp3d.outputs import Chosen
from lrp3d.transfer import answers, numbers, placed
from lrp3d.values import as_tensor, whole_numbers

Against = int | str | Sequence[int] | Tensor
"""The classes with which a class is contrasted: "next", one, several, or several for each clip."""


def is_contrastive(contrastive: bool | None, against: Any) -> bool:
    """Whether relevance is contrasted with that of the negated class; raises ValueError for two contrasts at once."""
    if against is not None and contrastive:
        raise ValueError(
            "a class is contrasted with other classes (against=) or with its own negated row (contrastive=True): "
            "leave one of them out"
        )
    return against is None if contrastive is None else contrastive


def targets_of(target: Any, logits: Tensor, against: Any = None) -> Chosen:
    """The class to explain for every clip; raises TypeError or ValueError with the values that are allowed.

    The sign of a lone logit (b, 1) decides which of two classes is predicted. `against` is as in `lrp3d.explain`.
    """
    chosen = _targets_of(target, logits)
    return chosen if against is None else replace(chosen, against=_foils_of(against, chosen.target, logits))


def _targets_of(target: Any, logits: Tensor) -> Chosen:
    clips, classes = logits.shape
    if target is None:
        best = logits.detach().argmax(1)
        if classes > 1 or not answers([(logits.detach() < 0).any()])[0]:
            return Chosen(best)
        return Chosen(best, torch.where(logits.detach()[:, 0] < 0, -1.0, 1.0))
    chosen = class_numbers(target)
    if chosen.dim() > 1 or (chosen.dim() == 1 and len(chosen) != clips):
        raise ValueError(
            f"target must be one class for all clips or one per clip ({clips}), got shape {tuple(chosen.shape)}"
        )
    (target_classes,) = numbers([chosen])
    if target_classes.numel() and not (int(target_classes.min()) >= 0 and int(target_classes.max()) < classes):
        raise ValueError(f"target must be a class from 0 to {classes - 1}, got {target_classes.long().tolist()}")
    return Chosen(placed(chosen, logits.device).expand(clips).clone())


def _foils_of(against: Any, target: Tensor, logits: Tensor) -> Tensor:
    """The classes (b, m) that `against` means."""
    clips, classes = logits.shape
    if classes < 2:
        raise ValueError("against= holds a class against another, and the model has one logit: leave it out")
    if isinstance(against, str):
        if against != "next":
            raise ValueError(f'against must be "next" (the best other class), a class, or several, got {against!r}')
        others = logits.detach().scatter(1, target[:, None], -torch.inf)
        return others.argmax(1, keepdim=True)
    foils = whole_numbers(against)
    if foils is None:
        raise TypeError(f'against must be a class, several, or "next", got {against!r}')
    if foils.dim() > 2 or foils.numel() == 0 or (foils.dim() == 2 and len(foils) != clips):
        raise ValueError(
            f"against must be one class, several (m,) for all clips, or several for each ({clips}, m), "
            f"got shape {tuple(foils.shape)}"
        )
    foil_classes, own = (x.long() for x in numbers([placed(foils, logits.device), target]))
    rows = foil_classes.reshape(1, -1).expand(clips, -1) if foils.dim() < 2 else foil_classes
    if not (int(foil_classes.min()) >= 0 and int(foil_classes.max()) < classes):
        raise ValueError(f"against must hold classes from 0 to {classes - 1}, got {against}")
    if bool((rows == own[:, None]).any()):
        clip = int((rows == own[:, None]).any(1).nonzero()[0])
        which = f"clip {clip}" if clips > 1 else "the clip"
        raise ValueError(
            f"{which} is explained as class {int(own[clip])}, which cannot be held against itself: leave it out of "
            "against="
        )
    for row in rows.tolist():
        if len(set(row)) < len(row):
            raise ValueError(f"against names a class twice: {row}")
    return placed(rows.contiguous(), logits.device)


def class_numbers(target: Any) -> Tensor:
    """The tensor of one class, or of several; raises TypeError for anything that is no number of a class."""
    try:
        classes = as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"target must be a class, one class per clip, or None, got {target!r}") from None
    if classes.numel() and whole_numbers(classes) is None:
        raise TypeError(f"target must be a class index (a whole number), got {classes.dtype}")
    return classes.long()
