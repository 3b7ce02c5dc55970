"""Checks the arguments of `explain`; each bad one raises an error of one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lrp3d.compute.precision import PRECISIONS
from lrp3d.defaults import MERGES
from lrp3d.layout import Layout, axes_hint, axis_to_add
from lrp3d.outputs import Chosen
from lrp3d.transfer import answers, numbers, placed
from lrp3d.values import as_tensor, check_counts, check_tensor, is_number, whole_numbers

if TYPE_CHECKING:
    pass


def check_seed(seed: Any) -> int | None:
    """A seed of random numbers, or None; raises ValueError for anything else."""
    if seed is None:
        return None
    number = -1 if isinstance(seed, bool) or not isinstance(seed, Integral) else int(seed)
    if not 0 <= number < 2**63:
        raise ValueError(f"seed must be a whole number, at least 0 and below 2**63, got {seed!r}")
    return number


def check_floor(floor: Any, temporal: bool, against: Any) -> int:
    """The number of untrained networks of which the floor is the mean.

    Raises ValueError if it is none, or if there is no matrix whose floor could be measured.
    """
    if not isinstance(floor, (Integral, np.bool_)) or int(floor) < 0:
        raise ValueError(f"floor must be True, False, or how many untrained networks are averaged, got {floor!r}")
    if floor and (not temporal or against is not None):
        raise ValueError("the floor is that of a matrix of one class: floor=True needs temporal=True and no against=")
    return int(floor)


def check_options(chunk_size: Any, memory_budget: Any, tolerance: Any, precision: Any) -> None:
    """Raises ValueError if a keyword argument is out of its range, and TypeError if it should be whole and is not."""
    check_counts(chunk_size=chunk_size, memory_budget=memory_budget)
    if not is_number(tolerance) or not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be a share of relevance, at least 0 (exact) and below 1, got {tolerance!r}")
    if precision == "medium":
        raise ValueError(
            'precision="medium" no longer exists: propagation in bfloat16 was too far from exact; '
            'use "highest", or "high" (TF32, on a GPU)'
        )
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, got {precision!r}")


def check_merge(merge: Any) -> None:
    """Raises ValueError unless this is a way to merge the logits of pathways."""
    if merge not in MERGES:
        raise ValueError(f"merge must be one of {', '.join(map(repr, MERGES))}, got {merge!r}")


def check_clip(clip: Any, layout: str) -> list[Tensor]:
    """The clip's pathways; raises TypeError or ValueError for anything that is not a clip."""
    axes = Layout(layout)
    pathways = list(clip) if isinstance(clip, (list, tuple)) else [clip]
    if not pathways:
        raise ValueError("the list of pathways is empty; expected e.g. [slow, fast], each (b, 3, t, h, w)")
    for x in pathways:
        check_tensor(x, "clip must be a torch.Tensor (or a list of pathways)")
        if x.layout != torch.strided or x.is_meta or x.is_nested:
            what = "one without values (device meta)" if x.is_meta else f"the layout {x.layout}: pass clip.to_dense()"
            what = "a nested tensor: pass clips of one shape, torch.stack(clip.unbind())" if x.is_nested else what
            raise ValueError(f"clip must be a dense tensor that holds its values, got {what}")
        if not x.is_floating_point():
            raise TypeError(
                f"clip must hold floating-point values, normalised as the model expects, got {x.dtype}; "
                "convert it first, e.g. (clip.float() / 255 - mean) / std"
            )
        if x.dim() != axes.axes and (len(pathways) > 1 or not 2 <= x.dim() <= 4):
            raise ValueError(
                f"clip must have {axes.axes} axes ({layout}), or be a batch of images (b, 3, h, w), "
                f"got shape {tuple(x.shape)}; add the axis of clips with clip.unsqueeze(0) if it is missing"
            )
        if 0 in x.shape[1:]:
            raise ValueError(f"the clip is empty: shape {tuple(x.shape)}")
        # On another device this waits until the logits are checked, so that the host waits only once.
        if x.device.type == "cpu":
            check_numbers(bool(torch.isfinite(x).all()))
    if len({len(x) for x in pathways}) > 1:
        raise ValueError(f"pathways must hold the same clips, got batches of {[len(x) for x in pathways]}")
    return pathways


def check_frames(pathways: Sequence[Tensor], layout: str, batch: int, advice: str = "pass temporal=False") -> None:
    """Raises ValueError unless a clip has two frames, as temporal relevance needs; `advice` says what to do instead."""
    axes = Layout(layout)
    if max(axes.sizes(x, batch)["t"] for x in pathways) < 2:
        raise ValueError(f"temporal relevance needs at least 2 frames, the clip has 1; {advice}")


def check_axes(model: nn.Module, pathways: Sequence[Tensor], layout: str) -> None:
    """Raises ValueError for a clip without the axis of clips, if the layers of the model work on (b, c, t, h, w)."""
    for x in pathways:
        if (
            x.dim() == 4
            and Layout(layout).axes == 5
            and any(isinstance(m, _IN_SPACE_AND_TIME) for m in model.modules())
        ):
            raise ValueError(f"the model takes clips ({layout}), got shape {tuple(x.shape)}: {axis_to_add(x, layout)}")


_IN_SPACE_AND_TIME = (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d)


_ONE_EACH = "; if that is one logit for each clip, pass output=lambda logits: logits[:, None]"


def check_logits(output: Any, pathways: Sequence[Tensor], layout: str) -> None:
    """Raises ValueError unless the model returned logits (b, k), one row for each clip."""
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] == 0 or not output.is_floating_point():
        description = (
            f"{output.dtype} of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        )
        raise ValueError(
            f"the model must return logits (b, k) or (b, n, k) with at least one class, got {description}"
            + (_ONE_EACH if isinstance(output, Tensor) and output.shape == pathways[0].shape[:1] else "")
            + axes_hint(pathways, layout)
        )
    axes = Layout(layout)
    clips = len(pathways[0]) if pathways[0].dim() != axes.axes else axes.batch(pathways[0])
    if clips is not None:
        check_rows_of_logits(output, clips, axes_hint(pathways, layout))


def check_rows_of_logits(output: Tensor, clips: int, hint: str = "") -> None:
    """Raises ValueError unless there is a row of logits for each clip; `hint` may end the sentence."""
    if len(output) != clips:
        advice = (
            "if a row belongs to a frame, say so: output=lambda logits: logits.unflatten(0, (number of clips, -1))"
            if len(output) > clips
            else "if the first axis of what the model takes holds the frames of all clips, pass layout='(b t) c h w'"
        )
        raise ValueError(
            f"the model returned {len(output)} rows of logits for {clips} clip{'s' if clips != 1 else ''}; {advice}"
            + ("" if len(output) < clips else hint)
        )


def check_numbers(clip: bool, logits: bool = True) -> None:
    """Raises ValueError unless the clip is finite, and so are the logits."""
    if not clip:
        raise ValueError("the clip contains NaN or infinite values; clean it before explaining it")
    if not logits:
        raise ValueError(
            "the model's logits contain NaN or infinite values, so nothing can be explained; if the model masks "
            "classes with -inf, pass an output= that takes the others, as in output=lambda logits: logits[:, :10]"
        )


def check_relevance(relevance: bool) -> None:
    """Raises ValueError unless the relevance of a finite clip and finite logits is finite as well."""
    if not relevance:
        raise ValueError(
            "the relevance is NaN or infinite, although the clip and the logits are finite: a weight of the model is "
            "(as in the row of a class that output= leaves out), or a sum overflows; find the weight with "
            "[name for name, x in model.named_parameters() if not x.isfinite().all()], or explain in float64"
        )


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
