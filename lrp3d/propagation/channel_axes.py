"""Which axis of a module's output has its channels: the axis that the nearest layers with weights made."""

from __future__ import annotations

import torch

from lrp3d.compute.maps import Convolution
from lrp3d.layout import usual_channel_axis
from lrp3d.motion.moved import kind
from lrp3d.propagation.axes import Axes, Axis
from lrp3d.steps.elementwise import RecurrentOutput
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import Node, edges_below, parents, step_of, upwards
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


def token_mixers(root: Node) -> set[Step]:
    """The pointwise convolutions below a node that mix tokens: (b, tokens, c), with features where time would be.

    An MLP-Mixer may be written with `Conv1d(tokens, hidden, 1)`, whose shape says nothing of time.
    """
    nodes = [node for node in upwards(root, parents) if _is_pointwise(step_of(node))]
    mixers: dict[Node, Axis] = {}
    axes = Axes(lambda node, step: mixers.get(node) or _known(node, step))
    for node in nodes:  # from the lowest, as the features of one may be those of another
        axis = axes.at(edges_below(node)[0])
        if axis is not None and axis.dim == 2:
            mixers[node] = Axis.counted(2, kind((node, 0))[0])
    return {step for node in mixers if (step := step_of(node)) is not None}


def _is_pointwise(step: Step | None) -> bool:
    """Whether a step is a convolution of one axis with a kernel of one place, of a single signal."""
    if not isinstance(step, LinearStep) or not step.weighted or len(step.operands) != 1 or len(step.shape) != 3:
        return False
    map, weight = step.operands[0].map, step.operands[0].w.value
    return isinstance(map, Convolution) and isinstance(weight, torch.Tensor) and weight.shape[2:] == (1,)


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
