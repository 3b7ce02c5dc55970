"""Clips in tensor files, damaged: in their headers, in torch's pickles, or anywhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch

import lrp3d
from benchmarks.fuzzing.clips import clip_steps
from benchmarks.fuzzing.headers import mutated_file, npy_of, safetensors_of
from benchmarks.fuzzing.kind import Kind, Step
from lrp3d.video import ClipWarning, VideoError


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Suffixes, and the bytes of an undamaged file of each."""
    return tuple(_made())


def _made() -> Iterator[tuple[str, bytes]]:
    pixels = lrp3d.video.draw_clip(6, 24)
    floats = pixels.float() / 255
    yield "npy", npy_of(pixels.numpy())
    yield "npy", npy_of(floats.numpy())
    yield "npy", npy_of(np.asfortranarray(floats.double().numpy().astype(">f8")))
    yield "safetensors", safetensors_of({"clip": pixels})
    yield "safetensors", safetensors_of({"clip": floats.half()}, {"fps": "25"})
    yield "pt", saved(pixels)
    yield "pt", saved({"clip": floats, "fps": 25})
    yield "pth", saved(floats, first_format=True)


def saved(stored: object, first_format: bool = False) -> bytes:
    """What torch.save writes; its first format names tensors by their addresses, which are numbered anew."""
    memory = io.BytesIO()
    torch.save(stored, memory, _use_new_zipfile_serialization=not first_format)
    return _numbered(memory.getvalue()) if first_format else memory.getvalue()


def _numbered(data: bytes) -> bytes:
    """The same pickles with 1, 2, ... for addresses: a pickled text is X, its length, its letters."""
    numbers: dict[bytes, bytes] = {}

    def number(match: re.Match[bytes]) -> bytes:
        if int.from_bytes(match[1], "little") != len(match[2]):
            return match[0]
        new = numbers.setdefault(match[2], b"%d" % (len(numbers) + 1))
        return b"X" + len(new).to_bytes(4, "little") + new

    return re.sub(rb"X(.\0\0\0)(\d{9,})", number, data, flags=re.DOTALL)


def prepare(folder: Path, rng: Random) -> Path:
    """A damaged tensor file."""
    suffix, data = rng.choice(seeds())
    path = folder / f"clip.{rng.choice(seeds())[0] if rng.random() < 0.05 else suffix}"
    path.write_bytes(mutated_file(data, rng, [other for _, other in seeds()]))
    return path


def steps(path: Path, rng: Random) -> list[Step]:
    """Read as `lrp3d explain` does."""
    return clip_steps(path, rng)


KIND = Kind("tensors", (VideoError,), prepare, steps, (ClipWarning,))
