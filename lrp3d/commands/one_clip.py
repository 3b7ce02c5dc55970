"""Reads and explains one video, and keeps everything that was decided on the way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from lrp3d import video
from lrp3d.commands.labels import label_of
from lrp3d.commands.model_options import ModelChoice
from lrp3d.commands.number_of_classes import labels_note
from lrp3d.commands.spelling import as_options
from lrp3d.commands.terminal import shows_progress
from lrp3d.defaults import SIGMA
from lrp3d.errors import CannotBeReset
from lrp3d.explain import explain
from lrp3d.explanation.clip_axes import with_clip_axes
from lrp3d.explanation.explanation import Explanation
from lrp3d.explanation.wording import subject
from lrp3d.interventions import intervention_matrix
from lrp3d.layout import laid_out
from lrp3d.metrics.aggregation import class_logits
from lrp3d.propagation.frame_seeds import NoFrameLogits
from lrp3d.transfer import device_of_model
from lrp3d.twin.twin import Twin


@dataclass(frozen=True)
class ClipOptions:
    """The options of the command line for an explanation."""

    composite: str = "paper"
    contrastive: bool = True
    sigma: float | None = None
    """The share of a row that an ATR window holds; None: the default, which needs no matrix to be there."""
    sampling: str = "uniform"
    stride: int = 1
    """The distance between frames in dense sampling."""
    layout: str = "bcthw"
    merge: str = "paper"
    against: str | tuple[int, ...] | None = None
    """The classes with which the explained class is contrasted, or "next"."""
    compare: bool = False
    """Whether to explain the best classes by LRP, CLRP and interventions as well, for the page."""
    floor: bool | None = None
    """Whether to compute the network's floor; None: if it can be computed and weights are not known to be random."""
    motion: bool = False
    """Whether to split relevance into static and dynamic."""
    layers: tuple[str, ...] = ()
    """Modules whose relevance is shown."""
    rows_at: str | None = None
    """The module whose time steps are the rows of the matrix; None for frame logits."""
    where: dict[str, list[int]] = field(default_factory=dict)
    """Channels by module; empty for all."""

    @property
    def share(self) -> float:
        """The share of a row that an ATR window holds."""
        return SIGMA if self.sigma is None else self.sigma


@dataclass(frozen=True)
class ExplainedClip:
    """An explanation, with everything that was decided on the way to it."""

    explanation: Explanation
    pixels: Tensor
    """uint8 RGB (t, h, w, 3)."""
    indices: list[int]
    """The number of each frame in the video."""
    times: list[float]
    name: str
    choice: ModelChoice
    composite: str
    seconds: float
    notes: tuple[str, ...]
    others: tuple[tuple[str, str, Explanation | Tensor], ...] = ()
    """Further matrices of the clip for its page: class, method, and what came out."""
    deciding: tuple[int, ...] = ()
    """The frames that are known to decide, counted from 0, where they are known."""

    @property
    def target(self) -> int:
        """The explained class."""
        return int(self.explanation.explained_class[0])

    @property
    def label(self) -> str:
        """The name of the explained class, and of the classes with which it is contrasted."""
        return subject(self.explanation, 0, lambda index: label_of(index, self.choice.labels))


def read(path: str | Path, choice: ModelChoice, sampling: str = "uniform", stride: int = 1) -> video.Clip:
    """The clip of a video file as the model wants it; losses are in `Clip.lost` and cause no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", video.ClipWarning)
        return video.read_clip(
            path,
            frames=choice.frames,
            sampling=sampling,
            stride=stride,
            size=choice.size,
            short_side=choice.short_side,
            mean=choice.mean,
            std=choice.std,
        )


def explain_clip(
    clip: video.Clip,
    name: str,
    choice: ModelChoice,
    twin: Twin,
    target: int | None,
    options: ClipOptions,
) -> ExplainedClip:
    """Explain one clip; a model without frame logits is explained without a matrix, and a note says so."""
    device = device_of_model(choice.model)
    started = time.perf_counter()
    notes = [*choice.notes, *clip.notes, *clip.lost]
    temporal = len(clip.pixels) > 1
    if not temporal:
        notes.append(why := "a clip of one frame has no temporal relevance")
        _refuse_what_needs_frames(why, options)
    tensor = laid_out(clip.tensor.to(device), options.layout)
    explain_tensor = partial(
        explain,
        twin,
        tensor,
        contrastive=options.contrastive,
        against=options.against,
        motion=options.motion,
        layers=options.layers,
        rows_at=options.rows_at if temporal else None,
        where=options.where,
        input_range=choice.input_range,
        layout=options.layout,
        merge=options.merge,
        progress=shows_progress(),
    )
    explanation, problems = _with_what_there_is(explain_tensor, target, temporal, choice, options)
    notes += problems
    explanation = with_clip_axes(explanation)
    if explanation.sign is not None:
        notes.append("the model's single logit is negative: the explanation shows what speaks against it, for class 0")
    if "classifier" in explanation.about:
        notes.append(f"the classifier's rule is {explanation.about['classifier']}")
    classes, labels = class_logits(explanation.logits).shape[1], len(choice.labels)
    notes += labels_note(labels, classes)
    if explanation.matrix is not None:
        explanation = explanation.at_sigma(options.share)
    seconds = time.perf_counter() - started
    about = {
        **explanation.about,
        "video": name,
        "model": choice.name,
        "weights": choice.weights,
        "class": subject(explanation, 0, lambda index: label_of(index, choice.labels)),
        "composite": options.composite,
    }
    return ExplainedClip(
        explanation=replace(explanation.to("cpu"), about=about),
        pixels=clip.pixels,
        indices=clip.indices.tolist(),
        times=clip.times.tolist(),
        name=name,
        choice=choice,
        composite=options.composite,
        seconds=seconds,
        notes=tuple(notes),
        others=_others(explanation, explain_tensor, tensor, choice, options) if options.compare else (),
    )


def _with_what_there_is(
    explain_tensor: Callable[..., Explanation],
    target: int | None,
    temporal: bool,
    choice: ModelChoice,
    options: ClipOptions,
) -> tuple[Explanation, list[str]]:
    """The explanation with matrix and floor, as far as the model has them, and why it is without one of them."""
    # The floor of random weights would be another draw of them.
    comparable = temporal and options.against is None and not options.where
    floor = options.floor if options.floor is not None else comparable and not choice.random
    try:
        try:
            return explain_tensor(target, temporal=temporal, floor=floor), []
        except CannotBeReset as error:
            if options.floor:
                raise
            return explain_tensor(target, temporal=temporal), [as_options(error.reason)]
    except NoFrameLogits as error:
        why = f"no temporal relevance here: {as_options(error.reason)}"
        _refuse_what_needs_frames(why, options, error)
        advice = as_options(error.rows).replace("it makes", "there are")
        return explain_tensor(target, temporal=False), [f"{why}; {advice}"]


def _refuse_what_needs_frames(why: str, options: ClipOptions, cause: Exception | None = None) -> None:
    """Refuses what was asked for and there is nothing to apply to; what commands do by themselves is left out."""
    needing = {
        "--motion": options.motion,
        "--floor": options.floor,
        "--compare": options.compare,
        "--sigma": options.sigma is not None,
        "--rows-at": options.rows_at is not None,
    }
    for name, given in needing.items():
        if given:
            raise ValueError(f"{why}: leave out {name} to explain the clip as a whole") from cause


COMPARED = 5  # classes


def _others(
    explanation: Explanation,
    explain_tensor: Callable[..., Explanation],
    tensor: Tensor,
    choice: ModelChoice,
    options: ClipOptions,
) -> tuple[tuple[str, str, Explanation | Tensor], ...]:
    """The matrices of the best classes by LRP and CLRP, and of the explained class by interventions."""
    if explanation.matrix is None or options.against is not None:
        return ()
    target = int(explanation.target[0])
    logits = explanation.logits[0]
    best = logits.topk(min(COMPARED, len(logits))).indices.tolist() if len(logits) > 1 else []
    others: list[tuple[str, str, Explanation | Tensor]] = []
    measured = intervention_matrix(
        choice.model,
        tensor,
        target if len(logits) > 1 else None,
        layout=options.layout,
        merge=options.merge,
        rows_at=options.rows_at,
        occluder="mean",
    )
    if measured.shape == explanation.matrix.shape:
        others.append((label_of(target, choice.labels), "interventions", measured[0].cpu()))
    for index in [target, *(other for other in best if other != target)] if len(logits) > 1 else ():
        for contrastive, method in ((True, "CLRP"), (False, "LRP")):
            if index == target and contrastive == options.contrastive:
                continue
            with warnings.catch_warnings():  # what rows at a layer leave out is said once, of what is explained
                warnings.filterwarnings("ignore", "only .* flows through time steps")
                comparison = explain_tensor(index, temporal=True, contrastive=contrastive, motion=False)
            comparison = comparison.at_sigma(options.share)
            others.append((label_of(index, choice.labels), method, comparison.to("cpu")))
    return tuple(others)
