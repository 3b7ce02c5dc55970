"""How much static relevance stays static at an operation that finds values of several frames side by side.

Behind a temporal shift, channels of several frames stand in one frame; attention and recurrence see frames as tokens
and time steps. Every value that is read is written as what it would be if the frames that meet there stood still, plus
the rest. Which frames meet depends on the operation and not on the relevance, so this is computed once for all seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from lrp3d.compute.bands import Band
from lrp3d.compute.maps import LinearMap
from lrp3d.motion.frame_numbers import NONE, Frames, alike_before, along
from lrp3d.motion.mixing_steps import Reading, Sequenced
from lrp3d.rules import Rule
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.operands import PreparedOperand
from lrp3d.steps.shares import MappedShare, mapped_shares

MeanDifference = Callable[[int, int, int], Tensor]
"""For the numbers of an operand, a share and a term: how far the input's mean over frames is from that at rest."""


class Terms:
    """The inputs of a linear step as its rule sees them.

    Args:
        step: the step, before relevance has passed it.
        rule_of: the step whose rule says what contributes.
    """

    def __init__(self, step: LinearStep, rule_of: LinearStep):
        self.operands: list[PreparedOperand] = [operand.widened() for operand in step.operands]
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
        self._changes: dict[tuple[int, int, int], Tensor] = {}

    def difference(self, operand: int, share: int, term: int, by: int | None = None) -> Tensor:
        """The input of a term minus what it is while the whole clip stands still, by the weight of operand `by`."""
        by = operand if by is None else by
        a, still = (terms.of(operand, by)[share][term] for terms in (self.moving, self.still))
        return a - still.to(a)

    def split(self, lazy: LazyRelevance) -> tuple[list[LazyRelevance], Tensor]:
        """Splits the static half of seeds (2 s, *output), the dynamic half stays; and what became dynamic, (s, b)."""
        step, operands = self.step, self.moving.operands
        if not self._shares or self._shares[0].reciprocal.dtype != lazy.value.dtype:
            assert step.rule is not None
            shares = mapped_shares(step.rule, operands, step.bias, step.shape, None)
            self._shares = [share.to(lazy.value.dtype) for share in shares]
            step.prepared.count(shares)
        band, value = lazy.band, lazy.part()
        if band is not None and any(operand.map.restrict(band, operand.shape) is None for operand in operands):
            band, value = None, lazy.tensor(step.shape)
        seeds = len(value) // 2
        converted = value.new_zeros(seeds, self._batch)
        parts: list[LazyRelevance] = []
        for number, operand in enumerate(operands):
            map, shape, below = operand.map, operand.shape, None
            if band is not None:
                map, below = cast(tuple[LinearMap, Band], map.restrict(band, shape))
                shape = below.shape(shape)
            out = value.new_zeros(2 * seeds, *shape)
            for index, share in enumerate(self._shares):
                terms = share.terms[number]
                ratio = value * (share.reciprocal if band is None else band.of(share.reciprocal))
                raw = map.adjoints(ratio, [term.v for term in terms], shape) if terms else []
                for i, (contribution, term) in enumerate(zip(raw, terms, strict=True)):
                    a = term.a.expand(operand.shape)
                    out.addcmul_(contribution, a if below is None else below.of(a))
                    if number in self._clips:
                        change = self._dynamic(number, index, i, a)
                        moved = contribution[:seeds] * (change if below is None else below.of(change))
                        out[:seeds] -= moved
                        out[seeds:] += moved
                        clips = self._clips[number].expand(operand.shape)
                        clips = clips if below is None else below.of(clips)
                        _add_by_clip(converted, moved, clips)
                if share.equal is not None:
                    equal = value * (share.equal if band is None else band.of(share.equal))
                    spread = map.spread(equal, operand.w.value, shape)
                    if (is_input := operand.x.is_input) is not None:
                        spread = spread * (is_input if below is None else below.of(is_input)).to(spread)
                    out += spread
            parts.append(LazyRelevance(out, band=below).narrowed())
        return parts, converted

    def _dynamic(self, operand: int, share: int, term: int, a: Tensor) -> Tensor:
        """The input of a term minus what it would be if the frames that meet there stood still."""
        key = operand, share, term
        if key not in self._changes:
            assert self.mean_difference is not None
            still = self.still.of(operand, operand)[share][term].to(a)
            self._changes[key] = (a - still) - self.mean_difference(*key).to(a)
        return self._changes[key]


def _add_by_clip(sums: Tensor, values: Tensor, clips: Tensor) -> None:
    """Adds values (s, *shape) to the sums (s, b) of the clips (*shape) to which they belong."""
    if sums.shape[1] == 1:
        sums += values.flatten(1).sum(1, keepdim=True)
        return
    while values.dim() > 2 and clips.stride(-1) == 0:  # all values along the axis belong to one clip
        values, clips = values.sum(-1), clips[..., 0]
    sums.index_add_(1, clips.flatten(), values.flatten(1))


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
        return torch.stack([one_frame.difference(operand, share, term) for one_frame in found]).mean(0)

    for one_frame in found:
        one_frame.mean_difference = mean_difference
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
    x, seen, frames = values[operand], readings[operand].seen, readings[operand].frames.length
    lines = {i: _lines(readings[i].frames, value.shape) for i, value in values.items()}
    ids = torch.cat(list(lines.values())).unique()
    sums, number = x.new_zeros(2, len(ids) * frames)
    for i, value in values.items():
        frame = readings[i].frames.frame.expand(value.shape).flatten()
        has_frame = frame != NONE
        cell = (torch.searchsorted(ids, lines[i]) * frames + frame)[has_frame]
        sums.index_add_(0, cell, value.flatten()[has_frame])
        number.index_add_(0, cell, torch.ones_like(cell, dtype=x.dtype))
    windows, window_of = torch.unique(seen.flatten(0, -2), dim=0, return_inverse=True)
    weights = windows.T.to(x)  # (frames, windows)
    by_frame = (sums / number.clamp(min=1)).view(-1, frames)  # (lines, frames)
    has_values = (number > 0).to(x).view(-1, frames)
    means = (by_frame @ weights) / (has_values @ weights).clamp(min=1)  # (lines, windows)
    window = window_of.reshape(seen.shape[:-1]).expand(x.shape).flatten()
    belongs = readings[operand].frames.frame.expand(x.shape).flatten() != NONE
    mean = means[torch.searchsorted(ids, lines[operand]), window]
    return torch.where(belongs, mean, x.flatten()).reshape(x.shape)


def _lines(frames: Frames, shape: torch.Size) -> Tensor:
    """A number for each value (flat), the same for values of one place and channel in different frames."""
    place, slot = torch.broadcast_tensors(frames.place, frames.slot)
    # Several values of one place and frame, such as those of heads that are folded into the batch, are channels too.
    channel = alike_before((place * (frames.length + 1) + slot).flatten()).reshape(place.shape)
    line: Tensor = place * (channel.max() + 1) + channel
    for axis, size in enumerate(shape):
        if place.shape[axis] == 1:  # such as that of channels
            line = line * size + along(axis, shape, line.device)
    return line.expand(shape).flatten()
