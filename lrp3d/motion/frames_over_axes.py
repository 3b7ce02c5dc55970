"""What operations over whole axes do to frames: products of matrices over tokens, sums, averages and maxima."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lrp3d.compute.maps import SumOver
from lrp3d.motion.frame_numbers import NONE, Frames, compressed
from lrp3d.motion.frames_over_windows import axes_of_frames, by_position
from lrp3d.motion.mixing_steps import MixingSteps
from lrp3d.motion.refusals import unknown
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum

DIGITS = 4096  # means of places that differ by less are the same


def over_tokens(step: LinearStep, x: Frames, of_input: str, of_output: str, mixing: MixingSteps) -> Frames:
    """Of a product of matrices, such as attention; each token that is summed stands for a token of the output.

    Where queries are not as many as keys, as behind pools of keys, nothing here says to which frames they belong.

    Args:
        step: the product.
        x: the frames of its input.
        of_input: a letter for each axis of the input.
        of_output: a letter for each axis of the output; letters that are not in it are summed.
        mixing: where it is noted which tokens are summed.
    """
    new = [letter for letter in of_output if letter not in of_input]
    summed = [letter for letter in of_input if letter not in of_output]
    for letter in summed:
        axis = of_input.index(letter)
        tokens = step.operands[0].shape[axis - len(of_input)]
        queries = [step.shape[of_output.index(i)] for i in new]
        if all(label.shape[axis] == 1 for label in x.numbers):
            continue
        mixed = x.varies(axis)
        mixing.along(step, x, axis, keeps=True)
        if queries == [tokens]:
            of_input = of_input.replace(letter, new[0])
        elif mixed:
            several = any(size > 1 for size in queries)
            return Frames.none(len(step.shape), x.frame.device)._replace(unplaced=step.name if several else "")
    return x.each(lambda label: laid_out(label, of_input, of_output))


def laid_out(label: Tensor, letters: str, output: str) -> Tensor:
    """Numbers with an axis for each letter, laid out as the output: without letters that it has not, 1 for new ones."""
    gone = [axis for axis, letter in enumerate(letters) if letter not in output]
    kept = [letter for letter in letters if letter in output]
    label = label.amax(gone) if gone else label
    label = label.permute([kept.index(letter) for letter in output if letter in kept])
    for axis, letter in enumerate(output):
        label = label if letter in kept else label.unsqueeze(axis)
    return label


def over_maxima(step: AxisMaximum, x: Frames) -> Frames:
    """Of a maximum over axes along which frames are the same."""
    x = x.with_axes(len(step.input_shape))
    if x.varies(*step.axes):
        raise unknown(step)
    return x.each(lambda label: label.amax(step.axes, keepdim=len(step.shape) == len(step.input_shape)))


def over_averages(step: LinearStep, x: Frames, over: Callable[[Tensor], Tensor], mixing: MixingSteps) -> Frames:
    """Of a sum or an average over axes; over all frames alike, it tells none from another."""
    has_frame = (x.frame != NONE).double()
    number = x.frame.double() * has_frame
    weight, total, squares = (over(values) for values in (has_frame, number, number**2))
    some = weight.abs() > 1e-12
    if _equal(weight * squares, total**2):  # one frame for each output
        frame, place, clip, slot = (
            torch.where(some, over(numbers.double() * has_frame) / weight.where(some, 1.0), NONE)
            for numbers in (x.frame, x.place % x.places, x.clip, x.slot)
        )
        means, place = torch.unique((place * DIGITS).round(), return_inverse=True)
        place = torch.where(some, clip.round() * len(means) + place, NONE)
        frame, place, slot = (compressed(numbers.round().long()) for numbers in (frame, place, slot))
        return Frames(frame, place, slot, x.length, len(means))
    if not isinstance(step.operands[0].map, SumOver) and any(step.shape[i] > 1 for i in axes_of_frames(step, x)):
        return by_position(step, x, mixing)
    if not all(_equal(values, values.flatten()[:1].expand_as(values)) for values in (total, squares)):
        raise unknown(step)
    return Frames.none(len(step.shape), x.frame.device)


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-10, atol=1e-9)
