"""Which operations along the time axis mix frames, and which input frames each frame of an output sees.

Time is an axis of their tensors here: (b, c, t, h, w). Where it is not, `frames_of_values` has followed the frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.compute.maps import Average, AxisMatrices, Broadcast, Convolution, FullyConnected, Scale, SumOver
from lrp3d.errors import NoMotion as NoMotion
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum, WindowMaximum
from lrp3d.steps.operands import PreparedOperand
from lrp3d.steps.step import ClipInput, ConstantOutput, Elementwise, Step

TIME = 2  # of (b, c, t, h, w)


def mixes(step: Step) -> bool:
    """Whether an output frame sees several input frames; raises NoMotion where that is not known."""
    if isinstance(step, (Elementwise, ClipInput, ConstantOutput)):
        return False
    if isinstance(step, WindowMaximum):
        return len(step.offsets[0]) == 3 and step.x.dim() == 5 and len({str(o[0]) for o in step.offsets}) > 1
    if (
        isinstance(step, AxisMaximum)
        and len(step.input_shape) == 5
        and step.input_shape[TIME] == step.output_shape[TIME]
    ):
        return False
    if not isinstance(step, LinearStep):
        raise NoMotion(f"motion= does not know what '{step.name}' ({step.operation}) does to frames")
    return any(_mixes_operand(step, operand) for operand in step.operands)


def _mixes_operand(step: LinearStep, operand: PreparedOperand) -> bool:
    map, shape = operand.map, operand.shape
    if isinstance(map, (Broadcast, Scale, FullyConnected)):
        return False
    if len(shape) == 4 and isinstance(map, (Convolution, AxisMatrices)):
        return False  # frames are folded into the batch
    if isinstance(map, SumOver) or (isinstance(map, (Average, AxisMatrices)) and frame_count(step) == 1):
        return False  # sums over all frames: it treats them alike, and each gets what it contributed
    if len(shape) != 5:
        raise NoMotion(f"motion= does not know where time is in '{step.name}' ({step.operation}), {tuple(shape)}")
    return bool((windows_of(step, operand).sum(1) > 1).any())


def windows_of(step: LinearStep, operand: PreparedOperand) -> Tensor:
    """Mask (outputs, t): which frames of the input each frame of the output sees."""
    map, frames = operand.map, operand.shape[TIME]
    if isinstance(map, Convolution) and not map.geometry.transposed:
        g = map.geometry
        first = (
            torch.arange(step.shape[TIME], device="cpu")[:, None, None] * g.stride[0] - g.padding[0]
        )  # (outputs, 1, 1)
        taps = first + torch.arange(g.kernel[0], device="cpu")[:, None] * g.dilation[0]  # (outputs, taps, 1)
        return (taps == torch.arange(frames, device="cpu")).any(1)
    windows = []
    for frame in range(frame_count(step)):
        ones = torch.zeros(1, *step.shape, dtype=operand.source.dtype, device=operand.source.device)
        frame_of(ones[0], frame).fill_(1)
        mask = map.spread(ones, operand.w.value, operand.shape)[0] != 0
        windows.append(mask.movedim(TIME, 0).flatten(1).any(1).cpu())
    return torch.stack(windows)


def frame_count(step: Step) -> int:
    """The number of frames of an output; one if its shape is no longer that of a clip."""
    return step.shape[TIME] if len(step.shape) == 5 else 1


def frame_of(x: Tensor, frame: int) -> Tensor:
    """One frame of an output (b, c, t, h, w); the whole tensor if its shape is no longer that of a clip."""
    return x.narrow(x.dim() - 3, frame, 1) if x.dim() >= 5 else x
