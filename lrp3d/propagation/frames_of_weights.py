"""Whether frames are still apart behind a weighted sum over frames, as behind attention of frames to frames.

The results of such a sum are those of its queries. Where these are learned, or come from all frames alike, each of them
is a pool over time. Where they come from frames, a result belongs to two frames, that whose value is weighed and that
for which it is, and no row of a matrix belongs to one of them alone.

This is asked along each axis of the results. Numbers that add up to zero are handed down from them, to values and to
weights: they arrive at no time step, or at all alike, unless some results come more from one step than others do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.propagation.time_average import TimeAverage
from lrp3d.propagation.time_of_layers import TimeOfLayers, time_axis_test
from lrp3d.steps.ends import ConstantOutput
from lrp3d.steps.graph import downwards, step_of
from lrp3d.steps.spread_down import spread_down
from lrp3d.values import in_widest_type

NEGLIGIBLE = 1e-4
"""The part of what would arrive without signs that is rounding, in float32 as well."""


def frames_stay_apart(average: TimeAverage, batch: int) -> str:
    """Why the results of a weighted sum over frames belong to frames themselves; empty if they do not.

    Args:
        average: any average or sum over frames.
        batch: the number of clips.
    """
    if not batch or not _is_weighed(average):
        return ""
    step, like = average.step, average.features
    for axis in range(1 - len(step.shape), 0):
        size = step.shape[axis]
        if size == 1:
            continue
        numbers = in_widest_type(torch.arange(size, device=like.device)) * 2 - (size - 1)
        seed = numbers.reshape(-1, *[1] * (-1 - axis)).expand(step.shape)
        differs = _differs_over_time(average, seed, batch)
        if differs is None:
            return (
                f"'{step.name}' weighs frames for each of {size} queries, and lrp3d cannot follow where their weights "
                "come from: from single frames, as in attention of frames to frames, or from none"
            )
        if differs:
            return (
                f"'{step.name}' weighs all frames for each of {size} results that belong to frames as well (attention "
                "of frames to frames), so that a row could be either frame; what lrp3d takes is an average over time "
                "of what stands for single frames, as behind a residual sum, or queries that come from no single frame"
            )
    return ""


def _is_weighed(average: TimeAverage) -> bool:
    """Whether the summed values are products of two signals, or the sum itself is one."""
    if average.step.weigher is not None:
        return True
    edge = average.entries.edge
    made = downwards([edge[0]], lambda node: step_of(node) is not None)
    return any((step := step_of(node)) is not None and step.weigher is not None for node in made)


def _differs_over_time(average: TimeAverage, seed: Tensor, batch: int) -> bool | None:
    """Whether different sums of `seed` (*output) arrive at different time steps; None if nobody knows."""
    has_time_axis = time_axis_test(batch)
    layers = TimeOfLayers.below(average.node, batch, has_time_axis)
    signed, whole = (spread_down((average.node, 0), r, has_time_axis, into_weights=True) for r in (seed, seed.abs()))
    unknown = False
    for (r, step), (sizes, _) in zip(signed, whole, strict=True):
        rounding = NEGLIGIBLE * sizes.abs().max()
        if isinstance(step, ConstantOutput) or bool((r.abs() <= rounding).all()):
            continue
        sums, of_sizes = layers.sums(r, step), layers.sums(sizes, step)
        if sums is None or of_sizes is None:
            unknown = True
            continue
        if bool((sums - sums.mean(1, keepdim=True)).abs().max() > NEGLIGIBLE * of_sizes.max()):
            return True
    return None if unknown else False
