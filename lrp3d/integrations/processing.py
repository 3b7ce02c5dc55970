"""How a library prepares the pixels of a network: the settings that come with it, as the reader of videos has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Processing", "of_mmaction", "of_timm", "of_torchvision", "of_transformers"]

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
"""The numbers by which Pillow, and after it transformers, names ways to resize."""


@dataclass(frozen=True)
class Processing:
    """What is done to the pixels of a video before a network sees them; None for what a library does not say.

    >>> of_timm({"input_size": (3, 224, 224), "crop_pct": 0.875, "mean": (0.5,) * 3, "std": (0.5,) * 3}).short_side
    256
    """

    size: int | None = None
    """The side of the square that is cut out."""
    short_side: int | None = None
    """The length to which the shorter side is resized before."""
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    """One sentence for each thing that is done otherwise here."""


def of_timm(config: Mapping[str, Any]) -> Processing:
    """The settings of a `pretrained_cfg`."""
    size = int(config["input_size"][-1])
    share, mode = config.get("crop_pct"), config.get("crop_mode") or "center"
    return Processing(
        size,
        None if not share else max(size, math.floor(size / share)),
        _values(config.get("mean")),
        _values(config.get("std")),
        (*_resampled("timm", config.get("interpolation")), *(_squashed("timm") if mode == "squash" else ())),
    )


def of_torchvision(transform: Any) -> Processing:
    """The settings of the transforms that belong to a network's weights."""
    size = int(transform.crop_size[-1])
    sides = [int(side) for side in getattr(transform, "resize_size", None) or ()]
    way = getattr(transform, "interpolation", None)
    squashed = _squashed("torchvision", sides[::-1]) if len(sides) == 2 else ()
    return Processing(
        size,
        max(size, min(sides)) if sides else None,
        _values(transform.mean),
        _values(transform.std),
        (*_resampled("torchvision", getattr(way, "value", way)), *squashed),
    )


def of_mmaction(pipeline: Sequence[Mapping[str, Any]], preprocessor: Mapping[str, Any]) -> Processing:
    """The settings of the pipeline with which a recogniser is tested; its statistics are of pixels up to 255."""
    crops = ("CenterCrop", "ThreeCrop", "TenCrop")
    found = next((step["crop_size"] for step in pipeline if step["type"] in crops and "crop_size" in step), None)
    size = _square(found)
    resize = next((step for step in pipeline if step["type"] == "Resize"), {})
    scale = resize.get("scale")
    sides = [int(side) for side in (scale if isinstance(scale, Sequence) else ()) if 0 < side < math.inf]
    squashed = _squashed("mmaction", sides) if sides and not resize.get("keep_ratio", True) else ()
    mean, std = (_values(preprocessor.get(name), 255) for name in ("mean", "std"))
    return Processing(size, max(size or 0, min(sides)) if sides else None, mean, std, squashed)


def of_transformers(config: Mapping[str, Any], size: int) -> Processing:
    """The settings of a `preprocessor_config.json` for frames of a size."""
    if not config:
        return Processing(size)
    sides = config.get("size") if config.get("do_resize", True) else None
    edge = sides.get("shortest_edge") if isinstance(sides, Mapping) else sides
    height_and_width = [sides["width"], sides["height"]] if isinstance(sides, Mapping) and "height" in sides else []
    short = min(height_and_width) if height_and_width else edge
    if short and config.get("crop_pct"):
        short = math.floor(short / config["crop_pct"])
    # Pixels from 0 to 1 are multiplied, shifted and normalised; both steps are one normalisation.
    factor = 255 * config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 255
    shift = 1 if config.get("offset") else 0
    normalised = config.get("do_normalize", True)
    mean = config.get("image_mean") if normalised else [0.0] * 3
    std = config.get("image_std") if normalised else [1.0] * 3
    way = _RESAMPLING.get(config.get("resample", 2))
    return Processing(
        size,
        None if not short else max(size, int(short)),
        None if mean is None else tuple(round((shift + value) / factor, 9) for value in mean),
        None if std is None else tuple(round(value / factor, 9) for value in std),
        (*_resampled("transformers", way), *(_squashed("transformers", height_and_width) if height_and_width else ())),
    )


def _values(values: Any, of: float = 1) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(float(value) / of, 9) for value in values)


def _square(side: Any) -> int | None:
    return int(side) if isinstance(side, (int, float)) else int(side[-1]) if isinstance(side, Sequence) else None


def _resampled(library: str, way: Any) -> tuple[str, ...]:
    if way in (None, "", "bilinear", "random"):
        return ()
    return (f"{library} resizes images by {way} interpolation, and frames are resized bilinearly here",)


def _squashed(library: str, width_and_height: Sequence[int] = ()) -> tuple[str, ...]:
    to = f"{' x '.join(map(str, width_and_height))} pixels" if width_and_height else "a square"
    return (f"{library} resizes frames to {to} whatever their proportions, which are kept here",)
