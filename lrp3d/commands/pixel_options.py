"""How large the frames of a clip are and how they are normalised: as is asked for, as the model states, or as usual.

Whatever neither says is assumed, and a note says so with the option or attribute that changes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lrp3d import models, video
from lrp3d.commands import UsageError
from lrp3d.integrations.processing import of_timm
from lrp3d.models.base import check_statistics
from lrp3d.models.making import is_size

SIZE = 224  # for a model that takes any size
SHORT_SIDE = 256  # of the frames out of which squares of SIZE are cut (paper, App. E)


class Pixels(NamedTuple):
    """The side of a clip's frames, that of the video out of which they are cut, and their normalisation."""

    size: int
    short_side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...]
    """One sentence for each thing that is assumed."""


def pixels_for(model: nn.Module, options: argparse.Namespace) -> Pixels:
    """How the pixels of a clip are prepared for a model.

    Raises:
        UsageError: the shorter side that is asked for is less than the size.
        ValueError: the model states what cannot be.
    """
    stated, notes = _stated_by(model)
    mean, std = _statistics(stated)
    if getattr(stated, "mean", None) is None:
        notes.append("the model states no mean and std: ImageNet's are used (give it attributes of these names)")
    size = options.size or _size(stated)
    if not (options.size or isinstance(model, models.VideoModel) or is_size(getattr(stated, "size", None))):
        notes.append(f"the model states no size of frames: {SIZE} pixels are taken (--size takes others)")
    given = getattr(options, "short_side", None)
    short_side = _short_side(stated, size, given)
    says_it = isinstance(model, models.VideoModel) or getattr(stated, "short_side", None) is not None
    if hasattr(options, "short_side") and not (given or says_it):
        notes.append(
            f"the model states no shorter side: that of videos is resized to {short_side} pixels before squares of "
            f"{size} are cut (--short-side takes others)"
        )
    return Pixels(size, short_side, mean, std, tuple(notes))


def _stated_by(model: nn.Module) -> tuple[Any, list[str]]:
    """What states how pixels are prepared, with notes: the model by its attributes, or else timm's settings in it."""
    own = any(getattr(model, name, None) is not None for name in ("mean", "std", "size", "short_side"))
    config: Any = getattr(model, "pretrained_cfg", None)
    if own or not isinstance(config, Mapping) or not config.get("input_size"):
        return model, []
    stated = of_timm(config)
    return stated, ["mean, std and size are those of the model's pretrained_cfg", *stated.notes]


def _statistics(model: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and deviation with which the model expects pixels to be normalised; one number means all channels."""
    mean = _per_channel(getattr(model, "mean", None), video.IMAGENET_MEAN)
    std = _per_channel(getattr(model, "std", None), video.IMAGENET_STD)
    try:
        check_statistics(mean, std)
    except ValueError as error:
        raise ValueError(f"the model's normalisation cannot be used: {error}") from error
    return tuple(mean), tuple(std)


def _per_channel(stated: Any, usual: tuple[float, ...]) -> Any:
    values = usual if stated is None else stated
    values = values.flatten().tolist() if isinstance(values, (torch.Tensor, np.ndarray)) else values
    return [values] * 3 if isinstance(values, (int, float)) else values


def _size(model: Any) -> int:
    size: Any = getattr(model, "size", None)
    return size if is_size(size) else SIZE


def _short_side(model: Any, size: int, given: int | None = None) -> int:
    """The length of the shorter side for squares of a size: in proportion to the model's own, else as in the paper."""
    if given is not None:
        if given < size:
            raise UsageError(f"--short-side {given}: no square of {size} pixels can be cut out of it; see --size")
        return given
    stated: Any = getattr(model, "short_side", None)
    if stated is None:
        return round(size * SHORT_SIDE / SIZE)
    own = _size(model) if is_size(getattr(model, "size", None)) else size
    if not is_size(stated) or stated < own:
        raise ValueError(
            f"the model states short_side={stated!r}, out of which no frame of {own} pixels can be cut: it is a whole "
            "number of pixels, and at least the size"
        )
    return round(size * int(stated) / own)
