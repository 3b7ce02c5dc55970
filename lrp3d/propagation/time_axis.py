"""Finds the time steps from which each entry of an axis comes, of which some are averaged over time.

Frames are followed from an average over time down to the last operations whose shapes say where time is. The entries
that are averaged may be frames, tokens of several places in each frame, or either of them in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lrp3d.propagation.channel_axes import token_mixers
from lrp3d.propagation.entry_order import OF_EACH_CLIP, SCATTERED, has_gaps
from lrp3d.propagation.time_of_layers import TimeOfLayers, axes_are_known, on_one_clock, time_axis_test
from lrp3d.steps.graph import Edge, Node, downwards, step_of
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


def time_steps(
    entries: Entries, batch: int, of: Sequence[int] | None = None, of_clip: bool = False
) -> list[list[bool]]:
    """For each entry, or for those `of` these numbers, which time steps it comes from.

    The last layers with a known time axis say it; empty where they have different numbers of time steps. Their time is
    that of the first layers, or with `of_clip` that of the clip; empty where no frames were moved in between, or nobody
    knows where to.

    The shapes of these layers (convolutions) say where time is: the third axis of (b, c, t, h, w), the last of
    (b, c, t), in the batch of (b t, c, h, w). The average over the rows of an image comes from all time steps.
    """
    numbers_of = range(entries.number) if of is None else of
    if not batch:  # an empty batch shows nothing
        return [torch.eye(entries.number, dtype=torch.bool, device="cpu")[i].tolist() for i in numbers_of]
    has_time_axis = _time_axis_test(entries.edge[0], batch)
    mixing = paths_that_mix_least(entries.edge[0], has_time_axis)
    layers = (TimeOfLayers.of_clip if of_clip else TimeOfLayers.below)(entries.edge[0], batch, has_time_axis)
    if layers is None:
        return []
    if of_clip or layers.are_moved:  # if those are to which entries lead
        whole = spread_down(entries.edge, torch.ones_like(entries.values), has_time_axis, mixing)
        reached = {step for r, step in whole if bool(r.any())}
        if of_clip and not layers.knows(reached):
            return []
        layers = layers.among(reached)
    if len(numbers_of) > MANY and (source_steps := _by_labels(entries, has_time_axis, mixing, layers)):
        return [source_steps[i] for i in numbers_of]
    masks = []
    for i in numbers_of:
        seed = torch.zeros_like(entries.values)
        seed.narrow(entries.axis, i, 1).fill_(1)
        masks.append(
            [layers.over_time(r != 0, step) for r, step in spread_down(entries.edge, seed, has_time_axis, mixing)]
        )
    lengths = {mask.shape[1] for ends in masks for mask in ends}
    if len(lengths) != 1:
        return []
    of_entries = torch.stack([torch.stack(ends).any(0) for ends in masks]).tolist()
    return _of_all_clips(of_entries, entries, has_time_axis, layers)


def _time_axis_test(root: Node, batch: int) -> Callable[[Step], bool]:
    """Makes a function that says whether a step below a node is a layer whose shape says where time is."""
    tells_time, mixers = time_axis_test(batch), token_mixers(root)
    return lambda step: tells_time(step) and step not in mixers


def are_apart(rows: Sequence[tuple[Entries, Sequence[int]]], root: Node, batch: int, of_clip: bool = False) -> bool:
    """Whether some rows begin or end at other times than others, because layers below see other parts of the clip.

    Args:
        rows: the entries of several axes, and the numbers of those that are rows, from the earliest to the latest.
        root: a node above them all.
        batch: the number of clips.
        of_clip: whether the clip says what time is, and not the first layers.
    """
    has_time_axis = _time_axis_test(root, batch)
    layers = (TimeOfLayers.of_clip if of_clip else TimeOfLayers.below)(root, batch, has_time_axis)
    if layers is None or not layers.are_moved:
        return False
    series = []
    for entries, order in rows:
        mixing = paths_that_mix_least(entries.edge[0], has_time_axis)
        times = []
        for i in order:
            seed = torch.zeros_like(entries.values)
            seed.narrow(entries.axis, i, 1).fill_(1)
            ends = spread_down(entries.edge, seed, has_time_axis, mixing)
            times.append([time for r, step in ends for time in layers.mean_times(r != 0, step)])
        if all(times) and len(times) > 1:
            series.append(torch.tensor([sum(known) / len(known) for known in times], device="cpu"))
    return not all(on_one_clock(one, other) for i, one in enumerate(series) for other in series[:i])


def _of_all_clips(
    masks: list[list[list[bool]]], entries: Entries, has_time_axis: Callable[[Step], bool], layers: TimeOfLayers
) -> list[list[bool]]:
    """Time steps (entries, t) from those of each clip (entries, b, t), or why entries have none of their own."""
    if any(steps != of_clips[0] for of_clips in masks for steps in of_clips):
        if layers.are_moved or layers.are_of_clip:
            return OF_EACH_CLIP
        nodes = downwards([entries.edge[0]], lambda node: (step := step_of(node)) is not None and has_time_axis(step))
        if any(step_of(node) is None and picks_by_clip(node) for node in nodes):
            return OF_EACH_CLIP
    source_steps = [[any(of_step) for of_step in zip(*of_clips, strict=True)] for of_clips in masks]
    return SCATTERED if layers.are_moved and any(map(has_gaps, source_steps)) else source_steps


def _by_labels(
    entries: Entries, has_time_axis: Callable[[Step], bool], mixing: dict[Node, Cost], layers: TimeOfLayers
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
        if not axes_are_known(step):
            return []
        mixed.append((covered & ((second / count - mean**2).abs() > ONE_NUMBER)).any())
        number = mean.round().long()
        steps = [layers.over_time(number == i, step) for i in range(entries.number)]
        if positions is not None and positions.shape[2] != steps[0].shape[1]:
            return []
        positions = torch.stack(steps) if positions is None else positions | torch.stack(steps)
    if positions is None:
        return []
    are_mixed, places = numbers([torch.stack(mixed).any(), positions])
    return [] if are_mixed else _of_all_clips(places.bool().tolist(), entries, has_time_axis, layers)
