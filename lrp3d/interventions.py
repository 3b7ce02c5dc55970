"""The measured counterpart of temporal relevance: how frame logits change when frames are replaced.

A relevance matrix says what each frame contributed; an intervention matrix says what is lost without it. Both have the
same rows and columns, and the same ATR functions take both, so that they can be compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lrp3d.callers import warn
from lrp3d.checks import (
    check_axes,
    check_clip,
    check_frames,
    check_logits,
    check_merge,
    check_numbers,
    check_options,
    check_rows_of_logits,
)
from lrp3d.compiling import not_compiled
from lrp3d.compute.precision import matmul_precision, no_autocast
from lrp3d.errors import UnsupportedOperation
from lrp3d.explain import Clip
from lrp3d.layout import Layout, axes_hint, warn_of_layout
from lrp3d.occlusion import OCCLUDERS, Colour, Occluded
from lrp3d.outputs import FRAMES_LAST, Chosen, Output, Reader, chosen_of, logits_of
from lrp3d.propagation.chunks import clips_at_once
from lrp3d.propagation.frame_logits import check_frame_axis, frame_seeds
from lrp3d.propagation.frame_seeds import FrameSeeds, FramesInColumns, NoFrameLogits
from lrp3d.propagation.temporal_matrix import check_row_count, in_blocks
from lrp3d.targets import Against, targets_of
from lrp3d.transfer import answers, finite
from lrp3d.twin.evaluation_mode import prepare_mode
from lrp3d.twin.trace import Trace
from lrp3d.twin.twin import Twin, twin_of

SAME_LOGITS = 1e-4
"""The share by which a model's own frame logits may differ from those that are explained, as rounding makes them."""


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
    with _as_explain(clip):
        measurement = _Measurement(twin_of(model), layout, output, merge)
        return measurement.checked_rows(_ExactLogits.of_unchanged(measurement, clip, target)[0].logits, clip)


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
        chunk_size: how many changed clips go through the model at once; by default as many as fit into the free
            memory (few on a CPU). The result does not depend on it, apart from rounding.

    Returns:
        Matrix (b, n, t), with t = n unless only n of t frames have a logit. A model without exact frame logits
        (a recurrent head, attention over frames) has one row, that of the clip's logit: (b, 1, t).

    Raises:
        ValueError, TypeError: as for `explain`; also ValueError if the occluder is unknown, or the value is not finite
            or does not fit the channels.

    Source: the occlusion test of Zeiler and Fergus (2014), applied to frames; frames are frozen as in partial uniform
    sampling (paper, Sec. 4.3).

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
    with _as_explain(clip):
        measurement = _Measurement(twin_of(model), layout, output, merge, against)
        exact, note = None, ""
        try:
            exact, record = _ExactLogits.of_unchanged(measurement, clip, target)
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
        reference = _ForwardLogits.of_unchanged(measurement, clip, target, note)
        measurement.checked_rows(reference.logits, clip)
        return _measure(reference, clip, chunk_size or 1, occluder, value)


def _measure(
    reference: _ExactLogits | _ForwardLogits, clip: Clip, at_once: int, occluder: str, value: Colour
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


# -------------------------------------------------------------------------------------- reading frame logits


@contextmanager
def _as_explain(clip: Clip) -> Iterator[None]:
    """Sets the modes in which `explain` records a model, whatever modes the caller has set."""
    parts = clip if isinstance(clip, (list, tuple)) else [clip]  # what is no clip is refused later
    first = next((x for x in parts if isinstance(x, Tensor)), torch.empty(0, device="cpu"))
    own_types, rounding = no_autocast(first.device), matmul_precision("highest", first.device)
    with torch.inference_mode(False), torch.enable_grad(), own_types, rounding:
        yield


@dataclass
class _Measurement:
    """The model that is measured, and the form of its input and its output."""

    twin: Twin
    layout: str
    output: Output | None
    merge: str
    against: Against | None = None

    def checked_pathways(self, clip: Clip) -> list[Tensor]:
        """The clip's pathways; raises an error if the model cannot take them."""
        pathways, axes = check_clip(clip, self.layout), Layout(self.layout).axes
        check_axes(self.twin, pathways, self.layout)
        for x in pathways:
            if x.dim() != axes:
                raise ValueError(
                    f"frame logits need clips, {axes} axes ({self.layout}), got shape {tuple(x.shape)}"
                    + axes_hint(pathways, self.layout)
                )
        prepare_mode(self.twin, clip, takes_seed=False)
        return pathways

    def frames(self, pathways: list[Tensor], batch: int) -> int:
        """The number of frames of the fastest pathway."""
        return max(Layout(self.layout).sizes(x, batch)["t"] for x in pathways)

    def checked_rows(self, logits: Tensor, clip: Clip) -> Tensor:
        """The frame logits (b, n); raises NoFrameLogits if there are more of them than frames."""
        pathways = check_clip(clip, self.layout)
        hint = axes_hint(pathways, self.layout)
        check_row_count(logits.shape[1], self.frames(pathways, len(logits)), hint)
        return logits

    def frame_seeds(self, record: Trace, chosen: Chosen, frames: torch.Size | None) -> FrameSeeds:
        """The frame logits of a recorded pass; `frames` is the shape of those that the model returns."""
        return frame_seeds(record, chosen, self.twin.composite, False, self.merge, self.layout, frames)

    def check(self, logits: Tensor, pathways: list[Tensor], finite: Sequence[bool]) -> None:
        """Checks the logits and that there are at least two frames; `finite`: whether clip and logits are finite."""
        check_logits(logits, pathways, self.layout)
        check_numbers(*finite)
        check_frames(pathways, self.layout, len(logits), "give a longer clip")


@dataclass
class _ExactLogits:
    """Frame logits of unchanged clips, found in the recorded graph, and how to read those of changed clips."""

    measurement: _Measurement
    chosen: Chosen
    logits: Tensor
    """(b, n), one for each row of the matrix."""
    columns: int
    own: bool
    """Whether the model's own `frame_logits` agrees with its graph, so that changed clips need no record."""
    seeds: FrameSeeds
    """How frames of pathways become rows; without starts."""

    @classmethod
    def of_unchanged(
        cls, measurement: _Measurement, clip: Clip, target: int | Sequence[int] | Tensor | None
    ) -> tuple[_ExactLogits, Trace]:
        """Finds the frame logits.

        Raises:
            NoFrameLogits: the model has no exact frame logits.
            UnsupportedOperation: an operation after the average over time has no rule.
        """
        pathways = measurement.checked_pathways(clip)
        record, frames = _record(measurement, clip)
        measurement.check(record.output, pathways, (record.clip_is_finite, record.output_is_finite))
        chosen = targets_of(record.prediction(target), record.output, measurement.against)
        seeds = measurement.frame_seeds(record, chosen, frames)
        own = _own_logits(measurement.twin, clip, chosen)
        same = own is not None and own.shape == seeds.logits.shape
        if own is not None and same:
            scale = seeds.logits.abs()
            (same,) = answers([((own - seeds.logits).abs() <= SAME_LOGITS * (scale + scale.max())).all()])
        logits = in_blocks(seeds.logits, seeds)
        columns = logits.shape[1] if seeds.positions is None else seeds.classified
        return cls(measurement, chosen, logits, columns, same, replace(seeds, starts=[])), record

    def of_changed(self, clip: Clip, clip_numbers: Tensor) -> Tensor:
        """Frame logits (p, n) of changed clips, for the targets of the clips `clip_numbers` (p,)."""
        chosen = self.chosen.at(clip_numbers)
        logits = _own_logits(self.measurement.twin, clip, chosen) if self.own else None
        if logits is None:
            record, frames = _record(self.measurement, clip)
            check_rows_of_logits(record.output, len(clip_numbers))
            logits = self.measurement.frame_seeds(record, chosen, frames).logits
        return in_blocks(logits, self.seeds)


def _record(measurement: _Measurement, clip: Clip) -> tuple[Trace, torch.Size | None]:
    """A recorded forward pass, and the shape of the frame logits if the model returns them.

    Operations before the frame logits need no rule, but random numbers are refused.
    """
    read = Reader(measurement.output)
    record = measurement.twin.record((clip,), None, measurement.layout, read=read)
    if record.differs:
        raise ValueError(
            "the model draws random numbers in its forward, and its output differs from run to run: nothing can be "
            "measured; switch the draws off"
        )
    check_frame_axis(record, read.frames)
    return record, read.frames


AS_MANY = (
    "the model returns {0} logits for a clip of {0} frames, which are read as one for each class; if each belongs to a "
    "frame, pass output=lambda logits: logits.unsqueeze(-1)"
)


@dataclass
class _ForwardLogits:
    """Logits of unchanged clips that a model's forward returns: those of frames if there are any, else the clip's."""

    measurement: _Measurement
    chosen: Chosen
    logits: Tensor
    """(b, n), with n = 1 where the model returns no frame logits."""
    columns: int

    @classmethod
    def of_unchanged(
        cls, measurement: _Measurement, clip: Clip, target: int | Sequence[int] | Tensor | None, note: str
    ) -> _ForwardLogits:
        """Runs the forward on the unchanged clip and checks its logits; warns of what `note` says of them."""
        pathways = measurement.checked_pathways(clip)
        frames, logits = _forward(measurement, clip)
        measurement.check(logits, pathways, answers([finite(pathways), finite([logits])]))
        frame_count = measurement.frames(pathways, len(logits))
        if frames.shape[1] > 1 and frames.shape[2] == frame_count != frames.shape[1]:
            raise ValueError(FRAMES_LAST.format(shape=tuple(frames.shape)))
        if not note and frames.shape[1] == 1 and frames.shape[2] == frame_count:
            note = AS_MANY.format(logits.shape[1])
        if note:
            warn(note)
        chosen = targets_of(target, logits, measurement.against)
        warn_of_layout(pathways, measurement.layout)
        rows = chosen.of_frames(frames)
        return cls(
            measurement, chosen, rows, rows.shape[1] if rows.shape[1] > 1 else measurement.frames(pathways, len(rows))
        )

    def of_changed(self, clip: Clip, clip_numbers: Tensor) -> Tensor:
        """Logits (p, n) of changed clips, for the targets of the clips `clip_numbers` (p,)."""
        frames, _ = _forward(self.measurement, clip)
        check_rows_of_logits(frames, len(clip_numbers))
        return self.chosen.at(clip_numbers).of_frames(frames)


def _forward(measurement: _Measurement, clip: Clip) -> tuple[Tensor, Tensor]:
    """Frame logits (b, n, k), or (b, 1, k) where there are none, and logits (b, k)."""
    returned = measurement.twin.run(clip)
    logits = logits_of(returned, measurement.output).detach()
    frames = chosen_of(returned, measurement.output)
    if frames.dim() == 3:
        return frames.detach(), logits
    return logits.unsqueeze(1), logits


def _own_logits(twin: Twin, clip: Clip, chosen: Chosen) -> Tensor | None:
    """Frame logits (b, n) from the model's own `frame_logits`; None if these are not (b, n, k) or do not exist."""
    if not callable(getattr(twin.model, "frame_logits", None)):
        return None
    logits = twin.run(clip, "frame_logits")
    if not isinstance(logits, Tensor) or logits.dim() != 3 or len(logits) != len(chosen.target):
        return None
    return chosen.of_frames(logits)
