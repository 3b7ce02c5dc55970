"""Whether the first layers find the frames of the clip one after another where their shapes say that time is.

The axes of convolutions say which of their inputs are frames (`time_axis`). A forward may have turned the clip round
before, folded frames into the batch before the clips, or put another axis where time is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import einops
import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.propagation.first_layers import FirstLayer, first_layers
from lrp3d.propagation.time_average import TimeAverage
from lrp3d.propagation.time_of_layers import time_axis_test
from lrp3d.steps.elementwise import Elementwise
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import Edge, parents, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.spread_down import spread_down
from lrp3d.steps.step import Step
from lrp3d.steps.torch_nodes import moves
from lrp3d.twin.trace import Trace

ALL_BUT_ROUNDING = 1 - 1e-4
"""The share of the most that any place holds of a frame, from which on a place holds as much of it."""


class Found(NamedTuple):
    """Where a first layer finds the frames of the clip, of all places where frames are sought."""

    step: LinearStep
    places: Tensor
    """(2, b, t): the first and the last place where most of each frame lies; -1 for frames that are not there."""
    frames: Tensor
    """(b, places): the only frame of which most lies at a place; -1 where there are several, or none."""

    def reason(self, places: Tensor) -> str:
        """Why rows would not belong to frames of the clip; empty if frames are in order, or only put in another one.

        Args:
            places: `places`, on the host.
        """
        for clip in places.transpose(0, 1):
            spans = [(int(first), int(last)) for first, last in clip.T if first >= 0]
            if len(spans) > 1 and len(set(spans)) == 1:
                return (
                    f"where the shape of '{self.step.name}' says that time is ({self._sought}), every place holds all "
                    "frames of the clip: time is another of its axes, frames were folded into the batch before the "
                    "clips, or the layout is another one (layout=)"
                )
            if not _in_order(spans) and places_of_frames(places) is None:
                return (
                    f"'{self.step.name}' sees the frames of the clip in another order than the clip has them "
                    f"({self._sought} is read as time), and not each of them once: leave frames where they are, and "
                    "fold clips and frames into the batch as (b t), never as (t b)"
                )
        return ""

    @property
    def _sought(self) -> str:
        shape = tuple(self.step.operands[0].shape)
        return f"the first axis of {shape}, within each clip" if len(shape) == 4 else f"the third axis of {shape}"


def places_of_frames(places: Tensor) -> list[int] | None:
    """The place of each frame, where every frame lies at one of its own, the same for all clips; None elsewhere.

    Args:
        places: (2, b, t), of `Found`.

    >>> places_of_frames(torch.tensor([2, 1, 0]).expand(2, 1, 3))
    [2, 1, 0]
    """
    first, last = places
    own: list[int] = [int(place) for place in first[0]]
    alike = first.equal(last) and first.equal(first[:1].expand_as(first))
    return own if alike and sorted(own) == list(range(len(own))) else None


def _in_order(spans: Sequence[tuple[int, int]]) -> bool:
    """Whether no frame lies before an earlier one; a frame that lies at several places may be at any of them."""
    latest = -1
    for first, last in spans:
        if last < latest:
            return False
        latest = max(latest, first)
    return True


def found_frames(record: Trace, averages: Sequence[TimeAverage], rows: int, layout: str) -> list[Found]:
    """For each first layer whose shape says where time is, where the frames of the clip are.

    Empty if all of them take in the clip as it was given, with time where it is sought; and if the clip has fewer
    frames than there are rows, where the layout is wrong as a whole (`temporal_matrix.check_row_count`).

    Args:
        record: the forward pass of a single pathway.
        averages: the averages over time.
        rows: the number of frame logits.
        layout: the layout of the clip.
    """
    batch, axes, clip = len(record.output), Layout(layout), record.entries[0]
    if rows > axes.sizes(clip, batch)["t"]:
        return []
    tells_time = time_axis_test(batch)
    layers = {layer.edge: layer for average in averages for layer in first_layers(average.node)}
    with_time = [layer for layer in layers.values() if batch and tells_time(layer.step)]
    usual = axes.groups in (list("bcthw"), ["bt", "c", "h", "w"])
    if usual and all(isinstance(step_of(layer.edge[0]), ClipInput) for layer in with_time):
        return []
    found = []
    for layer in with_time:
        at_places = _at_places(layer, clip, axes, batch)
        if at_places is not None:
            found.append(Found(layer.step, *at_places))
    return found


def repeated(frames: Tensor) -> list[int] | None:
    """The frame at each place, where each has one and some frame has several places; None elsewhere.

    Args:
        frames: (b, places), of `Found`, on the host.

    >>> repeated(torch.tensor([[0, 1, 1]])), repeated(torch.tensor([[0, 1, 2]]))
    ([0, 1, 1], None)
    """
    own: list[int] = [int(frame) for frame in frames[0]]
    alike = frames.equal(frames[:1].expand_as(frames)) and min(own) >= 0
    return own if alike and len(set(own)) < len(own) else None


def _at_places(layer: FirstLayer, clip: Tensor, axes: Layout, batch: int) -> tuple[Tensor, Tensor] | None:
    """`Found.places` and `Found.frames` of a layer; None if nobody can say."""
    folded = len(layer.shape) == 4
    if folded and layer.shape[0] % batch:
        return None
    length = layer.shape[0] // batch if folded else layer.shape[2]
    sizes = axes.sizes(clip, batch)
    if length < 2 or sizes["t"] < 2:
        return None
    sought = (batch, length, *layer.shape[1:]) if folded else layer.shape
    axis = 1 if folded else 2
    if _only_moves(layer.edge):
        numbers = torch.arange(1.0, length + 1, device=clip.device).reshape(-1, *[1] * (len(sought) - axis - 1))
        ((number, _),) = spread_down(layer.edge, numbers.expand(sought).reshape(layer.shape), _is_clip)
        number = einops.rearrange(number, f"{axes.pattern} -> b t (c h w)", **sizes)
        last = number.amax(-1).long() - 1
        first = torch.where(number > 0, number, length + 1).amin(-1).long() - 1
        nothing = torch.full((batch, length), -1, device=clip.device)  # no frame is at two places
        return torch.stack([torch.where(last < 0, last, first), last]), nothing
    at_places = []
    for i in range(length):
        seed = torch.zeros(sought, device=clip.device)
        seed.select(axis, i).fill_(1)
        total = torch.zeros(batch, sizes["t"], device=clip.device)
        for r, end in spread_down(layer.edge, seed.reshape(layer.shape), _is_clip):
            if not isinstance(end, ClipInput):
                return None
            total = total + axes.frames(r.abs()[None], batch)[0]
        at_places.append(total)
    is_own = _is_own(torch.stack(at_places, -1))
    return _span(is_own), torch.where(is_own.sum(1) == 1, is_own.byte().argmax(1), -1)


def _only_moves(edge: Edge) -> bool:
    """Whether every value of the clip comes to one place at most, in one step after another."""
    node = edge[0]
    while not isinstance(step_of(node), ClipInput):
        below = parents(node)
        step = step_of(node)
        only_moves = isinstance(step, Elementwise) or (step is None and moves(node))
        if len(below) != 1 or not only_moves:
            return False
        node = below[0]
    return True


def _is_clip(step: Step) -> bool:
    return isinstance(step, ClipInput)


def _is_own(at_places: Tensor) -> Tensor:
    """A mask (b, t, places): whether most of a frame lies at a place."""
    most = at_places.amax(-1, keepdim=True)
    return (at_places >= ALL_BUT_ROUNDING * most) & (most > 0)


def _span(is_own: Tensor) -> Tensor:
    """(2, b, t): the first and the last place of each frame, of (b, t, places); -1 if it has none."""
    number = torch.arange(is_own.shape[-1], device=is_own.device)
    last = torch.where(is_own, number, -1).amax(-1)
    first = torch.where(is_own, number, is_own.shape[-1]).amin(-1)
    return torch.stack([torch.where(last < 0, last, first), last])
