"""Builds recognisers of mmaction2 from their configuration files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrp3d.integrations.wrappers import PublicNetwork, Segments

CROPS = ("CenterCrop", "ThreeCrop", "TenCrop")


def build(path: str, options: dict[str, Any]) -> PublicNetwork:
    """The recogniser of a configuration; `options` replace entries of its `model`, by dotted names.

    The configuration file is run as Python. Pretrained weights that it names are not loaded; the network gets those
    of `--weights`.
    """
    if not Path(path).is_file():
        raise ValueError(
            f"mmaction:{path} is not a file: give the path of a configuration, mmaction:configs/.../tsm.py"
        )
    config = importlib.import_module("mmengine.config").Config.fromfile(path)
    if "model" not in config or "cls_head" not in config.model:
        raise ValueError(f"mmaction:{path} describes no recogniser: it has no model with a cls_head")
    changes = {f"model.{_place(key)}": value for key, value in options.items()}
    config.merge_from_dict(changes)
    importlib.import_module("mmaction.models")
    scope = importlib.import_module("mmengine.registry").DefaultScope
    with scope.overwrite_default_scope("mmaction"):
        network = importlib.import_module("mmaction.registry").MODELS.build(config.model)
    preprocessor = config.model.get("data_preprocessor") or {}
    pipeline = config.get("test_pipeline") or config.get("val_pipeline") or []
    shape = next((step.get("input_format") for step in pipeline if step["type"] == "FormatShape"), None)
    images = shape == "NCHW" if shape else "2D" in config.model.type
    model = Segments(
        network,
        frames=_frames(pipeline, images),
        fixed_frames=images,
        size=_size(pipeline),
        mean=_unit_statistics(preprocessor.get("mean")),
        std=_unit_statistics(preprocessor.get("std")),
    )
    model.images = images
    return model


def _place(key: str) -> str:
    return "cls_head.num_classes" if key == "num_classes" else key


def _unit_statistics(values: Any) -> list[float] | None:
    """Statistics of pixels between 0 and 255 as those of pixels between 0 and 1."""
    return None if values is None else [round(float(value) / 255, 9) for value in values]


def _frames(pipeline: list[Mapping[str, Any]], images: bool) -> int | None:
    """The number of frames of one view of a video, as it is sampled for testing."""
    for step in pipeline:
        if "clip_len" in step or "num_clips" in step:
            length = int(step.get("clip_len", 1))
            return length * int(step.get("num_clips", 1)) if images else length
    return None


def _size(pipeline: list[Mapping[str, Any]]) -> int:
    sizes = [step["crop_size"] for step in pipeline if step["type"] in CROPS and "crop_size" in step]
    return int(sizes[0]) if sizes and isinstance(sizes[0], int) else 224
