"""The clip's logit through single time steps of a module: what `explain` explains with `rows_at=`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lrp3d.checks import check_rows_of_logits
from lrp3d.errors import ModelError
from lrp3d.explain import Clip
from lrp3d.interventions.measurement import Measurement
from lrp3d.layout import Layout, warn_of_layout
from lrp3d.occlusion import Occluded
from lrp3d.outputs import Chosen, logits_of
from lrp3d.propagation.layer_rows import time_steps
from lrp3d.steps.graph import step_of
from lrp3d.targets import targets_of
from lrp3d.transfer import placed
from lrp3d.twin.other_outputs import changing_output
from lrp3d.twin.trace import Trace


class _Steps(NamedTuple):
    """The time steps of a module's output."""

    slot: Tensor
    """The time step of every value, broadcasting."""
    shape: torch.Size
    length: int


@dataclass
class LayerLogits:
    """The clip's logit, n times for n time steps of a module, and what becomes of it if one of them has changed.

    A changed clip reaches the logit through one time step alone: the module returns for this step what it returns for
    the changed clip, and for all others, as everywhere else, what it returns for the unchanged one.
    """

    measurement: Measurement
    module: str
    clips: list[Occluded]
    """The pathways of the unchanged clips."""
    alone: bool
    """Whether the unchanged clip was given as one tensor, not as a list of pathways."""
    chosen: Chosen
    logits: Tensor
    """(b, n): n times the clip's logit, as rows count it, whose mean is the logit."""
    by_forward: bool
    """Whether the forward returns the logits that are explained, and not the probabilities that are made from them."""
    steps: dict[int, _Steps]
    """By the number of clips, as the output of the module has other values for others."""

    @property
    def columns(self) -> int:
        """The number of groups of frames that are replaced, one for each time step."""
        return self.logits.shape[1]

    @classmethod
    def of_unchanged(
        cls, measurement: Measurement, clip: Clip, target: int | Sequence[int] | Tensor | None, module: str
    ) -> tuple[LayerLogits, Trace]:
        """Finds the time steps of the module, and the logit.

        Raises:
            NoLayerRows: the output of the module has no time steps that can be followed.
        """
        pathways = measurement.checked_pathways(clip)
        record, _ = measurement.record(clip, [module])
        measurement.check(record.output, pathways, (record.clip_is_finite, record.output_is_finite))
        warn_of_layout(pathways, measurement.layout)
        chosen = targets_of(record.prediction(target), record.output, measurement.against)
        logit = chosen.of(record.output.detach())
        steps = _steps_of(record, module, measurement.layout)
        clips = [Occluded(x.detach(), Layout(measurement.layout), len(logit)) for x in pathways]
        logits = steps.length * logit[:, None].expand(-1, steps.length)
        alone, by_forward = isinstance(clip, Tensor), not record.left_out
        return cls(measurement, module, clips, alone, chosen, logits, by_forward, {len(logit): steps}), record

    def of_changed(self, clip: Clip, clip_numbers: Tensor) -> Tensor:
        """The logits (p, n) of clips `clip_numbers` (p,), each seen changed by one of the time steps.

        Raises:
            ModelError: the module does not run in the model's own forward, though it does where that is recorded.
        """
        steps = self._steps(clip_numbers)
        changed: list[Tensor] = []

        def kept(x: Tensor) -> Tensor:
            if x.shape == steps.shape:
                changed.append(x.detach().clone())  # what follows may write to the tensor itself
            return x

        with changing_output(self.module, kept):
            self._logit(clip, clip_numbers)
        if not changed:
            raise ModelError(
                f"rows_at={self.module!r}: the module runs only while gradients are recorded, so that what other runs "
                "return cannot be changed there: make the forward the same with and without gradients"
            )
        unchanged = self._unchanged(clip_numbers)
        logits = []
        for step in range(steps.length):
            others = iter(changed)

            def exchanged(x: Tensor, step: int = step, others: Iterator[Tensor] = others) -> Tensor:
                return torch.where(steps.slot == step, next(others), x) if x.shape == steps.shape else x

            with changing_output(self.module, exchanged):
                logits.append(self._logit(unchanged, clip_numbers))
        return steps.length * torch.stack(logits, 1)

    def _logit(self, clip: Clip, clip_numbers: Tensor) -> Tensor:
        """The logit (p,) of clips that have the targets of the clips `clip_numbers` (p,)."""
        if self.by_forward:
            logits = logits_of(self.measurement.twin.run(clip), self.measurement.output).detach()
        else:
            logits = self.measurement.record(clip)[0].output.detach()
        check_rows_of_logits(logits, len(clip_numbers))
        return self.chosen.at(clip_numbers).of(logits)

    def _unchanged(self, clip_numbers: Tensor) -> Clip:
        clips = [pathway.chosen(clip_numbers) for pathway in self.clips]
        return clips[0] if self.alone else clips

    def _steps(self, clip_numbers: Tensor) -> _Steps:
        if (number := len(clip_numbers)) not in self.steps:
            record, _ = self.measurement.record(self._unchanged(clip_numbers), [self.module])
            self.steps[number] = _steps_of(record, self.module, self.measurement.layout)
        return self.steps[number]


def _steps_of(record: Trace, module: str, layout: str) -> _Steps:
    frames = time_steps(record, module, layout)
    outlet = step_of(frames.origin)
    assert outlet is not None
    return _Steps(placed(frames.slot, record.output.device), outlet.shape, frames.length)
