"""Which axis of a module's output has its channels: the axis that the nearest layers with weights made."""

from __future__ import annotations

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Convolution, FullyConnected, MatrixProduct, Scale
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
    return _made(step) if isinstance(step, LinearStep) and step.weighted and step.operands else None


def _made(step: LinearStep) -> int | None:
    """The axis that a layer makes with its weights; None for a layer that has a weight for each value."""
    map, axes = step.operands[0].map, len(step.shape)
    if isinstance(map, (Convolution, Scale)):
        return 1
    if isinstance(map, FullyConnected):
        return axes - 1
    if isinstance(map, MatrixProduct):
        return axes - 1 if map.left else axes - 2
    if isinstance(map, Einsum):
        of_input, _, of_output = map.letters
        new = [letter for letter in of_output if letter not in of_input]
        return of_output.index(new[0]) if len(new) == 1 else None
    return None
