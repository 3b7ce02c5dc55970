"""What products of two signals do to frames, as in attention whose queries, keys and weights have relevance.

A score of a query and a key belongs to two frames. It counts as its query's, which stands left in a product, and so do
the weights that a softmax makes of scores, and what they sum of the tokens of other frames.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import partial

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import LinearMap, MatrixProduct
from lrp3d.motion.frame_numbers import DEVICE, Frames, agreed
from lrp3d.motion.frames_over_axes import laid_out
from lrp3d.motion.refusals import unknown
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.softmax import SoftmaxStep


def over_softmax(step: SoftmaxStep, x: Frames) -> Frames:
    """Of a softmax over values of one frame, or over what nothing tells the frames of."""
    x = x.with_axes(len(step.shape))
    if x.varies(step.dim):
        raise unknown(step)
    return x


def over_products(step: LinearStep, operands: Sequence[Frames]) -> Frames:
    """Of a product of two signals: where one sums over frames, its result belongs to those of the other."""
    of_operands, of_output = _letters(step)
    left, right = (frames.with_axes(len(letters)) for frames, letters in zip(operands, of_operands, strict=True))
    summed = [
        frames.varies(*(axis for axis, letter in enumerate(letters) if letter not in of_output))
        for frames, letters in zip((left, right), of_operands, strict=True)
    ]
    if all(summed):
        raise unknown(step)
    known = [
        frames.each(partial(laid_out, letters=letters, output=of_output))
        for frames, letters, sums in zip((left, right), of_operands, summed, strict=True)
        if frames.length and not sums
    ]
    if not known:
        several = step.name if any(summed) else ""
        return Frames.none(len(step.shape), DEVICE)._replace(unplaced=several)
    slots = agreed([frames.slot for frames in known])
    return known[0] if slots is None else known[0]._replace(slot=slots)


def _letters(step: LinearStep) -> tuple[tuple[str, str], str]:
    """A letter for each axis of the left operand, of the right one, and of the output."""
    map: LinearMap = step.operands[0].map
    if isinstance(map, Einsum):
        first, second, of_output = map.letters
        return (first, second), of_output
    assert isinstance(map, MatrixProduct)
    left, right = (operand.shape for operand in step.operands)
    batch = string.ascii_uppercase[: len(step.shape) - 2]
    own = [batch[len(batch) - (len(shape) - 2) :] for shape in (left, right)]
    return (own[0] + "qd", own[1] + "dk"), batch + "qk"
