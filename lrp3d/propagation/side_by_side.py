"""How much static relevance stays static at an operation that finds values of several frames side by side.

Behind a temporal shift, channels of several frames stand in one frame; attention and recurrence see frames as tokens
and time steps. Every value that is read is written as what it would be if the frames that meet there stood still, plus
the rest. Which frames meet depends on the operation and not on the relevance, so this is computed once for all seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lrp3d.propagation.frame_numbers import NONE, Frames
from lrp3d.propagation.frames_of_values import Reading, Sequenced
from lrp3d.rules import Rule
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.shares import MappedShare, Operand, mapped

MeanDifference = Callable[[int, int, int], Tensor]
"""For the numbers of an operand, a share and a term: how far the input's mean over frames is from that at rest."""


class Terms:
    """The inputs of a linear step as its rule sees them.

    Args:
        step: the step, before relevance has passed it.
        rule_of: the step whose rule says what contributes.
    """

    def __init__(self, step: LinearStep, rule_of: LinearStep):
        self.operands: list[Operand] = [operand.widened() for operand in step.operands]
        assert rule_of.rule is not None
        self._rule: Rule = rule_of.rule
        self._inputs: dict[tuple[int, int], list[list[Tensor]]] = {}

    def of(self, operand: int, by: int) -> list[list[Tensor]]:
        """Tensors (*operand) by share and term, as the rule makes them with the weight of operand `by`."""
        if (operand, by) not in self._inputs:
            x, w = self.operands[operand], self.operands[by].w
            shares = self._rule.shares(x.x, w, None)
            self._inputs[operand, by] = [[term.a.expand(x.shape) for term in share.terms] for share in shares]
        return self._inputs[operand, by]


class SideBySide:
    """One such operation, and what its inputs would be if the frames that meet there stood still.

    Args:
        step: the operation.
        still_step: the same operation on the clips' mean frames.
        clips: for each operand, the clip (*operand) of every value, broadcasting.
        batch: the number of clips.
    """

    def __init__(self, step: LinearStep, still_step: LinearStep, clips: Mapping[int, Tensor], batch: int):
        self.step = step
        self.moving: Terms = Terms(step, step)
        self.still: Terms = Terms(still_step, step)
        self.mean_difference: MeanDifference | None = None
        self._clips = clips
        self._batch = batch
        self._shares: list[MappedShare] = []
        self._at_rest: dict[tuple[int, int, int], Tensor] = {}

    def difference(self, operand: int, share: int, term: int, by: int | None = None) -> Tensor:
        """The input of a term minus what it is while the whole clip stands still, by the weight of operand `by`."""
        a, still = (terms.of(operand, operand if by is None else by)[share][term] for terms in (self.moving, self.still))
        return a - still.to(a)

    def split(self, static: Tensor, dynamic: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """For each operand, static and dynamic relevance; and (s, b), how much of it became dynamic here."""
        step, seeds = self.step, len(static)
        if not self._shares or self._shares[0].reciprocal.dtype != static.dtype:
            assert step.rule is not None
            shares = mapped(step.rule, self.moving.operands, step.bias, step.shape, None)
            self._shares = [share.to(static.dtype) for share in shares]
        both = torch.cat([static, dynamic])
        parts: list[tuple[Tensor, Tensor]] = []
        converted = static.new_zeros(seeds, self._batch)
        for number, operand in enumerate(self.moving.operands):
            out = both.new_zeros(2 * seeds, *operand.shape)
            for index, share in enumerate(self._shares):
                terms = share.terms[number]
                raw = operand.map.adjoints(both * share.reciprocal, [term.v for term in terms], operand.shape)
                for i, (value, term) in enumerate(zip(raw, terms, strict=True)):
                    a = term.a.expand(operand.shape)
                    moved = value[:seeds] * (a - self._rest(number, index, i, a))
                    out += value * a
                    out[:seeds] -= moved
                    out[seeds:] += moved
                    if number in self._clips:
                        clip = self._clips[number].clamp(min=0).expand(operand.shape).flatten()
                        converted.index_add_(1, clip, moved.flatten(1))
                if share.equal is not None:
                    spread = operand.map.spread(both * share.equal, operand.w.value, operand.shape)
                    out += spread if operand.x.is_input is None else spread * operand.x.is_input.to(spread)
            parts.append((out[:seeds], out[seeds:]))
        return parts, converted

    def _rest(self, operand: int, share: int, term: int, a: Tensor) -> Tensor:
        """The input of a term if the frames that meet there stood still."""
        key = operand, share, term
        if operand not in self._clips:
            return a
        if key not in self._at_rest:
            assert self.mean_difference is not None
            still = self.still.of(operand, operand)[share][term].to(a)
            self._at_rest[key] = still + self.mean_difference(*key).to(a)
        return self._at_rest[key]


def side_by_side(step: LinearStep, still_step: LinearStep, readings: Mapping[int, Reading], batch: int) -> SideBySide:
    """An operation that finds values of several frames in one frame or one row of tokens."""
    found = SideBySide(step, still_step, {i: reading.frames.clip for i, reading in readings.items()}, batch)

    def mean_difference(operand: int, share: int, term: int) -> Tensor:
        origin = readings[operand].frames.origin
        alike = [i for i, other in readings.items() if i == operand or (origin and other.frames.origin is origin)]
        values = {i: found.difference(i, share, term, by=operand) for i in alike}
        return mean_over_seen(values, readings, operand)

    found.mean_difference = mean_difference
    return found


def one_sequence(
    steps: Sequence[LinearStep], still_steps: Sequence[LinearStep], read: Sequence[Sequenced], batch: int
) -> list[SideBySide]:
    """The operations by which a recurrent layer reads its sequence frame by frame; all of its frames meet in it."""
    found = [
        SideBySide(step, still, {0: x.clip}, batch) for step, still, x in zip(steps, still_steps, read, strict=True)
    ]

    def mean_difference(operand: int, share: int, term: int) -> Tensor:
        return torch.stack([step.difference(operand, share, term) for step in found]).mean(0)

    for step in found:
        step.mean_difference = mean_difference
    return found


def mean_over_seen(values: Mapping[int, Tensor], readings: Mapping[int, Reading], operand: int) -> Tensor:
    """For every value of an operand, the mean over the values of its place and channel in all frames that meet there.

    A constant is its own mean: it belongs to no frame. Only values that the operation reads count: those that a shift
    has moved out of the clip do not.

    Args:
        values: operands in which values of the same channels stand.
        readings: the frames of each operand.
        operand: the operand of which the mean is wanted.
    """
    x, seen, frames = values[operand], readings[operand].seen, readings[operand].frames.count
    lines = {i: _lines(readings[i].frames, value.shape) for i, value in values.items()}
    ids = torch.cat(list(lines.values())).unique()
    sums, number = x.new_zeros(2, len(ids) * frames)
    for i, value in values.items():
        frame = readings[i].frames.frame.expand(value.shape).flatten()
        known = frame != NONE
        at = (torch.searchsorted(ids, lines[i]) * frames + frame)[known]
        sums.index_add_(0, at, value.flatten()[known])
        number.index_add_(0, at, torch.ones_like(at, dtype=x.dtype))
    windows, window_of = torch.unique(seen.flatten(0, -2), dim=0, return_inverse=True)
    weights = windows.T.to(x)  # (frames, windows)
    means = (sums.view(-1, frames) @ weights) / (number.view(-1, frames) @ weights).clamp(min=1)  # (lines, windows)
    window = window_of.reshape(seen.shape[:-1]).expand(x.shape).flatten()
    belongs = readings[operand].frames.frame.expand(x.shape).flatten() != NONE
    mean = means[torch.searchsorted(ids, lines[operand]), window]
    return torch.where(belongs, mean, x.flatten()).reshape(x.shape)


def _lines(frames: Frames, shape: torch.Size) -> Tensor:
    """A number for each value (flat), the same for values of one place and channel in different frames."""
    line = frames.place
    for axis, size in enumerate(shape):
        if frames.place.shape[axis] == frames.slot.shape[axis] == 1:  # such as that of channels
            along = torch.arange(size, device=line.device).reshape([-1 if i == axis else 1 for i in range(len(shape))])
            line = line * size + along
    return line.expand(shape).flatten()
