"""Which frame each value of a network belongs to, followed from the clip up through views, shifts and tokens.

Frames may be any axis over which windows of convolutions and pools move. Between these, values may become tokens,
frames folded into the batch, or time steps of a sequence, and channels may be moved along time. So numbers of frames go
with the values.

`FramesOfValues._after` has one case for each kind of step, and refuses a step of which it does not know what it does to
frames. A new kind of step that `motion=True` and `rows_at=` should take gets its case there. Between steps, values are
only moved (`moved_frames`). The steps that mix frames are noted (`mixing_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, cast

import einops
import torch
from torch import nn

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import (
    Average,
    AxisMatrices,
    Broadcast,
    Convolution,
    FullyConnected,
    MatrixProduct,
    Scale,
    SumOver,
)
from lrp3d.layout import Layout
from lrp3d.motion.frame_numbers import DEVICE, Frames, agreed, compressed, name_of_unplaced, of_one_length
from lrp3d.motion.frames_over_axes import over_averages, over_maxima, over_tokens
from lrp3d.motion.frames_over_products import letters_of_one, over_products, over_softmax
from lrp3d.motion.frames_over_windows import by_position
from lrp3d.motion.mixing_steps import MixingSteps, Reading, Sequenced
from lrp3d.motion.moved_frames import MovedFrames
from lrp3d.motion.refusals import FramesLost, summed_products, unknown, unmatched, unseen
from lrp3d.steps.elementwise import Elementwise, RecurrentOutput
from lrp3d.steps.ends import ClipInput, ConstantOutput
from lrp3d.steps.graph import Edge, Node, downwards, edges_below, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum
from lrp3d.steps.softmax import SoftmaxStep
from lrp3d.steps.step import Step
from lrp3d.steps.window_maxima import WindowMaximum
from lrp3d.steps.writes import Written
from lrp3d.twin.trace import Trace


class FramesOfValues:
    """The frames of all tensors of one recorded run, and which operations mix them.

    Args:
        record: the run on clips.
        layout: the layout of the clips.
        top: the node up to which frames are followed; None for the logits.
        as_far_as_possible: whether to end, without an error, where they cannot be followed.
        through_products: whether to follow frames through products of two signals and their softmax, of which nobody
            says how they mix frames: who wants to know which frames are mixed cannot.

    Raises:
        FramesLost: frames cannot be followed through an operation.
    """

    def __init__(
        self,
        record: Trace,
        layout: str,
        top: Node | None = None,
        as_far_as_possible: bool = False,
        through_products: bool = False,
    ):
        self.mixing: MixingSteps = MixingSteps()
        """The operations that mix frames."""
        self._moved = MovedFrames()
        self._through_products = through_products
        self._batch = len(record.output)
        self._layout = Layout(layout)
        ends = (ClipInput, ConstantOutput)
        reached = downwards([top or record.output.grad_fn], lambda node: isinstance(step_of(node), ends))
        nodes = {step: node for node in reached if (step := step_of(node)) is not None}
        for step in record.tracer.steps:
            if step in nodes and not isinstance(step, Written):
                node = nodes[step]
                try:
                    self._moved.known[node] = self._after(step, node)._replace(origin=node)
                except FramesLost:
                    if as_far_as_possible:
                        return
                    raise

    def knows(self, node: Node) -> bool:
        """Whether frames were followed up to the output of a node."""
        return node in self._moved.known

    def of(self, node: Node) -> Frames:
        """The frames of the output of a node up to which they were followed."""
        return self._moved.incoming((node, 0))

    # ------------------------------------------------------------------------------------------------- steps

    def _after(self, step: Step, node: Any) -> Frames:
        if isinstance(step, ClipInput):
            return self._of_clip(step)
        if isinstance(step, ConstantOutput):
            return Frames.none(len(step.shape), DEVICE)
        edges = [edge for edge in edges_below(node) if edge[0] is not None]
        if isinstance(step.layer, nn.RNNBase) or isinstance(step, RecurrentOutput):
            return self._in_sequence(step, edges)
        incoming = self._placed(step, edges)
        if isinstance(step, Elementwise):
            return self._together(step, incoming)
        if isinstance(step, WindowMaximum):
            return by_position(step, incoming[0], self.mixing)
        if isinstance(step, AxisMaximum):
            return over_maxima(step, incoming[0])
        if isinstance(step, SoftmaxStep) and self._through_products:
            return over_softmax(step, incoming[0])
        if isinstance(step, LinearStep):
            return self._of_linear(step, incoming)
        raise unknown(step)

    def _of_linear(self, step: LinearStep, incoming: Sequence[Frames]) -> Frames:
        # The operands are gone where relevance passes unchanged.
        maps = [operand.map for operand in step.operands]
        if all(isinstance(map, (Broadcast, Scale)) for map in maps):
            return self._together(step, incoming)
        if len(maps) == 1:
            return self._of_layer(step, incoming[0])
        if self._through_products and all(isinstance(map, (MatrixProduct, Einsum)) for map in maps):
            return over_products(step, incoming)
        raise unknown(step)

    def _placed(self, step: Step, edges: Sequence[Edge]) -> list[Frames]:
        """The frames of what arrives, all of which are known if the step brings values together."""
        incoming = [self._moved.incoming(edge) for edge in edges]
        if (attention := name_of_unplaced(incoming)) and (
            isinstance(step, RecurrentOutput) or not _takes_unplaced(step)
        ):
            why = f"'{attention}' sums tokens of several frames, and its results, which are not as many, were"
            raise unseen(step, step.shape, f"{why} added to nothing that says to which frames they belong")
        return incoming

    def _of_clip(self, step: Step) -> Frames:
        sizes = self._layout.sizes(torch.empty(step.shape, device="meta"), self._batch)
        b, t, h, w = (sizes[letter] for letter in "bthw")
        numbers = (
            torch.arange(t, device=DEVICE).reshape(t, 1, 1),
            torch.arange(b * h * w, device=DEVICE).reshape(b, 1, 1, h, w),
        )
        frame, place = (
            compressed(
                einops.rearrange(x.expand(b, sizes["c"], t, h, w), f"b c t h w -> {self._layout.pattern}", **sizes)
            )
            for x in numbers
        )
        return Frames(frame, place, frame, t, h * w)

    def _together(self, step: Step, operands: Sequence[Frames]) -> Frames:
        """Of a sum, and of whatever else takes values one by one."""
        operands = [frames.with_axes(len(step.shape)) for frames in operands]
        numbered = [i for i, frames in enumerate(operands) if frames.length]
        # Queries are those tokens to which the output of their attention is added.
        unplaced = "" if any(operands[i].unplaced == "" for i in numbered) else name_of_unplaced(operands)
        if len(numbered) < 2:
            return operands[numbered[0] if numbered else 0]._replace(unplaced=unplaced)
        for i, frames in zip(numbered, of_one_length([operands[i] for i in numbered]), strict=True):
            operands[i] = frames
        with_frames = [operands[i] for i in numbered]
        if len(lengths := sorted({frames.length for frames in with_frames})) > 1:
            sequences = " and ".join(map(str, lengths))
            raise unmatched(step, f"sequences of {sequences} frames do not stand beside one another")
        frame, place, slot = (
            agreed(numbers) for numbers in zip(*(frames.numbers for frames in with_frames), strict=True)
        )
        length = with_frames[0].length
        if frame is None:
            self._meet(step, operands)
            if slot is None:  # such as differences of frames: time begins anew
                anew = [frames.anew() for frames in with_frames if frames.axes_of_time()]
                known = [frames for frames in anew if frames is not None]
                slot = agreed([frames.slot for frames in known]) if known and len(known) == len(anew) else None
                if slot is None:
                    raise unmatched(step, "nothing says to which of them its result belongs")
                length = known[0].length
            frame = slot
        largest = max(with_frames, key=lambda frames: frames.place.numel())
        place = largest.place if place is None or any(x.places != largest.places for x in with_frames) else place
        return Frames(frame, place, frame if slot is None else slot, length, largest.places, unplaced=unplaced)

    def _meet(self, step: Step, operands: Sequence[Frames]) -> None:
        """Notes a sum of values of different frames."""
        if not isinstance(step, LinearStep) or any(operand.shape != step.shape for operand in step.operands):
            raise unknown(step)
        seen = reduce(torch.logical_or, [frames.hot() for frames in operands if frames.length])
        self.mixing.readings[step] = {i: Reading(x, seen) for i, x in enumerate(operands) if x.length}

    def _of_layer(self, step: LinearStep, x: Frames) -> Frames:
        map, shape = step.operands[0].map, step.operands[0].shape
        x = x.with_axes(len(shape))
        if isinstance(map, FullyConnected):
            return self.mixing.along(step, x, len(shape) - 1)
        if isinstance(map, Convolution):
            return by_position(step, x, self.mixing)
        if (letters := letters_of_one(step)) is not None:
            return over_tokens(step, x.with_axes(len(letters[0])), *letters, self.mixing)
        if step.of_products and isinstance(map, SumOver) and x.varies(*(axis % len(shape) for axis in map.axes)):
            raise summed_products(step)
        if isinstance(map, (SumOver, Average, AxisMatrices)):
            return over_averages(
                step, x, lambda values: map(values.expand(shape), step.operands[0].w.value), self.mixing
            )
        if len(shape) == len(step.shape) == 5 and not x.varies(0, 1):
            return by_position(step, x, self.mixing)
        raise unknown(step)

    def _in_sequence(self, step: Step, edges: Sequence[Edge]) -> Frames:
        """Of the steps into which a recurrent layer is unrolled, which as a whole mix the frames of its sequence."""
        if isinstance(step, RecurrentOutput):
            (sequence,) = self._placed(step, edges[1:])
            if sequence.varies(-1):
                raise unknown(step)
            return sequence
        if isinstance(step, LinearStep) and [type(operand.map) for operand in step.operands] == [FullyConnected]:
            below = [cast(Step, step_of(node)) for node in self._moved.sources(edges[0][0])]
            if not any(source.layer is step.layer and not isinstance(source, RecurrentOutput) for source in below):
                x = self._moved.incoming(edges[0])
                self.mixing.sequences[step] = Sequenced(x.frame, x.clip)
        return Frames.none(len(step.shape), DEVICE)


def _takes_unplaced(step: Step) -> bool:
    """Whether a step brings no two values together but those of one token."""
    if isinstance(step, LinearStep):
        return all(isinstance(operand.map, (Broadcast, Scale, FullyConnected)) for operand in step.operands)
    return isinstance(step, Elementwise)
