"""Folders of images, some damaged, some named as nobody expects; checksums of PNG are mended after the damage."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.fuzzing import encoding
from benchmarks.fuzzing.clips import clip_steps
from benchmarks.fuzzing.kind import Kind, Step, writable
from benchmarks.fuzzing.mutations import mutated
from benchmarks.fuzzing.words import hostile
from lrp3d.video import ClipWarning, VideoError

TEMPLATES = (None, None, None, "img_%05d.{}", "img_{{:05}}.{}", "img_{{:5d}}.{}", "img_%d", "img.{}", "\n%05d")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@cache
def seeds() -> tuple[tuple[str, tuple[bytes, ...]], ...]:
    """Suffixes, and the bytes of the undamaged images of a folder of each."""
    return tuple(encoding.images())


def prepare(folder: Path, rng: Random) -> Path:
    """A folder of images, one to all of them damaged."""
    suffix, files = rng.choice(seeds())
    place = folder / "frames"
    place.mkdir()
    damaged = set(rng.sample(range(len(files)), rng.choice((1, 1, 2, len(files)))))
    renamed = rng.randrange(len(files)) if rng.random() < 0.3 else None
    for number, data in enumerate(files):
        stem = f"img_{number:05}"
        if number == renamed:
            stem = writable(rng.choice((hostile(rng), f"img_{hostile(rng)}", f"flow_x_{number:05}", f"img_{number}")))
        if number in damaged:
            data = mutated(data, rng, [rng.choice(other) for _, other in seeds()])
            data = with_checksums(data) if rng.random() < 0.7 else data
        (place / f"{stem}.{suffix}").write_bytes(data)
    return place


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums again, so that damage gets behind them; anything else as it is."""
    if not data.startswith(_SIGNATURE):
        return data
    mended, rest = _SIGNATURE, data[len(_SIGNATURE) :]
    while len(rest) >= 12:
        (length,) = struct.unpack(">I", rest[:4])
        if length + 12 > len(rest):
            break
        mended += rest[: 8 + length] + struct.pack(">I", zlib.crc32(rest[4 : 8 + length]))
        rest = rest[12 + length :]
    return mended + rest


def steps(path: Path, rng: Random) -> list[Step]:
    """Read as `lrp3d explain` does, with a template or without."""
    template = rng.choice(TEMPLATES)
    suffix = next(path.iterdir()).suffix[1:]
    return clip_steps(path, rng, template and template.format(suffix))


KIND = Kind("images", (VideoError,), prepare, steps, (ClipWarning,))
