"""Which model the command line asked for: a name of the paper, a file that says it, or the user's own."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lrp3d import models, video
from lrp3d.commands import UsageError
from lrp3d.commands.labels import read_labels
from lrp3d.composites import PRESETS

SEED = 0
CLASSES = 400  # of a model that nobody trained
FRAMES = 8  # of a model that takes any number
RANDOM = f"random weights (seed {SEED}): this shows how the architecture spreads relevance, not what a model learned"


@dataclass(frozen=True)
class Chosen:
    """A model, and all that the command line knows about it."""

    model: nn.Module
    name: str
    weights: str
    """Where they come from, in one sentence that belongs on everything made with them."""
    trained: bool
    """Whether the weights were given; if not, `weights` is a warning."""
    labels: tuple[str, ...]
    frames: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def input_range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The normalised values of black and white."""
        given = getattr(self.model, "input_range", None)
        if given is not None:
            return given
        pairs = list(zip(self.mean, self.std, strict=True))
        return tuple((0 - m) / s for m, s in pairs), tuple((1 - m) / s for m, s in pairs)


def add_options(parser: argparse.ArgumentParser, default: str | None = None, weights: bool = True) -> None:
    """The options from which `choose` makes a model."""
    where = f" (default: {default})" if default else ""
    parser.add_argument(
        "--model",
        default=default,
        metavar="NAME",
        help="name as in the paper, such as I3D-R50-f8, TAM2D-R18-f16, SlowFast-R50-8x8; or "
        f"package.module:factory, your own model by import path, the current folder included{where}",
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", type=key_and_value,
        help="further argument of the model's builder, such as kernel_size=5; may be repeated",
    )  # fmt: skip
    parser.add_argument("--frames", type=positive, metavar="N", help="frames of a clip (default: what the model takes)")
    parser.add_argument("--size", type=positive, default=224, metavar="PIXELS", help="side of a frame (default: 224)")
    parser.add_argument("--device", metavar="D", help="such as cpu or cuda:0 (default: a GPU if there is one)")
    if weights:
        parser.add_argument("--weights", type=Path, metavar="F", help="checkpoint; without it, weights are random")
        parser.add_argument(
            "--labels",
            type=Path,
            metavar="F",
            help="class names: json (name to id, or id to name) or one per line",
        )


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The options that say how relevance is shared."""
    parser.add_argument(
        "--composite", choices=sorted(PRESETS), default="paper", metavar="C",
        help=f"which rule for which layer: {', '.join(sorted(PRESETS))} (default: paper)",
    )  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="plain LRP instead of contrastive LRP")


def positive(text: str) -> int:
    """A whole number from 1 on; for argparse."""
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return number


def key_and_value(text: str) -> tuple[str, Any]:
    """An option and its value, read as json where it is; for argparse."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        return key, value


def choose(options: argparse.Namespace) -> Chosen:
    """The model on its device, in evaluation mode.

    Raises:
        UsageError: there is no such model, or it does not take what was asked.
        ValueError, OSError: weights or labels cannot be read or do not fit.
    """
    device = device_of(options.device)
    weights: Path | None = getattr(options, "weights", None)
    file: Path | None = getattr(options, "labels", None)
    labels = read_labels(file) if file else ()
    torch.manual_seed(SEED)
    model: nn.Module
    if options.model is None:
        if weights is None:
            raise UsageError("say which model: --model NAME, or --weights of a file that convert-checkpoint wrote")
        if options.option:
            raise UsageError("--option goes with --model: a file that says its model says all about it")
        model = models.load_model(weights)
    elif ":" in options.model:
        model = _imported(options.model, dict(options.option))
        if weights is not None:
            _load_into(model, weights)
    else:
        model = _named(options.model, dict(options.option), weights, len(labels) or CLASSES)
    if weights is not None:
        said = f"weights of {weights.name}"
    elif options.model is not None and ":" in options.model:
        said = f"weights as {options.model} makes them with seed {SEED}: random, unless it loads some"
    else:
        said = RANDOM
    labels = labels or tuple(getattr(model, "classes", ()))
    classes = getattr(model, "num_classes", None)
    if labels and isinstance(classes, int) and len(labels) > classes:
        raise ValueError(f"{len(labels)} labels do not fit a model of {classes} classes")
    notes = () if hasattr(model, "mean") else ("the model states no mean and std: ImageNet's are used",)
    notes += getattr(labels, "notes", ())
    return Chosen(
        model=model.to(device).eval().requires_grad_(False),
        name=options.model or getattr(model, "name", "") or type(model).__name__,
        weights=said,
        trained=weights is not None,
        labels=labels,
        frames=_frames(model, options.frames),
        size=options.size,
        mean=tuple(getattr(model, "mean", video.IMAGENET_MEAN)),
        std=tuple(getattr(model, "std", video.IMAGENET_STD)),
        notes=notes,
    )


def device_of(name: str | None) -> torch.device:
    """The device of that name; by default a GPU if there is one. Raises UsageError for one that cannot be used."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def _frames(model: nn.Module, asked: int | None) -> int:
    known = getattr(model, "frames", None)
    known = known if isinstance(known, int) else None
    if asked and known and asked != known and getattr(model, "fixed_frames", False):
        raise UsageError(f"--frames {asked}: this model was built for {known} frames")
    return asked or known or FRAMES


def _named(name: str, options: dict[str, Any], weights: Path | None, classes: int) -> nn.Module:
    """A model of the paper, with as many classes as its weights have."""
    if weights is None:
        return build(name, options, classes)
    checkpoint = models.read_checkpoint(weights)
    made = json.loads(checkpoint.metadata.get("arguments", "{}"))
    if made and not options and checkpoint.metadata.get("model") == name:
        return models.load_model(weights)  # it knows options that a name does not tell
    try:
        model = build(name, options, models.checkpoints.number_of_classes(checkpoint.state))
        models.load_checkpoint(model, weights)
    except models.CheckpointError as error:
        raise models.CheckpointError(f"{weights.name}: {error}") from error
    return model


def build(name: str, options: dict[str, Any], classes: int) -> nn.Module:
    """A model of the paper with random weights; raises UsageError for what it is not built with."""
    try:
        return models.build(name, num_classes=classes, **options)
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def _imported(path: str, options: dict[str, Any]) -> nn.Module:
    """What `package.module:factory` makes: a module as it is, anything else is called."""
    place, _, name = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(place)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--model {path} cannot be imported: {error}") from error
    if isinstance(found, type) or not isinstance(found, nn.Module):
        if not callable(found):
            raise UsageError(
                f"--model {path} is of type {type(found).__name__}, neither a module nor a function that makes one"
            )
        try:
            found = found(**options)
        except Exception as error:
            raise ValueError(f"--model {path} failed with {type(error).__name__}: {error}") from error
    if not isinstance(found, nn.Module):
        raise UsageError(f"--model {path} made something of type {type(found).__name__}, not a torch.nn.Module")
    return found


def _load_into(model: nn.Module, weights: Path) -> None:
    """Weights into a user's own model: its own names, all of them, inside the usual wrappers."""
    if isinstance(model, models.VideoModel):
        models.load_checkpoint(model, weights)
        return
    state: Mapping[str, Any] = models.read_checkpoint(weights).state
    for wrapper in ("state_dict", "model_state_dict", "model_state", "model"):
        if isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    problems = _differences(model.state_dict(), state)
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise ValueError(f"{weights.name} does not fit {type(model).__name__}:\n{lines}")
    model.load_state_dict(dict(state))


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Sequence[str]:
    problems = [f"missing: {name}" for name in ours if name not in theirs]
    problems += [f"left over: {name}" for name in theirs if name not in ours]
    for name in ours:
        shape = getattr(theirs.get(name), "shape", None)
        if name in theirs and shape != ours[name].shape:
            problems.append(f"shape: {name} {tuple(ours[name].shape)}, in the file {shape and tuple(shape)}")
    return problems
