"""Which axis of a module's output has its channels: the axis that the nearest layers with weights made."""

from __future__ import annotations

from lrp3d.layout import usual_channel_axis
from lrp3d.motion.moved import kind
from lrp3d.propagation.axes import Axes, Axis
from lrp3d.steps.elementwise import RecurrentOutput
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import Node
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step


class ChannelAxes:
    """Finds the axes of channels in one recorded run."""

    def __init__(self) -> None:
        self._axes = Axes(_known)

    def of(self, node: Node) -> int:
        """The axis of channels of what a step made; where no layer says it, what is usual for that number of axes."""
        axis = self._axes.of(node)
        return usual_channel_axis(len(kind((node, 0))[0])) if axis is None else axis.dim


def _known(node: Node, step: Step) -> Axis | None:
    """The axis that a step makes, or says of the clip; None for all others."""
    dim = _dim(step)
    return None if dim is None else Axis.counted(dim, kind((node, 0))[0])


def _dim(step: Step) -> int | None:
    if isinstance(step, ClipInput):
        return step.layout.groups.index("c") if step.layout is not None and "c" in step.layout.groups else None
    if isinstance(step, RecurrentOutput):
        return len(step.shape) - 1
    return step.new_axis if isinstance(step, LinearStep) else None
