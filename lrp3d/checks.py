"""Checks the arguments of `explain`; each bad one raises an error of one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrp3d.compute.precision import PRECISIONS
from lrp3d.defaults import MERGES
from lrp3d.layout import Layout, axes_hint, axis_to_add
from lrp3d.printed import listed
from lrp3d.values import check_counts, check_tensor, is_number


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


def relevance_is_not_finite(layers: Sequence[str], grown: str, dtype: torch.dtype) -> ValueError:
    """The error where relevance is NaN or infinite, although the clip and the logits are finite.

    Args:
        layers: those of which a weight is NaN or infinite.
        grown: the layer behind which relevance is first beyond all numbers, with its rule; empty if that is unknown.
        dtype: the type of relevance.
    """
    begin = "the relevance is NaN or infinite, although the clip and the logits are finite: "
    if layers:
        return ValueError(
            f"{begin}so is a weight of {listed(layers, 3)} (as in the row of a class that output= leaves out); find "
            "all with [name for name, x in model.named_parameters() if not x.isfinite().all()]"
        )
    where = f", first behind {grown}" if grown else ""
    numbers, wider = str(dtype).removeprefix("torch."), "" if dtype == torch.float64 else ", or explain in float64"
    return ValueError(f"{begin}from layer to layer it grows beyond all numbers of {numbers}{where}. {GROWTH}{wider}")


GROWTH = (
    "Rules that divide by sums of both signs (epsilon, gamma, alpha-beta) let it grow in deep networks, most of all in "
    "those that nobody trained: take a composite whose shares are never negative, such as 'paper'"
)
"""Why relevance grows from layer to layer, and what to do."""
