"""The measured counterpart of temporal relevance: how frame logits change when frames are replaced.

A relevance matrix says what each frame contributed; an intervention matrix says what is lost without it. Both have the
same rows and columns, and the same ATR functions take both, so that they can be compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lrp3d.checks import check_merge, check_options
from lrp3d.compiling import not_compiled
from lrp3d.errors import UnsupportedOperation
from lrp3d.explain import Clip
from lrp3d.interventions.exact_logits import ExactLogits
from lrp3d.interventions.forward_logits import ForwardLogits
from lrp3d.interventions.layer_logits import LayerLogits
from lrp3d.interventions.measurement import Measurement, as_explain
from lrp3d.layout import Layout
from lrp3d.occlusion import OCCLUDERS, Colour, Occluded
from lrp3d.outputs import Output
from lrp3d.propagation.chunks import clips_at_once
from lrp3d.propagation.frame_seeds import FramesInColumns, NoFrameLogits
from lrp3d.propagation.layer_rows import check_rows_at
from lrp3d.targets import Against
from lrp3d.twin.twin import twin_of


@not_compiled
def frame_logits(
    model: nn.Module,
    clip: Clip,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    layout: str = "bcthw",
    output: Output | None = None,
    merge: str = "paper",
) -> Tensor:
    """The logit of every frame, as `explain` explains it, without any relevance.

    Args:
        model: any model that `explain` takes.
        clip: as in `explain`.
        target: as in `explain`.
        layout: as in `explain`.
        output: as in `explain`.
        merge: as in `explain`.

    Returns:
        Frame logits (b, n), equal to `Explanation.frame_logits`.

    Raises:
        NoFrameLogits, UnsupportedOperation, ValueError, TypeError: as for `explain`.

    Source: paper, Sec. 3.2, l_ik.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10).eval()
    >>> lrp3d.frame_logits(model, torch.rand(2, 3, 8, 32, 32), target=3).shape
    torch.Size([2, 8])
    """
    check_merge(merge)
    with as_explain(clip):
        measurement = Measurement(twin_of(model), layout, output, merge)
        return measurement.checked_rows(ExactLogits.of_unchanged(measurement, clip, target)[0].logits, clip)


@not_compiled
def intervention_matrix(
    model: nn.Module,
    clip: Clip,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    against: Against | None = None,
    occluder: str = "neighbours",
    value: Colour = 0.0,
    layout: str = "bcthw",
    output: Output | None = None,
    merge: str = "paper",
    rows_at: str | None = None,
    chunk_size: int | None = None,
) -> Tensor:
    """How much every frame logit loses when a frame of the clip is replaced.

    Entry (i, j) is the logit of frame i for the unchanged clip, minus the same logit without frame j. Signs are
    those of relevance: a frame that speaks for the class has a positive column. The shape is that of
    `Explanation.matrix`, and so is the meaning of the columns: with temporal stride or several pathways, the
    frames of a block are replaced together, in every pathway. The ATR functions accept both matrices. Rows need
    not sum to their logits.

    Args:
        model: any model that can run its forward, even if `explain` has no rule for its operations.
        clip: as in `explain`.
        target: as in `explain`; the prediction is made for the unchanged clip.
        against: as in `explain`; entries then say how much of its lead over other classes the logit loses.
        occluder: what replaces the frames of a column:
            - "neighbours": the mean of the frame before and the frame after them, or the only one of these at an
              end of the clip;
            - "nearest": the nearest remaining frame, the earlier of two (as if the video froze);
            - "mean": the mean frame of the clip, including the replaced frames;
            - "blank": a frame of one colour, `value`.
            A pathway of a single frame, which would lose all its frames, keeps it, except with "mean" and "blank".
        value: the colour of a blank frame after normalisation, one number or one per channel.
        layout: as in `explain`.
        output: as in `explain`.
        merge: as in `explain`.
        rows_at: the name of a module, as in `explain`: rows are the time steps of its output, and entry (i, j) is what
            the clip's logit loses if step i alone sees the clip without frame j, times n for n steps. Every clip takes
            n (n + 1) forward passes.
        chunk_size: how many changed clips go through the model at once; by default as many as fit into the free
            memory (few on a CPU). The result does not depend on it, apart from rounding.

    Returns:
        Matrix (b, n, t), with t = n unless only n of t frames have a logit; (b, n, n) with `rows_at`. A model without
        exact frame logits (a recurrent head, attention over frames) has one row, that of the clip's logit: (b, 1, t).

    Raises:
        NoLayerRows: as for `explain`.
        ValueError, TypeError: as for `explain`; also ValueError if the occluder is unknown, or the value is not finite
            or does not fit the channels.

    Source: the occlusion test of Zeiler and Fergus (2014), applied to frames; frames are frozen as in partial uniform
    sampling (paper, Sec. 4.3). With `rows_at`: path patching (Goldowsky-Dill et al. 2023), from a frame to the logit
    by way of a time step.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10).eval()
    >>> matrix = lrp3d.intervention_matrix(model, torch.randn(1, 3, 4, 32, 32))
    >>> (matrix.abs() > 1e-4).int()  # a model that classifies frames one by one
    tensor([[[1, 0, 0, 0],
             [0, 1, 0, 0],
             [0, 0, 1, 0],
             [0, 0, 0, 1]]], dtype=torch.int32)
    """
    if occluder not in OCCLUDERS:
        raise ValueError(f"occluder must be one of {', '.join(map(repr, OCCLUDERS))}, got {occluder!r}")
    check_options(chunk_size, None, 0.0, "highest")
    check_merge(merge)
    check_rows_at(rows_at, True, {}, merge)
    with as_explain(clip):
        measurement = Measurement(twin_of(model), layout, output, merge, against)
        if rows_at is not None:
            through, record = LayerLogits.of_unchanged(measurement, clip, target, rows_at)
            measurement.checked_rows(through.logits, clip)
            at_once = clips_at_once(record, not through.by_forward, chunk_size)
            del record
            return _measure(through, clip, at_once, occluder, value)
        exact, note = None, ""
        try:
            exact, record = ExactLogits.of_unchanged(measurement, clip, target)
        except (NoFrameLogits, UnsupportedOperation) as error:
            note = error.reason if isinstance(error, FramesInColumns) else ""
        if exact is not None:
            measurement.checked_rows(exact.logits, clip)
            at_once = clips_at_once(record, not exact.own, chunk_size)
            del record  # frees its memory for the measurement
            # Changed clips side by side have no frame logits where the forward folds frames before clips.
            for size in dict.fromkeys((at_once, 1)):
                with contextlib.suppress(NoFrameLogits):
                    return _measure(exact, clip, size, occluder, value)
            note = "changed clips have no frame logits of their own, so the clip's logit is measured, in a single row"
        reference = ForwardLogits.of_unchanged(measurement, clip, target, note)
        measurement.checked_rows(reference.logits, clip)
        return _measure(reference, clip, chunk_size or 1, occluder, value)


def _measure(
    reference: ExactLogits | ForwardLogits | LayerLogits, clip: Clip, at_once: int, occluder: str, value: Colour
) -> Tensor:
    """Runs all replacements of all clips as one batch, in chunks."""
    batch, columns = len(reference.logits), reference.columns
    clips = [clip] if isinstance(clip, Tensor) else list(clip)
    pathways = [Occluded(x.detach(), Layout(reference.measurement.layout), batch) for x in clips]
    clock = max(pathway.length for pathway in pathways)
    for pathway in pathways:
        pathway.prepare(clock, columns, occluder, value)
    owner = torch.arange(batch, device=reference.logits.device).repeat_interleave(columns)  # (b columns,)
    column = torch.arange(columns, device=reference.logits.device).repeat(batch)  # (b columns,)
    changed = []
    for clip_numbers, column_numbers in zip(owner.split(at_once), column.split(at_once), strict=True):
        replaced = [pathway.without(clip_numbers, column_numbers) for pathway in pathways]
        changed.append(
            reference.of_changed(replaced[0] if isinstance(clip, Tensor) else replaced, clip_numbers)
        )  # (p, n)
    return reference.logits.unsqueeze(2) - torch.unflatten(torch.cat(changed), 0, (batch, columns)).transpose(1, 2)
