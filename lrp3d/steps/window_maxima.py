"""The maximum of every window: relevance goes to the winner; winners that tie get equal parts.

On a CPU, where the winners stand is found once, block by block, and kept as positions. Where many of them tie,
relevance goes back axis by axis. On a GPU, windows are gone through position by position.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.buffers import BLOCK
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maxima_by_axis import Stage, can_be_numbered, handed_down, stages, winners
from lrp3d.compute.plain import is_plain
from lrp3d.steps.factor import Factor, times
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.maxima import Choice

MOST_TIES = 0.25
"""Further winners for each output; with more, to list them takes longer than to go through all positions."""


class _Places(NamedTuple):
    """The positions that get relevance: one winner of every window, and separately the winners that tie with it."""

    first: Tensor
    """(planes, outputs): position of one winner in its plane of the input."""
    part: Tensor
    """(*output): the part of relevance that each winner gets, one divided by the number of ties."""
    tied: tuple[Tensor, Tensor]
    """Flat positions of outputs with ties, and of their further winners in the whole input."""


class WindowMaximum(Choice):
    """The maximum of every window: max pools of all kinds, described by the positions that each window looks at.

    `offsets` are index tuples into the trailing axes of `x`: offset `o` picks, for every output, one position of its
    window (a slice per axis, or index tensors that broadcast to the output), and `inside`, of the same axes, says where
    that position is part of the window. Ties share equally; constants get nothing while the window has a real input.
    `x` may be padded; `crop` removes the padding again. `windows` says how they move over the input, where they are
    all of one size.
    """

    def __init__(
        self,
        x: Tensor,
        output: Tensor,
        offsets: Sequence[tuple[Any, ...]],
        inside: Sequence[Tensor | None] | None = None,
        is_input: Tensor | None = None,
        crop: tuple[Any, ...] = (),
        windows: Geometry | None = None,
    ):
        self.x = x
        self.windows = windows
        self.offsets = offsets
        self.is_input = is_input
        self.crop = crop
        self.output: Tensor = output.detach()  # a node that holds its output is never freed
        self.inside: Sequence[Tensor | None] = [None] * len(offsets) if inside is None else inside
        self._parts: list[Tensor] | None = None
        self._factor_places: tuple[weakref.ref[Factor], _Places | None] | None = None

    def _winners(self) -> list[Tensor]:
        """For each offset, the part (*output) that its position gets: one, divided among ties, or zero."""
        candidates, winners = [], []
        for offset, inside in zip(self.offsets, self.inside, strict=True):
            candidate = torch.ones_like(self.output, dtype=torch.bool) if inside is None else inside
            index = (..., *offset)
            if self.is_input is not None:
                candidate = candidate & (self.is_input[index] > 0)
            candidates.append(candidate)
            winners.append(candidate & (self.x[index] == self.output))
        winner_count = sum(winner.int() for winner in winners)
        assert isinstance(winner_count, Tensor)
        if self.is_input is not None:  # where only a constant won, the real inputs of the window share
            constant_won = winner_count == 0
            winners = [torch.where(constant_won, c, w) for w, c in zip(winners, candidates, strict=True)]
            winner_count = torch.where(constant_won, sum(candidate.int() for candidate in candidates), winner_count)
        part = 1 / winner_count.clamp(min=1).to(self.x.dtype)  # (*output)
        return [winner * part for winner in winners]

    def _places(self, factor: Factor | None) -> _Places | None:
        """Positions of the winners, given the factor of the relevance; None where there are too many ties to list.

        Most ties are among zeros, and no relevance arrives where the factor is zero.
        """
        if factor is None:
            return self._places_anywhere
        known = self._factor_places  # other seeds may come at the same time, with another factor
        if known is None or known[0]() is not factor:
            known = self._factor_places = weakref.ref(factor), self._find_places(factor.whole())
        return known[1]

    @cached_property
    def _places_anywhere(self) -> _Places | None:
        return self._find_places(None)

    @cached_property
    def _stages(self) -> list[Stage] | None:
        """How windows of one size share axis by axis; None where they are none, or where only constants win in one."""
        axes = len(self.offsets[0])
        x, output = (tensor.flatten(0, -axes - 1) for tensor in (self.x, self.output))  # (planes, t, h, w)
        if (g := self.windows) is None or not can_be_numbered(x):
            return None
        if self.is_input is not None:
            x = torch.where(self.is_input.expand_as(self.x).flatten(0, -axes - 1) > 0, x, -torch.inf)
        made, largest = stages(x, g.kernel, g.stride, g.dilation, output.shape[1:])
        return made if self.is_input is None or torch.equal(largest, output) else None

    def _find_places(self, factor: Tensor | None) -> _Places | None:
        axes = len(self.offsets[0])
        x, output = (tensor.flatten(0, -axes - 1) for tensor in (self.x, self.output))  # (planes, t, h, w)
        is_input = None if self.is_input is None else self.is_input.expand_as(self.x).flatten(0, -axes - 1)
        first = torch.zeros(output.shape, dtype=torch.long, device="cpu")
        ties = torch.zeros(output.shape, dtype=torch.int32, device="cpu")
        planes = max(1, BLOCK // x[0].numel())  # at once, so that what lies between stays in a core's cache
        for start in range(0, len(x), planes):
            block = slice(start, start + planes)
            inputs = None if is_input is None else is_input[block]
            first[block], ties[block] = self._winners_in(x[block], output[block], inputs)
        if is_input is not None and not bool(ties.all()):  # only a constant won
            return None
        several = ties > 1 if factor is None else (ties > 1) & (factor != 0).reshape(ties.shape)
        outputs = several.flatten().nonzero().squeeze(1)
        if int((ties.flatten()[outputs] - 1).sum()) > MOST_TIES * ties.numel():
            return None
        part = ((ties > 0) / ties.clamp(min=1).to(x.dtype)).view(self.output.shape)
        return _Places(first.flatten(1), part, self._further(outputs, first))

    def _winners_in(self, x: Tensor, output: Tensor, is_input: Tensor | None) -> tuple[Tensor, Tensor]:
        """The position of one winner of every window in some planes, and how many there are."""
        if (g := self.windows) is not None and can_be_numbered(x):
            candidates = x if is_input is None else torch.where(is_input > 0, x, -torch.inf)
            found = winners(candidates, g.kernel, g.stride, g.dilation, output.shape[1:])
            return found.position, found.number * (found.largest == output)
        positions = torch.arange(x[0].numel(), device="cpu").view(x.shape[1:])
        first, ties = torch.zeros_like(output, dtype=torch.long), torch.zeros_like(output, dtype=torch.int32)
        for offset, inside in zip(self.offsets, self.inside, strict=True):
            index = (slice(None), *offset)
            wins = x[index] == output
            wins = wins if inside is None else wins & inside
            wins = wins if is_input is None else wins & (is_input[index] > 0)
            ties += wins
            torch.where(wins, positions[offset], first, out=first)
        return first, ties

    def _further(self, outputs: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Flat positions of outputs, and of their winners beside the `first` (planes, t, h, w) one, among `outputs`."""
        shape, axes = first.shape[1:], len(self.offsets[0])
        plane = torch.arange(self.x.shape[-axes:].numel(), device="cpu").view(
            self.x.shape[-axes:]
        )  # (t, h, w) of the input
        within = outputs % shape.numel()
        start = outputs // shape.numel() * plane.numel()
        x, largest = self.x.flatten(), self.output.flatten()[outputs]
        is_input = None if self.is_input is None else self.is_input.expand_as(self.x).flatten()
        further: list[Tensor] = []
        inputs: list[Tensor] = []
        for offset, inside in zip(self.offsets, self.inside, strict=True):
            position = plane[offset].expand(shape).flatten()[within]
            wins = (x[start + position] == largest) & (position != first.flatten()[outputs])
            wins = wins if inside is None else wins & inside.expand(shape).flatten()[within]
            wins = wins if is_input is None else wins & (is_input[start + position] > 0)
            further.append(outputs[wins])
            inputs.append((start + position)[wins])
        return torch.cat(further), torch.cat(inputs)

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Hands relevance to the winners of every window; overlapping windows add up."""
        return [self._input_relevance(r, None)]

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Does the same, and learns from the factor where no relevance arrives."""
        input_relevance = self._input_relevance(lazy.tensor(self.shape), lazy.factor)
        return [LazyRelevance(input_relevance.to(lazy.value.dtype)).narrowed(lazy)]

    def _input_relevance(self, r: Tensor, factor: Factor | None) -> Tensor:
        # Positions are faster on a CPU; a GPU would add to them in no fixed order, and is fast with slices.
        fast = r.device.type == "cpu" and not is_plain() and r.numel() > 0
        if fast and (places := self._places(factor)) is not None:
            out = self._at_places(r, places)
        elif fast and (by_axis := self._stages) is not None:
            planes = r.flatten(1, -len(self.offsets[0]) - 1)  # (s, planes, *output)
            out = handed_down(planes, by_axis).view(len(r), *self.x.shape)
        else:
            out = self._at_every_offset(r)
        cropped: tuple[Any, ...] = (..., *self.crop)
        return out[cropped]

    def _at_places(self, r: Tensor, places: _Places) -> Tensor:
        """Relevance of the padded input, handed to listed winners."""
        out = buffers.empty((len(r), *self.x.shape), r).zero_()
        values, axes = times(r, places.part), len(self.offsets[0])  # (s, *output)
        planes = out.flatten(-axes).flatten(1, -2)  # (s, planes, inputs)
        planes.scatter_add_(2, places.first.expand(len(r), -1, -1), values.flatten(-axes).flatten(1, -2))
        outputs, inputs = places.tied
        if len(outputs):
            out.view(len(r), -1).index_add_(1, inputs, values.flatten(1)[:, outputs])
        return out

    def _at_every_offset(self, r: Tensor) -> Tensor:
        """The same, gone through position by position."""
        out = buffers.empty((len(r), *self.x.shape), r).zero_()
        if self._parts is None:
            self._parts = self._winners()
        for offset, part in zip(self.offsets, self._parts, strict=True):
            if all(isinstance(o, slice) for o in offset):
                index = (..., *offset)
                out[index].addcmul_(r, part)
            else:
                out = _add_at(out, offset, times(r, part))
        return out


def _add_at(out: Tensor, index: Sequence[Tensor], values: Tensor) -> Tensor:
    """Computes `out[..., i, j, k] += values` for index tensors that broadcast; repeated indices add up."""
    axes = len(index)
    flat = index[0].new_zeros(())
    for i, size in zip(index, out.shape[-axes:], strict=True):
        flat = flat * size + i
    flat = flat.expand(values.shape[-axes:])
    return out.flatten(-axes).index_add(-1, flat.flatten(), values.flatten(-axes)).reshape(out.shape)
