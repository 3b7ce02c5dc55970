"""Frame logits as `explain` explains them: found in the recorded graph, of unchanged and of changed clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lrp3d.checks import check_rows_of_logits
from lrp3d.explain import Clip
from lrp3d.interventions.measurement import Measurement
from lrp3d.outputs import Chosen
from lrp3d.propagation.frame_logits import check_frame_axis
from lrp3d.propagation.frame_seeds import FrameSeeds
from lrp3d.propagation.temporal_matrix import in_blocks
from lrp3d.targets import targets_of
from lrp3d.transfer import answers
from lrp3d.twin.trace import Trace
from lrp3d.twin.twin import Twin

SAME_LOGITS = 1e-4
"""The share by which a model's own frame logits may differ from those that are explained, as rounding makes them."""


@dataclass
class ExactLogits:
    """Frame logits of unchanged clips, found in the recorded graph, and how to read those of changed clips."""

    measurement: Measurement
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
        cls, measurement: Measurement, clip: Clip, target: int | Sequence[int] | Tensor | None
    ) -> tuple[ExactLogits, Trace]:
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
        same = _are_same(_own_logits(measurement.twin, clip, chosen), seeds.logits)
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


def _record(measurement: Measurement, clip: Clip) -> tuple[Trace, torch.Size | None]:
    """A recorded forward pass, and the shape of the frame logits if the model returns them."""
    record, read = measurement.record(clip)
    check_frame_axis(record, read.frames)
    return record, read.frames


def _are_same(own: Tensor | None, logits: Tensor) -> bool:
    """Whether a model's own frame logits are those that are explained, up to rounding."""
    if own is None or own.shape != logits.shape:
        return False
    scale = logits.abs()
    (same,) = answers([((own - logits).abs() <= SAME_LOGITS * (scale + scale.max())).all()])
    return same


def _own_logits(twin: Twin, clip: Clip, chosen: Chosen) -> Tensor | None:
    """Frame logits (b, n) from the model's own `frame_logits`; None if these are not (b, n, k) or do not exist."""
    if not callable(getattr(twin.model, "frame_logits", None)):
        return None
    logits = twin.run(clip, "frame_logits")
    if not isinstance(logits, Tensor) or logits.dim() != 3 or len(logits) != len(chosen.target):
        return None
    return chosen.of_frames(logits)
