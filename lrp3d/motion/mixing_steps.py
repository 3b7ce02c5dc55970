"""What is noted of the operations that mix frames, while frames are followed through a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from lrp3d.motion.frame_numbers import Frames, differ, greatest
from lrp3d.motion.refusals import unseen
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step


class Reading(NamedTuple):
    """An operand of which single outputs see values of several frames."""

    frames: Frames
    seen: Tensor
    """(*operand, frames), broadcasting: the frames seen by the outputs that see a value."""


class Windowed(NamedTuple):
    """An operation whose windows have several frames."""

    axis: int
    """The axis of frames, of its input and of its output."""
    of_inputs: Tensor
    """The clip (rows, channels) of its input, broadcasting."""
    of_outputs: Tensor
    """The clip (rows, channels) of its output, broadcasting."""


class Sequenced(NamedTuple):
    """What a recurrent layer reads in one time step."""

    frame: Tensor
    """The frame of every value, broadcasting."""
    clip: Tensor
    """The clip of every value, broadcasting."""


@dataclass
class MixingSteps:
    """The operations of one recorded run that mix frames."""

    windowed: dict[Step, Windowed] = field(default_factory=dict)
    """Operations whose windows move along frames and have several of them."""
    readings: dict[Step, dict[int, Reading]] = field(default_factory=dict)
    """Operations that find values of several frames side by side, by the number of the operand."""
    sequences: dict[Step, Sequenced] = field(default_factory=dict)
    """The operations by which recurrent layers read their sequences frame by frame."""

    def along(self, step: LinearStep, x: Frames, axis: int, groups: int = 1, keeps: bool = False) -> Frames:
        """Of a layer whose outputs see all values along an axis, or along a group of it."""
        if x.varies(axis):
            by_group = x.hot().unflatten(axis, (groups, -1))
            seen = by_group.any(axis + 1, keepdim=True)
            if bool((seen.sum(-1) > 1).any()):
                self.readings[step] = {0: Reading(x, seen.expand_as(by_group).flatten(axis, axis + 1))}
                if not keeps and differ(x.slot, axis):
                    raise unseen(step, step.operands[0].shape)
                x = x._replace(frame=x.slot)
        if keeps:
            return x

        def outputs(label: Tensor) -> Tensor:
            found = greatest(label, axis, groups)
            repeats = step.shape[axis] // found.shape[axis] if found.shape[axis] > 1 else 1
            return found.repeat_interleave(repeats, axis)

        return x.each(outputs)
