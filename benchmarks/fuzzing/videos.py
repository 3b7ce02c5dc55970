"""Video files, damaged: the same clip in many containers, under names that would mean something to FFmpeg."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

from benchmarks.fuzzing import encoding
from benchmarks.fuzzing.clips import clip_steps
from benchmarks.fuzzing.kind import Kind, Step
from benchmarks.fuzzing.mutations import mutated
from lrp3d.video import ClipWarning, VideoError

NAMES = (
    "a.mp4",
    "a.mkv",
    "a",
    "http:x.mp4",
    "concat:a|b.mp4",
    "img_%05d.mp4",
    "-i.mp4",
    "a\nb\x1b[1m.mp4",
    "\udcff.ts",
)


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Containers with codecs, and the bytes of an undamaged video of each."""
    return tuple(encoding.videos())


def prepare(folder: Path, rng: Random) -> Path:
    """A damaged video."""
    name, data = rng.choice(seeds())
    path = folder / (rng.choice(NAMES) if rng.random() < 0.2 else f"clip.{name.split('.')[0]}")
    path.write_bytes(mutated(data, rng, [other for _, other in seeds()]))
    return path


def steps(path: Path, rng: Random) -> list[Step]:
    """Read as `lrp3d explain` does."""
    return clip_steps(path, rng)


KIND = Kind("videos", (VideoError,), prepare, steps, (ClipWarning,))
