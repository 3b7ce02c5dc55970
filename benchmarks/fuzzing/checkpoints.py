"""Checkpoints of small models, damaged or with hostile metadata: models they do not fit stay as they were."""

from __future__ import annotations

import argparse
import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

import lrp3d
from benchmarks.fuzzing.headers import mutated_file, safetensors_of
from benchmarks.fuzzing.judging import is_one_line, shown
from benchmarks.fuzzing.kind import Kind, Step
from benchmarks.fuzzing.tensors import saved
from lrp3d.models import CheckpointError, load_checkpoint, load_model, read_checkpoint, save_checkpoint

ran: list[str] = []
"""What code of a checkpoint has done here: nothing, or it is a finding."""


def alarm(text: str = "") -> str:
    """What the pickle of a hostile checkpoint calls."""
    ran.append(text)
    return text


class Hostile:
    """Runs code as it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., str], tuple[str]]:
        return alarm, ("a pickle ran code",)


@cache
def network() -> nn.Module:
    """A small model of the paper, always with the same weights."""
    return _settled(lrp3d.models.build("TAM2D-R18-f4", num_classes=3, width=2))


@cache
def own() -> nn.Module:
    """A model that a user wrote."""
    return _settled(nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.Linear(4, 2)))


def _settled(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator))
    return model.eval()


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Suffixes, and the bytes of an undamaged file of each."""
    return tuple(_made())


def _made() -> Iterator[tuple[str, bytes]]:
    state, mine = network().state_dict(), own().state_dict()
    metadata = _metadata()
    yield "safetensors", safetensors_of(state, metadata)
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    yield "safetensors", safetensors_of(half, metadata | {"notes": '["taken from the average"]', "facts": "{}"})
    yield "safetensors", safetensors_of(state)
    yield "safetensors", safetensors_of(mine, {"format": "lrp3d", "model": "mine", "classes": '["a", "b"]'})
    yield "pth", saved(state)
    yield "pth", saved({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}})
    yield "ckpt", saved({"state_dict": _under("model.", state) | {"loss.weight": torch.ones(3)}, "callbacks": {}})
    yield "pth", saved({"model": _under("_orig_mod.", state), "model_ema": state})
    yield "pt", saved(_in_one(state), first_format=True)
    yield "pt", saved(mine)
    yield "pkl", pickle.dumps({"blobs": {name: value.numpy() for name, value in mine.items()}}, 2)
    yield "pth", saved({"state_dict": mine, "options": argparse.Namespace(lr=0.1)})
    yield "pth", saved({"state_dict": mine, "hook": Hostile()})
    yield "pt", saved({"state_dict": _in_one(mine), "hook": Hostile()}, first_format=True)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def _in_one(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers as floats of one memory: torch's first format sorts memories by their addresses."""
    whole = torch.cat([value.flatten().float() for value in state.values()])
    parts = whole.split([value.numel() for value in state.values()])
    return {name: part.view(value.shape) for (name, value), part in zip(state.items(), parts, strict=True)}


def _metadata() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")
        save_checkpoint(network(), path, classes=["archery", "tai chi", "yoga"])
        with safe_open(path, "pt") as file:
            return dict(sorted(file.metadata().items()))


def prepare(folder: Path, rng: Random) -> Path:
    """A damaged checkpoint."""
    suffix, data = rng.choice(seeds())
    path = folder / (f"a\nb\x1b.{suffix}" if rng.random() < 0.05 else f"weights.{suffix}")
    path.write_bytes(mutated_file(data, rng, [other for _, other in seeds()]))
    return path


def steps(path: Path, rng: Random) -> list[Step]:
    """Read, loaded into a model of the paper and one of a user, and made into a model."""
    strict, inflate = rng.random() < 0.7, rng.choice(("repeat", "mean"))
    into = [partial(_loads, copy.deepcopy(model), path, strict, inflate) for model in (network(), own())]
    return [partial(_reads, path), *into, partial(_makes, path)]


def _reads(path: Path) -> Iterator[str]:
    checkpoint = read_checkpoint(path)
    for key, value in checkpoint.metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            yield f"metadata {shown(key)} is no text"
    yield from _alarms()


def _loads(model: nn.Module, path: Path, strict: bool, inflate: str) -> Iterator[str]:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = _settings(model)
    try:
        report = load_checkpoint(model, path, strict, inflate=inflate)
    except Exception:
        if not _same(before, model.state_dict()) or settings != _settings(model):
            yield "the model that could not be loaded is another one now"
        yield from _alarms()
        raise
    if set(report.loaded) - before.keys():
        yield "what was loaded is not of the model"
    yield from (f"a note of several lines: {shown(note)}" for note in report.notes if not is_one_line(note))
    yield from _wrong_with(model, before)


def _makes(path: Path) -> Iterator[str]:
    model: Any = load_model(path)
    if model.training:
        yield "the model is in training mode"
    if not all(len(value) == model.in_channels for value in (model.mean, model.std)):
        yield f"mean and std are {shown((model.mean, model.std))}"
    if model.classes and len(model.classes) != model.num_classes:
        yield f"{len(model.classes)} names of {model.num_classes} classes"
    if not model.name.isprintable():
        yield f"the name {shown(model.name)}"
    yield from _wrong_with(model, model.state_dict())
    with torch.no_grad():
        logits = model(torch.zeros(1, model.in_channels, model.frames or 8, 32, 32))
    if logits.shape != (1, model.num_classes):
        yield f"logits of shape {tuple(logits.shape)} for {model.num_classes} classes"


def _wrong_with(model: nn.Module, before: Mapping[str, Tensor]) -> Iterator[str]:
    yield from _alarms()
    for name, value in model.state_dict().items():
        if value.shape != before[name].shape or value.dtype != before[name].dtype:
            yield f"{name} is {value.dtype} {tuple(value.shape)} now"
        elif not value.isfinite().all():
            yield f"{name} is not finite"


def _alarms() -> Iterator[str]:
    while ran:
        yield ran.pop()


def _settings(model: nn.Module) -> str:
    plain = (str, int, float, bool, tuple)
    return repr(sorted((key, value) for key, value in vars(model).items() if isinstance(value, plain)))


def _same(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> bool:
    return before.keys() == now.keys() and all(torch.equal(value, now[name]) for name, value in before.items())


KIND = Kind("checkpoints", (CheckpointError,), prepare, steps)
