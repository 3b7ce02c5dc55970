"""Makes a model as its file describes it; the description is checked before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

import torch

from .base import BUILDERS, VideoModel, check_statistics, expected_kind
from .files import Checkpoint, CheckpointError
from .wording import first_line, shown

MOST_FRAMES = 4096  # frames of a clip; a file must not make lrp3d read an unlimited part of a video
MOST_PIXELS = 4096  # of a frame's side, likewise
_ADVICE = "make it with lrp3d.models.build and load the weights with lrp3d.models.load_checkpoint"
RUN = ("identity", "model", "optimizer", "scaler", "history")
"""What the state of a training holds (`training.pt`)."""
Model = TypeVar("Model", bound=VideoModel)


@dataclass(frozen=True)
class Making:
    """The checked metadata of one of lrp3d's own checkpoints, which says how to make its model."""

    name: str
    builder: str
    arguments: Mapping[str, Any]
    frames: int | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    file: str
    size: int | None = None
    short_side: int | None = None
    frames_apart: int | None = None

    def make(self) -> VideoModel:
        """The model, with random weights.

        Raises:
            CheckpointError: the builder refuses the arguments, or the model does not take this number of frames.
        """
        try:
            model = BUILDERS[self.builder](**self.arguments)
        except ValueError as error:
            raise CheckpointError(f"{self.file} describes a model that cannot be made: {error}") from error
        if self.frames is not None and self.frames % model.frame_multiple:
            raise CheckpointError(
                f"{self.file} says frames={self.frames}, and its model takes multiples of {model.frame_multiple}"
            )
        if model.fixed_frames and self.frames != model.frames:
            raise CheckpointError(f"{self.file} says frames={self.frames}, and its model was made for {model.frames}")
        model.name, model.frames, model.classes = self.name, self.frames, self.classes
        model.mean, model.std = self.mean, self.std
        model.size, model.short_side, model.frames_apart = self.size, self.short_side, self.frames_apart
        return model


def stored_arguments(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The arguments with which the checkpoint's model was built; empty if the file does not state them.

    Raises:
        CheckpointError: the entry does not contain arguments.
    """
    if "builder" not in checkpoint.metadata:  # in files of other origin, "arguments" may mean anything
        return {}
    arguments = _stored(checkpoint, "arguments", {})
    if not isinstance(arguments, dict):
        raise _wrong(checkpoint, "arguments", arguments, "an object of json")
    return arguments


def making(checkpoint: Checkpoint) -> Making:
    """How to make the model of a checkpoint.

    Raises:
        CheckpointError: the file does not say it, or its description is invalid.
    """
    metadata = checkpoint.metadata
    if "builder" not in metadata:
        raise CheckpointError(f"{checkpoint.name} {_unsaid(checkpoint)}")
    missing = [key for key in ("model", "arguments", "frames", "classes", "mean", "std") if key not in metadata]
    if missing or metadata["builder"] not in BUILDERS:
        which = f"no {', '.join(missing)}" if missing else f"unknown builder {shown(metadata['builder'])!r}"
        raise CheckpointError(f"{checkpoint.name} does not say how to make its model ({which}): {_ADVICE}")
    if not metadata["model"].isprintable():
        raise _wrong(checkpoint, "model", metadata["model"], "a name")
    arguments = stored_arguments(checkpoint)
    _check_arguments(checkpoint, metadata["builder"], arguments)
    frames = _stored(checkpoint, "frames", None)
    if frames is not None and not is_number_of_frames(frames):
        raise _wrong(checkpoint, "frames", frames, f"null or a whole number from 1 to {MOST_FRAMES}")
    try:
        classes = check_classes(_list(checkpoint, "classes", "a list of names"), arguments["num_classes"])
        mean, std = _list(checkpoint, "mean", "a list"), _list(checkpoint, "std", "a list")
        check_statistics(mean, std, arguments.get("in_channels", 3))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.name}: {error}") from error
    return Making(
        name=metadata["model"],
        builder=metadata["builder"],
        arguments=arguments,
        frames=frames,
        classes=classes,
        mean=tuple(mean),
        std=tuple(std),
        file=checkpoint.name,
        size=stored_size(checkpoint),
        short_side=stored_size(checkpoint, "short_side"),
        frames_apart=stored_frames_apart(checkpoint),
    )


def _unsaid(checkpoint: Checkpoint) -> str:
    """What is wrong with a file that does not say how to make its model, and what to do."""
    if all(key in checkpoint.state for key in RUN):
        return (
            "is the state of a training, which does not say how to make its model: take model.safetensors, which the "
            f"training writes beside it when it ends; or {_ADVICE}"
        )
    metadata = checkpoint.metadata
    named = metadata.get("format") == "lrp3d" and "model" in metadata
    which = f", which is {shown(metadata['model'])}" if named else ""
    return f"does not say how to make its model{which}: {_ADVICE}"


def stored_notes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The notes on decisions that were made when the checkpoint was converted."""
    notes = _stored(checkpoint, "notes", []) if checkpoint.metadata.get("format") == "lrp3d" else []
    return tuple(shown(note, 500) for note in notes[:20]) if isinstance(notes, list) else ()


def stored_size(checkpoint: Checkpoint, side: str = "size") -> int | None:
    """The size of frames on which the model of one of lrp3d's own checkpoints was trained; None if it is not said.

    Args:
        checkpoint: the checkpoint.
        side: "size" for the side of the frames, "short_side" for that of the videos out of which they were cut.

    Raises:
        CheckpointError: it says what no side can be.
    """
    if checkpoint.metadata.get("format") != "lrp3d":
        return None
    size = _stored(checkpoint, side, None)
    if size is not None and not is_size(size):
        raise _wrong(checkpoint, side, size, f"null or a whole number from 1 to {MOST_PIXELS}")
    return int(size) if size is not None else None


def stored_frames_apart(checkpoint: Checkpoint) -> int | None:
    """How far apart the frames of clips were in the training of one of lrp3d's own checkpoints; None if not said.

    Raises:
        CheckpointError: it says what no distance can be.
    """
    if checkpoint.metadata.get("format") != "lrp3d":
        return None
    apart = _stored(checkpoint, "frames_apart", None)
    if apart is not None and not is_number_of_frames(apart):
        raise _wrong(checkpoint, "frames_apart", apart, f"null or a whole number from 1 to {MOST_FRAMES}")
    return int(apart) if apart is not None else None


def stored_classes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The names of classes in one of lrp3d's own checkpoints, of any model."""
    if checkpoint.metadata.get("format") != "lrp3d" or "classes" not in checkpoint.metadata:
        return ()
    try:
        return check_classes(_list(checkpoint, "classes", "a list of names"))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.name}: {error}") from error


def without_memory(make: Callable[[], Model], where: str = "") -> Model:
    """The model that `make` returns, with shapes but without memory.

    Raises:
        CheckpointError: a shape is too large even without memory; the message begins with `where`.
        ValueError: `make` refuses its arguments.
    """
    try:
        with torch.device("meta"):
            return make()
    except ValueError:  # CheckpointError is one
        raise
    except Exception as error:  # torch or Python may raise any error for numbers that overflow
        raise CheckpointError(f"{where}no such model can be made: {first_line(error)}") from error


def is_number_of_frames(value: object) -> bool:
    """Whether a value is a possible number of frames of a clip."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_FRAMES


def is_size(value: object) -> bool:
    """Whether a value is a possible side of a frame in pixels."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_PIXELS


def check_classes(classes: Sequence[object], count: int | None = None) -> tuple[str, ...]:
    """Checks names of classes: there is one for each class, all different, or there are none.

    Raises:
        ValueError: the names are not valid.
    """
    if count is not None and classes and len(classes) != count:
        raise ValueError(f"{len(classes)} class names for a model of {count} classes")
    first: dict[str, int] = {}
    for index, name in enumerate(classes):
        if not isinstance(name, str):
            raise ValueError(f"the name of class {index} is {shown(repr(name))}, not a text")
        if name in first:
            raise ValueError(f"classes {first[name]} and {index} have the same name {shown(name)!r}")
        first[name] = index
    return tuple(first)


def _check_arguments(checkpoint: Checkpoint, builder: str, arguments: Mapping[str, Any]) -> None:
    """Checks that the builder has these arguments, of these types, and that no number exceeds all stored shapes."""
    make = BUILDERS[builder]
    try:
        signature(make).bind(**arguments)
    except TypeError as error:
        raise CheckpointError(f"{checkpoint.name}: its arguments are not those of {builder}: {error}") from error
    largest = max((size for value in checkpoint.state.values() for size in value.shape), default=0)
    for name, value in arguments.items():
        if expected := expected_kind(make, name, value):
            raise _wrong(checkpoint, name, value, expected)
        if isinstance(value, int) and value > max(largest, MOST_FRAMES):
            raise CheckpointError(f"{checkpoint.name} says {name}={shown(value, 30)}, and holds no tensor so large")


def _stored(checkpoint: Checkpoint, key: str, default: Any) -> Any:
    if key not in checkpoint.metadata:
        return default
    text = checkpoint.metadata[key]
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{checkpoint.name}: its {key} are no json: {shown(text)}") from error


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _list(checkpoint: Checkpoint, key: str, expected: str) -> list[Any]:
    value = _stored(checkpoint, key, None)
    if not isinstance(value, list):
        raise _wrong(checkpoint, key, value, expected)
    return value


def _wrong(checkpoint: Checkpoint, key: str, value: object, expected: str) -> CheckpointError:
    return CheckpointError(f"{checkpoint.name} says {key}={shown(json.dumps(value))}, which is not {expected}")
