"""Which frames of its input each frame of an output sees, at operations whose windows move over positions.

Frames are one of the axes over which the windows move, the third one of (b, c, t, h, w), (b, c, t) and (b, c, t, h w).
Which one it is, `frames_of_values` has found by following the frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.compute.maps import Average, AxisMatrices, Convolution
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.window_maxima import WindowMaximum

TIME = 2  # of (b, c, t, h, w)

Positional = LinearStep | WindowMaximum


def first_position(step: Positional) -> int:
    """The first of the axes over which windows move; before it are clips and channels."""
    axes = len(step.shape)
    if isinstance(step, WindowMaximum):
        return axes - len(step.offsets[0])
    map = step.operands[0].map
    if isinstance(map, AxisMatrices):
        return axes - len(map.matrices)
    if isinstance(map, Average) and map.windows is not None:
        return axes - len(map.windows.kernel)
    return 2


def windows_of(step: Positional, axis: int) -> Tensor:
    """Mask (outputs, inputs): which positions of the input each position of the output sees along an axis."""
    if isinstance(step, WindowMaximum):
        return _windows_of_maximum(step, axis)
    operand, outputs = step.operands[0], torch.arange(step.shape[axis], device="cpu")
    map, inputs = operand.map, torch.arange(operand.shape[axis], device="cpu")
    if isinstance(map, Convolution) and not map.geometry.transposed:
        stride, padding, dilation, kernel = (
            numbers[axis - 2]
            for numbers in (map.geometry.stride, map.geometry.padding, map.geometry.dilation, map.geometry.kernel)
        )
        taps = outputs[:, None] * stride - padding + torch.arange(kernel, device="cpu") * dilation  # (outputs, taps)
        return (taps[..., None] == inputs).any(1)
    windows = []
    for frame in range(len(outputs)):
        ones = torch.zeros(1, *step.shape, dtype=operand.source.dtype, device=operand.source.device)
        ones.narrow(1 + axis, frame, 1).fill_(1)
        mask = map.spread(ones, operand.w.value, operand.shape)[0] != 0
        windows.append(mask.movedim(axis, 0).flatten(1).any(1).cpu())
    return torch.stack(windows)


def mix(windows: Tensor) -> bool:
    """Whether an output sees several inputs."""
    return bool((windows.sum(1) > 1).any())


def keep(windows: Tensor) -> bool:
    """Whether every output sees the input at its own position and no other."""
    return windows.equal(torch.eye(*windows.shape, dtype=torch.bool, device=windows.device))


def offsets_along(step: WindowMaximum, axis: int) -> int:
    """The place of an axis in the offsets of a maximum, counted from their end."""
    return axis - len(step.shape)


def _windows_of_maximum(step: WindowMaximum, axis: int) -> Tensor:
    outputs, place = step.shape[axis], offsets_along(step, axis)
    positions = torch.arange(step.x.shape[axis], device="cpu")
    windows = torch.zeros(outputs, len(positions), dtype=torch.bool, device="cpu")
    for offset, inside in zip(step.offsets, step.inside, strict=True):
        along = offset[place] if isinstance(offset[place], slice) else offset[place].cpu().flatten()
        some = torch.ones(outputs, dtype=torch.bool, device="cpu")
        if inside is not None:
            some = inside.expand(step.shape[-len(offset) :]).movedim(place, 0).reshape(outputs, -1).any(1).cpu()
        seen = positions[along].expand(outputs)
        windows[torch.arange(outputs, device="cpu")[some], seen[some]] = True
    return windows[:, step.crop[place]] if step.crop else windows
