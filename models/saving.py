"""lrp3d's own checkpoints: safetensors that say which model they have, how to make it and what it expects."""

from __future__ import annotations

import errno
import json
import re
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
    MOST_PIXELS,
    check_classes,
    is_number_of_frames,
    is_size,
    making,
    stored_arguments,
    stored_frames_apart,
    stored_notes,
    stored_size,
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
    """Write a model as safetensors: its weights, with name, builder, arguments, classes and normalisation as metadata.

    The file is complete or not there: it is written under another name and then moved. For a model that is not one of
    `lrp3d.models`, it has no builder, because a file must never say which code to run: read it by `load_checkpoint`.

    Args:
        model: the model to write.
        path: the path of the file.
        classes: names of the classes, by default those of the model.
        half: store floating-point weights as float16, in half the size; `load_model` returns them as float32.
        facts: further metadata that json can hold, such as accuracy and training command.
        name: the name of a model that has none.
        notes: sentences about decisions when the weights were loaded, by default those of the model.

    Raises:
        ValueError: the number of class names differs from the number of classes, two names are the same, or the
            model's mean, std, frames, size, short_side or frames_apart are not valid.
        CheckpointError: safetensors cannot store the model's tensors.

    >>> import tempfile, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=2, width=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(model, f"{folder}/mine.safetensors", ["archery", "yoga"])
    ...     load_model(f"{folder}/mine.safetensors").classes
    ('archery', 'yoga')
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
            if (failed := re.search(r"I/O error: (.+?)(?: \(os error (\d+)\))?$", first_line(error))) is not None:
                raise OSError(int(failed[2] or errno.EIO), failed[1], str(path)) from error
            raise CheckpointError(f"safetensors cannot hold these weights: {first_line(error)}") from error


def _metadata(model: nn.Module, classes: Sequence[str], name: str) -> dict[str, str]:
    if not isinstance(model, VideoModel):
        stored = check_classes(tuple(classes), getattr(model, "num_classes", None) if classes else None)
        return {"format": "lrp3d", "model": name or type(model).__name__, "classes": json.dumps(stored)}
    check_statistics(model.mean, model.std, model.in_channels)
    for name in ("frames", "frames_apart"):
        if (number := getattr(model, name)) is not None and not is_number_of_frames(number):
            raise ValueError(f"{name} must be None or a whole number from 1 to {MOST_FRAMES}, got {number!r}")
    apart = {} if model.frames_apart is None else {"frames_apart": json.dumps(model.frames_apart)}
    sides = {name: side for name in ("size", "short_side") if (side := getattr(model, name)) is not None}
    for name, side in sides.items():
        if not is_size(side):
            raise ValueError(f"{name} must be None or a whole number from 1 to {MOST_PIXELS}, got {side!r}")
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
        **{name: json.dumps(side) for name, side in sides.items()},
        **apart,
    }


def _with_own_memory(value: Tensor) -> Tensor:
    """A copy of a tensor with its own memory, because safetensors refuses shared memory, as of tied weights."""
    value = value.detach().cpu().contiguous()
    whole = value.numel() * value.element_size() == value.untyped_storage().nbytes()
    return value if whole and not isinstance(value, nn.Parameter) else value.clone()


def load_model(path: Source) -> VideoModel:
    """The model in a file of `save_checkpoint` or `convert_checkpoint`, in evaluation mode.

    The file's description of its model is compared with its tensors before the model is made.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file does not say how to make its model, or its description is invalid or does not fit.

    >>> import tempfile, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(model, f"{folder}/mine.safetensors")
    ...     again = load_model(f"{folder}/mine.safetensors")
    >>> again.training, torch.equal(again.fc.weight, model.fc.weight)
    (False, True)
    """
    checkpoint = opened(path)
    return _make_to_fit(making(checkpoint).make, checkpoint).eval()


def build_for(
    checkpoint: Source | Checkpoint, model_name: str, *, inflate: str = "repeat", **options: object
) -> VideoModel:
    """A model of the paper with the weights and the number of classes of a checkpoint, in evaluation mode.

    One of lrp3d's own files with a model of this name is loaded as the file says if there are no `options`.

    Args:
        checkpoint: a file, or what `read_checkpoint` returns.
        model_name: as for `build`.
        inflate: for 2D sources, see `load_checkpoint`.
        options: further arguments of the model's builder, such as `kernel_size=5`.

    Raises:
        CheckpointError: the checkpoint cannot be read safely or does not fit the model.
        ValueError: an unknown model or option.

    >>> import tempfile, lrp3d
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(lrp3d.models.tsn_resnet(18, num_classes=7).state_dict(), f"{folder}/weights.pth")
    ...     build_for(f"{folder}/weights.pth", "TSN-R18-f8").num_classes
    7
    """
    checkpoint = opened(checkpoint)
    if not options and stored_arguments(checkpoint) and checkpoint.metadata.get("model") == model_name:
        return _make_to_fit(making(checkpoint).make, checkpoint).eval()
    classes = number_of_classes(checkpoint)
    if (asked := options.pop("num_classes", classes)) != classes:
        raise ValueError(f"num_classes={asked} was asked for, and the checkpoint has {classes} classes: leave it out")
    return _make_to_fit(lambda: build(model_name, classes, **options), checkpoint, inflate).eval()


def _make_to_fit(make: Callable[[], VideoModel], checkpoint: Checkpoint, inflate: str = "repeat") -> VideoModel:
    """Make a model without memory, compare everything, and only then allocate and load it."""
    shapes = without_memory(make, f"{checkpoint.name}: " if checkpoint.name else "")
    plan_loading(shapes, checkpoint, inflate=inflate)
    model = make()
    load_checkpoint(model, checkpoint, inflate=inflate)
    model.notes = (*stored_notes(checkpoint), *model.notes)
    # Also where options made the model, and not the file:
    model.size, model.short_side = stored_size(checkpoint), stored_size(checkpoint, "short_side")
    model.frames_apart = stored_frames_apart(checkpoint)
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

    Decisions on the way are noted in the file's metadata, and in `notes` of a model of the paper.

    Args:
        source: the file to read; never changed.
        destination: the safetensors file to write.
        model_name: the paper's name, as for `build`; or a model of your own, into which the weights are loaded.
        classes: class names to keep with the weights.
        trust_pickle: unpickle the source if it needs that. A pickle can run any code, so use this only for sources
            that you trust.
        inflate: for 2D sources, see `load_checkpoint`.
        name: the name of a model of your own in the file.
        options: further arguments of the model's builder, such as `kernel_size=5`.

    Raises:
        CheckpointError: the source cannot be read safely or does not fit the model; nothing is written.
        ValueError: an unknown model or option.

    >>> import tempfile, lrp3d
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save(lrp3d.models.tsn_resnet(18, num_classes=7).state_dict(), f"{folder}/weights.pth")
    ...     model = convert_checkpoint(f"{folder}/weights.pth", f"{folder}/mine.safetensors", "TSN-R18-f8")
    ...     load_model(f"{folder}/mine.safetensors").name
    'TSN-R18-f8'
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
