"""The model that the command line asks for: by its name in the paper, by a checkpoint, or the user's own."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

from lrp3d import models
from lrp3d.commands import UsageError
from lrp3d.commands.devices import device_of
from lrp3d.commands.labels import read_labels
from lrp3d.commands.pixel_options import pixels_for
from lrp3d.commands.sampling_note import sampling_notes
from lrp3d.composites.named import composite_of
from lrp3d.integrations import SOURCES, PublicNetwork, network
from lrp3d.integrations.networks import source_of
from lrp3d.models.absent_classes import class_of_main, why_absent
from lrp3d.models.making import is_number_of_frames, stored_classes, stored_notes, without_memory
from lrp3d.models.published import PUBLISHED, fetch_weights, is_address
from lrp3d.suggestions import did_you_mean
from lrp3d.video.pixels import black_and_white

SEED = 0
CLASSES = 400  # of a model without trained weights
BY_SIGNAL = 128  # a process that a signal has ended has this number more than that of the signal as its code
FRAMES = 8  # for a model that takes any number
RANDOM = f"random weights (seed {SEED}): this shows how the architecture spreads relevance, not what a model learned"


@dataclass(frozen=True)
class ModelChoice:
    """A model, and all that the command line knows about it."""

    model: nn.Module
    name: str
    weights: str
    """Where the weights come from, as a sentence that is shown with every result."""
    trained: bool
    """Whether the weights were given; if not, `weights` is a warning."""
    random: bool
    """Whether the weights are known to be random; a model of one's own may load some by itself."""
    labels: tuple[str, ...]
    frames: int
    size: int
    short_side: int
    """The length to which the shorter side is resized before the square is cut."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    sha256: str = ""
    """The hash of the checkpoint's file; empty without one."""

    @property
    def input_range(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The normalised values of black and white."""
        stated: tuple[tuple[float, ...], tuple[float, ...]] | None = getattr(self.model, "input_range", None)
        return black_and_white(self.mean, self.std) if stated is None else stated


def _other_names(labels: Sequence[str], stored: Sequence[str], model: nn.Module) -> tuple[str, ...]:
    """What is said where --labels names a class otherwise than the weights or the model, which know their classes."""
    who, own = ("the weights call", "of the weights") if stored else ("the model calls", "of the model")
    for i, (label, name) in enumerate(zip(labels, stored or _own_names(model), strict=False)):
        if label.replace("_", " ").casefold() != name.replace("_", " ").casefold():
            return (
                f"{who} class {i} {name!r} and --labels {label!r}: the names of --labels are used, as asked; leave it "
                f"out to have those {own}",
            )
    return ()


def choose(options: argparse.Namespace) -> ModelChoice:
    """The model on its device, in evaluation mode.

    Raises:
        UsageError: there is no such model, or it does not take what was asked.
        ValueError, OSError: weights or labels cannot be read or do not fit.
    """
    if not _is_own(options.model):  # reject an unknown composite before reading large files
        _check_composite(options)
    device = device_of(options.device)
    weights = weights_of(options)
    file: Path | None = getattr(options, "labels", None)
    labels: tuple[str, ...] = read_labels(file) if file else ()
    torch.manual_seed(SEED)
    loaded = _load(options, weights, len(labels) or CLASSES)
    model, notes = loaded.model, loaded.notes
    origin = _origin(model, options.model, weights)
    labels = labels or loaded.classes or _own_names(model)
    classes = getattr(model, "num_classes", None)
    classes = 2 if classes == 1 else classes  # a lone logit has two
    if labels and isinstance(classes, int) and len(labels) > classes:
        raise ValueError(f"{len(labels)} labels do not fit a model of {classes} classes")
    pixels = pixels_for(model, options)
    said = [*pixels.notes]
    if not options.frames and not is_number_of_frames(getattr(model, "frames", None)):
        said.append(f"the model states no number of frames: clips of {FRAMES} are taken (--frames takes others)")
    if not origin.random:
        who = "the library's weights" if isinstance(model, PublicNetwork) else "the network"
        said += sampling_notes(_frames_apart(model, options), options, who)
    said += [*getattr(labels, "notes", ()), *_other_names(labels, loaded.classes, model)]
    return ModelChoice(
        model=_frozen(model.to(device).eval()),
        name=options.model or getattr(model, "name", "") or type(model).__name__,
        weights=origin.sentence,
        trained=origin.trained,
        random=origin.random,
        labels=labels,
        frames=_frames(model, options.frames),
        size=pixels.size,
        short_side=pixels.short_side,
        mean=pixels.mean,
        std=pixels.std,
        notes=(*notes, *said),
        sha256=_hash(weights) if weights is not None else "",
    )


def _frozen(model: nn.Module) -> nn.Module:
    """The model without parameters that record gradients; a program of torch.jit has no method for that."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


class _Loaded(NamedTuple):
    """A model with its weights, and what its checkpoint or its library says of it."""

    model: nn.Module
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def _is_own(name: str | None) -> bool:
    """Whether a model is not one of the paper's, but of a library or of the user."""
    return name is not None and ":" in name


def _load(options: argparse.Namespace, weights: Path | None, classes: int) -> _Loaded:
    """The model that the options name, or that a file of weights names."""
    if options.model is None:
        if weights is None:
            raise UsageError(
                "say which model: give --model NAME, or --weights with a file that convert-checkpoint wrote"
            )
        if options.option:
            raise UsageError("--option goes with --model: a file that names its model also says how to build it")
        return _with_its_own(_Loaded(models.load_model(weights)), trained=True)
    if options.model.endswith(".py") and not _is_own(options.model):
        raise UsageError(
            f"--model {options.model} is a file: say which function, class or module of it is the model, --model "
            f"{options.model}:NAME"
        )
    if not _is_own(options.model):
        model = _build_with_weights(options.model, dict(options.option), weights, classes)
        return _with_its_own(_Loaded(model), trained=weights is not None)
    model = own_model(options.model, dict(options.option))
    _check_composite(options)  # the imported module may have registered it
    if weights is None:
        return _with_its_own(_Loaded(model), trained=isinstance(model, PublicNetwork) and bool(model.weights))
    checkpoint = models.read_checkpoint(weights)
    result = models.load_checkpoint(model.network if isinstance(model, PublicNetwork) else model, checkpoint)
    notes = (*stored_notes(checkpoint), *result.notes)
    return _with_its_own(_Loaded(model, notes, stored_classes(checkpoint)), trained=True)


def _with_its_own(loaded: _Loaded, trained: bool) -> _Loaded:
    """Adds the notes and class names that the model itself has."""
    model, notes, classes = loaded
    if isinstance(model, PublicNetwork):
        return _Loaded(model, (*notes, *model.notes), classes or (model.class_names if trained else ()))
    if isinstance(model, models.VideoModel):
        return _Loaded(model, notes or model.notes, classes or model.classes)
    return loaded


class _Origin(NamedTuple):
    """Where weights come from, as a sentence, whether they were given, and whether they are known to be random."""

    sentence: str
    trained: bool
    random: bool


def _origin(model: nn.Module, name: str | None, weights: Path | None) -> _Origin:
    """Where the weights come from."""
    if weights is not None:
        return _Origin(f"weights of {weights.name}", trained=True, random=False)
    if isinstance(model, PublicNetwork):
        return _Origin(model.weights or RANDOM, trained=bool(model.weights), random=not model.weights)
    if _is_own(name):
        sentence = f"weights as {name} makes them with seed {SEED}: random, unless it loads some"
        return _Origin(sentence, trained=False, random=False)
    return _Origin(RANDOM, trained=False, random=True)


def _hash(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def weights_of(options: argparse.Namespace) -> Path | None:
    """The file of the weights; a public checkpoint is fetched, and sets the model and class names if none are given."""
    name: str | None = getattr(options, "weights", None)
    if name is None or Path(name).exists():
        return None if name is None else Path(name)
    public = PUBLISHED.get(name)
    if public is None and not is_address(name):
        if not Path(name).suffix and Path(name).name == name:  # more likely a name than a file
            known = did_you_mean(name, PUBLISHED) or f"; there are {', '.join(PUBLISHED)}"
            raise FileNotFoundError(f"no checkpoint at {name}, and no public one has that name{known}")
        return Path(name)
    if public is not None:
        options.model = options.model or public.model
        if public.dataset == "Kinetics-400" and getattr(options, "labels", None) is None:
            options.labels = Path("kinetics-400")
    try:
        return fetch_weights(name, progress=sys.stderr.isatty())
    except models.CheckpointError:
        raise
    except ValueError as error:
        raise UsageError(f"--weights: {error}") from error


def _check_composite(options: argparse.Namespace) -> None:
    """Raise UsageError if a command takes a composite and no composite has that name."""
    try:
        composite_of(getattr(options, "composite", "paper"))
    except ValueError as error:
        raise UsageError(f"--composite: {error}") from error


def _own_names(model: nn.Module) -> tuple[str, ...]:
    """The names of classes of a user's own model, whose attribute `classes` may hold anything."""
    classes = getattr(model, "classes", ())
    if isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes):
        return tuple(classes)
    return ()


def _frames_apart(model: nn.Module, options: argparse.Namespace) -> Any:
    """How far apart frames were in training, as the model states it, or whoever published its weights."""
    public = PUBLISHED.get(getattr(options, "weights", None) or "")
    return getattr(model, "frames_apart", None) if public is None else public.frames_apart


def _frames(model: nn.Module, wanted: int | None) -> int:
    frames = getattr(model, "frames", None)
    if isinstance(frames, (int, float, str)) and not is_number_of_frames(frames) and not wanted:
        raise ValueError(f"the model states frames={frames!r}, which no clip can have: give --frames")
    frames = frames if is_number_of_frames(frames) else None
    if wanted and frames and wanted != frames and getattr(model, "fixed_frames", False):
        raise UsageError(f"--frames {wanted}: this model was built for {frames} frames")
    return wanted or frames or FRAMES


def _build_with_weights(name: str, options: dict[str, Any], weights: Path | None, classes: int) -> nn.Module:
    """A model of the paper, with as many classes as its weights have."""
    if weights is None:
        return build(name, options, classes)
    checkpoint = models.read_checkpoint(weights)
    if not options and checkpoint.metadata.get("model") == name:
        return models.build_for(checkpoint, name)
    check_name(name, options)
    return models.build_for(checkpoint, name, **options)


def check_name(name: str, options: Mapping[str, Any]) -> None:
    """Raise UsageError if the model cannot be built with these options; nothing is allocated."""
    try:
        without_memory(lambda: models.build(name, **{"num_classes": 1, **options}))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{error}{_suggestion(error, name)}") from error


def build(name: str, options: dict[str, Any], classes: int) -> nn.Module:
    """A model of the paper with random weights; raises UsageError if it cannot be built with these options."""
    try:
        return models.build(name, **{"num_classes": classes, **options})
    except (ValueError, TypeError) as error:
        raise UsageError(f"{error}{_suggestion(error, name)}") from error


def _suggestion(error: Exception, name: str) -> str:
    """The hint after an unknown name: that it is a trained network, or which name may be meant."""
    if not isinstance(error, models.zoo.UnknownModel):
        return ""
    if name in models.pretrained_names():
        call = f"lrp3d.models.load_pretrained({name!r})"
        return f"; {name} is a trained network that comes with lrp3d: {call}, or lrp3d demo"
    lengths = re.findall(r"-f(\d+)", name)[:1] or ["8"]
    names = [pattern.replace("[Z]", lengths[0]) for pattern in _known_names()]
    return did_you_mean(name, [*names, *models.pretrained_names()])


def _known_names() -> list[str]:
    """The known names, with every alternative in brackets spelt out except [Z]."""
    names: list[str] = []
    for name in models.zoo.KNOWN:
        several = re.search(r"\[(\d+(?:\|\d+)+)\]", name)
        names += [name.replace(several[0], alternative) for alternative in several[1].split("|")] if several else [name]
    return names


def own_model(path: str, options: dict[str, Any]) -> nn.Module:
    """The model that `library:network`, `package.module:factory` or `file.py:factory` makes."""
    if source_of(path) is None:
        return import_model(path, options)
    try:
        return network(path, **options)
    except ValueError as error:
        raise UsageError(f"--model: {error}") from error


def _module_of(file: Path) -> ModuleType:
    """Imports a file as a module; `import` by its name could find another module (for a file `io.py`)."""
    spec = importlib.util.spec_from_file_location(str(file), file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[str(file)] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _refuse_class_of_main(path: str, error: Exception) -> None:
    """Raises UsageError for code that unpickles a module whose class only the program has that saved it."""
    if (name := class_of_main(error)) is not None:
        raise UsageError(f"--model {path} unpickles a file, which fails: {why_absent(name)}") from error


def import_model(path: str, options: dict[str, Any]) -> nn.Module:
    """The model at `package.module:factory` or `file.py:factory`: a module is taken as it is, a factory is called."""
    place, _, name = path.rpartition(":")
    file = Path(place).resolve() if place.endswith(".py") else None
    if file is not None and not file.is_file():
        raise UsageError(f"--model {path}: there is no file {place}")
    with _first_on_path(os.getcwd() if file is None else str(file.parent)):
        try:
            return _imported(path, options, place, name, file)
        except SystemExit as end:
            if isinstance(end.code, int) and end.code > BY_SIGNAL:  # the process was told to end
                raise
            raise ValueError(
                f"--model {path} ends the program (SystemExit: {end.code}) instead of making a model; what a script "
                'runs belongs below if __name__ == "__main__"'
            ) from end


@contextlib.contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    """Looks for modules in a folder first, and last from then on: a file `av.py` there must not hide PyAV from us."""
    if folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.path.append(folder)


def _imported(path: str, options: dict[str, Any], place: str, name: str, file: Path | None) -> nn.Module:
    """The model called `name` of a file, or of the module at `place`."""
    try:
        model: Any = importlib.import_module(place) if file is None else _module_of(file)
        for part in name.split("."):
            model = getattr(model, part)
    except (ImportError, AttributeError, ValueError) as error:
        _refuse_class_of_main(path, error)
        meant = did_you_mean(place, SOURCES)
        raise UsageError(f"--model {path} cannot be imported: {error}{meant}") from error
    except Exception as error:  # an error in the user's own code
        raise ValueError(f"--model {path} fails where it is imported: {type(error).__name__}: {error}") from error
    if isinstance(model, type) or not isinstance(model, nn.Module):
        if not callable(model):
            raise UsageError(
                f"--model {path} is of type {type(model).__name__}, neither a module nor a function that makes one"
            )
        try:
            model = model(**options)
        except Exception as error:
            _refuse_class_of_main(path, error)
            given = "".join(f" --option {name}={value}" for name, value in options.items())
            raise ValueError(f"--model {path}{given} failed with {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"--model {path} made something of type {type(model).__name__}, not a torch.nn.Module")
    return model
