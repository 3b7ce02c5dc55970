"""Logits that a model's own forward returns: those of frames if there are any, else the clip's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lrp3d.callers import warn
from lrp3d.checks import check_rows_of_logits
from lrp3d.explain import Clip
from lrp3d.interventions.measurement import Measurement
from lrp3d.layout import warn_of_layout
from lrp3d.outputs import FRAMES_LAST, Chosen, chosen_of, logits_of
from lrp3d.targets import targets_of
from lrp3d.transfer import answers, finite

AS_MANY = (
    "the model returns {0} logits for a clip of {0} frames, which are read as one for each class; if each belongs to a "
    "frame, pass output=lambda logits: logits.unsqueeze(-1)"
)


@dataclass
class ForwardLogits:
    """Logits of unchanged clips that a model's forward returns: those of frames if there are any, else the clip's."""

    measurement: Measurement
    chosen: Chosen
    logits: Tensor
    """(b, n), with n = 1 where the model returns no frame logits."""
    columns: int

    @classmethod
    def of_unchanged(
        cls, measurement: Measurement, clip: Clip, target: int | Sequence[int] | Tensor | None, note: str
    ) -> ForwardLogits:
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


def _forward(measurement: Measurement, clip: Clip) -> tuple[Tensor, Tensor]:
    """Frame logits (b, n, k), or (b, 1, k) where there are none, and logits (b, k)."""
    returned = measurement.twin.run(clip)
    logits = logits_of(returned, measurement.output).detach()
    frames = chosen_of(returned, measurement.output)
    if frames.dim() == 3:
        return frames.detach(), logits
    return logits.unsqueeze(1), logits
