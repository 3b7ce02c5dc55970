"""What operations whose windows move over positions do to frames: convolutions, pools, and resampling along axes."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from lrp3d.compute.maps import Convolution
from lrp3d.motion.frame_mixing import TIME, Positional, first_position, keep, mix, windows_of
from lrp3d.motion.frame_numbers import NONE, Frames, alike_before, along, differ
from lrp3d.motion.mixing_steps import MixingSteps, Windowed
from lrp3d.motion.refusals import unseen
from lrp3d.steps.linear import LinearStep


def by_position(step: Positional, x: Frames, mixing: MixingSteps) -> Frames:
    """Of an operation whose windows move over positions: its shape says what is where."""
    x = x.with_axes(len(step.shape))
    if not x.length:
        return x
    if _is_pointwise(step) and not _is_sequence(step, x):  # every value stays where it is, such as tokens do
        return _over_channels(step, x, mixing)
    axis = _axis_of_time(step, x)
    if axis is not None:
        return _along_time(step, x, axis, mixing)
    return _with_places(step, _over_channels(step, x, mixing))


def _over_channels(step: Positional, x: Frames, mixing: MixingSteps) -> Frames:
    """What a convolution does to frames by mixing channels; pools keep them apart."""
    if not isinstance(step, LinearStep) or not isinstance(map := step.operands[0].map, Convolution):
        return x
    return mixing.along(step, x, 1, map.geometry.groups)


def _along_time(step: Positional, x: Frames, axis: int, mixing: MixingSteps) -> Frames:
    """The same where frames are one of the axes over which windows move."""
    windows = windows_of(step, axis)
    stays = keep(windows)
    if _channels_differ(step, x) and not stays:
        raise unseen(step, step.shape)
    clip, x = _of_channels(x.clip), _over_channels(step, x, mixing)
    if mix(windows):
        mixing.windowed[step] = Windowed(axis, clip, _of_channels(x.clip))
    x, position = _with_places(step, x, axis), along(axis, step.shape, x.frame.device)
    if _channels_differ(step, x):  # those that this operation does not mix keep their frames
        if x.length != step.shape[axis]:
            raise unseen(step, step.shape)
        return x._replace(slot=position)
    if stays and x.varies(axis):
        return x
    return x._replace(frame=position, slot=position, length=step.shape[axis])  # time begins anew


def _axis_of_time(step: Positional, x: Frames) -> int | None:
    """The axis of frames among those over which windows move; None where frames are folded into another axis."""
    axes = axes_of_frames(step, x)
    if not axes:
        return TIME if len(step.shape) == 5 and not x.varies(0, 1) else None
    if len(axes) > 1 or x.varies(0):
        raise unseen(step, step.shape, "frames differ along several axes")
    if differ(x.place, axes[0]):
        raise unseen(step, step.shape, f"frames along axis {axes[0]} do not follow one another at one place")
    return axes[0]


def axes_of_frames(step: Positional, x: Frames) -> list[int]:
    """The axes along which frames differ, among those over which windows move."""
    return [axis for axis in range(first_position(step), len(step.shape)) if x.varies(axis)]


def _is_sequence(step: Positional, x: Frames) -> bool:
    """Whether frames differ along one axis at most, and places do not differ along it."""
    axes = axes_of_frames(step, x)
    return not axes or (len(axes) == 1 and not x.varies(0) and not differ(x.place, axes[0]))


def _is_pointwise(step: Positional) -> bool:
    """Whether it is a convolution whose kernel sees one position, which stays where it is."""
    map = step.operands[0].map if isinstance(step, LinearStep) else None
    return (
        isinstance(map, Convolution)
        and not map.geometry.transposed
        and set(map.geometry.kernel) == {1}
        and step.shape[2:] == cast(LinearStep, step).operands[0].shape[2:]
        and not any(map.geometry.padding)
    )


def _channels_differ(step: Positional, x: Frames) -> bool:
    """Whether channels of one position belong to several frames."""
    return first_position(step) > 1 and x.varies(1)


def _with_places(step: Positional, x: Frames, axis: int | None = None) -> Frames:
    """The places of an output, whose frames are `x`: its rows, and where in a row they are.

    Along the axis of frames, if it is one over which windows move, places are the same.
    """
    clip = _of_channels(x.clip)
    axes, first = len(step.shape), first_position(step)
    within = list(range(1 if clip.shape[1] == 1 else 2, axes))
    frame = x.frame.amax(within, keepdim=True).flatten(1)
    number = torch.where(frame == NONE, NONE, clip * x.length + frame).expand(step.shape[0], -1)
    # Several views of one clip (crops, mirrored copies, places) may be rows of their own; constants belong to none.
    view = alike_before(number.flatten()).reshape(number.shape).where(number != NONE, 0)
    views = int(view.max()) + 1 if view.numel() else 1
    rows = torch.where(number == NONE, NONE, clip * views + view)
    sizes = [size if i >= first and i != axis else 1 for i, size in enumerate(step.shape)]
    places = math.prod(sizes)
    pixel = torch.arange(places, device=rows.device).reshape(sizes)
    rows = rows.reshape(*rows.shape, *[1] * (axes - 2))
    return x._replace(place=torch.where(rows == NONE, NONE, rows * places + pixel), places=views * places)


def _of_channels(clip: Tensor) -> Tensor:
    """The clips (rows, channels) of a tensor, broadcasting."""
    axes = list(range(2, clip.dim()))
    return clip.amax(axes) if axes else clip
