"""lrp3d's own checkpoints: safetensors that say which model they hold, how to make it and what it expects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from lrp3d.files import replacing

from .base import BUILDERS, VideoModel
from .checkpoints import load_checkpoint, number_of_classes
from .files import CheckpointError, Source, read_checkpoint
from .zoo import build


def save_checkpoint(
    model: VideoModel,
    path: Source,
    classes: Sequence[str] = (),
    *,
    half: bool = False,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write a model as safetensors: its weights, and its name, making, classes and normalisation as metadata.

    The file is complete or not there: it is written beside its place and moved.

    Args:
        model: what to write.
        path: where to.
        classes: names, by default those that the model has.
        half: floating-point weights as float16, half the size; `load_model` gives them back as float32.
        facts: more metadata, such as accuracy and training command; JSON.

    Raises:
        ValueError: the number of class names differs from the number of classes.
    """
    classes = tuple(classes) or model.classes
    if classes and len(classes) != model.num_classes:
        raise ValueError(f"{len(classes)} class names for a model of {model.num_classes} classes")
    metadata = {
        "format": "lrp3d",
        "model": model.name,
        "builder": model.builder,
        "arguments": json.dumps(model.arguments),
        "frames": json.dumps(model.frames),
        "num_classes": json.dumps(model.num_classes),
        "classes": json.dumps(classes),
        "mean": json.dumps(model.mean),
        "std": json.dumps(model.std),
    }
    if facts is not None:
        metadata["facts"] = json.dumps(dict(facts))
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if half:
        tensors = {name: value.half() if value.dtype == torch.float32 else value for name, value in tensors.items()}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata)


def load_model(path: Source) -> VideoModel:
    """The model that `save_checkpoint` or `convert_checkpoint` wrote, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file does not say how to make its model, or does not fit it.
    """
    checkpoint = read_checkpoint(path)
    said = checkpoint.metadata
    try:
        model = BUILDERS[said["builder"]](**json.loads(said["arguments"]))
        model.name = said["model"]
        model.frames = json.loads(said["frames"])
        model.classes = tuple(json.loads(said["classes"]))
        model.mean, model.std = tuple(json.loads(said["mean"])), tuple(json.loads(said["std"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{Path(path).name} does not say how to make its model; build it and use load_checkpoint"
        ) from error
    load_checkpoint(model, checkpoint.state)
    return model.eval()


def convert_checkpoint(
    source: Source,
    destination: Source,
    model_name: str,
    *,
    classes: Sequence[str] = (),
    trust_pickle: bool = False,
    inflate: str = "repeat",
    **options: object,
) -> VideoModel:
    """Turn any checkpoint that `load_checkpoint` knows into lrp3d's safetensors, and return the model.

    Args:
        source: the file to read; never changed.
        destination: the safetensors file to write.
        model_name: the paper's name, as for `build`.
        classes: class names to keep with the weights.
        trust_pickle: unpickle the source if it needs that. A pickle can run any code: only for sources you
            trust.
        inflate: for 2D sources, see `load_checkpoint`.
        options: further arguments of the model's builder, such as `kernel_size=5`.

    Raises:
        CheckpointError: the source cannot be read safely or does not fit the model; nothing is written.
        ValueError: an unknown model or option.
    """
    checkpoint = read_checkpoint(source, trust_pickle)
    model = build(model_name, number_of_classes(checkpoint.state), **options)
    load_checkpoint(model, checkpoint.state, inflate=inflate)
    save_checkpoint(model, destination, classes)
    return model.eval()
