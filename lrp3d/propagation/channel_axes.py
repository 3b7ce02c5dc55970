"""Which axis of a module's output has its channels: the axis that the nearest layers with weights made.

Shapes alone do not say it: (b, c, t) of a convolution over time and (b, n, c) of tokens have three axes each, and
(b, t, h, w, c) has time where (b, c, t, h, w) has channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Average, AxisMatrices, Convolution, FullyConnected, MatrixProduct, Scale, SumOver
from lrp3d.layout import usual_channel_axis
from lrp3d.motion.frame_numbers import along, differ
from lrp3d.motion.moved import kind, moved
from lrp3d.steps.graph import Edge, Node, downwards, edges_below, step_of, upwards
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum
from lrp3d.steps.step import ClipInput, RecurrentOutput, Step

REDUCING = (Average, AxisMatrices, SumOver)


class ChannelAxes:
    """Finds the axes of channels in one recorded run, and remembers what it found."""

    def __init__(self) -> None:
        self._found: dict[Node, int | None] = {}

    def of(self, node: Node) -> int:
        """The axis of channels of what a step made; where no layer says it, what is usual for that number of axes."""
        for below in upwards(node, self._needed):
            if below not in self._found:
                self._found[below] = self._after(below)
        axis = self._found[node]
        return usual_channel_axis(len(kind((node, 0))[0])) if axis is None else axis

    def _needed(self, node: Node) -> list[Node]:
        """The steps whose axes have to be known before that of a node."""
        step = step_of(node)
        if node in self._found or step is None or _own(step) is not None:
            return []
        return [source for edge in edges_below(node) if edge[0] is not None for source in _sources(edge[0])]

    def _after(self, node: Node) -> int | None:
        step = step_of(node)
        assert step is not None
        if (own := _own(step)) is not None:
            return own
        for i, edge in enumerate(edges_below(node)):
            axis = None if edge[0] is None else self._incoming(edge)
            kept = None if axis is None else _kept(step, i, axis, kind(edge)[0])
            if kept is not None:
                return kept
        return None

    def _incoming(self, edge: Edge) -> int | None:
        """The axis of a tensor; torch's own nodes move values, and have several outputs where they split."""
        if step_of(edge[0]) is not None:
            return self._found[edge[0]]
        numbers: dict[Node, Tensor] = {}
        for source in _sources(edge[0]):
            if (axis := self._found[source]) is not None:
                shape, _, device = kind((source, 0))
                numbers[source] = along(axis, shape, device) + 1
        return _varying(moved(edge, numbers).cpu() - 1) if numbers else None


def _sources(node: Node) -> list[Node]:
    """The node itself if a step made it, else the nearest ones below it that steps made."""
    made = downwards([node], lambda below: step_of(below) is not None)
    return [below for below in made if step_of(below) is not None]


def _own(step: Step) -> int | None:
    """The axis that a step makes, or says of the clip; None for all others."""
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


def _kept(step: Step, operand: int, axis: int, shape: torch.Size) -> int | None:
    """Where an axis of an input (*shape) is in the output of a step; None if it is not there."""
    map = step.operands[operand].map if isinstance(step, LinearStep) and step.operands else None
    if isinstance(map, Einsum):
        of_input, _, of_output = map.letters
        return of_output.index(of_input[axis]) if of_input[axis] in of_output else None
    if isinstance(map, MatrixProduct):
        summed = len(shape) - (1 if map.left else 2)
        return axis if axis != summed and len(shape) == len(step.shape) else None
    if len(shape) == len(step.shape):
        return axis if shape[axis] == step.shape[axis] else None
    if isinstance(map, REDUCING):
        numbers = along(axis, shape, torch.device("cpu")).double().expand(shape)
        return _varying(map(numbers, 1.0).round().long())
    if isinstance(step, AxisMaximum):
        gone = [i for i, size in enumerate(step.output_shape) if size != step.input_shape[i]]
        return None if axis in gone else axis - sum(i < axis for i in gone)
    return None


def _varying(numbers: Tensor) -> int | None:
    """The only axis along which numbers differ, `NONE` aside; None if there are several or none."""
    axes = [axis for axis, size in enumerate(numbers.shape) if size > 1 and differ(numbers, axis)]
    return axes[0] if len(axes) == 1 else None
