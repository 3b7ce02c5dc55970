"""Load public checkpoints: translate the names, check everything, and only then change the model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .base import VideoModel
from .blocks import TemporalAggregation
from .dialects import DIALECTS, Dialect, recognise, shift_place
from .files import Checkpoint, CheckpointError, Source, State, read_checkpoint
from .fitting import copy_values, storage_problem, value_problem
from .making import stored_arguments
from .states import Choice, bare_name, find, nearest
from .tsm import ShiftResNet
from .wording import shown

CLASSIFIER = ("fc.weight", "fc.bias")


@dataclass(frozen=True)
class LoadReport:
    """What `load_checkpoint` did: whose names were found, what was loaded, and what was not changed.

    `notes` has a sentence for each decision: which of two sets of weights was taken, what was left out, or what was
    repeated.

    >>> import lrp3d
    >>> model, other = (lrp3d.models.tsn_resnet(18, num_classes=10, width=8) for _ in range(2))
    >>> report = load_checkpoint(model, other.state_dict())
    >>> report.dialect, len(report.loaded) == len(model.state_dict()), report.kept
    ('lrp3d', True, ())
    """

    dialect: str
    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Piece:
    """The names in the source, and the value, of one of our tensors."""

    sources: tuple[str, ...]
    value: Tensor

    def __str__(self) -> str:
        return " + ".join(map(shown, self.sources))


def load_checkpoint(
    model: nn.Module, path_or_state_dict: Source | State | Checkpoint, strict: bool = True, *, inflate: str = "repeat"
) -> LoadReport:
    """Load a public checkpoint, whatever its source calls the parameters, or change nothing.

    Recognises IBM's action-recognition-pytorch, torchvision's 2D ImageNet networks, TSM, PySlowFast,
    pytorchvideo, caffe2 SlowFast, the I3D of piergiaj and of hassony2, and lrp3d's own safetensors. It finds the
    parameters in a file by itself: in a dictionary such as `state_dict`, `model_state` or `blobs`, under
    `module.`, `_orig_mod.` or the name of an attribute, such as Lightning's `model.`. If a file has weights and
    their average (`model_ema`), the weights are taken, and the report says so.

    2D kernels are inflated for 3D networks by repeating them along time, as in IBM's source. The I3D paper also
    divides by the length, which keeps the output for a still clip: `inflate="mean"`. TAM's weights, which a 2D
    file does not have, then let every frame through unchanged. The place at which TSM shifts is taken from the
    names in the file.

    Args:
        model: a model of `lrp3d.models`; for any other model, names and shapes have to be its own.
        path_or_state_dict: a file (safetensors, or one that torch reads without unpickling code), a state
            dict, or what `read_checkpoint` returns.
        strict: False keeps the model's classifier if the checkpoint's has another size; nothing else may differ.
        inflate: "repeat" or "mean".

    Raises:
        CheckpointError: (a ValueError) the file needs unpickling, names are unknown, tensors are missing or left
            over, have another shape or type or NaN, or the models were made differently; the message lists
            everything.

    >>> from lrp3d.models import tsn_resnet
    >>> source, model = tsn_resnet(18, 5, width=8), tsn_resnet(18, 5, width=8)
    >>> load_checkpoint(model, source.state_dict()).dialect
    'lrp3d'
    """
    checkpoint = opened(path_or_state_dict)
    model = _unwrapped(model)
    plan = plan_loading(model, checkpoint, strict, inflate)
    try:
        copy_values(model, plan.values)
    except CheckpointError as error:
        raise CheckpointError(f"{_file_prefix(checkpoint)}{error}") from error.__cause__
    for module in plan.blending:
        module.pass_through()
    if plan.shift is not None and isinstance(model, ShiftResNet):
        model.place_shift(plan.shift)
    if isinstance(model, VideoModel):
        model.notes = plan.report.notes
    return plan.report


def opened(source: Source | State | Checkpoint, trust_pickle: bool = False) -> Checkpoint:
    """The checkpoint itself, from a file, a state dict or a checkpoint."""
    if isinstance(source, Checkpoint):
        return source
    return Checkpoint(source, {}) if isinstance(source, Mapping) else read_checkpoint(source, trust_pickle)


@dataclass(frozen=True)
class Plan:
    """What loading would do, before anything is changed."""

    report: LoadReport
    values: Mapping[str, Tensor]
    blending: tuple[TemporalAggregation, ...] = ()
    shift: str | None = None


def plan_loading(model: nn.Module, checkpoint: Checkpoint, strict: bool = True, inflate: str = "repeat") -> Plan:
    """Compare everything, and change nothing; the model needs shapes and types, but no memory.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    if inflate not in ("repeat", "mean"):
        raise ValueError(f"inflate must be 'repeat' or 'mean', got {inflate!r}")
    if not isinstance(model, VideoModel):
        return _plan_own(model, checkpoint)
    source = _known_dialect(checkpoint)
    tensors = source.place.tensors
    dialect = _dialect(tensors)
    problems = [f"{shown(name)} {why}" for name, value in tensors.items() if (why := storage_problem(value))]
    if problems:
        raise CheckpointError(_complaint(model, checkpoint, dialect, problems))
    pieces, unknown = _translate(tensors, dialect)
    blending = _unknown_to_2d(model, tensors)
    place = shift_place(tensors)

    match = _compare(model.state_dict(), pieces, inflate, strict, {f"{name}.conv.weight" for name in blending})
    problems = [f"left over: {shown(name)} {_size(tensors[name])}" for name in unknown] + match.problems
    problems += _different_shift(model, dialect, place) + _different_making(model, checkpoint)
    if problems:
        raise CheckpointError(_complaint(model, checkpoint, dialect, problems))
    notes = (*source.notes, *_notes(model, match, blending, place, inflate))
    report = LoadReport(dialect.name, tuple(match.fitted), tuple(match.kept), notes)
    return Plan(report, match.fitted, tuple(blending.values()), place)


def _notes(
    model: nn.Module, match: _Match, blending: Collection[str], place: str | None, inflate: str
) -> Iterator[str]:
    """The notes on decisions, except on where the weights are in the file."""
    if match.inflated:
        scaling = "" if inflate == "repeat" else " and divided by its length"
        yield f"{match.inflated} kernels of a 2D network are repeated along time{scaling}"
    if blending:
        yield f"a 2D checkpoint has no temporal modules: {len(blending)} let every frame through unchanged"
    if any(name in match.kept for name in CLASSIFIER):
        yield "the classifier is the model's own, not the checkpoint's"
    if place is not None and place != getattr(model, "shift", place):
        yield f"the checkpoint's names say that TSM shifts before the {place}: the model now does, too"


def _plan_own(model: nn.Module, checkpoint: Checkpoint) -> Plan:
    """The plan for a user's own model, which takes exactly its own names."""
    if any(is_lazy(value) for value in (*model.parameters(), *model.buffers())):
        raise CheckpointError(f"{type(model).__name__} does not know its shapes yet: run it once, then load")
    names = {bare_name(name): name for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    state = model.state_dict()
    wanted = {name_in_file: state[name] for name_in_file, name in names.items()}

    def fits(tensors: Mapping[str, Tensor]) -> bool:
        return all(name in tensors and tensors[name].shape == value.shape for name, value in wanted.items())

    source = find(checkpoint.state, fits) if wanted else None
    tensors = source.place.tensors if source else nearest(checkpoint.state, wanted.keys()).tensors
    problems = _own_problems(model, wanted, tensors)
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        what = checkpoint.name or "the checkpoint"
        raise CheckpointError(
            f"{what} does not fit {type(model).__name__}; make the model as it was made for the file, or give a "
            f"file of this one:\n{lines}"
        )
    extra = [name for name in state if name not in names.values()]
    notes = [f"{shown(name)} is no tensor, and is the model's own" for name in extra]
    values = {names[name_in_file]: tensors[name_in_file] for name_in_file in wanted}
    report = LoadReport("model's own", tuple(values), tuple(extra), (*(source.notes if source else ()), *notes))
    return Plan(report, values)


def _own_problems(model: nn.Module, own_tensors: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    buffers = {bare_name(name) for name, _ in model.named_buffers()}
    problems = [f"missing: {name}" for name in own_tensors if name not in tensors]
    problems += [f"left over: {shown(name)}" for name in tensors if name not in own_tensors]
    for name, current in own_tensors.items():
        if name not in tensors:
            continue
        value = tensors[name]
        if value.shape != current.shape:
            problems.append(f"shape: {name} {tuple(current.shape)}, in the file {tuple(value.shape)}")
        elif why := storage_problem(value) or value_problem(name, value, current, infinite=name in buffers):
            problems.append(f"{name} {why}")
    return problems


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network inside torch's wrappers: DataParallel, DistributedDataParallel, torch.compile."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _file_prefix(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.name}: " if checkpoint.name else ""


@dataclass
class _Match:
    """Which tensors fit, which are not changed, and which problems there are."""

    fitted: dict[str, Tensor] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    inflated: int = 0


def _compare(
    wanted: Mapping[str, Tensor],
    pieces: Mapping[str, _Piece],
    inflate: str,
    strict: bool,
    optional: Collection[str],
) -> _Match:
    """Compare a checkpoint with a model's tensors without changing either."""
    match = _Match()
    for name, current in wanted.items():
        if name not in pieces:
            # Some sources do not store the counter of batches.
            if name not in optional and not name.endswith("num_batches_tracked"):
                match.problems.append(f"missing: {name} {_size(current)}")
            match.kept.append(name)
            continue
        value = _fit(pieces[name].value, current, inflate)
        if value is not None:
            why = value_problem(name, value, current)
            if why:
                match.problems.append(f"{pieces[name]} {why}")
            match.fitted[name] = value
            match.inflated += _is_inflated(pieces[name].value, current)
        elif name in CLASSIFIER and not strict:
            match.kept.append(name)
        else:
            piece = pieces[name]
            match.problems.append(f"shape: {name} {_size(current)} from {piece} {_size(piece.value)}")
    for name in (name for name in pieces if name not in wanted):
        match.problems.append(f"left over: {pieces[name]} {_size(pieces[name].value)}")
    if any(name in match.kept for name in CLASSIFIER):  # a classifier is loaded as a whole or not at all
        match.kept += [name for name in CLASSIFIER if match.fitted.pop(name, None) is not None]
    return match


def _different_shift(model: nn.Module, dialect: Dialect, place: str | None) -> list[str]:
    """The problem if only one of checkpoint and model has TSM's shifts, which have no weights but show in names."""
    if place is not None and not isinstance(model, ShiftResNet):
        return ["the checkpoint shifts channels along time (TSM), the model does not"]
    if dialect.name == "TSM" and place is None and isinstance(model, ShiftResNet):
        return ["the model shifts channels along time (TSM), the checkpoint's names say that it did not"]
    return []


def _different_making(model: nn.Module, checkpoint: Checkpoint) -> list[str]:
    """The differences in how two models were made, which lrp3d's own files state and tensors do not show."""
    stored = stored_arguments(checkpoint)
    own_arguments = getattr(model, "arguments", {})
    return [
        f"{option}: the checkpoint's model has {stored[option]}, this one {own_arguments[option]}"
        for option in ("temporal_stride", "pooling", "shift", "alpha")
        if option in stored and option in own_arguments and stored[option] != own_arguments[option]
    ]


def _complaint(model: nn.Module, checkpoint: Checkpoint, dialect: Dialect, problems: list[str]) -> str:
    name = getattr(model, "name", "") or type(model).__name__
    count = "1 thing does" if len(problems) == 1 else f"{len(problems)} things do"
    lines = "\n".join(f"  - {problem}" for problem in problems)
    hint = why = ""
    if all(any(f" {name} " in problem for name in CLASSIFIER) for problem in problems):
        hint = "\nOnly the classifier differs: strict=False keeps the model's own."
        if all(problem.startswith("shape: ") for problem in problems):
            why = _different_classes(model, checkpoint)
    why = why or _other_model(name, checkpoint)
    between = f"between the {dialect.name} checkpoint and {name}{why}"
    head = f"{_file_prefix(checkpoint)}{count} not match {between}; nothing was loaded."
    return f"{head}\n{lines}{hint}"


def _other_model(name: str, checkpoint: Checkpoint) -> str:
    """What one of lrp3d's own files says about its model, where that is another one."""
    metadata = checkpoint.metadata
    stored = metadata.get("model", "")
    if "builder" not in metadata or stored in ("", name):
        return ""
    return f", as the file says that its model is {shown(stored)}: lrp3d.models.load_model makes that one"


def _different_classes(model: nn.Module, checkpoint: Checkpoint) -> str:
    """How many classes the two have, where that is what differs."""
    classes, own = number_of_classes(checkpoint), len(model.state_dict()["fc.weight"])
    if classes == own:
        return ""
    return f", as the checkpoint has {classes} classes and the model {own}: make the model with num_classes={classes}"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def number_of_classes(checkpoint: Checkpoint) -> int:
    """The number of classes of a checkpoint's classifier.

    Raises:
        CheckpointError: the names are unknown, or there is no classifier.
    """
    tensors = _known_dialect(checkpoint).place.tensors
    pieces, _ = _translate(
        {name: value for name, value in tensors.items() if not storage_problem(value)}, _dialect(tensors)
    )
    if "fc.weight" not in pieces or not pieces["fc.weight"].value.dim():
        raise CheckpointError(
            f"{_file_prefix(checkpoint)}the checkpoint has no classifier, so its number of classes is unknown"
        )
    return len(pieces["fc.weight"].value)


def _known_dialect(checkpoint: Checkpoint) -> Choice:
    """The parameters in a checkpoint whose names are in a known dialect; raises CheckpointError if there are none."""
    source = find(checkpoint.state, lambda tensors: recognise(tensors) is not None)
    if source is None:
        dialects = ", ".join(dialect.name for dialect in DIALECTS)
        examples = ", ".join(map(shown, islice(nearest(checkpoint.state, {"fc.weight"}).tensors, 3))) or "no tensors"
        raise CheckpointError(
            f"{_file_prefix(checkpoint)}no known source names parameters like this ({examples}); "
            f"known sources are: {dialects}"
        )
    return source


def _dialect(tensors: Mapping[str, Tensor]) -> Dialect:
    dialect = recognise(tensors)
    assert dialect is not None  # the tensors were found by their dialect
    return dialect


def _translate(tensors: Mapping[str, Tensor], dialect: Dialect) -> tuple[dict[str, _Piece], list[str]]:
    """The source's values by our names, and the names of the source that are unknown."""
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
    """The temporal modules for which a 2D checkpoint has no weights; empty if it is not a 2D checkpoint."""
    kernels = [value for value in tensors.values() if value.dim() >= 4]
    if any(value.dim() == 5 for value in kernels) or any("tam" in name.split(".") for name in tensors):
        return {}
    if any(name.startswith("tam") for name in tensors):
        return {}
    return {name: module for name, module in model.named_modules() if isinstance(module, TemporalAggregation)}


def _is_inflated(value: Tensor, current: Tensor) -> bool:
    return value.dim() == 4 and current.dim() == 5 and current.shape[2] > 1


def _fit(value: Tensor, current: Tensor, inflate: str) -> Tensor | None:
    """`value` in the shape of `current`, with inflated kernels and flattened classifiers; None if impossible."""
    if value.shape == current.shape:
        return value
    if value.dim() == 4 and current.dim() == 5 and value.shape == current.shape[:2] + current.shape[3:]:
        length = current.shape[2]
        return value.unsqueeze(2).expand_as(current) / (length if inflate == "mean" else 1)
    if current.dim() == 2 and value.dim() > 2 and value.flatten(1).shape == current.shape:
        return value.flatten(1)
    return None
