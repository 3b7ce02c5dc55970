"""lrp3d's own checkpoints: safetensors that say which model they hold, how to make it and what it expects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from lrp3d.files import replacing

from .base import VideoModel, check_statistics
from .checkpoints import load_checkpoint, number_of_classes, opened, plan_loading
from .files import Checkpoint, CheckpointError, Source, read_checkpoint
from .making import (
    MOST_FRAMES,
    check_classes,
    is_number_of_frames,
    making,
    stored_arguments,
    stored_notes,
    without_memory,
)
from .wording import first_line
from .zoo import build


def save_checkpoint(
    model: nn.Module,
    path: Source,
    classes: Sequence[str] = (),
    *,
    half: bool = False,
    facts: Mapping[str, object] | None = None,
    name: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write a model as safetensors: its weights, and its name, making, classes and normalisation as metadata.

    The file is complete or not there: it is written beside its place and moved. Of a model that is none of
    `lrp3d.models` it holds no making, for a file never says which code to run: `load_checkpoint` reads it back.

    Args:
        model: what to write.
        path: where to.
        classes: names, by default those that the model has.
        half: floating-point weights as float16, half the size; `load_model` gives them back as float32.
        facts: more metadata, such as accuracy and training command; JSON.
        name: what to call a model that has no name.
        notes: what was decided when its weights were loaded, by default what the model says.

    Raises:
        ValueError: the number of class names differs from the number of classes, a name is there twice, or the
            model's mean, std or frames cannot be.
        CheckpointError: safetensors cannot hold what the model has.
    """
    metadata = _metadata(model, classes, name)
    notes = tuple(notes) or getattr(model, "notes", ()) if isinstance(model, VideoModel) else tuple(notes)
    if notes:
        metadata["notes"] = json.dumps(notes)
    if facts is not None:
        metadata["facts"] = json.dumps(dict(facts))
    tensors = {name: _with_own_memory(value) for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    if half:
        tensors = {name: value.half() if value.dtype == torch.float32 else value for name, value in tensors.items()}
    with replacing(Path(path)) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"safetensors cannot hold these weights: {first_line(error)}") from error


def _metadata(model: nn.Module, classes: Sequence[str], name: str) -> dict[str, str]:
    if not isinstance(model, VideoModel):
        stored = check_classes(tuple(classes), getattr(model, "num_classes", None) if classes else None)
        return {"format": "lrp3d", "model": name or type(model).__name__, "classes": json.dumps(stored)}
    check_statistics(model.mean, model.std, model.in_channels)
    if model.frames is not None and not is_number_of_frames(model.frames):
        raise ValueError(f"frames must be None or a whole number from 1 to {MOST_FRAMES}, got {model.frames!r}")
    return {
        "format": "lrp3d",
        "model": model.name,
        "builder": model.builder,
        "arguments": json.dumps(model.arguments),
        "frames": json.dumps(model.frames),
        "num_classes": json.dumps(model.num_classes),
        "classes": json.dumps(check_classes(tuple(classes) or model.classes, model.num_classes)),
        "mean": json.dumps(model.mean),
        "std": json.dumps(model.std),
    }


def _with_own_memory(value: Tensor) -> Tensor:
    """A tensor with memory of its own: safetensors refuses what shares it, as tied weights do."""
    value = value.detach().cpu().contiguous()
    whole = value.numel() * value.element_size() == value.untyped_storage().nbytes()
    return value if whole and not isinstance(value, nn.Parameter) else value.clone()


def load_model(path: Source) -> VideoModel:
    """The model that `save_checkpoint` or `convert_checkpoint` wrote, in evaluation mode.

    What the file says of its model is compared with the tensors that it holds before the model is made.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file does not say how to make its model, or says what cannot be, or does not fit it.
    """
    checkpoint = opened(path)
    return _make_to_fit(making(checkpoint).make, checkpoint).eval()


def build_for(
    checkpoint: Source | Checkpoint, model_name: str, *, inflate: str = "repeat", **options: object
) -> VideoModel:
    """A model of the paper with the weights of a checkpoint, and as many classes as it has, in evaluation mode.

    A file of ours that holds a model of this name is loaded as it says, if there are no `options`.

    Args:
        checkpoint: a file, or what `read_checkpoint` returns.
        model_name: as for `build`.
        inflate: for 2D sources, see `load_checkpoint`.
        options: further arguments of the model's builder, such as `kernel_size=5`.

    Raises:
        CheckpointError: the checkpoint cannot be read safely or does not fit the model.
        ValueError: an unknown model or option.
    """
    checkpoint = opened(checkpoint)
    if not options and stored_arguments(checkpoint) and checkpoint.metadata.get("model") == model_name:
        return _make_to_fit(making(checkpoint).make, checkpoint).eval()
    classes = number_of_classes(checkpoint)
    if (asked := options.pop("num_classes", classes)) != classes:
        raise ValueError(f"num_classes={asked} was asked for, and the checkpoint has {classes} classes: leave it out")
    return _make_to_fit(lambda: build(model_name, classes, **options), checkpoint, inflate).eval()


def _make_to_fit(make: Callable[[], VideoModel], checkpoint: Checkpoint, inflate: str = "repeat") -> VideoModel:
    """Make a model and load it, after everything was compared: until then it has shapes and no memory."""
    file_name = f"{checkpoint.name}: " if checkpoint.name else ""
    try:
        shapes = without_memory(make)
    except CheckpointError as error:
        raise CheckpointError(f"{file_name}{error}") from error
    plan_loading(shapes, checkpoint, inflate=inflate)
    model = make()
    load_checkpoint(model, checkpoint, inflate=inflate)
    model.notes = (*stored_notes(checkpoint), *model.notes)
    return model


def convert_checkpoint(
    source: Source,
    destination: Source,
    model_name: str | nn.Module,
    *,
    classes: Sequence[str] = (),
    trust_pickle: bool = False,
    inflate: str = "repeat",
    name: str = "",
    **options: object,
) -> nn.Module:
    """Turn any checkpoint that `load_checkpoint` knows into lrp3d's safetensors, and return the model.

    What was decided on the way is in the file's metadata, and in `notes` of a model of the paper.

    Args:
        source: the file to read; never changed.
        destination: the safetensors file to write.
        model_name: the paper's name, as for `build`; or a model of your own, into which the weights are loaded.
        classes: class names to keep with the weights.
        trust_pickle: unpickle the source if it needs that. A pickle can run any code: only for sources you
            trust.
        inflate: for 2D sources, see `load_checkpoint`.
        name: what the file calls a model of your own.
        options: further arguments of the model's builder, such as `kernel_size=5`.

    Raises:
        CheckpointError: the source cannot be read safely or does not fit the model; nothing is written.
        ValueError: an unknown model or option.
    """
    checkpoint = read_checkpoint(source, trust_pickle)
    if isinstance(model_name, nn.Module):
        model = model_name
        notes = load_checkpoint(model, checkpoint, inflate=inflate).notes
    else:
        model = build_for(checkpoint, model_name, inflate=inflate, **options)
        notes = model.notes
    save_checkpoint(model, destination, classes, name=name, notes=notes)
    return model.eval()
