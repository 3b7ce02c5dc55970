"""Maxima over axes, of two signals, and several largest values: relevance goes to the winners, ties get equal parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.rules import Rule, WinnerTakesAll
from lrp3d.steps.elementwise import SharedInParts, equal_parts
from lrp3d.steps.over_axes import OverAxes
from lrp3d.steps.step import Step


class Choice(Step):
    """A step that hands all relevance to the values that were chosen."""

    @property
    def default_rule(self) -> Rule:
        """Winner takes all."""
        return WinnerTakesAll()

    def accepts(self, rule: Rule) -> bool:
        """Accepts winner-takes-all, and the epsilon rule, which is the same on a maximum."""
        return rule.on_maxima


class AxisMaximum(Choice, OverAxes):
    """The maximum over whole axes (`amax`); ties share equally, and constants get nothing beside a real input."""

    def __init__(self, x: Tensor, output: Tensor, axes: tuple[int, ...], is_input: Tensor | None = None):
        self.input_shape: torch.Size = x.shape
        self.output_shape: torch.Size = output.shape
        self.axes: tuple[int, ...] = tuple(axis % x.dim() for axis in axes)
        winner = (x == output).to(x.dtype)  # (*input)
        if is_input is not None:  # where only a constant won, the real inputs share
            won = winner * is_input  # (*input)
            winner = torch.where(won.sum(axes, keepdim=True) > 0, won, is_input)
        self.part: Tensor = winner / winner.sum(axes, keepdim=True).clamp(min=1)  # (*input)

    def spread(self, r: Tensor) -> Tensor:
        """Hands `r` (*output) to every input of each maximum, whoever won."""
        return r.reshape(self.output_shape).expand(self.input_shape)

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Hands all relevance to the winners."""
        return [r.reshape(len(r), *self.output_shape) * self.part]


class ElementwiseMaximum(Choice, SharedInParts):
    """The larger of two signals, value by value: it takes all, and ties share equally.

    Args:
        a: the first signal.
        b: the second signal, of a shape that broadcasts with it.
        masks: 1 where values of each are inputs, 0 where they are constants, which get nothing beside an input.
    """

    def __init__(self, a: Tensor, b: Tensor, masks: Sequence[Tensor] | None):
        wins = [(a >= b).to(a.dtype), (b >= a).to(a.dtype)]  # (*output)
        if masks is not None:
            won = [win * mask for win, mask in zip(wins, masks, strict=True)]
            constant_won = won[0] + won[1] == 0
            wins = [torch.where(constant_won, mask, part) for mask, part in zip(masks, won, strict=True)]
        super().__init__([a.shape, b.shape], equal_parts(wins))


class TopK(Choice, OverAxes):
    """Several largest values along an axis (`topk`); equal values share equally.

    Args:
        x: the signal.
        values: the values that were chosen.
        axis: the axis along which they were chosen.
        is_input: 0 where values of the signal are constants, which get nothing beside an equal input; or None.
    """

    def __init__(self, x: Tensor, values: Tensor, axis: int, is_input: Tensor | None = None):
        self.input_shape: torch.Size = x.shape
        self.axis = axis
        self._x = x
        self._values = values.detach()
        self._is_input = is_input
        self._part: Tensor | None = None

    def spread(self, r: Tensor) -> Tensor:
        """Hands `r` (*output) to every input along the axis, whichever was chosen."""
        return r.sum(self.axis, keepdim=True).expand(self.input_shape)

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Hands each value's relevance to the inputs that are equal to it."""
        if self._part is None:
            equal = (self._x.unsqueeze(self.axis) == self._values.unsqueeze(self.axis + 1)).to(self._x.dtype)
            if self._is_input is not None:
                equal = equal * self._is_input.unsqueeze(self.axis)
            self._part = equal / equal.sum(self.axis + 1, keepdim=True).clamp(min=1)  # (..., k, inputs, ...)
        return [(r.unsqueeze(self.axis + 2) * self._part).sum(self.axis + 1)]


class Sorted(TopK):
    """All values along an axis in their order; what is the same for values that are equal needs no table of pairs.

    Args:
        x: the signal.
        values: its values, in order.
        indices: where each of them stood.
        axis: the axis along which they were sorted.
        is_input: 0 where values of the signal are constants, which get nothing beside an equal input; or None.
    """

    def __init__(self, x: Tensor, values: Tensor, indices: Tensor, axis: int, is_input: Tensor | None):
        super().__init__(x, values, axis, is_input)
        self._indices = indices
        self._inputs = None if is_input is None else is_input.gather(axis, indices)  # in order

    def relevance(self, r: Tensor) -> list[Tensor]:
        """Hands the relevance of all places with one value to the inputs that have it."""
        axis, values = self.axis, self._values
        size = values.shape[axis]
        if not size:
            return [torch.zeros_like(r)]
        changes = values.narrow(axis, 1, size - 1) != values.narrow(axis, 0, size - 1)
        number = torch.cat([torch.zeros_like(self._indices.narrow(axis, 0, 1)), changes.cumsum(axis)], axis)
        inputs = torch.ones_like(values) if self._inputs is None else self._inputs
        count = torch.zeros_like(values).scatter_add(axis, number, inputs).clamp(min=1)
        numbers = number.expand(r.shape)
        shared = torch.zeros_like(r).scatter_add(axis + 1, numbers, r) / count
        in_order = shared.gather(axis + 1, numbers) * inputs
        return [torch.zeros_like(r).scatter(axis + 1, self._indices.expand(r.shape), in_order)]
