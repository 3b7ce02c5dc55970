"""Rows of networks whose layers do not pad time: fewer than frames, each at the middle of the frames that it sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Average, Broadcast, Convolution, FullyConnected, Scale
from lrp3d.propagation.time_average import TimeAverage
from lrp3d.steps.elementwise import Elementwise, RecurrentOutput
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import Node, parents, step_of, upwards
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step
from lrp3d.steps.torch_nodes import keeps_frames
from lrp3d.steps.window_maxima import WindowMaximum

TIME = 2


class Clock(NamedTuple):
    """Entry i along time belongs to frame `first + i * step` of the clip, on average over the frames that it sees."""

    length: int
    """The number of entries."""
    first: float = 0.0
    step: float = 1.0


def middle_frames(averages: Sequence[TimeAverage], rows: int, length: int) -> list[int] | None:
    """The frame of each row, where layers cut off frames at both ends and do not stride over them; else None.

    Args:
        averages: the averages over time of a single pathway.
        rows: the number of rows.
        length: the number of frames of the clip.
    """
    if not 1 < rows < length:
        return None
    clocks = set()
    for average in averages:
        if average.matrix is not None or average.frames != rows or average.order != list(range(rows)):
            return None
        clocks |= _clocks(average.node, length)
    clock = clocks.pop() if len(clocks) == 1 else None
    if clock is None or clock.length != rows or clock.step != 1 or clock.first != int(clock.first):
        return None
    first = int(clock.first)
    return list(range(first, first + rows)) if first >= 0 and first + rows <= length else None


def _clocks(average: Node, length: int) -> set[Clock | None]:
    """The clocks of what is averaged by all ways down to the clip; None stands for a way that is not understood."""
    clocks: dict[Node, set[Clock | None]] = {}
    for node in upwards(average, parents):  # nodes come after those below them
        step = step_of(node)
        if isinstance(step, ClipInput):
            clocks[node] = {Clock(length)}
            continue
        below = set().union(*(clocks[parent] for parent in parents(node)))
        clocks[node] = below if node is average else {_after(node, step, clock) for clock in below}
    return clocks[average]


def _after(node: Node, step: Step | None, clock: Clock | None) -> Clock | None:
    """The clock of what a node makes of something on a clock."""
    if clock is None:
        return None
    if step is None:
        return clock if keeps_frames(node) else None
    windows = _windows(step)
    if windows is not None:
        return _after_windows(windows, step.shape, clock)
    if isinstance(step, WindowMaximum):
        return clock if step.x.dim() == 5 and step.x.shape[TIME] == step.shape[TIME] else None
    if isinstance(step, Elementwise):
        return None if isinstance(step, RecurrentOutput) else clock
    if not isinstance(step, LinearStep):
        return None
    if all(isinstance(operand.map, (Broadcast, Scale, FullyConnected)) for operand in step.operands):
        return clock
    shape = step.operands[0].shape
    keeps_time = len(shape) == 5 and len(step.shape) in (3, 5) and shape[TIME] == step.shape[TIME]
    return clock if keeps_time else None


def _windows(step: Step) -> Geometry | None:
    """How the windows of a convolution or a pool move over its input; None for any other step."""
    if isinstance(step, WindowMaximum):
        return step.windows
    if not isinstance(step, LinearStep) or not step.operands:
        return None
    map = step.operands[0].map
    return map.geometry if isinstance(map, Convolution) else map.windows if isinstance(map, Average) else None


def _after_windows(windows: Geometry, output: torch.Size, clock: Clock) -> Clock | None:
    """The clock of an output (b, c, t, ...) whose entries come from windows of something on a clock."""
    if len(windows.kernel) == 2 and len(output) == 4:  # frames in the batch
        return clock
    kernel, stride, padding, dilation = (
        sizes[0] for sizes in (windows.kernel, windows.stride, windows.padding, windows.dilation)
    )
    length = (clock.length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    if windows.transposed or len(windows.kernel) != len(output) - TIME or output[TIME] != length:
        return None  # among others, frames that have become channels
    shift = dilation * (kernel - 1) / 2 - padding
    return Clock(length, clock.first + shift * clock.step, clock.step * stride)
