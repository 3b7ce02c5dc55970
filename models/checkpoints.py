"""Load public checkpoints: translate the names, check everything, and only then change the model."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from .blocks import TemporalAggregation
from .files import Checkpoint, CheckpointError, Source, State, read_checkpoint
from .names import DIALECTS, Dialect, recognise, shift_place
from .tsm import ShiftResNet

CLASSIFIER = ("fc.weight", "fc.bias")
_WRAPPERS = ("state_dict", "model_state", "model_state_dict", "blobs", "model")


@dataclass(frozen=True)
class LoadReport:
    """What `load_checkpoint` did: whose names were found, what was loaded, what was left as it was."""

    dialect: str
    loaded: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    """One of our tensors as the source has it: its names there, and its value."""

    sources: tuple[str, ...]
    value: Tensor

    def __str__(self) -> str:
        return " + ".join(self.sources)


def load_checkpoint(
    model: nn.Module, path_or_state_dict: Source | State, strict: bool = True, *, inflate: str = "repeat"
) -> LoadReport:
    """Load a public checkpoint, whoever named its parameters, or change nothing.

    Recognises IBM's action-recognition-pytorch, torchvision's 2D ImageNet networks, TSM, PySlowFast,
    pytorchvideo, caffe2 SlowFast, the I3D of piergiaj and of hassony2, and lrp3d's own safetensors, with or
    without `module.` and inside the usual wrappers (`state_dict`, `model_state`, `blobs`).

    2D kernels are inflated for 3D networks by repeating them along time. IBM's source leaves it at that;
    the I3D paper divides by the length, which keeps the answer to a still clip and is `inflate="mean"`.
    What a 2D file cannot know, TAM's weights, then lets every frame through unchanged. Where TSM shifts is
    in the names of its files, and is adopted from there.

    Args:
        model: a model of `lrp3d.models`.
        path_or_state_dict: a file (safetensors, or one that torch reads without unpickling code) or a state
            dict.
        strict: False to keep the model's classifier where the checkpoint's has another size; nothing else
            may differ.
        inflate: "repeat" or "mean".

    Raises:
        CheckpointError: a ValueError. The file needs unpickling, or names are unknown, or anything is
            missing, left over, of another shape or made differently; the message lists all of it.

    >>> from lrp3d.models import tsn_resnet
    >>> source, model = tsn_resnet(18, 5, width=8), tsn_resnet(18, 5, width=8)
    >>> load_checkpoint(model, source.state_dict()).dialect
    'lrp3d'
    """
    if inflate not in ("repeat", "mean"):
        raise ValueError(f"inflate must be 'repeat' or 'mean', got {inflate!r}")
    if isinstance(path_or_state_dict, Mapping):
        checkpoint = Checkpoint(path_or_state_dict, {})
    else:
        checkpoint = read_checkpoint(path_or_state_dict)
    tensors = _tensors(checkpoint.state)
    dialect = _dialect(tensors)
    pieces, unknown = _translate(tensors, dialect)
    blending = _unknown_to_2d(model, tensors)
    place = shift_place(tensors)

    match = _compare(model.state_dict(), pieces, inflate, strict, {f"{name}.conv.weight" for name in blending})
    problems = [f"left over: {name} {_size(tensors[name])}" for name in unknown] + match.problems
    problems += _different_shift(model, dialect, place) + _different_making(model, checkpoint.metadata)
    if problems:
        raise CheckpointError(_complaint(model, dialect, problems))

    current = model.state_dict()
    with torch.no_grad():
        for name, value in match.fitted.items():
            current[name].copy_(value)
    for module in blending.values():
        module.pass_through()
    if place is not None and isinstance(model, ShiftResNet):
        model.place_shift(place)
    return LoadReport(dialect.name, tuple(match.fitted), tuple(match.kept))


@dataclass
class _Match:
    """What fits, what stays as it is, and what is wrong."""

    fitted: dict[str, Tensor] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _compare(
    wanted: Mapping[str, Tensor],
    pieces: Mapping[str, _Piece],
    inflate: str,
    strict: bool,
    optional: Collection[str],
) -> _Match:
    """Lay a checkpoint beside a model's tensors, without touching either."""
    match = _Match()
    for name, current in wanted.items():
        if name not in pieces:
            if name not in optional and not name.endswith("num_batches_tracked"):  # not everyone counts them
                match.problems.append(f"missing: {name} {_size(current)}")
            match.kept.append(name)
            continue
        value = _fit(pieces[name].value, current, inflate)
        if value is not None:
            match.fitted[name] = value
        elif name in CLASSIFIER and not strict:
            match.kept.append(name)
        else:
            piece = pieces[name]
            match.problems.append(f"shape: {name} {_size(current)} from {piece} {_size(piece.value)}")
    for name in (name for name in pieces if name not in wanted):
        match.problems.append(f"left over: {pieces[name]} {_size(pieces[name].value)}")
    if any(name in match.kept for name in CLASSIFIER):  # half a classifier is none
        match.kept += [name for name in CLASSIFIER if match.fitted.pop(name, None) is not None]
    return match


def _different_shift(model: nn.Module, dialect: Dialect, place: str | None) -> list[str]:
    """TSM's shifts have no weights: only names tell whether a checkpoint was trained with them."""
    if place is not None and not isinstance(model, ShiftResNet):
        return ["the checkpoint shifts channels along time (TSM), the model does not"]
    if dialect.name == "TSM" and place is None and isinstance(model, ShiftResNet):
        return ["the model shifts channels along time (TSM), the checkpoint's names say that it did not"]
    return []


def _different_making(model: nn.Module, metadata: Mapping[str, str]) -> list[str]:
    """Our own files say how their model was made, where no tensor would: compare that, too."""
    theirs = json.loads(metadata.get("arguments", "{}"))
    ours = getattr(model, "arguments", {})
    return [
        f"{option}: the checkpoint's model has {theirs[option]}, this one {ours[option]}"
        for option in ("temporal_stride", "pooling", "shift", "alpha")
        if option in theirs and option in ours and theirs[option] != ours[option]
    ]


def _complaint(model: nn.Module, dialect: Dialect, problems: list[str]) -> str:
    name = getattr(model, "name", "") or type(model).__name__
    count = "1 thing does" if len(problems) == 1 else f"{len(problems)} things do"
    lines = "\n".join(f"  - {problem}" for problem in problems)
    hint = ""
    if all(any(f" {name} " in problem for name in CLASSIFIER) for problem in problems):
        hint = "\nOnly the classifier differs: strict=False keeps the model's own."
    head = f"{count} not match between the {dialect.name} checkpoint and {name}; nothing was loaded."
    return f"{head}\n{lines}{hint}"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def number_of_classes(state: State) -> int:
    """How many classes the classifier of a checkpoint has.

    Raises:
        CheckpointError: the names are unknown, or there is no classifier.
    """
    tensors = _tensors(state)
    pieces, _ = _translate(tensors, _dialect(tensors))
    if "fc.weight" not in pieces:
        raise CheckpointError("the checkpoint has no classifier, so its number of classes is unknown")
    return len(pieces["fc.weight"].value)


def _tensors(state: State) -> dict[str, Tensor]:
    """The tensors of a checkpoint under their bare names."""
    for wrapper in _WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    tensors = {}
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor):
            tensors[str(name)] = value.detach()
    while tensors and all(name.startswith("module.") for name in tensors):  # nn.DataParallel
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _dialect(tensors: Mapping[str, Tensor]) -> Dialect:
    dialect = recognise(tensors)
    if dialect is None:
        known = ", ".join(dialect.name for dialect in DIALECTS)
        some = ", ".join(list(tensors)[:3]) or "no tensors"
        raise CheckpointError(f"nobody known names parameters like this ({some}); known are: {known}")
    return dialect


def _translate(tensors: Mapping[str, Tensor], dialect: Dialect) -> tuple[dict[str, _Piece], list[str]]:
    """Our names with the source's values, and the source's names that mean nothing to us."""
    pieces: dict[str, _Piece] = {}
    offsets: dict[str, dict[int, str]] = {}
    unknown: list[str] = []
    for source, value in tensors.items():
        try:
            target = dialect.rename(source, tensors)
        except KeyError:
            unknown.append(source)
            continue
        if target is None:
            continue
        if target.name in pieces or target.offset in offsets.get(target.name, {}):
            unknown.append(source)
        elif target.offset is None:
            pieces[target.name] = _Piece((source,), value)
        else:
            offsets.setdefault(target.name, {})[target.offset] = source
    for name, sources in offsets.items():
        values = [tensors[sources[offset]] for offset in sorted(sources)]
        if sorted(sources) == list(range(len(sources))) and len({value.shape for value in values}) == 1:
            pieces[name] = _Piece(tuple(sources[offset] for offset in sorted(sources)), torch.stack(values, 2))
        else:
            unknown += sources.values()
    return pieces, unknown


def _unknown_to_2d(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, TemporalAggregation]:
    """The temporal modules that a purely 2D checkpoint says nothing about."""
    kernels = [value for value in tensors.values() if value.dim() >= 4]
    if any(value.dim() == 5 for value in kernels) or any("tam" in name.split(".") for name in tensors):
        return {}
    if any(name.startswith("tam") for name in tensors):
        return {}
    return {name: module for name, module in model.named_modules() if isinstance(module, TemporalAggregation)}


def _fit(value: Tensor, current: Tensor, inflate: str) -> Tensor | None:
    """`value` in the shape of `current`: kernels inflated, classifiers flattened; None if it cannot be."""
    if value.shape == current.shape:
        return value
    if value.dim() == 4 and current.dim() == 5 and value.shape == current.shape[:2] + current.shape[3:]:
        length = current.shape[2]
        return value.unsqueeze(2).expand_as(current) / (length if inflate == "mean" else 1)
    if current.dim() == 2 and value.dim() > 2 and value.flatten(1).shape == current.shape:
        return value.flatten(1)
    return None
