"""Small trained networks that come with the package, for planted clips, whose answer is known."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from typing import Any

from .base import VideoModel
from .files import read_checkpoint
from .saving import load_model

_WEIGHTS = "weights"


def pretrained_names() -> tuple[str, ...]:
    """The names that `load_pretrained` knows, in alphabetical order.

    >>> "I3D-R18-f16-match-d4" in pretrained_names()
    True
    """
    folder = files(__package__) / _WEIGHTS
    return tuple(sorted(file.name.removesuffix(".safetensors") for file in folder.iterdir() if _is_weights(file.name)))


def load_pretrained(name: str) -> VideoModel:
    """A trained network that comes with the package, in evaluation mode and float32; nothing is downloaded.

    `X-Y-f[Z]-[family]-d[gap]`: X-Y-f[Z] as the paper names models, trained on `lrp3d.planted.Task(family, gap,
    frames=Z)`. Its clips are normalised with its `mean` and `std`.

    Args:
        name: one of `pretrained_names()`.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.

    >>> import torch, lrp3d
    >>> model = load_pretrained("I3D-R18-f16-match-d4")
    >>> planted = lrp3d.planted.Task("match", gap=4).clips(64, seed=5)
    >>> clips = lrp3d.planted.normalise(planted.clips, model)
    >>> (model(clips).argmax(1) == planted.labels).float().mean() > 0.9
    tensor(True)
    """
    with as_file(_resource(name)) as path:
        return load_model(path)


def pretrained_facts(name: str) -> dict[str, Any]:
    """Facts about trained weights: task, gap, frames, size, accuracy, number of test clips, seed and command.

    Raises:
        ValueError: as for `load_pretrained`.

    >>> pretrained_facts("I3D-R18-f16-match-d4")["task"]
    {'family': 'match', 'gap': 4, 'frames': 16, 'size': 16}
    """
    with as_file(_resource(name)) as path:
        facts: dict[str, Any] = json.loads(read_checkpoint(path).metadata["facts"])
    return facts


def _resource(name: str) -> Any:
    names = pretrained_names()
    if name not in names:
        raise ValueError(f"no trained network {name!r} comes with lrp3d; there are {', '.join(names) or 'none'}")
    return files(__package__) / _WEIGHTS / f"{name}.safetensors"


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors") and not name.startswith(".")
