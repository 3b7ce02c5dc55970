"""Motion against appearance: the part of relevance that frames carry by being different from one another.

At an operation that mixes frames, an input of an output's window is written as what it would be if the window stood
still, plus the rest. What goes through the first part is static, through the second dynamic, and what was dynamic stays
so on its way down. Both parts are linear in the relevance that arrives, so they add up to it (docs/method.md has the
formulas).

A network's zero padding makes frames differ at the ends of a clip that stands still. So the network is also run on the
clip's mean frame, repeated, and what differs there is not motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import torch
from torch import Tensor

from lrp3d.compute.bands import Band
from lrp3d.compute.maps import Average, AxisMatrices, Broadcast, Convolution, FullyConnected, LinearMap, Scale, SumOver
from lrp3d.errors import ModelError
from lrp3d.steps.graph import downwards, step_of
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import AxisMaximum, WindowMaximum
from lrp3d.steps.shares import Operand
from lrp3d.steps.step import ClipInput, Held, PassThrough, Step
from lrp3d.twin.twin import Trace

TIME = 2  # of (b, c, t, h, w)
KEEP_FRAMES = (
    "Permute",
    "Transpose",
    "View",
    "UnsafeView",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Expand",
    "Alias",
    "T",
    "Clone",
    "ToCopy",
    "ConstantPadNd",
    "AccumulateGrad",
)


class NoMotion(ModelError):
    """Relevance cannot be told apart into motion and appearance here; the message says where."""


@dataclass(frozen=True)
class _Mixing:
    """An operation that mixes frames, and the same one while the clip stands still."""

    step: Step
    still: Step


class Motion:
    """How steps split relevance, for one recorded run.

    Args:
        record: the run on the clips.
        still: the run on their mean frames.

    Raises:
        NoMotion: an operation moves or mixes frames in a way that is not known.
    """

    def __init__(self, record: Trace, still: Trace):
        if [type(step) for step in record.run.steps] != [type(step) for step in still.run.steps]:
            raise NoMotion("motion= needs a model that does to a still clip what it does to any, and this one does not")
        known = dict(zip(record.run.steps, still.run.steps, strict=True))
        self.mixing: dict[Step, _Mixing] = {}
        for node in downwards([record.output.grad_fn], lambda node: isinstance(step_of(node), (ClipInput, Held))):
            step = step_of(node)
            if step is None:
                _check_node(node)
            elif step in known and _mixes(step):
                self.mixing[step] = _Mixing(step, known[step])

    def through(self, step: Step, carried: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """What `step.propagate` returns, for seeds of which the first half is static and the second dynamic."""
        if step not in self.mixing:
            return step.propagate(carried)
        static, dynamic = carried.tensor(step.shape).chunk(2)
        mixing = self.mixing[step]
        split = _maximum if isinstance(step, WindowMaximum) else _linear
        found = split(mixing, static, dynamic)
        return [LazyRelevance(torch.cat([kept, all_of_it + moved - kept])) for kept, all_of_it, moved in found]


Split = list[tuple[Tensor, Tensor, Tensor]]
"""Per input: static relevance that stays static, all that was static, and what was dynamic, carried down."""


def _check_node(node: Any) -> None:
    """Torch's own nodes: those that keep every frame where it is, and channels side by side."""
    name = node.name()
    if name.startswith(KEEP_FRAMES) or "AccumulateGrad" in name:
        return
    if name.startswith("Cat") and node._saved_dim in (1, 2**64 - 4) and len(node._input_metadata[0].shape) == 5:
        return
    raise NoMotion(
        f"motion= does not know which frames {name.removesuffix('0')} moves; it knows convolutions, averages and max "
        "pools over (b, c, t, h, w)"
    )


def _mixes(step: Step) -> bool:
    """Whether some output frame sees several input frames; raises NoMotion where that cannot be told."""
    if isinstance(step, (PassThrough, ClipInput, Held)):
        return False
    if isinstance(step, WindowMaximum):
        return len(step.offsets[0]) == 3 and step.x.dim() == 5 and len({str(o[0]) for o in step.offsets}) > 1
    if isinstance(step, AxisMaximum) and len(step.input_shape) == 5 and step.input_shape[TIME] == step.kept_shape[TIME]:
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
    if isinstance(map, SumOver) or (isinstance(map, (Average, AxisMatrices)) and _frames(step) == 1):
        return False  # over all frames alike: it tells none from another, and hands each what it gave
    if len(shape) != 5:
        raise NoMotion(f"motion= does not know where time is in '{step.name}' ({step.operation}), {tuple(shape)}")
    return bool((_windows(step, operand).sum(1) > 1).any())


def _windows(step: LinearStep, operand: Operand) -> Tensor:
    """(outputs, t) which frames of the input each frame of the output sees."""
    map, frames = operand.map, operand.shape[TIME]
    if isinstance(map, Convolution) and not map.geometry.transposed:
        g = map.geometry
        first = torch.arange(step.shape[TIME])[:, None, None] * g.stride[0] - g.padding[0]
        taps = first + torch.arange(g.kernel[0])[:, None] * g.dilation[0]
        return (taps == torch.arange(frames)).any(1)
    found = []
    for frame in range(_frames(step)):
        ones = torch.zeros(1, *step.shape, dtype=operand.source.dtype, device=operand.source.device)
        _at(ones[0], frame).fill_(1)
        touched = map.spread(ones, operand.w.value, operand.shape)[0] != 0
        found.append(touched.movedim(TIME, 0).flatten(1).any(1).cpu())
    return torch.stack(found)


def _frames(step: Step) -> int:
    """How many frames an output has; what is no clip any more is one."""
    return step.shape[TIME] if len(step.shape) == 5 else 1


def _at(x: Tensor, frame: int) -> Tensor:
    """A frame of an output (b, c, t, h, w), or all of what is no clip any more."""
    return x.narrow(x.dim() - 3, frame, 1) if x.dim() >= 5 else x


# ------------------------------------------------------------------------------------------- linear operations


def _linear(mixing: _Mixing, static: Tensor, dynamic: Tensor) -> Split:
    step, still = cast(LinearStep, mixing.step), cast(LinearStep, mixing.still)
    if len(step.operands) != 1:
        raise NoMotion(f"motion= does not know how '{step.name}' ({step.operation}) mixes frames")
    moved = step.propagate(LazyRelevance(dynamic))[0].tensor(step.operands[0].shape)
    operand, rule = step.operands[0], step.rule
    assert rule is not None
    other = still.operands[0]
    resting = rule.shares(other.x, other.w, None)
    kept = torch.zeros_like(moved)
    whole = torch.zeros_like(moved)
    windows, axis = _windows(step, operand), -3
    # A rule may have a share for negative terms that is left out where there are none.
    for part, at_rest in zip(cast(Any, step.prepared.shares), resting, strict=False):
        ratio, equal = static * part.reciprocal, None if part.equal is None else static * part.equal
        for frame, seen in enumerate(windows):
            inside = seen.nonzero().flatten().to(static.device)
            if not len(inside):
                continue
            raw, shared, first = _adjoint(step, operand, part, ratio, equal, frame)
            size = (raw[0] if len(raw) else cast(Tensor, shared)).shape[axis]
            real = None if operand.x.real is None else operand.x.real.to(kept.dtype).narrow(axis, first, size)
            for value, term, rest in zip(raw, part.terms[0], at_rest.terms, strict=True):
                a, still_a = (x.expand(operand.shape).narrow(axis, first, size) for x in (term.a, rest.a.to(term.a)))
                rest_here = (
                    a - _from_mean(a, real, inside - first, axis) + _from_mean(still_a, real, inside - first, axis)
                )
                whole.narrow(axis, first, size).add_(value * a)
                kept.narrow(axis, first, size).add_(value * rest_here)
            if shared is not None:
                shared = shared if real is None else shared * real
                whole.narrow(axis, first, size).add_(shared)
                kept.narrow(axis, first, size).add_(shared)
    return [(kept, whole, moved)]


def _from_mean(a: Tensor, real: Tensor | None, inside: Tensor, axis: int) -> Tensor:
    """Each frame of a window, minus the mean over the window's real frames."""
    window = a.index_select(axis, inside)
    if real is None:
        return a - window.mean(axis, keepdim=True)
    weight = real.expand(a.shape).index_select(axis, inside)
    return (a - (window * weight).sum(axis, keepdim=True) / weight.sum(axis, keepdim=True).clamp(min=1)) * real


def _adjoint(
    step: LinearStep, operand: Operand, part: Any, ratio: Tensor, equal: Tensor | None, frame: int
) -> tuple[Sequence[Tensor], Tensor | None, int]:
    """What one frame of the output hands down, before it meets the inputs, and the first input frame it reaches."""
    map, shape, first = operand.map, operand.shape, 0
    within = map.within(Band(TIME, frame, frame + 1), shape) if len(step.shape) == 5 else None

    def alone(r: Tensor) -> Tensor:
        if within is not None:
            return _at(r, frame)
        only = torch.zeros_like(r)
        _at(only, frame).copy_(_at(r, frame))
        return only

    there: LinearMap = map
    if within is not None:
        there, band = within
        shape, first = band.shape(shape), band.start
    raw = there.adjoints(alone(ratio), [term.v for term in part.terms[0]], shape)
    weight = operand.w.value
    return raw, None if equal is None else there.spread(alone(equal), weight, shape), first


# ------------------------------------------------------------------------------------------------------ maxima


def _maximum(mixing: _Mixing, static: Tensor, dynamic: Tensor) -> Split:
    """The winner's relevance, in the proportion of what it would be if its window stood still, from none to all."""
    step, still = cast(WindowMaximum, mixing.step), cast(WindowMaximum, mixing.still)
    groups: dict[str, list[int]] = {}
    for i, offset in enumerate(step.offsets):
        groups.setdefault(str(offset[1:]), []).append(i)
    places: list[tuple[Any, ...]] = [(..., *offset) for offset in step.offsets]
    seen, rest = [step.x[place] for place in places], [still.x[place] for place in places]
    inside = [value.isfinite() for value in seen]
    if step.real is not None:
        inside = [mask & (step.real[place] > 0) for mask, place in zip(inside, places, strict=True)]
    kept = static.new_zeros(len(static), *step.x.shape)
    whole = torch.zeros_like(kept)
    winners = step._winners()
    for members in groups.values():
        count = reduce(torch.add, [inside[i].to(static) for i in members]).clamp(min=1)
        here, there = (
            reduce(torch.add, [values[i].where(inside[i], 0.0) for i in members]) / count for values in (seen, rest)
        )
        for i in members:
            value = seen[i].where(inside[i], 0.0)
            still_value = value + (here - value) - (there - rest[i].where(inside[i], 0.0))
            part = torch.where(value == 0, 1.0, (still_value / value).nan_to_num(1.0).clamp(0, 1))
            relevance = static * winners[i]
            whole[places[i]] += relevance
            kept[places[i]] += relevance * part
    cropped: tuple[Any, ...] = (..., *step.crop)
    return [(kept[cropped], whole[cropped], step.relevance(dynamic)[0])]
