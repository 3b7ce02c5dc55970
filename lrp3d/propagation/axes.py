"""Follows one axis of the tensors of a recorded run, from where something is known of it up to a module's output.

Shapes alone do not say which axis is which: (b, t, c) and (t, b, c) have three axes each, and any sizes may be equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Average, AxisMatrices, MatrixProduct, SumOver
from lrp3d.motion.frame_numbers import NONE, along, differ
from lrp3d.motion.moved import kind, moved
from lrp3d.steps.graph import Edge, Node, downwards, edges_below, step_of, upwards
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum
from lrp3d.steps.step import Step

REDUCING = (Average, AxisMatrices, SumOver)


class Axis(NamedTuple):
    """An axis of a tensor."""

    dim: int
    numbers: Tensor
    """(size,), what its positions stand for, such as channels or clips."""

    @property
    def is_sorted(self) -> bool:
        """Whether no position stands for less than the one before it."""
        return bool((self.numbers[1:] >= self.numbers[:-1]).all())

    @classmethod
    def counted(cls, dim: int, shape: torch.Size) -> Axis:
        """An axis whose positions stand for themselves."""
        return cls(dim, torch.arange(shape[dim], device="cpu"))


class Axes:
    """Finds an axis in the tensors of one recorded run, and remembers what it found.

    Args:
        known: the axis of a step's output that is known by itself; None where it is that of an input, if any.
    """

    def __init__(self, known: Callable[[Node, Step], Axis | None]) -> None:
        self._known = known
        self._found: dict[Node, Axis | None] = {}

    def of(self, node: Node) -> Axis | None:
        """The axis in the output of a step; None where nothing says which one it is."""
        for below in upwards(node, self._needed):
            if below not in self._found:
                self._found[below] = self._after(below)
        return self._found[node]

    def at(self, edge: Edge) -> Axis | None:
        """The same in the tensor of an edge, which torch's own nodes may have moved."""
        for source in _sources(edge[0]):
            self.of(source)
        return self._incoming(edge)

    def _needed(self, node: Node) -> list[Node]:
        """The steps whose axes have to be known before that of a node."""
        step = step_of(node)
        if node in self._found or step is None or self._known(node, step) is not None:
            return []
        return [source for edge in edges_below(node) if edge[0] is not None for source in _sources(edge[0])]

    def _after(self, node: Node) -> Axis | None:
        step = step_of(node)
        assert step is not None
        if (known := self._known(node, step)) is not None:
            return known
        for i, edge in enumerate(edges_below(node)):
            axis = None if edge[0] is None else self._incoming(edge)
            kept = None if axis is None else _kept(step, i, axis.dim, kind(edge)[0])
            if axis is not None and kept is not None:
                return Axis(kept, axis.numbers)
        return None

    def _incoming(self, edge: Edge) -> Axis | None:
        """The axis of a tensor; torch's own nodes move values, and have several outputs where they split."""
        if step_of(edge[0]) is not None:
            return self._found[edge[0]]
        numbers: dict[Node, Tensor] = {}
        for source in _sources(edge[0]):
            if (axis := self._found[source]) is not None:
                shape = kind((source, 0))[0]
                numbers[source] = axis.numbers.reshape([-1 if i == axis.dim else 1 for i in range(len(shape))]) + 1
        nothing = dict.fromkeys(_sources(edge[0]), torch.zeros((), dtype=torch.long, device="cpu"))
        return _along_one(moved(edge, nothing | numbers).cpu() - 1) if numbers else None


def _sources(node: Node) -> list[Node]:
    """The node itself if a step made it, else the nearest ones below it that steps made."""
    made = downwards([node], lambda below: step_of(below) is not None)
    return [below for below in made if step_of(below) is not None]


def _kept(step: Step, operand: int, axis: int, shape: torch.Size) -> int | None:
    """Where an axis of an input (*shape) is in the output of a step; None if it is not there."""
    map = step.operands[operand].map if isinstance(step, LinearStep) and step.operands else None
    if isinstance(map, Einsum):
        of_input, _, of_output = map.letters
        return of_output.index(of_input[axis]) if of_input[axis] in of_output else None
    if isinstance(map, MatrixProduct):
        summed = len(shape) - (1 if map.left else 2)
        fits = axis != summed and len(shape) == len(step.shape) and shape[axis] == step.shape[axis]
        return axis if fits else None
    if len(shape) == len(step.shape):
        return axis if shape[axis] == step.shape[axis] else None
    if isinstance(map, REDUCING):
        numbers = along(axis, shape, torch.device("cpu")).double().expand(shape)
        found = _along_one(map(numbers, 1.0).round().long())
        return None if found is None else found.dim
    if isinstance(step, AxisMaximum):
        return None if axis in step.axes else axis - sum(i < axis for i in step.axes)
    return None


def _along_one(numbers: Tensor) -> Axis | None:
    """The only axis along which numbers differ, `NONE` aside; None if there are several or none."""
    axes = [axis for axis, size in enumerate(numbers.shape) if size > 1 and differ(numbers, axis)]
    if len(axes) != 1:
        return None
    of_positions = numbers.movedim(axes[0], 0).flatten(1).amax(1)
    return Axis(axes[0], of_positions) if NONE not in of_positions else None
