"""Which operations mix frames, and which input frames each frame of an output sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrp3d.compute.maps import Average, AxisMatrices, Broadcast, Convolution, FullyConnected, Scale, SumOver
from lrp3d.errors import ModelError
from lrp3d.steps.graph import step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum, WindowMaximum
from lrp3d.steps.shares import Operand
from lrp3d.steps.step import ClipInput, ConstantOutput, PassThrough, Step

TIME = 2  # of (b, c, t, h, w)
KEEP_FRAMES = {
    "Permute",
    "Transpose",
    "T",
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Expand",
    "Alias",
    "Clone",
    "ToCopy",
    "ConstantPadNd",
}
"""What torch calls the operations that keep every frame in place; its nodes are named like "PermuteBackward0"."""


class NoMotion(ModelError):
    """Relevance cannot be split into motion and appearance here; the message says where."""


def check_node(node: Any, selected: dict[int, list[float]]) -> None:
    """Accepts torch's own node if it keeps every frame in place, joins channels or selects frames of the clip.

    Frames selected from the clip itself make a pathway; `selected` has these frames by their count. As long as all
    pathways with the same count have the same frames, values of different frames cannot meet frame by frame. Raises
    NoMotion for any other node.
    """
    name = node.name()
    if name.partition("Backward")[0] in KEEP_FRAMES or "AccumulateGrad" in name:
        return
    if name.startswith(("IndexSelect", "IndexBackward", "Slice")) and isinstance(
        step_of(node.next_functions[0][0]), ClipInput
    ):
        frames, count = _selected(node), node._input_metadata[0].shape[TIME]
        if frames and count > 1 and selected.setdefault(count, frames) == frames:
            return
    axes = len(node._input_metadata[0].shape)
    if name.startswith("Cat") and axes in (2, 5) and node._saved_dim in (1, 2**64 - axes + 1):
        return
    raise NoMotion(
        f"motion= does not know which frames {name.removesuffix('0')} moves; it knows convolutions, averages and max "
        "pools over (b, c, t, h, w)"
    )


def check_frames_kept(node: Any, step: Step, frames: int) -> None:
    """Raises NoMotion where frames became channels, or channels frames, on the way to a convolution.

    A view from (b, c, t, h, w) to (b, 2 c, t / 2, h, w) joins two frames in one, and no operation is seen to mix them.

    Args:
        node: node of the step.
        step: any step.
        frames: how many frames all clips have together.
    """
    operand = step.operands[0] if isinstance(step, LinearStep) and len(step.operands) == 1 else None
    if operand is None or not isinstance(operand.map, Convolution) or len(operand.shape) not in (4, 5):
        return
    below = node.next_functions[0][0]
    while (source := step_of(below)) is None or (
        isinstance(source, PassThrough) and source.input_shape == source.shape
    ):
        keeps_frames = source is not None or below.name().partition("Backward")[0] in KEEP_FRAMES - {
            "ConstantPadNd",
            "Expand",
        }
        if not keeps_frames or len(below.next_functions) != 1:
            return
        below = below.next_functions[0][0]
    frames_before: int | None = None
    if isinstance(source, ClipInput):
        frames_before = frames
    elif isinstance(source, WindowMaximum) or (
        isinstance(source, LinearStep) and source.operands and isinstance(source.operands[0].map, Convolution)
    ):
        frames_before = _pictures(source.shape)
    if frames_before not in (None, _pictures(operand.shape)):
        raise NoMotion(
            f"motion= does not know which frames '{step.name}' ({step.operation}) sees: its input "
            f"{tuple(operand.shape)} was made of {tuple(source.shape)}, so frames became channels, or channels frames"
        )


def _pictures(shape: Sequence[int]) -> int:
    """The number of frames in (b, c, t, h, w) or (b t, c, h, w)."""
    return shape[0] * shape[TIME] if len(shape) == 5 else shape[0]


def _selected(node: Any) -> list[float]:
    """For each frame of the clip, its number (from 1) among the selected ones, or 0; empty if this is no clip."""
    metadata, whole = node._input_metadata[0], step_of(node.next_functions[0][0])
    shape = metadata.shape
    if whole is None or len(shape) != 5 or [*shape[:2], *shape[3:]] != [*whole.shape[:2], *whole.shape[3:]]:
        return []
    numbers = torch.arange(1.0, shape[TIME] + 1, dtype=metadata.dtype, device=metadata.device)
    with torch.inference_mode(False), torch.no_grad():
        gradients = node(numbers.reshape(-1, 1, 1).expand(shape).contiguous())
    numbers_below = gradients[0] if isinstance(gradients, tuple) else gradients
    return list(numbers_below[0, 0, :, 0, 0].tolist())


def mixes(step: Step) -> bool:
    """Whether an output frame sees several input frames; raises NoMotion where that is not known."""
    if isinstance(step, (PassThrough, ClipInput, ConstantOutput)):
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


def _mixes_operand(step: LinearStep, operand: Operand) -> bool:
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


def windows_of(step: LinearStep, operand: Operand) -> Tensor:
    """Mask (outputs, t): which frames of the input each frame of the output sees."""
    map, frames = operand.map, operand.shape[TIME]
    if isinstance(map, Convolution) and not map.geometry.transposed:
        g = map.geometry
        first = torch.arange(step.shape[TIME])[:, None, None] * g.stride[0] - g.padding[0]  # (outputs, 1, 1)
        taps = first + torch.arange(g.kernel[0])[:, None] * g.dilation[0]  # (outputs, taps, 1)
        return (taps == torch.arange(frames)).any(1)
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
