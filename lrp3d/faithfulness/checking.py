"""`check`: is relevance faithful on this network and these clips?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.checks import check_options
from lrp3d.compiling import not_compiled
from lrp3d.faithfulness.clip_scores import is_exact, scores_of_clip
from lrp3d.faithfulness.scores import Faithfulness
from lrp3d.faithfulness.subject import Subject
from lrp3d.layout import check_not_laid_out
from lrp3d.outputs import Output
from lrp3d.progress import bar
from lrp3d.targets import class_numbers
from lrp3d.twin.ranges import Range
from lrp3d.twin.twin import twin_of

__all__ = ["METHODS", "check"]

METHODS = ("CLRP", "LRP", "gradient x input", "random")


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
    rows_at: str | None = None,
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
        rows_at: as in `lrp3d.explain`: checks the matrix whose rows are the time steps of a module, and holds it
            against interventions that reach the logit through single steps (`intervention_matrix`).
        chunk_size: as in `lrp3d.explain`.
        progress: show a progress bar on stderr.

    Returns:
        `Faithfulness`: for every clip, method and measure a number; means with bootstrapped intervals; a verdict.
        Of a clip that stands still, nothing is lost without a frame, so that no matrix can agree with interventions:
        its cosine and its correlations with them do not exist (NaN) and are left out of the means.

    Raises:
        NoLayerRows: as `lrp3d.explain`.
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
    singles = _single_clips(clips, layout)
    twin = twin_of(model)
    classes = _classes_of(targets, len(singles))
    subject = Subject.of(
        twin,
        singles[0],
        input_range,
        layout,
        output,
        methods,
        rows_at=rows_at,
        chunk_size=chunk_size,
        shapley_values=shapley_values,
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
        exact_shapley = is_exact(measured)  # of all clips, as they have one number of frames
        for measure, by_method in scores_of_clip(subject, clip, target, asked, measured, number).items():
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
        rows_at,
        _repeated(singles, explained),
    )


def _repeated(clips: Sequence[Tensor], classes: Sequence[int]) -> int:
    """How many clips are the same as an earlier one that was asked about the same class."""
    different: dict[tuple[Any, ...], list[Tensor]] = defaultdict(list)
    repeated = 0
    for clip, target in zip(clips, classes, strict=True):
        alike = different[target, clip.shape, clip.dtype, float(clip.double().sum())]
        if any(clip.equal(other) for other in alike):
            repeated += 1
        else:
            alike.append(clip)
    return repeated


def _single_clips(clips: Tensor | Sequence[Tensor], layout: str) -> list[Tensor]:
    """The clips one by one (1, c, t, h, w); raises ValueError unless they are clips of one number of frames."""
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
    return [clip[None] for x in batches for clip in x]


def _classes_of(targets: int | Sequence[int] | Tensor | None, clips: int) -> list[int | None]:
    """The class of every clip, None for its prediction."""
    if targets is None:
        return [None] * clips
    classes = class_numbers(targets)
    if classes.dim() > 1 or (classes.dim() == 1 and len(classes) != clips):
        raise ValueError(f"targets is one class, or one for each of {clips} clips, got shape {tuple(classes.shape)}")
    return list(classes.expand(clips).tolist())
