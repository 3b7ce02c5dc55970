"""Finds the time steps from which each entry of an axis comes, of which some are averaged over time.

Frames are followed from an average over time down to the last operations whose shapes say where time is. The entries
that are averaged may be frames, tokens of several places in each frame, or either of them in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lrp3d.compute.maps import Convolution
from lrp3d.propagation.channel_axes import token_mixers
from lrp3d.propagation.clip_order import ClipOrder
from lrp3d.propagation.entry_order import OF_EACH_CLIP
from lrp3d.propagation.first_layers import first_layers
from lrp3d.steps.ends import ClipInput, Unsupported
from lrp3d.steps.graph import Edge, Node, downwards, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.spread_down import Cost, paths_that_mix_least, spread_down
from lrp3d.steps.step import Step
from lrp3d.steps.torch_nodes import picks_by_clip
from lrp3d.transfer import numbers
from lrp3d.values import in_widest_type


class Entries(NamedTuple):
    """What may be frames: the entries of one axis of a tensor of the graph."""

    edge: Edge
    """The edge of the graph that stands for the tensor."""
    values: Tensor
    axis: int
    """Negative."""

    @property
    def number(self) -> int:
        """The number of entries of the axis."""
        return self.values.shape[self.axis]


MANY = 64  # averaged entries; if there are more, the time steps are found for all at once
ONE_NUMBER = 1e-3  # variance of what arrives at a place, up to which it is the number of one entry


def time_steps(entries: Entries, batch: int, of: Sequence[int] | None = None) -> list[list[bool]]:
    """For each entry, or for those `of` these numbers, which time steps it comes from.

    The last layers with a known time axis say it; empty where they have different numbers of time steps.

    The shapes of these layers (convolutions) say where time is: the third axis of (b, c, t, h, w), the last of
    (b, c, t), in the batch of (b t, c, h, w). The average over the rows of an image comes from all time steps.
    """
    numbers_of = range(entries.number) if of is None else of
    if not batch:  # an empty batch shows nothing
        return [torch.eye(entries.number, dtype=torch.bool, device="cpu")[i].tolist() for i in numbers_of]
    tells_time, mixers = time_axis_test(batch), token_mixers(entries.edge[0])

    def has_time_axis(step: Step) -> bool:
        return tells_time(step) and step not in mixers

    mixing = paths_that_mix_least(entries.edge[0], has_time_axis)
    of_layers = orders(entries.edge[0], batch, has_time_axis)
    if len(numbers_of) > MANY and (source_steps := _by_labels(entries, batch, has_time_axis, mixing, of_layers)):
        return [source_steps[i] for i in numbers_of]
    masks = []
    for i in numbers_of:
        seed = torch.zeros_like(entries.values)
        seed.narrow(entries.axis, i, 1).fill_(1)
        masks.append(
            [
                _over_time(r != 0, batch, step, of_layers.get(step))
                for r, step in spread_down(entries.edge, seed, has_time_axis, mixing)
            ]
        )
    lengths = {mask.shape[1] for ends in masks for mask in ends}
    if len(lengths) != 1:
        return []
    return _of_all_clips(torch.stack([torch.stack(ends).any(0) for ends in masks]).tolist(), entries, has_time_axis)


def _of_all_clips(
    masks: list[list[list[bool]]], entries: Entries, has_time_axis: Callable[[Step], bool]
) -> list[list[bool]]:
    """Time steps (entries, t) from those of each clip (entries, b, t); `OF_EACH_CLIP` where clips choose their own."""
    if any(steps != of_clips[0] for of_clips in masks for steps in of_clips):
        nodes = downwards([entries.edge[0]], lambda node: (step := step_of(node)) is not None and has_time_axis(step))
        if any(step_of(node) is None and picks_by_clip(node) for node in nodes):
            return OF_EACH_CLIP
    return [[any(of_step) for of_step in zip(*of_clips, strict=True)] for of_clips in masks]


def _by_labels(
    entries: Entries,
    batch: int,
    has_time_axis: Callable[[Step], bool],
    mixing: dict[Node, Cost],
    of_layers: dict[Step, Tensor],
) -> list[list[bool]]:
    """The same for many entries at once: each carries its number down. Empty where an operation mixes numbers."""
    device = entries.values.device
    labels = in_widest_type(torch.arange(entries.number, device=device)).reshape(-1, *[1] * (-1 - entries.axis))
    sums = []
    for power in range(3):
        seed = (labels**power).expand(entries.values.shape)
        sums.append(spread_down(entries.edge, seed, has_time_axis, mixing))
    positions: Tensor | None = None
    mixed = []
    for (count, step), (first, _), (second, _) in zip(*sums, strict=True):
        covered = count > 0
        mean = torch.where(covered, first / count, -1.0)
        if not _shape_has_time_axis(step):
            return []
        mixed.append((covered & ((second / count - mean**2).abs() > ONE_NUMBER)).any())
        number = mean.round().long()
        steps = [_over_time(number == i, batch, step, of_layers.get(step)) for i in range(entries.number)]
        if positions is not None and positions.shape[2] != steps[0].shape[1]:
            return []
        positions = torch.stack(steps) if positions is None else positions | torch.stack(steps)
    if positions is None:
        return []
    are_mixed, places = numbers([torch.stack(mixed).any(), positions])
    return [] if are_mixed else _of_all_clips(places.bool().tolist(), entries, has_time_axis)


def _shape_has_time_axis(step: Step) -> bool:
    """Whether the step's shape says where time is: not if it has no rule, or if its kernel comes from the clip."""
    return not isinstance(step, Unsupported) and not (isinstance(step, LinearStep) and not step.weighted)


def orders(root: Node, batch: int, has_time_axis: Callable[[Step], bool]) -> dict[Step, Tensor]:
    """For layers whose batch (t b) does not have the frames of a clip together, the order in which it would have.

    Where the first layers have frames in the batch, `frame_order` holds these against the clip.
    """
    if batch < 2 or all(len(layer.shape) == 4 for layer in first_layers(root)):
        return {}
    clips, found = ClipOrder(batch), dict[Step, Tensor]()
    for node in downwards([root], lambda node: (step := step_of(node)) is not None and has_time_axis(step)):
        step = step_of(node)
        if isinstance(step, LinearStep) and has_time_axis(step) and len(step.shape) == 4 and not step.shape[0] % batch:
            axis = clips.of(node, 1)
            if axis.dim == 0 and not axis.is_sorted:
                found[step] = axis.numbers.argsort(stable=True)
    return found


def _over_time(mask: Tensor, batch: int, step: Step, order: Tensor | None = None) -> Tensor:
    """(b, t): whether the mask is set anywhere at each time step of what a step makes.

    The clip has time where its layout says so. Where the axes of a layer are unknown (it has no rule), time is the only
    axis along which the mask is set in part.
    """
    if isinstance(step, ClipInput) and step.layout is not None and step.layout.has_time:
        return step.layout.frames(mask[None].float(), batch)[0] > 0
    if not shape_says_time(step, batch):
        others = [tuple(j for j in range(mask.dim()) if j != axis) for axis in range(mask.dim())]
        parts = [part for axes in others if not bool((part := mask.any(axes)).all())]
        return (parts[0] if len(parts) == 1 else mask.new_ones(1)).expand(batch, -1)
    return by_time_step(mask, batch, order).any(2)


def shape_says_time(step: Step, batch: int) -> bool:
    """Whether the shape of what a layer makes says where time is."""
    return _shape_has_time_axis(step) and not (len(step.shape) == 4 and step.shape[0] % batch)


def by_time_step(x: Tensor, batch: int, order: Tensor | None = None) -> Tensor:
    """The values (b, t, ...) of each time step of what a layer makes."""
    if x.dim() in (3, 5):
        places = x.movedim(2, 1)
        if len(places) % batch:  # clips and places of a picture in one axis
            return places.transpose(0, 1).flatten(1).expand(batch, -1, -1)
        return torch.unflatten(places, 0, (batch, -1)).transpose(1, 2).flatten(2)
    clip_by_clip = x if order is None else x[order.to(x.device)]
    return torch.unflatten(clip_by_clip, 0, (batch, -1)).flatten(2)


def time_axis_test(batch: int) -> Callable[[Step], bool]:
    """Makes a function that says whether a step is a convolution, whose axes have a fixed order.

    A convolution that sees a single picture of each clip does not count: it is a cell of a recurrence that the model
    writes out, or sees the mean of a clip, and its input is followed further down. Nor does one whose padding makes
    more time steps than it was given: what it says is cut off later, and the frames are those of its input.
    """

    def has_time_axis(step: Step) -> bool:
        if not (isinstance(step, LinearStep) and step.operands and isinstance(step.operands[0].map, Convolution)):
            return False
        shape = step.operands[0].shape
        return shape[0] != batch if len(shape) == 4 else 1 < shape[2] >= step.shape[2]

    return has_time_axis
