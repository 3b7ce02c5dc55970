"""Which frame each value of a network belongs to, followed from the clip up through views, shifts and tokens.

Frames may be any axis over which windows of convolutions and pools move. Between these, values may become tokens,
frames folded into the batch, or time steps of a sequence, and channels may be moved along time. So numbers of frames go
with the values.

`FramesOfValues._after` has one case for each kind of step, and refuses a step of which it does not know what it does to
frames. A new kind of step that `motion=True` should take gets its case there.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple, cast

import einops
import torch
from torch import Tensor, nn

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
from lrp3d.errors import NoMotion
from lrp3d.layout import Layout
from lrp3d.motion.frame_mixing import TIME, Positional, first_position, keep, mix, windows_of
from lrp3d.motion.frame_numbers import NONE, Frames, agreed, alike_before, along, compressed, differ, greatest
from lrp3d.motion.moved import kind, moved
from lrp3d.steps.graph import Edge, Node, downwards, edges_below, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum, WindowMaximum
from lrp3d.steps.step import ClipInput, ConstantOutput, Elementwise, RecurrentOutput, Step
from lrp3d.steps.torch_nodes import axis_of, keeps_frames
from lrp3d.steps.writes import Written
from lrp3d.twin.trace import Trace

DIGITS = 4096  # means of places that differ by less are the same


class Reading(NamedTuple):
    """An operand of which single outputs see values of several frames."""

    frames: Frames
    seen: Tensor
    """(*operand, frames), broadcasting: the frames seen by the outputs that see a value."""


class Windowed(NamedTuple):
    """An operation whose windows have several frames."""

    axis: int
    """The axis of frames, of its input and of its output."""
    of_inputs: Tensor
    """The clip (rows, channels) of its input, broadcasting."""
    of_outputs: Tensor
    """The clip (rows, channels) of its output, broadcasting."""


class Sequenced(NamedTuple):
    """What a recurrent layer reads in one time step."""

    frame: Tensor
    """The frame of every value, broadcasting."""
    clip: Tensor
    """The clip of every value, broadcasting."""


class FramesOfValues:
    """The frames of all tensors of one recorded run, and which operations mix them.

    Args:
        record: the run on clips.
        layout: the layout of the clips.

    Raises:
        NoMotion: frames cannot be followed through an operation.
    """

    def __init__(self, record: Trace, layout: str):
        self.windowed: dict[Step, Windowed] = {}
        """Operations whose windows move along frames and have several of them."""
        self.readings: dict[Step, dict[int, Reading]] = {}
        """Operations that find values of several frames side by side, by the number of the operand."""
        self.sequences: dict[Step, Sequenced] = {}
        """The operations by which recurrent layers read their sequences frame by frame."""
        self._frames: dict[Node, Frames] = {}
        self._batch = len(record.output)
        # Numbers are small, and asking for them on a GPU would make it wait.
        self._device = torch.device("cpu")
        self._layout = Layout(layout)
        ends = (ClipInput, ConstantOutput)
        reached = downwards([record.output.grad_fn], lambda node: isinstance(step_of(node), ends))
        nodes = {step: node for node in reached if (step := step_of(node)) is not None}
        for step in record.tracer.steps:
            if step in nodes and not isinstance(step, Written):
                node = nodes[step]
                self._frames[node] = self._after(step, node)._replace(origin=node)

    # ------------------------------------------------------------- between steps, where values are only moved

    def _incoming(self, edge: Edge) -> Frames:
        node = edge[0]
        if node in self._frames:
            return self._frames[node]
        if node.name().startswith("Cat") and all(below in self._frames for below, _ in edges_below(node)):
            parts, axis = [self._frames[below] for below, _ in edges_below(node)], axis_of(node)
            alike = all(part.equals(parts[0]) for part in parts)
            if alike and all(numbers.shape[axis] == 1 for numbers in parts[0].numbers):
                return parts[0]._replace(origin=None)
        return self._moved(edge)

    def _moved(self, edge: Edge) -> Frames:
        """The frames of values that were only moved since their frames were known."""
        shape, sources = kind(edge)[0], self._sources(edge[0])
        by_node = {node: frames for node in sources if (frames := self._frames[node]).length}
        unplaced = _unplaced([self._frames[node] for node in sources])
        nothing = dict.fromkeys(sources, torch.zeros((), dtype=torch.long, device=self._device))
        if _numbered_apart([*by_node.values()]):  # constants, such as a class token, have no number
            by_node = {
                node: frames
                for node, frames in by_node.items()
                if bool(moved(edge, nothing | {node: (frames.frame != NONE).long()}).any())
            }
        if not by_node:
            return Frames.none(len(shape), self._device)._replace(unplaced=unplaced)
        by_node = dict(zip(by_node, _of_one_length([*by_node.values()]), strict=True))
        if _numbered_apart([*by_node.values()]):
            if self._joined_lengths(edge[0]):
                return self._incoming(edge)
            raise NoMotion(f"motion= does not know which frames {self._mover(edge[0])} brings together")
        first = next(iter(by_node.values()))
        numbers = {
            node: torch.where(frames.frame == NONE, 0, frames.place * first.length + frames.frame + 1)
            for node, frames in by_node.items()
        }
        number = moved(edge, nothing | numbers).to(self._device) - 1
        frame = compressed(torch.where(number < 0, NONE, number % first.length))
        place = compressed(torch.where(number < 0, NONE, number // first.length))
        origin = sources[0] if len(sources) == 1 else None
        found = Frames(frame, place, frame, first.length, first.places, origin, unplaced)
        return found if bool((number >= 0).all()) and found.in_order else found._replace(slot=self._slot(edge, frame))

    def _joined_lengths(self, node: Node) -> bool:
        """Finds the frames of concatenations of sequences of different lengths; whether there were any."""
        between = [below for below in downwards([node], self._frames.__contains__) if below not in self._frames]
        found = False
        for cat in reversed([below for below in between if below.name().startswith("Cat")]):
            parts, axis = [self._incoming(edge) for edge in edges_below(cat) if edge[0] is not None], axis_of(cat)
            if len(parts) < len(edges_below(cat)) or any(not part.length or part.varies(axis) for part in parts):
                continue
            lengths, parts = {part.length for part in parts}, [*_of_one_length(parts)]
            if len(lengths) > 1 and not _numbered_apart(parts):
                shapes = [kind(edge)[0] for edge in edges_below(cat)]
                self._frames[cat] = _joined(parts, shapes, axis)
                found = True
        return found

    def _slot(self, edge: Edge, frame: Tensor) -> Tensor:
        """The frames of the nearest tensor below that has the same shape, and its frames in order.

        They are not in order, or not complete, in a tensor whose channels are moved along time or were written into
        zeros. Behind that, an operation makes of each slot the values of its frame.
        """
        shape = kind(edge)[0]
        for node in downwards([edge[0]], self._frames.__contains__):
            if kind((node, 0))[0] == shape and (node, 0) != edge:
                below = self._frames[node] if node in self._frames else self._moved((node, 0))
                if below.length and below._replace(frame=below.slot).in_order:
                    return below.slot
        return frame

    def _sources(self, node: Node) -> list[Node]:
        """The nearest nodes below whose frames are known."""
        return [below for below in downwards([node], self._frames.__contains__) if below in self._frames]

    def _mover(self, node: Node) -> str:
        """What moves values, for a message."""
        nodes = [below for below in downwards([node], self._frames.__contains__) if below not in self._frames]
        name: str = next((below for below in nodes if not keeps_frames(below)), nodes[0]).name()
        return name.removesuffix("0")

    # ------------------------------------------------------------------------------------------------- steps

    def _after(self, step: Step, node: Any) -> Frames:
        if isinstance(step, ClipInput):
            return self._of_clip(step)
        if isinstance(step, ConstantOutput):
            return Frames.none(len(step.shape), self._device)
        edges = [edge for edge in edges_below(node) if edge[0] is not None]
        if isinstance(step.layer, nn.RNNBase) or isinstance(step, RecurrentOutput):
            return self._in_sequence(step, edges)
        incoming = self._placed(step, edges)
        if isinstance(step, Elementwise):
            return self._together(step, incoming)
        if isinstance(step, WindowMaximum):
            return self._by_position(step, incoming[0])
        if isinstance(step, AxisMaximum):
            return self._of_maximum(step, incoming[0])
        if isinstance(step, LinearStep):
            # The operands are gone where relevance passes unchanged.
            maps = [operand.map for operand in step.operands]
            if all(isinstance(map, (Broadcast, Scale)) for map in maps):
                return self._together(step, incoming)
            if len(maps) == 1:
                return self._of_layer(step, incoming[0])
        raise _unknown(step)

    def _placed(self, step: Step, edges: Sequence[Edge]) -> list[Frames]:
        """The frames of what arrives, all of which are known if the step brings values together."""
        incoming = [self._incoming(edge) for edge in edges]
        if (attention := _unplaced(incoming)) and (isinstance(step, RecurrentOutput) or not _takes_unplaced(step)):
            why = f"'{attention}' sums tokens of several frames, and its results, which are not as many, were"
            raise _unseen(step, step.shape, f"{why} added to nothing that says to which frames they belong")
        return incoming

    def _of_clip(self, step: Step) -> Frames:
        sizes = self._layout.sizes(torch.empty(step.shape, device="meta"), self._batch)
        b, t, h, w = (sizes[letter] for letter in "bthw")
        numbers = (
            torch.arange(t, device=self._device).reshape(t, 1, 1),
            torch.arange(b * h * w, device=self._device).reshape(b, 1, 1, h, w),
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
        unplaced = "" if any(operands[i].unplaced == "" for i in numbered) else _unplaced(operands)
        if len(numbered) < 2:
            return operands[numbered[0] if numbered else 0]._replace(unplaced=unplaced)
        for i, frames in zip(numbered, _of_one_length([operands[i] for i in numbered]), strict=True):
            operands[i] = frames
        with_frames = [operands[i] for i in numbered]
        if len(lengths := sorted({frames.length for frames in with_frames})) > 1:
            sequences = " and ".join(map(str, lengths))
            raise _unmatched(step, f"sequences of {sequences} frames do not stand beside one another")
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
                    raise _unmatched(step, "nothing says to which of them its result belongs")
                length = known[0].length
            frame = slot
        largest = max(with_frames, key=lambda frames: frames.place.numel())
        place = largest.place if place is None or any(x.places != largest.places for x in with_frames) else place
        return Frames(frame, place, frame if slot is None else slot, length, largest.places, unplaced=unplaced)

    def _meet(self, step: Step, operands: Sequence[Frames]) -> None:
        """Notes a sum of values of different frames."""
        if not isinstance(step, LinearStep) or any(operand.shape != step.shape for operand in step.operands):
            raise _unknown(step)
        seen = reduce(torch.logical_or, [frames.hot() for frames in operands if frames.length])
        self.readings[step] = {i: Reading(x, seen) for i, x in enumerate(operands) if x.length}

    def _of_layer(self, step: LinearStep, x: Frames) -> Frames:
        map, shape = step.operands[0].map, step.operands[0].shape
        x = x.with_axes(len(shape))
        if isinstance(map, FullyConnected):
            return self._along(step, x, len(shape) - 1)
        if isinstance(map, Convolution):
            return self._by_position(step, x)
        if isinstance(map, MatrixProduct):
            batch = string.ascii_uppercase[: len(step.shape) - 2]
            pair = ("dk", "dq") if map.left else ("kd", "qd")
            return self._of_tokens(step, x.with_axes(len(step.shape)), *(batch + letters for letters in pair))
        if isinstance(map, Einsum):
            of_input, _, of_output = map.letters
            return self._of_tokens(step, x, of_input, of_output)
        if isinstance(map, (SumOver, Average, AxisMatrices)):
            return self._of_average(step, x, lambda values: map(values.expand(shape), step.operands[0].w.value))
        if len(shape) == len(step.shape) == 5 and not x.varies(0, 1):
            return self._by_position(step, x)
        raise _unknown(step)

    def _of_tokens(self, step: LinearStep, x: Frames, of_input: str, of_output: str) -> Frames:
        """Of a product of matrices, such as attention; each token that is summed stands for a token of the output.

        Where queries are not as many as keys, as behind pools of keys, nothing here says to which frames they belong.

        Args:
            step: the product.
            x: the frames of its input.
            of_input: a letter for each axis of the input.
            of_output: a letter for each axis of the output; letters that are not in it are summed.
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
            self._along(step, x, axis, keeps=True)
            if queries == [tokens]:
                of_input = of_input.replace(letter, new[0])
            elif mixed:
                several = any(size > 1 for size in queries)
                return Frames.none(len(step.shape), self._device)._replace(unplaced=step.name if several else "")
        return x.each(lambda label: _laid_out(label, of_input, of_output))

    def _along(self, step: LinearStep, x: Frames, axis: int, groups: int = 1, keeps: bool = False) -> Frames:
        """Of a layer whose outputs see all values along an axis, or along a group of it."""
        if x.varies(axis):
            by_group = x.hot().unflatten(axis, (groups, -1))
            seen = by_group.any(axis + 1, keepdim=True)
            if bool((seen.sum(-1) > 1).any()):
                self.readings[step] = {0: Reading(x, seen.expand_as(by_group).flatten(axis, axis + 1))}
                if not keeps and differ(x.slot, axis):
                    raise _unseen(step, step.operands[0].shape)
                x = x._replace(frame=x.slot)
        if keeps:
            return x

        def outputs(label: Tensor) -> Tensor:
            found = greatest(label, axis, groups)
            repeats = step.shape[axis] // found.shape[axis] if found.shape[axis] > 1 else 1
            return found.repeat_interleave(repeats, axis)

        return x.each(outputs)

    def _by_position(self, step: Positional, x: Frames) -> Frames:
        """Of an operation whose windows move over positions: its shape says what is where."""
        x = x.with_axes(len(step.shape))
        if not x.length:
            return x
        if _is_pointwise(step) and not _is_sequence(step, x):  # every value stays where it is, such as tokens do
            return self._over_channels(step, x)
        axis = self._axis_of_time(step, x)
        if axis is not None:
            return self._along_time(step, x, axis)
        return _with_places(step, self._over_channels(step, x))

    def _over_channels(self, step: Positional, x: Frames) -> Frames:
        """What a convolution does to frames by mixing channels; pools keep them apart."""
        if not isinstance(step, LinearStep) or not isinstance(map := step.operands[0].map, Convolution):
            return x
        return self._along(step, x, 1, map.geometry.groups)

    def _along_time(self, step: Positional, x: Frames, axis: int) -> Frames:
        """The same where frames are one of the axes over which windows move."""
        windows = windows_of(step, axis)
        stays = keep(windows)
        if _channels_differ(step, x) and not stays:
            raise _unseen(step, step.shape)
        clip, x = _of_channels(x.clip), self._over_channels(step, x)
        if mix(windows):
            self.windowed[step] = Windowed(axis, clip, _of_channels(x.clip))
        x, position = _with_places(step, x, axis), along(axis, step.shape, self._device)
        if _channels_differ(step, x):  # those that this operation does not mix keep their frames
            if x.length != step.shape[axis]:
                raise _unseen(step, step.shape)
            return x._replace(slot=position)
        if stays and x.varies(axis):
            return x
        return x._replace(frame=position, slot=position, length=step.shape[axis])  # time begins anew

    def _axis_of_time(self, step: Positional, x: Frames) -> int | None:
        """The axis of frames among those over which windows move; None where frames are folded into another axis."""
        axes = _axes_of_frames(step, x)
        if not axes:
            return TIME if len(step.shape) == 5 and not x.varies(0, 1) else None
        if len(axes) > 1 or x.varies(0):
            raise _unseen(step, step.shape, "frames differ along several axes")
        if differ(x.place, axes[0]):
            raise _unseen(step, step.shape, f"frames along axis {axes[0]} do not follow one another at one place")
        return axes[0]

    def _of_maximum(self, step: AxisMaximum, x: Frames) -> Frames:
        x = x.with_axes(len(step.input_shape))
        if x.varies(*step.axes):
            raise _unknown(step)
        return x.each(lambda label: label.amax(step.axes, keepdim=len(step.shape) == len(step.input_shape)))

    def _of_average(self, step: LinearStep, x: Frames, over: Callable[[Tensor], Tensor]) -> Frames:
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
        if not isinstance(step.operands[0].map, SumOver) and any(step.shape[i] > 1 for i in _axes_of_frames(step, x)):
            return self._by_position(step, x)
        if not all(_equal(values, values.flatten()[:1].expand_as(values)) for values in (total, squares)):
            raise _unknown(step)
        return Frames.none(len(step.shape), self._device)

    def _in_sequence(self, step: Step, edges: Sequence[Edge]) -> Frames:
        """Of the steps into which a recurrent layer is unrolled, which as a whole mix the frames of its sequence."""
        if isinstance(step, RecurrentOutput):
            (sequence,) = self._placed(step, edges[1:])
            if sequence.varies(-1):
                raise _unknown(step)
            return sequence
        if isinstance(step, LinearStep) and [type(operand.map) for operand in step.operands] == [FullyConnected]:
            below = [cast(Step, step_of(node)) for node in self._sources(edges[0][0])]
            if not any(source.layer is step.layer and not isinstance(source, RecurrentOutput) for source in below):
                x = self._incoming(edges[0])
                self.sequences[step] = Sequenced(x.frame, x.clip)
        return Frames.none(len(step.shape), self._device)


def _unplaced(operands: Sequence[Frames]) -> str:
    """The name of the first attention of whose queries nothing has said to which frames they belong."""
    return next((frames.unplaced for frames in operands if frames.unplaced), "")


def _takes_unplaced(step: Step) -> bool:
    """Whether a step brings no two values together but those of one token."""
    if isinstance(step, LinearStep):
        return all(isinstance(operand.map, (Broadcast, Scale, FullyConnected)) for operand in step.operands)
    return isinstance(step, Elementwise)


def _numbered_apart(operands: Sequence[Frames]) -> bool:
    """Whether numbers of frames and places of several operands mean different things."""
    return len({(frames.length, frames.places) for frames in operands}) > 1


def _of_one_length(operands: Sequence[Frames]) -> Sequence[Frames]:
    """Sequences of different lengths are numbered by where they stand, so that what is beside it belongs to a frame."""
    if len({frames.length for frames in operands}) == 1:
        return operands
    return [frames.anew() or frames for frames in operands]


def _joined(parts: Sequence[Frames], shapes: Sequence[torch.Size], axis: int) -> Frames:
    """Of tensors of some shapes that are concatenated."""
    frame, place, slot = (
        compressed(torch.cat([x.expand(shape) for x, shape in zip(numbers, shapes, strict=True)], axis))
        for numbers in zip(*(part.numbers for part in parts), strict=True)
    )
    return Frames(frame, place, slot, parts[0].length, parts[0].places, unplaced=_unplaced(parts))


def _axes_of_frames(step: Positional, x: Frames) -> list[int]:
    """The axes along which frames differ, among those over which windows move."""
    return [axis for axis in range(first_position(step), len(step.shape)) if x.varies(axis)]


def _is_sequence(step: Positional, x: Frames) -> bool:
    """Whether frames differ along one axis at most, and places do not differ along it."""
    axes = _axes_of_frames(step, x)
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


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-10, atol=1e-9)


def _laid_out(label: Tensor, letters: str, output: str) -> Tensor:
    """Numbers with an axis for each letter, laid out as the output: without letters that it has not, 1 for new ones."""
    gone = [axis for axis, letter in enumerate(letters) if letter not in output]
    kept = [letter for letter in letters if letter in output]
    label = label.amax(gone) if gone else label
    label = label.permute([kept.index(letter) for letter in output if letter in kept])
    for axis, letter in enumerate(output):
        label = label if letter in kept else label.unsqueeze(axis)
    return label


def _unknown(step: Step) -> NoMotion:
    return NoMotion(f"motion= does not know what '{step.name}' ({step.operation}) does to frames")


def _unmatched(step: Step, why: str) -> NoMotion:
    return NoMotion(f"motion= does not know which frames '{step.name}' ({step.operation}) brings together: {why}")


def _unseen(step: Step, shape: torch.Size, why: str = "frames became channels, or channels frames") -> NoMotion:
    return NoMotion(
        f"motion= does not know which frames '{step.name}' ({step.operation}) sees: at {tuple(shape)}, {why}"
    )
