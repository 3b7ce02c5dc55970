"""What products of two signals do to frames, as in attention whose queries, keys and weights have relevance.

A score of a query and a key belongs to two frames. It counts as its query's, which stands left in a product, and so do
the weights that a softmax makes of scores, and what they sum of the tokens of other frames.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import partial

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import MatrixProduct
from lrp3d.motion.frame_numbers import DEVICE, Frames
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
    left, right, of_output = letters_of(step)
    known = []
    for frames, letters in zip(operands, (left, right), strict=True):
        own = frames.with_axes(len(letters))
        sums = own.varies(*(axis for axis, letter in enumerate(letters) if letter not in of_output))
        if frames.length and not sums:
            known.append(own.each(partial(laid_out, letters=letters, output=of_output)))
    if not known and any(frames.length for frames in operands):
        raise unknown(step)
    return known[0] if known else Frames.none(len(step.shape), DEVICE)


def letters_of(step: LinearStep) -> tuple[str, str, str]:
    """A letter for each axis of the left operand of a product of two signals, of the right one, and of the output."""
    map = step.operands[0].map
    if isinstance(map, Einsum):
        return map.letters
    batch = string.ascii_uppercase[: len(step.shape) - 2]
    return batch + "qd", batch + "dk", batch + "qk"


def letters_of_one(step: LinearStep) -> tuple[str, str] | None:
    """A letter for each axis of the only operand of a product, and of the output; None for any other operation."""
    map = step.operands[0].map
    if isinstance(map, Einsum):
        of_input, _, of_output = map.letters
        return of_input, of_output
    if isinstance(map, MatrixProduct):
        batch = string.ascii_uppercase[: len(step.shape) - 2]
        return (batch + "dk", batch + "dq") if map.left else (batch + "kd", batch + "qd")
    return None
