"""`check`: is relevance faithful on this network and these clips?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.callers import warn
from lrp3d.checks import check_options, check_rows_of_logits, class_numbers, targets_of
from lrp3d.compiling import not_compiled
from lrp3d.errors import CannotBeReset
from lrp3d.explain import explain
from lrp3d.faithfulness.games import (
    MOST_EXACT,
    Worths,
    cut_sets,
    relevance_gain,
    shapley,
    shapley_estimate,
)
from lrp3d.faithfulness.scores import YARDSTICK, Faithfulness
from lrp3d.interventions import frame_logits, intervention_matrix
from lrp3d.layout import check_not_laid_out, laid_out
from lrp3d.metrics.agreement import cosine, spearman
from lrp3d.metrics.atr import row_shares
from lrp3d.metrics.contributions import frame_scores, without_rounding
from lrp3d.occlusion import filled
from lrp3d.outputs import Chosen, Output, Reader, chosen_of, logits_of
from lrp3d.progress import bar
from lrp3d.propagation.frame_seeds import FramesInColumns, NoFrameLogits
from lrp3d.propagation.temporal_matrix import block_sum
from lrp3d.transfer import placed
from lrp3d.twin.kept_tensors import taking_gradients
from lrp3d.twin.probabilities import logits_note
from lrp3d.twin.ranges import Range
from lrp3d.twin.trace import Trace
from lrp3d.twin.twin import Twin, twin_of
from lrp3d.twin.untrained import layers_in_order, untrained

METHODS = ("CLRP", "LRP", "gradient x input", "random")
REDRAWN = 1_618_033
"""Seed of the parameters that are drawn anew: with a usual one, they would be those that training began with."""
GAINS = {"gain (freeze)": "nearest", "gain (neighbours)": "neighbours"}
"""The relevance gains, and what replaces frames in each of them."""
STAGES: dict[str, float | None] = {"random classifier": None, "random top half": 0.5, "random parameters": 1.0}
"""The share of the layers whose parameters are drawn again, from the classifier down; None for the classifier alone."""

BATCH = 16  # clips without some of their frames that go through the model at once


@not_compiled
def check(
    model: nn.Module,
    clips: Tensor | Sequence[Tensor],
    targets: int | Sequence[int] | Tensor | None = None,
    *,
    methods: str | Sequence[str] = METHODS,
    shapley_values: bool = True,
    input_range: Range | Sequence[Range | None] | None = None,
    layout: str = "bcthw",
    output: Output | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Faithfulness:
    """Measure how faithful relevance is on a network and clips of your own, held against interventions.

    Args:
        model: any model that `lrp3d.explain` takes, or its twin. Of one that returns probabilities the logits behind
            them are checked, and gradient x input is left out. Where frames have no logits, the relevance of frames for
            the clip's logit takes the place of the matrix.
        clips: (m, c, t, h, w), or a list of such, of one number of frames; twenty or more clips give useful intervals.
        targets: the class to explain: None for the predictions, one class, or one for each clip.
        methods: one or some of "CLRP", "LRP", "gradient x input" and "random"; interventions are always included.
        shapley_values: also hold the frames' order against Shapley values: exact ones, from 2^t forward passes of each
            clip, up to 8 frames, else estimates from 16 t. Of a model with temporal stride, blocks of frames count.
        input_range: as in `lrp3d.explain`.
        layout: how the model takes its clips, as in `lrp3d.explain`; `clips` are (m, c, t, h, w) all the same.
        output: as in `lrp3d.explain`.
        chunk_size: as in `lrp3d.explain`.
        progress: show a progress bar on stderr.

    Returns:
        `Faithfulness`: for every clip, method and measure a number; means with bootstrapped intervals; a verdict.
        Of a clip that stands still, nothing is lost without a frame, so that no matrix can agree with interventions:
        its cosine and its correlations with them do not exist (NaN) and are left out of the means.

    Raises:
        ValueError: an unknown method, no clips, something that is no clip, or clips of several lengths.
        TypeError: a target is no class.
        UnsupportedOperation: as `lrp3d.explain`.

    Source: symmetric relevance gain: Bluecher et al. 2024; random logit: Sixt et al. 2020; parameter randomisation:
    Adebayo et al. 2018; Shapley values: Shapley 1953.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.load_pretrained("TAM5-R18-f8-match-d4")
    >>> clips = lrp3d.planted.Task("match", gap=4, frames=8).clips(2)
    >>> found = lrp3d.check(model, lrp3d.planted.normalise(clips.clips, model), clips.labels, shapley_values=False)
    >>> found.score("intervention", "LRP").mean > found.score("intervention", "random").mean
    True
    """
    check_options(chunk_size, None, 0.0, "highest")
    methods = [methods] if isinstance(methods, str) else methods
    if unknown := [method for method in methods if method not in METHODS]:
        raise ValueError(f"methods are some of {', '.join(METHODS)}, got {', '.join(map(repr, unknown))}")
    batches = [clips] if isinstance(clips, Tensor) else list(clips)
    if not batches or any(not isinstance(x, Tensor) or x.dim() != 5 for x in batches) or not sum(map(len, batches)):
        shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in batches]
        raise ValueError(
            f"check needs clips (m, c, t, h, w), at least one, in a tensor or a list of tensors, got {shapes}; "
            "of a single clip add the batch axis with clip.unsqueeze(0)"
        )
    if len(lengths := sorted({x.shape[2] for x in batches if len(x)})) > 1:
        raise ValueError(
            f"check needs clips of one number of frames, got clips of {' and '.join(map(str, lengths))} frames; "
            "check those of each length by themselves"
        )
    for x in batches:
        check_not_laid_out(x, layout)
    twin = twin_of(model)
    singles = [clip[None] for x in batches for clip in x]
    classes = _classes_of(targets, len(singles))
    subject = _Subject.of(
        twin, singles[0], input_range, layout, output, methods, chunk_size=chunk_size, shapley_values=shapley_values
    )
    parts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    lead, explained = [], []
    exact_shapley = True
    for number, clip in enumerate(bar(singles, "clip", progress, "checking")):
        target = subject.chosen(clip, classes[number])
        lead.append(float(subject.lead(clip, target)))
        explained.append(int(target.target))
        # What a lone logit speaks for depends on its sign, which may be another in a network with random parameters.
        asked = classes[number] if target.against is None else int(target.target)
        measured = subject.interventions(clip, asked)
        exact_shapley = _is_exact(measured)  # of all clips, as they have one number of frames
        for measure, by_method in _scores_of_clip(subject, clip, target, asked, measured, number).items():
            for method, value in by_method.items():
                parts[measure][method].append(value)
    values = {
        measure: {method: torch.tensor(x, dtype=torch.double, device="cpu") for method, x in by_method.items()}
        for measure, by_method in parts.items()
    }
    return Faithfulness(
        values,
        torch.tensor(lead, dtype=torch.double, device="cpu"),
        torch.tensor(explained, device="cpu"),
        exact_shapley,
        subject.has_rows,
    )


def _classes_of(targets: int | Sequence[int] | Tensor | None, clips: int) -> list[int | None]:
    """The class of every clip, None for its prediction."""
    if targets is None:
        return [None] * clips
    classes = class_numbers(targets)
    if classes.dim() > 1 or (classes.dim() == 1 and len(classes) != clips):
        raise ValueError(f"targets is one class, or one for each of {clips} clips, got shape {tuple(classes.shape)}")
    return list(classes.expand(clips).tolist())


def _is_exact(measured: Tensor) -> bool:
    """Whether a matrix (1, n, t) has few enough columns of frames that Shapley values are exact."""
    return measured.shape[2] <= MOST_EXACT


@dataclass(frozen=True)
class _Subject:
    """The network that is checked, how it is run, and what is measured."""

    twin: Twin
    input_range: Any
    layout: str
    output: Output | None
    options: dict[str, Any]
    """Arguments that `explain` and `intervention_matrix` share."""
    methods: Sequence[str]
    shapley_values: bool
    left_out: str
    """The softmax or sigmoid with which the model ends; empty if it returns logits."""
    random_networks: dict[str, Twin]
    """The network with random parameters, for every stage of `STAGES` for which it can be had."""
    has_rows: bool
    """Whether frames have logits; else the clip's logit is explained and measured, in a single row."""

    @classmethod
    def of(
        cls,
        twin: Twin,
        clip: Tensor,
        input_range: Any,
        layout: str,
        output: Output | None,
        methods: Sequence[str],
        *,
        chunk_size: int | None,
        shapley_values: bool,
    ) -> _Subject:
        """What a run of the first clip tells of the network, which is drawn anew; warns of what cannot be measured."""
        trace = twin.record((laid_out(clip, layout),), input_range, layout, read=Reader(output))
        left_out = logits_note(trace.left_out).get("logits", "")
        del trace  # frees its memory for the random networks
        if "gradient x input" in methods and (reason := _without_gradient(twin, layout, left_out)):
            warn(f"gradient x input is left out: {reason}")
        return cls(
            twin,
            input_range,
            layout,
            output,
            {"layout": layout, "output": output, "chunk_size": chunk_size},
            methods,
            shapley_values,
            left_out,
            _random_networks(twin, clip, layout),
            _has_frame_logits(twin, laid_out(clip, layout), layout, output),
        )

    def record(self, clip: Tensor, twin: Twin | None = None) -> Trace:
        """The run of a clip that `explain` reads."""
        x = laid_out(clip, self.layout)
        return (twin or self.twin).record((x,), self.input_range, self.layout, read=Reader(self.output))

    def logits(self, clip: Tensor, twin: Twin | None = None) -> Tensor:
        """(b, k), those that `explain` explains: of a model that returns probabilities, what they are made from."""
        twin = twin or self.twin
        logits: Tensor
        if self.left_out:
            logits = self.record(clip, twin).output.detach()
        else:
            logits = logits_of(twin.run(laid_out(clip, self.layout)), self.output).detach()
        check_rows_of_logits(logits, len(clip))
        return logits

    def chosen(self, clip: Tensor, target: int | None) -> Chosen:
        """The class, contrasted with all others."""
        logits = self.logits(clip)
        if self.left_out and target is None:
            target = self.record(clip).prediction(None)
        chosen = targets_of(target, logits)
        own = int(chosen.target)
        others = [k for k in range(logits.shape[1]) if k != own]
        return Chosen(chosen.target, chosen.sign, placed([others], clip.device) if others else None)

    def lead(self, clips: Tensor, chosen: Chosen) -> Tensor:
        """By how much the class's logit is above the mean of the others, (b,)."""
        return chosen.at(torch.zeros(len(clips), dtype=torch.long, device=chosen.target.device)).of(self.logits(clips))

    def interventions(self, clip: Tensor, target: int | None, twin: Twin | None = None) -> Tensor:
        """What each output frame's logit loses without each input frame, (1, n, t)."""
        x = laid_out(clip, self.layout)
        matrix = intervention_matrix(twin or self.twin, x, target, occluder="nearest", **self.options)
        return without_rounding(matrix, self.logits(clip, twin))

    def matrix(self, method: str, clip: Tensor, target: int | None, twin: Twin | None = None) -> Tensor | None:
        """The matrix (1, n, t) of a method; None where the model has none for it."""
        x, twin = laid_out(clip, self.layout), twin or self.twin
        if method == YARDSTICK:
            return self.interventions(clip, target, twin)
        if method == "gradient x input":
            if _without_gradient(twin, self.layout, self.left_out):
                return None
            return _gradient_input(twin, clip, self.chosen(clip, target), self.output)
        options = {**self.options, "input_range": self.input_range, "temporal": self.has_rows}
        explanation = explain(twin, x, target, contrastive=method == "CLRP", **options)
        if self.has_rows or explanation.frame_relevance is None:
            return explanation.matrix
        return explanation.frame_relevance.unsqueeze(1)


def _has_frame_logits(twin: Twin, x: Tensor, layout: str, output: Output | None) -> bool:
    """Whether the frames of clips have logits; raises FramesInColumns where they were taken for those of classes."""
    try:
        frame_logits(twin, x, layout=layout, output=output)
    except FramesInColumns:
        raise
    except NoFrameLogits:
        return False
    return True


def _without_gradient(twin: Twin, layout: str, left_out: str) -> str:
    """Why there is no gradient x input of a model; empty where there is."""
    if layout != "bcthw":
        return f"it is known for clips bcthw, and the model takes {layout}"
    if left_out and not callable(getattr(twin.model, "frame_logits", None)):
        return f"other methods explain {left_out}, and the model's own gradient is that of its probabilities"
    return ""


def _random_networks(twin: Twin, clip: Tensor, layout: str) -> dict[str, Twin]:
    """The same network with parameters drawn anew, from the classifier down; none where that cannot be had."""
    noise = torch.rand(2, *clip.shape[1:], generator=torch.Generator().manual_seed(0), device="cpu").to(clip)
    noise = laid_out(noise, layout)
    one_clip = noise[:1] if layout[0] == "b" else noise
    names = layers_in_order(twin, one_clip, layout)
    networks = {}
    for stage, part in STAGES.items():
        count = 1 if part is None else max(1, round(part * len(names)))
        only = None if part == 1.0 else names[-count:]
        try:
            networks[stage] = untrained(twin, REDRAWN, noise, only, one_clip, layout)
        except CannotBeReset as error:
            warn(f"'{stage}' is left out: {error.reason}")
    return networks


def _scores_of_clip(
    subject: _Subject, clip: Tensor, chosen: Chosen, target: int | None, measured: Tensor, seed: int
) -> dict[str, dict[str, float]]:
    """By measure and method, the numbers of one clip.

    Args:
        subject: the network, and what is measured.
        clip: (1, c, t, h, w).
        chosen: the explained class.
        target: its number, None for that of a lone logit.
        measured: the matrix of interventions.
        seed: of the random matrix.
    """
    t = clip.shape[2]
    matrices = _matrices(subject, clip, target, measured, seed)

    def value(how: str, kept: Tensor) -> Tensor:
        return subject.lead(filled(clip.expand(len(kept), -1, -1, -1, -1), _frames_of(kept, t), how), chosen)

    result: dict[str, dict[str, float]] = defaultdict(dict)
    blocks = measured.shape[2]
    at_once = subject.options["chunk_size"] or BATCH
    worths = {gain: Worths(partial(value, how), at_once) for gain, how in GAINS.items()}
    logits = subject.logits(clip)
    worth = None
    if subject.shapley_values:
        of_sets = worths["gain (freeze)"]
        values = (shapley if _is_exact(measured) else shapley_estimate)(
            lambda kept: of_sets(placed(kept, clip.device, kept.dtype)).unsqueeze(1), blocks
        )
        worth = without_rounding(values, logits)
    matrices = {method: block_sum(matrix, 2, blocks) for method, matrix in matrices.items()}
    sets = torch.cat([cut_sets(frame_scores(matrix)).flatten(0, 2) for matrix in matrices.values()])
    for of_sets in worths.values():
        of_sets(sets)  # those of all methods together
    other_class = int(logits[0].scatter(0, chosen.target, -torch.inf).argmax()) if logits.shape[1] > 1 else None
    for method, matrix in matrices.items():
        for gain, of_sets in worths.items():
            result[gain][method] = float(relevance_gain(frame_scores(matrix), of_sets))
        if matrix.shape == measured.shape:
            result["intervention"][method] = float(cosine(matrix, measured))
        if worth is not None:
            result["shapley"][method] = float(spearman(frame_scores(matrix).cpu(), worth))
        if method not in ("random", "gradient x input"):
            for measure, other in _exchanged(subject, method, clip, target, other_class):
                result[measure][method] = _similarity(matrix, other)
    return result


def _matrices(subject: _Subject, clip: Tensor, target: int | None, measured: Tensor, seed: int) -> dict[str, Tensor]:
    """The matrix of every method that has one for this network; the yardstick's is `measured`."""
    matrices = {}
    for method in subject.methods:
        matrix = _random(measured, seed) if method == "random" else subject.matrix(method, clip, target)
        if matrix is not None:
            matrices[method] = matrix
    return matrices | {YARDSTICK: measured}


def _exchanged(
    subject: _Subject, method: str, clip: Tensor, target: int | None, other_class: int | None
) -> Iterator[tuple[str, Tensor | None]]:
    """By measure, the matrices of a method for another logit, if there is one, and for networks with random layers."""
    if other_class is not None:
        yield "other logit", subject.matrix(method, clip, other_class)
    for stage, twin in subject.random_networks.items():
        yield stage, subject.matrix(method, clip, target, twin)


def _random(measured: Tensor, seed: int) -> Tensor:
    """Drawn evenly from 0 to 1 for every number of `measured`: what an order by chance is worth."""
    return torch.rand(measured.shape, generator=torch.Generator().manual_seed(seed), device="cpu").to(measured)


def _frames_of(kept: Tensor, t: int) -> Tensor:
    """Which frames (b, t) are kept, where blocks of them (b, n) are."""
    return kept if kept.shape[1] == t else kept[:, torch.arange(t, device=kept.device) * kept.shape[1] // t]


def _similarity(matrix: Tensor, other: Tensor | None) -> float:
    """Rank correlation of the shares of two matrices' rows."""
    if other is None or matrix.shape != other.shape:
        return float("nan")
    return float(spearman(row_shares(matrix).flatten(1), row_shares(other).flatten(1)))


def _gradient_input(twin: Twin, clip: Tensor, chosen: Chosen, output: Output | None) -> Tensor:
    """Positive part of gradient times input per value, summed over a frame: as CLRP sums (Eq. 2).

    By the model's own forward; a row for each frame where the model has `frame_logits`, or returns frame logits, else
    one row.
    """
    with torch.inference_mode(False), torch.enable_grad(), twin.unchanged(clip.device), taking_gradients(twin.model):
        x = clip.detach().clone().requires_grad_()
        own = getattr(twin.model, "frame_logits", None)
        logits = own(x) if callable(own) else chosen_of(twin.model(x), output)
        target = int(chosen.target)
        rows = logits[0, :, target] if logits.dim() == 3 else logits[:, target]
        rows = rows if chosen.sign is None else rows * chosen.sign.to(rows)
        gradients = [torch.autograd.grad(row, x, retain_graph=True)[0] for row in rows]
    return torch.stack([(gradient * x).detach().clamp(min=0).sum((1, 3, 4)) for gradient in gradients], 1)
