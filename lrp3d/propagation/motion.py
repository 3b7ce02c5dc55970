"""Motion against appearance: the part of relevance that frames carry by being different from one another.

At an operation that mixes frames, an input of an output's window is written as what it would be if the window stood
still, plus the rest. What goes through the first part is static, through the second dynamic, and what was dynamic stays
so on its way down. Both parts are linear in the relevance that arrives, so they add up to it (docs/method.md has the
formulas).

A network's zero padding makes frames differ at the ends of a clip that stands still. So the network is also run on the
clip's mean frame, repeated, and what differs there is not motion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any, cast

import torch
from torch import Tensor

from lrp3d.compute import kernels
from lrp3d.compute.bands import Band, all_of
from lrp3d.compute.kernels import Geometry
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
    made: dict[Any, Tensor] = field(default_factory=dict)
    """What is the same for all seeds."""

    def once(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """Made at the first seed, and kept."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


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
        still_steps = dict(zip(record.run.steps, still.run.steps, strict=True))
        self.mixing: dict[Step, _Mixing] = {}
        self.became: dict[str, Tensor] = {}
        """Of the last walk, by operation, the relevance (s, b) that was static above it and is dynamic below."""
        self.by_layer: dict[str, Tensor] = {}
        """The same (b,) for the clips' logits."""
        clips = [entry.shape for entry in record.entries if entry.dim() == 5]
        selected = {clip[TIME]: [float(i + 1) for i in range(clip[TIME])] for clip in clips}
        for node in downwards([record.output.grad_fn], lambda node: isinstance(step_of(node), (ClipInput, Held))):
            step = step_of(node)
            if step is None:
                _check_node(node, selected)
            elif step in still_steps and _mixes(step):
                self.mixing[step] = _Mixing(step, still_steps[step])

    def count(self, share: float) -> None:
        """Count what became dynamic in the last walk as `share` of the clips' relevance."""
        for name, rows in self.became.items():
            self.by_layer[name] = self.by_layer.get(name, 0.0) + rows.sum(0) * share

    def through(self, step: Step, carried: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """What `step.propagate` returns, for seeds of which the first half is static and the second dynamic."""
        if step not in self.mixing:
            return step.propagate(carried)
        mixing, band = self.mixing[step], carried.band
        if band is not None and (band.axis != TIME or not isinstance(_map(step), Convolution)):
            carried, band = LazyRelevance(carried.tensor(step.shape)), None
        static, dynamic = carried.part().chunk(2)
        # Both together take the step's own way, and what is static leaves the rest to be dynamic.
        (whole,) = step.propagate(LazyRelevance(static + dynamic, band=band))
        assert whole is not None
        if isinstance(step, WindowMaximum):
            kept: Tensor = _maximum(mixing, static)
        elif isinstance(_map(step), Convolution):
            kept, band = _convolution(mixing, static, band)
        else:
            kept = _by_frames(mixing, static)
        if whole.band != band:
            shape = _input_shape(step)
            kept = kept if band is None else band.widened(kept, all_of(band.axis, shape[band.axis]))
            whole, band = LazyRelevance(whole.tensor(shape)), None
        before, after = (x.flatten(2).sum(2) if x.dim() > 2 else x for x in (static, kept))
        self.became[step.name] = self.became.get(step.name, 0.0) + before - after
        return [LazyRelevance(torch.cat([kept, whole.part() - kept]), band=band)]


def _map(step: Step) -> LinearMap | None:
    """Of a linear step of one operand, but a transposed convolution, whose windows are found frame by frame."""
    if not isinstance(step, LinearStep) or len(step.operands) != 1:
        return None
    map = step.operands[0].map
    return None if isinstance(map, Convolution) and map.geometry.transposed else map


def _cropped(step: WindowMaximum) -> Any:
    """The input without the padding around it."""
    whole: tuple[Any, ...] = (...,)
    return whole + tuple(step.crop)


def _input_shape(step: Step) -> torch.Size:
    if isinstance(step, LinearStep):
        return step.operands[0].shape
    assert isinstance(step, WindowMaximum)
    return step.x[_cropped(step)].shape


def _check_node(node: Any, selected: dict[int, list[float]]) -> None:
    """Torch's own nodes: those that keep every frame where it is, channels side by side, and frames of the clip.

    Frames that are chosen of the clip itself make a pathway; `selected` holds which, by how many. As long as no two
    pathways have different frames and as many, nothing can meet frame by frame that is not of one frame.
    """
    name = node.name()
    if name.startswith(KEEP_FRAMES) or "AccumulateGrad" in name:
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


def _selected(node: Any) -> list[float]:
    """For each frame of the clip (b, c, t, h, w), which of the chosen ones it is, from 1, or 0; nothing for no clip."""
    like, whole = node._input_metadata[0], step_of(node.next_functions[0][0])
    chosen = like.shape
    if whole is None or len(chosen) != 5 or [*chosen[:2], *chosen[3:]] != [*whole.shape[:2], *whole.shape[3:]]:
        return []
    numbers = torch.arange(1.0, chosen[TIME] + 1, dtype=like.dtype, device=like.device)
    with torch.inference_mode(False), torch.no_grad():
        gradients = node(numbers.reshape(-1, 1, 1).expand(chosen).contiguous())
    back = gradients[0] if isinstance(gradients, tuple) else gradients
    return list(back[0, 0, :, 0, 0].tolist())


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
    windows = []
    for frame in range(_frames(step)):
        ones = torch.zeros(1, *step.shape, dtype=operand.source.dtype, device=operand.source.device)
        _at(ones[0], frame).fill_(1)
        touched = map.spread(ones, operand.w.value, operand.shape)[0] != 0
        windows.append(touched.movedim(TIME, 0).flatten(1).any(1).cpu())
    return torch.stack(windows)


def _frames(step: Step) -> int:
    """How many frames an output has; what is no clip any more is one."""
    return step.shape[TIME] if len(step.shape) == 5 else 1


def _at(x: Tensor, frame: int) -> Tensor:
    """A frame of an output (b, c, t, h, w), or all of what is no clip any more."""
    return x.narrow(x.dim() - 3, frame, 1) if x.dim() >= 5 else x


# ------------------------------------------------------------------------------------------- linear operations


def _terms(mixing: _Mixing) -> list[tuple[Any, list[tuple[Tensor, Tensor, Any]]]]:
    """The shares of a prepared step, each with its terms: input, input while the clip stands still, weight."""
    step, still = cast(LinearStep, mixing.step), cast(LinearStep, mixing.still)
    assert step.rule is not None
    other = still.operands[0]
    resting = step.rule.shares(other.x, other.w, None)
    shape = step.operands[0].shape
    terms = []
    # A rule may have a share for negative terms that is left out where there are none.
    for part, at_rest in zip(cast(Any, step.prepared.shares), resting, strict=False):
        both = zip(part.terms[0], at_rest.terms, strict=True)
        terms.append((part, [(t.a.expand(shape), rest.a.to(t.a).expand(shape), t.v) for t, rest in both]))
    return terms


def _convolution(mixing: _Mixing, static: Tensor, band: Band | None) -> tuple[Tensor, Band | None]:
    """What of static relevance (s, *output) in a band stays static, and the band of the input it lies in.

    Tap by tap in time: what a tap hands down meets what the input would be if the output's window stood still.
    """
    step = cast(LinearStep, mixing.step)
    operand, g = step.operands[0], cast(Convolution, step.operands[0].map).geometry
    shape, outputs = operand.shape, band or Band(TIME, 0, step.shape[TIME])
    first, last = kernels.window(shape[TIME], outputs.start, outputs.stop, g, 0)
    inputs = Band(TIME, first, last)
    kept = static.new_zeros(len(static), *inputs.shape(shape))
    is_input = None if operand.x.is_input is None else operand.x.is_input.to(kept.dtype).expand(shape)
    for share, (part, terms) in enumerate(_terms(mixing)):
        if terms:
            ratio = static * outputs.of(part.reciprocal)
            handed = [_tap_by_tap(ratio, v, g, shape) for _, _, v in terms]
            for number, (a, at_rest, _) in enumerate(terms):
                moved = mixing.once((share, number), partial(_means, step, a, at_rest, is_input))
                for tap in range(g.kernel[0]):
                    out, into = _places(tap, g, outputs, shape[TIME])
                    if not len(out):
                        continue
                    frames = slice(into.start, into.stop, into.step)
                    rest = at_rest[:, :, frames] + moved[:, :, out.start : out.stop]
                    if is_input is not None:
                        rest = rest.where(is_input[:, :, frames] > 0, a[:, :, frames])
                    raw = handed[number][tap][:, :, :, out.start - outputs.start : out.stop - outputs.start]
                    kept[:, :, :, into.start - first : into.stop - first : into.step].addcmul_(raw, rest)
        if part.equal is not None:
            shared = step.operands[0].map.spread(
                outputs.widened(static * outputs.of(part.equal), all_of(TIME, step.shape[TIME])),
                operand.w.value,
                shape,
            )
            shared = shared if is_input is None else shared * is_input
            kept += inputs.inside(shared, all_of(TIME, shape[TIME]))
    return kept, None if band is None else inputs


def _places(tap: int, g: Geometry, outputs: Band, frames: int) -> tuple[range, range]:
    """The outputs of a band that see a frame at this tap, and the frames that they see."""
    shift, stride = tap * g.dilation[0] - g.padding[0], g.stride[0]
    start = max(outputs.start, -(shift // stride))
    stop = max(start, min(outputs.stop, (frames - 1 - shift) // stride + 1))
    return range(start, stop), range(start * stride + shift, (stop - 1) * stride + shift + 1, stride)


def _tap_by_tap(ratio: Tensor, v: Tensor, g: Geometry, shape: torch.Size) -> Sequence[Tensor]:
    """By tap, what outputs (s, b, c', n, h', w') hand down, (s, b, c, n, h, w): each output to a place of its own."""
    taps = g.kernel[0]
    if g.groups == v.shape[0] == shape[1] and v[0, 0, 0].numel() == 1 and set(g.stride[1:]) == {1}:
        return [ratio * v[:, :, tap].reshape(-1, 1, 1, 1) for tap in range(taps)]
    wide = v.transpose(1, 2).flatten(1, 2).unsqueeze(2)
    flat = replace(
        g,
        kernel=(1, *g.kernel[1:]),
        stride=(1, *g.stride[1:]),
        padding=(0, *g.padding[1:]),
        dilation=(1, *g.dilation[1:]),
    )
    seeds, batch, n = len(ratio), shape[0], ratio.shape[3]
    handed = kernels.adjoint(ratio.flatten(0, 1), wide, flat, (seeds * batch, shape[1] * taps, n, *shape[3:]))
    by_group = handed.reshape(seeds, batch, g.groups, taps, -1, n, *shape[3:])
    return [by_group[:, :, :, tap].flatten(2, 3) for tap in range(taps)]


def _means(step: LinearStep, a: Tensor, at_rest: Tensor, is_input: Tensor | None) -> Tensor:
    """(b, c, n, h, w) the mean over the real frames of each output's window, less that while the clip stands still."""
    operand, g = step.operands[0], cast(Convolution, step.operands[0].map).geometry
    shape = operand.shape
    total = a.new_zeros(shape[0], shape[1], step.shape[TIME], *shape[3:])
    count = torch.zeros_like(total[:, :, :, :1, :1] if is_input is None else total)
    for tap in range(g.kernel[0]):
        out, into = _places(tap, g, Band(TIME, 0, step.shape[TIME]), shape[TIME])
        if len(out):
            frames, outputs = slice(into.start, into.stop, into.step), slice(out.start, out.stop)
            weight = 1.0 if is_input is None else is_input[:, :, frames]
            total[:, :, outputs] += (a[:, :, frames] - at_rest[:, :, frames]) * weight
            count[:, :, outputs] += weight
    return total / count.clamp(min=1)


def _by_frames(mixing: _Mixing, static: Tensor) -> Tensor:
    """The same for any other linear operation over frames, output frame by output frame."""
    step = cast(LinearStep, mixing.step)
    operand = step.operands[0]
    kept = static.new_zeros(len(static), *operand.shape)
    windows, axis = _windows(step, operand), -3
    for part, terms in _terms(mixing):
        ratio, equal = static * part.reciprocal, None if part.equal is None else static * part.equal
        for frame, seen in enumerate(windows):
            inside = seen.nonzero().flatten().to(static.device)
            if not len(inside):
                continue
            raw, shared, first = _adjoint(step, operand, part, ratio, equal, frame)
            size = (raw[0] if len(raw) else cast(Tensor, shared)).shape[axis]
            is_input = (
                None if operand.x.is_input is None else operand.x.is_input.to(kept.dtype).narrow(axis, first, size)
            )
            for value, whole_terms in zip(raw, terms, strict=True):
                a, still_a = (x.narrow(axis, first, size) for x in whole_terms[:2])
                rest_here = (
                    a
                    - _from_mean(a, is_input, inside - first, axis)
                    + _from_mean(still_a, is_input, inside - first, axis)
                )
                kept.narrow(axis, first, size).add_(value * rest_here)
            if shared is not None:
                kept.narrow(axis, first, size).add_(shared if is_input is None else shared * is_input)
    return kept


def _from_mean(a: Tensor, is_input: Tensor | None, inside: Tensor, axis: int) -> Tensor:
    """Each frame of a window, minus the mean over the window's real frames."""
    window = a.index_select(axis, inside)
    if is_input is None:
        return a - window.mean(axis, keepdim=True)
    weight = is_input.expand(a.shape).index_select(axis, inside)
    return (a - (window * weight).sum(axis, keepdim=True) / weight.sum(axis, keepdim=True).clamp(min=1)) * is_input


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

    narrowed: LinearMap = map
    if within is not None:
        narrowed, band = within
        shape, first = band.shape(shape), band.start
    raw = narrowed.adjoints(alone(ratio), [term.v for term in part.terms[0]], shape)
    weight = operand.w.value
    return raw, None if equal is None else narrowed.spread(alone(equal), weight, shape), first


# ------------------------------------------------------------------------------------------------------ maxima


def _maximum(mixing: _Mixing, static: Tensor) -> Tensor:
    """The winner's relevance, in the proportion of what it would be if its window stood still, from none to all."""
    step, still = cast(WindowMaximum, mixing.step), cast(WindowMaximum, mixing.still)
    groups: dict[str, list[int]] = {}
    for i, offset in enumerate(step.offsets):
        groups.setdefault(str(offset[1:]), []).append(i)
    places: list[tuple[Any, ...]] = [(..., *offset) for offset in step.offsets]
    seen, rest = [step.x[place] for place in places], [still.x[place] for place in places]
    inside = [value.isfinite() for value in seen]
    if step.is_input is not None:
        inside = [mask & (step.is_input[place] > 0) for mask, place in zip(inside, places, strict=True)]
    kept = static.new_zeros(len(static), *step.x.shape)
    winners = step._winners()
    for members in groups.values():
        count = reduce(torch.add, [inside[i].to(static) for i in members]).clamp(min=1)
        mean, mean_at_rest = (
            reduce(torch.add, [values[i].where(inside[i], 0.0) for i in members]) / count for values in (seen, rest)
        )
        for i in members:
            value = seen[i].where(inside[i], 0.0)
            still_value = value + (mean - value) - (mean_at_rest - rest[i].where(inside[i], 0.0))
            part = torch.where(value == 0, 1.0, (still_value / value).nan_to_num(1.0).clamp(0, 1))
            kept[places[i]] += static * winners[i] * part
    return kept[_cropped(step)]
