"""What is asked of a clip, whatever it was read from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch

from benchmarks.fuzzing.judging import is_one_line, shown
from benchmarks.fuzzing.kind import Step
from lrp3d.video import Clip, read_clip

FRAMES = 4


def clip_steps(path: Path, rng: Random, template: str | None = None) -> list[Step]:
    """Reads a clip, of one of the sizes and samplings that users ask for."""
    options: dict[str, Any] = rng.choice(
        (
            {"size": 16, "short_side": 20},
            {"size": 16, "short_side": 16},
            {"size": 8, "short_side": None},
            {"size": None, "short_side": 12},
            {"size": None, "short_side": None},
        )
    )
    options = options | rng.choice(({}, {}, {"sampling": "dense", "stride": 2}))
    return [lambda: wrong_with(read_clip(path, FRAMES, template=template, **options), options["size"])]


def wrong_with(clip: Clip, size: int | None) -> Iterator[str]:
    """All that a clip of ours cannot be."""
    t, *sides = clip.pixels.shape[:3]
    if clip.pixels.dtype != torch.uint8 or t != FRAMES or (size and sides != [size, size]) or 0 in clip.pixels.shape:
        yield f"pixels are {clip.pixels.dtype} {tuple(clip.pixels.shape)}"
    if clip.tensor.dtype != torch.float32 or clip.tensor.shape != (1, 3, FRAMES, *sides):
        yield f"the tensor is {clip.tensor.dtype} {tuple(clip.tensor.shape)}"
    if not clip.tensor.isfinite().all():
        yield "the tensor is not finite"
    if len(clip.indices) != FRAMES or not all(0 <= index < clip.num_video_frames for index in clip.indices.tolist()):
        yield f"frames {clip.indices.tolist()} of {clip.num_video_frames}"
    if len(clip.times) != FRAMES or clip.times.isinf().any():
        yield f"times {clip.times.tolist()}"
    if clip.fps is not None and not 0 < clip.fps < float("inf"):
        yield f"{clip.fps} frames per second"
    yield from (f"a sentence of several lines: {shown(lost)}" for lost in clip.lost if not is_one_line(lost))
