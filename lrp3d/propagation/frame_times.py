"""When each value of a network lies in time: followed from the clip, or its first layers, whatever moved frames since.

The shape of a layer says which of its axes is time, and `time_axis` takes what lies there for one frame after another.
A forward may have turned frames round, cut them into segments, folded these into the batch, or stacked several views.
So times go with the values: each has the time of the middle of the window that it was made of.

Only their order counts. Where times are in the order of the axis, as they are almost everywhere, nothing comes of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

import einops
import torch
from torch import Tensor

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Average, Broadcast, Convolution, FullyConnected, MatrixProduct, Scale, SumOver
from lrp3d.motion.frames_over_axes import laid_out
from lrp3d.motion.frames_over_products import letters_of, letters_of_one
from lrp3d.motion.moved import moved, moved_without_waiting
from lrp3d.steps.elementwise import Elementwise, RecurrentOutput
from lrp3d.steps.ends import ClipInput, ConstantOutput
from lrp3d.steps.graph import Edge, Node, downwards, edges_below, is_opaque, step_of, upwards
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum
from lrp3d.steps.softmax import SoftmaxStep
from lrp3d.steps.step import Step
from lrp3d.steps.window_maxima import WindowMaximum
from lrp3d.steps.writes import Written

UNKNOWN = float("nan")


class FrameTimes:
    """The times of the tensors of one recorded run, of which 0 is its first frame and 1 the last.

    Args:
        batch: the number of clips.
        first: layers from which times are followed, instead of from the clip: time is what lies along the axis that is
            time by their shape.
        orders: for those whose batch (t b) does not have the frames of a clip together, the order in which it would.
        may_wait: whether a device may be waited for where frames are moved by an index that is on it; nobody knows
            their times otherwise.
    """

    def __init__(
        self, batch: int, first: Collection[Step], orders: Mapping[Step, Tensor], may_wait: bool = True
    ) -> None:
        self._batch = batch
        self._may_wait = may_wait
        self._first = first
        self._orders = orders
        self._found: dict[Node, Tensor | None] = {}

    def of(self, node: Node) -> Tensor | None:
        """The times of what a step made, broadcasting to it; NaN where nobody knows, None if nowhere."""
        for below in upwards(node, self._needed):
            if below not in self._found:
                times = self._after(below)
                self._found[below] = None if times is None or bool(times.isnan().all()) else times
        return self._found[node]

    def _needed(self, node: Node) -> list[Node]:
        step = step_of(node)
        if node in self._found or step in self._first or isinstance(step, ClipInput | ConstantOutput):
            return []
        return [source for edge in _inputs(node) for source in _sources(edge[0])]

    def _after(self, node: Node) -> Tensor | None:
        step = step_of(node)
        if step is None:  # a function of which nobody knows what it does
            return None
        if isinstance(step, ClipInput):
            return self._of_clip(step)
        if step in self._first:
            return self._of_first_layer(step)
        if isinstance(step, ConstantOutput):
            return None
        inputs = [self._incoming(edge) for edge in _inputs(node)]
        known = [times for times in inputs if times is not None]
        if not known:
            return None
        if isinstance(step, RecurrentOutput):
            return _middle(known[0], -1)
        if _takes_values_one_by_one(step):
            return _together(known, step.shape)
        if len(inputs) > 1:
            return _of_products(step, inputs)
        return _of_one(step, known[0])

    def _of_clip(self, step: ClipInput) -> Tensor | None:
        if step.layout is None or not step.layout.has_time:
            return None
        sizes = step.layout.sizes(torch.empty(step.shape, device="meta"), self._batch)
        beside = next(group for group in step.layout.groups if "t" in group)
        sizes = {letter: size if letter in beside else 1 for letter, size in sizes.items()}
        times = evenly(sizes.pop("t"))
        return einops.repeat(times, f"t -> {step.layout.pattern}", **sizes)

    def _of_first_layer(self, step: Step) -> Tensor | None:
        """Time as the layer's shape has it; what the forward did to the clip before, `frame_order` finds."""
        axes, length = len(step.shape), step.shape[0]
        if axes != 4:
            return evenly(step.shape[2]).reshape([-1 if axis == 2 else 1 for axis in range(axes)])
        if length % self._batch:
            return None
        times = evenly(length // self._batch).repeat(self._batch)
        if (order := self._orders.get(step)) is not None:
            times = torch.empty_like(times).index_copy_(0, order.cpu(), times)
        return times.reshape(-1, 1, 1, 1)

    def _incoming(self, edge: Edge) -> Tensor | None:
        """The times of the tensor of an edge, to which values are only moved from those that steps made."""
        if edge[0] in self._found:
            return self._found[edge[0]]
        by_source = {source: self._found[source] for source in _sources(edge[0])}
        known = {source: times for source, times in by_source.items() if times is not None}
        if not known:
            return None
        values = torch.cat([times.flatten() for times in known.values()]).unique()
        values = values[~values.isnan()]
        numbers = dict.fromkeys(by_source, torch.zeros((), dtype=torch.long, device="cpu"))
        for source, times in known.items():
            numbers[source] = torch.where(times.isnan(), 0, torch.searchsorted(values, times) + 1)
        table = torch.cat([values.new_full((1,), UNKNOWN), values])
        found = (moved if self._may_wait else moved_without_waiting)(edge, numbers)
        return None if found is None else compressed(table[found.cpu()])


def evenly(length: int) -> Tensor:
    """The times of frames that follow one another."""
    return (torch.arange(length, dtype=torch.float64, device="cpu") + 0.5) / max(length, 1)


def compressed(times: Tensor) -> Tensor:
    """The same times with size one at every axis along which they are the same."""
    for axis in range(times.dim()):
        first = times.narrow(axis, 0, 1) if times.shape[axis] > 1 else times
        if first is not times and torch.equal(first.expand_as(times).nan_to_num(-1), times.nan_to_num(-1)):
            times = first
    return times


def _inputs(node: Node) -> list[Edge]:
    """The edges to a step's inputs that descend from the clip; of a recurrent layer, to its sequence."""
    edges = [edge for edge in edges_below(node) if edge[0] is not None]
    return edges[1:] if isinstance(step_of(node), RecurrentOutput) else edges


def _sources(node: Node) -> list[Node]:
    """The nearest steps from which values are only moved to a node, or the node itself; a write moves them as well.

    So are functions of which nobody knows what they do, as nothing can be followed through these.
    """

    def made(node: Node) -> bool:
        step = step_of(node)
        return is_opaque(node) if step is None else not isinstance(step, Written)

    return [below for below in downwards([node], made) if made(below)]


# ---------------------------------------------------------------------------------------- what steps do to times


def _takes_values_one_by_one(step: Step) -> bool:
    # The operands are gone where relevance passes unchanged.
    maps = [operand.map for operand in step.operands] if isinstance(step, LinearStep) else []
    linear = isinstance(step, LinearStep) and all(isinstance(map, Broadcast | Scale) for map in maps)
    return linear or isinstance(step, Elementwise | SoftmaxStep)


def _together(parts: Sequence[Tensor], shape: torch.Size) -> Tensor | None:
    """Of a sum or a product: the time of those that are in order, if others are not, and the mean if several are.

    What a shift has wrapped around the ends of the clip is not, and says nothing of where its sum belongs; nor does
    what was written into some places of zeros, beside what has all of its frames.
    """
    parts = [times.reshape(*[1] * (len(shape) - times.dim()), *times.shape) for times in parts]
    if any(size not in (1, whole) for times in parts for size, whole in zip(times.shape, shape, strict=True)):
        return None
    parts = [times for times in parts if times.numel() > 1] or parts
    doubts = [(_descents(times), float(times.isnan().double().mean())) for times in parts]
    best = [times for times, doubt in zip(parts, doubts, strict=True) if doubt == min(doubts)]
    return best[0] if len(best) == 1 else compressed(torch.stack(torch.broadcast_tensors(*best)).nanmean(0))


def _descents(times: Tensor) -> int:
    """How often an earlier time follows a later one, in the order of the values."""
    known = times[~times.isnan()]
    return int((known[1:] < known[:-1]).sum())


def _of_one(step: Step, times: Tensor) -> Tensor | None:
    """Of a step with one input that brings values together."""
    if isinstance(step, WindowMaximum):
        return _over_windows(times, step.x.shape, step.shape, step.windows)
    if isinstance(step, AxisMaximum):
        return _over_axes(times, step.axes, len(step.shape) == len(step.input_shape))
    if not isinstance(step, LinearStep):
        return None
    map, shape = step.operands[0].map, step.operands[0].shape
    if (letters := letters_of_one(step)) is not None:
        return _over_tokens(times, step.shape, *letters)
    if isinstance(map, Convolution):
        return _over_windows(_middle(times, 1), shape, step.shape, map.geometry)
    if isinstance(map, FullyConnected):
        return _middle(times, -1)
    if isinstance(map, SumOver):
        return _over_axes(times, tuple(axis % len(shape) for axis in map.axes), map.keepdim)
    if len(shape) == len(step.shape) and not map.may_leave_out(shape):  # such as values added into zeros somewhere
        return _over_windows(times, shape, step.shape, map.windows if isinstance(map, Average) else None)
    return None


def _of_products(step: Step, inputs: Sequence[Tensor | None]) -> Tensor | None:
    """Of a product of two signals: the times of the one along whose time it does not sum."""
    maps = [operand.map for operand in step.operands] if isinstance(step, LinearStep) else []
    if len(maps) != 2 or not all(isinstance(map, MatrixProduct | Einsum) for map in maps):
        return None
    letters = letters_of(cast(LinearStep, step))
    for times, of_input in zip(inputs, letters, strict=False):
        if times is not None:
            times = times.reshape(*[1] * (len(of_input) - times.dim()), *times.shape)
            if all(size == 1 or letter in letters[2] for size, letter in zip(times.shape, of_input, strict=True)):
                return laid_out(times, of_input, letters[2])
    return None


def _over_tokens(times: Tensor, output: torch.Size, of_input: str, of_output: str) -> Tensor | None:
    """Of a weighted sum over tokens, each of which stands for a token of the output where these are as many."""
    new = [letter for letter in of_output if letter not in of_input]
    times = times.reshape(*[1] * (len(of_input) - times.dim()), *times.shape)
    for axis, letter in enumerate(of_input):
        if letter in of_output or times.shape[axis] == 1:
            continue
        if [output[of_output.index(i)] for i in new] != [times.shape[axis]]:
            return None
        of_input = of_input.replace(letter, new[0])
    return laid_out(times, of_input, of_output)


def _middle(times: Tensor, axis: int) -> Tensor:
    """The median along an axis; unlike a mean it does not go with the few channels that were shifted."""
    return times.nanmedian(axis, keepdim=True).values if times.shape[axis] > 1 else times


def _over_axes(times: Tensor, axes: Sequence[int], keepdim: bool) -> Tensor | None:
    """Of what is made of all values along axes, along which times must be the same."""
    if any(times.shape[axis] > 1 for axis in axes):
        return None
    return times if keepdim or not axes else times.squeeze(tuple(axes))


def _over_windows(times: Tensor, shape: torch.Size, output: torch.Size, windows: Geometry | None) -> Tensor | None:
    """Of what is made of windows over positions: the time in the middle of each."""
    for axis in (axis for axis, size in enumerate(times.shape) if size > 1):
        position = axis - (len(shape) - len(windows.kernel)) if windows is not None else axis
        if position < 0 or (windows is None and shape[axis] == output[axis]):
            if shape[axis] != output[axis]:
                return None
            continue
        if output[axis] == 1:  # made of all frames, or of nearly all
            return None
        outputs = torch.arange(output[axis], device="cpu")
        if windows is None or windows.transposed:
            middles = (2 * outputs + 1) * shape[axis] // (2 * output[axis])
        else:
            reach = windows.dilation[position] * (windows.kernel[position] - 1) // 2
            middles = outputs * windows.stride[position] - windows.padding[position] + reach
        times = _at(times, axis, middles)
    return times


def _at(times: Tensor, axis: int, positions: Tensor) -> Tensor:
    """The times at positions along an axis; beyond the values that are known they go on as between the last two."""
    known = ~times.isnan().movedim(axis, 0).flatten(1).all(1)
    first, last = int(known.nonzero()[0]), int(known.nonzero()[-1])
    found = times.index_select(axis, positions.clamp(first, last))
    shaped = [-1 if i == axis else 1 for i in range(times.dim())]
    for end, inside, beyond in ((first, first + 1, positions - first), (last, last - 1, last - positions)):
        if first < last and bool((beyond < 0).any()):
            step = times.narrow(axis, inside, 1) - times.narrow(axis, end, 1)
            found = found + step * beyond.clamp(max=0).reshape(shaped)
    return found
