"""Motion against appearance: the part of relevance that frames carry by being different from one another.

At an operation that mixes frames, an input of an output's window is written as what it would be if the window stood
still, plus the rest. What goes through the first part is static, through the second dynamic, and what was dynamic stays
so on its way down. Both parts are linear in the relevance that arrives, so they add up to it (docs/method.md has the
formulas). `frames_of_values` says which operations mix frames; `static_relevance` and `frames_meeting` compute the
first part.

A network's zero padding makes frames differ at the ends of a clip that stands still. So the network is also run on the
clip's mean frame, repeated, and what differs there is not motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.compute.bands import whole_axis
from lrp3d.compute.maps import Convolution, LinearMap
from lrp3d.errors import NoMotion
from lrp3d.motion.frames_meeting import SideBySide, one_sequence, side_by_side
from lrp3d.motion.frames_of_values import FramesOfValues
from lrp3d.motion.mixing_steps import MixingSteps
from lrp3d.motion.refusals import FramesLost
from lrp3d.motion.static_relevance import (
    Mixing,
    cropped,
    static_through_convolution,
    static_through_frames,
    static_through_maximum,
)
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step
from lrp3d.steps.window_maxima import WindowMaximum
from lrp3d.transfer import placed
from lrp3d.twin.trace import Trace


class Motion:
    """How steps split relevance, for one recorded run.

    Args:
        record: the run on the clips.
        still_record: the run on their mean frames.
        layout: the layout of the clips.

    Raises:
        NoMotion: an operation moves or mixes frames in a way that is not known.
    """

    def __init__(self, record: Trace, still_record: Trace, layout: str):
        if [type(step) for step in record.tracer.steps] != [type(step) for step in still_record.tracer.steps]:
            raise NoMotion("motion= needs a model that does to a still clip what it does to any, and this one does not")
        still = dict(zip(record.tracer.steps, still_record.tracer.steps, strict=True))
        batch = len(record.output)
        try:
            mixing = FramesOfValues(record, layout).mixing
        except FramesLost as error:
            raise NoMotion(f"motion= {error}") from None
        self._clips, self._windowed = batch, mixing.windowed
        self.windowed: dict[Step, Mixing] = {
            step: Mixing(step, still[step], windowed.axis) for step, windowed in mixing.windowed.items()
        }
        self.side_by_side: dict[Step, SideBySide] = {
            step: side_by_side(_linear(step), _linear(still[step]), readings, batch)
            for step, readings in mixing.readings.items()
        }
        for steps in _sequences(mixing):
            read = [mixing.sequences[step] for step in steps]
            if any(not x.frame.equal(read[0].frame) for x in read):
                if any(x.frame.numel() > 1 for x in read):
                    raise NoMotion(f"motion= does not know which frames '{steps[0].name}' reads one after another")
                operations = one_sequence([*map(_linear, steps)], [_linear(still[step]) for step in steps], read, batch)
                self.side_by_side |= zip(steps, operations, strict=True)
        self.converted: dict[str, Tensor] = {}
        """Of the last walk, by operation, the relevance (s, b) that was static above it and is dynamic below."""
        self.by_layer: dict[str, Tensor] = {}
        """The same (b,) for the clips' logits."""

    def count(self, share: float) -> None:
        """Count what became dynamic in the last walk as `share` of the clips' relevance."""
        for name, rows in self.converted.items():
            self.by_layer[name] = self.by_layer.get(name, 0.0) + rows.sum(0) * share

    def through(self, step: Step, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """What `step.propagate` returns, for seeds of which the first half is static and the second dynamic."""
        if step in self.side_by_side:
            parts, converted = self.side_by_side[step].split(lazy)
            self.converted[step.name] = self.converted.get(step.name, 0.0) + converted
            return parts
        if step not in self.windowed:
            return step.propagate(lazy)
        mixing, band = self.windowed[step], lazy.band
        if band is not None and (band.axis != mixing.axis or not isinstance(_map(step), Convolution)):
            lazy, band = LazyRelevance(lazy.tensor(step.shape)), None
        static, dynamic = lazy.part().chunk(2)
        # Both together take the step's own way, and what is static leaves the rest to be dynamic.
        (whole,) = step.propagate(LazyRelevance(static + dynamic, band=band))
        assert whole is not None
        if isinstance(step, WindowMaximum):
            static_part: Tensor = static_through_maximum(mixing, static)
        elif isinstance(_map(step), Convolution):
            static_part, band = static_through_convolution(mixing, static, band)
        else:
            static_part = static_through_frames(mixing, static)
        if whole.band != band:
            shape = _input_shape(step)
            static_part = (
                static_part if band is None else band.widened(static_part, whole_axis(band.axis, shape[band.axis]))
            )
            whole, band = LazyRelevance(whole.tensor(shape)), None
        clips = self._windowed[step]
        before, after = self._by_clip(static, clips.of_outputs), self._by_clip(static_part, clips.of_inputs)
        self.converted[step.name] = self.converted.get(step.name, 0.0) + (before - after)
        return [LazyRelevance(torch.cat([static_part, whole.part() - static_part]), band=band)]

    def _by_clip(self, values: Tensor, clip: Tensor) -> Tensor:
        """Values (s, rows, channels, ...) summed over those of each clip: (s, b)."""
        of_channels = values.flatten(3).sum(3) if values.dim() > 3 else values
        clips = placed(clip.expand(of_channels.shape[1:]), values.device)
        sums = values.new_zeros(len(values), self._clips)
        return sums.index_add_(1, clips.flatten(), of_channels.flatten(1))


def _linear(step: Step) -> LinearStep:
    assert isinstance(step, LinearStep)
    return step


def _sequences(mixing: MixingSteps) -> list[list[Step]]:
    """The operations that read one sequence: those of one recurrent layer with the same weight."""
    found: dict[tuple[str, int], list[Step]] = {}
    for step in mixing.sequences:
        weight = _linear(step).operands[0].w.value
        assert isinstance(weight, Tensor)
        found.setdefault((step.name, weight.data_ptr()), []).append(step)
    return list(found.values())


def _map(step: Step) -> LinearMap | None:
    """Of a linear step of one operand, but a transposed convolution, whose windows are found frame by frame."""
    if not isinstance(step, LinearStep) or len(step.operands) != 1:
        return None
    map = step.operands[0].map
    return None if isinstance(map, Convolution) and map.geometry.transposed else map


def _input_shape(step: Step) -> torch.Size:
    if isinstance(step, LinearStep):
        return step.operands[0].shape
    assert isinstance(step, WindowMaximum)
    return step.x[cropped(step)].shape
