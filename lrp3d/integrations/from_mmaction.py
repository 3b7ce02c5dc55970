"""Builds recognisers of mmaction2 from their configuration files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrp3d.integrations.processing import of_mmaction
from lrp3d.integrations.wrappers import PublicNetwork, Segments


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
    pixels = of_mmaction(pipeline, preprocessor)
    model = Segments(
        network,
        frames=_frames(pipeline, images),
        frames_apart=_frames_apart(pipeline),
        fixed_frames=images,
        size=pixels.size or 224,
        short_side=pixels.short_side,
        mean=pixels.mean,
        std=pixels.std,
        notes=pixels.notes,
    )
    model.images = images
    return model


def _place(key: str) -> str:
    return "cls_head.num_classes" if key == "num_classes" else key


def _frames_apart(pipeline: list[Mapping[str, Any]]) -> int | None:
    """How far apart the frames of one view of a video are; None where each is taken from a part of it."""
    step = next((step for step in pipeline if "clip_len" in step), {})
    follow_one_another = int(step.get("clip_len", 1)) > 1 and int(step.get("frame_interval", 1))
    return follow_one_another or None


def _frames(pipeline: list[Mapping[str, Any]], images: bool) -> int | None:
    """The number of frames of one view of a video, as it is sampled for testing."""
    for step in pipeline:
        if "clip_len" in step or "num_clips" in step:
            length = int(step.get("clip_len", 1))
            return length * int(step.get("num_clips", 1)) if images else length
    return None
