"""How much static relevance stays static at an operation along time: a convolution, an average, a max pool.

Its outputs see windows of several frames. If the window of an output stood still, each of its inputs would be the
mean of the window, plus what differs between frames even while the whole clip stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any, cast

import torch
from torch import Tensor

from lrp3d.compute import kernels
from lrp3d.compute.bands import Band, whole_axis
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Convolution, LinearMap
from lrp3d.compute.windows import inputs_seen
from lrp3d.motion.frame_mixing import TIME, offsets_along, windows_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step
from lrp3d.steps.window_maxima import WindowMaximum


@dataclass(frozen=True)
class Mixing:
    """An operation that mixes frames, and the same operation on a clip that stands still."""

    step: Step
    still_step: Step
    axis: int
    """The axis of frames, of the input and of the output."""
    results: dict[Any, Tensor] = field(default_factory=dict)
    """Tensors that are the same for all seeds."""

    def compute_once(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """The result of `make`, computed at the first seed and kept."""
        if key not in self.results:
            self.results[key] = make()
        return self.results[key]


def static_through_convolution(mixing: Mixing, static: Tensor, band: Band | None) -> tuple[Tensor, Band | None]:
    """The part of static relevance (s, *output) in a band that stays static, and the band of the input where it lies.

    Computed for each tap in time: what the tap hands down is multiplied by the input as it would be if the window of
    the output stood still. Whatever its axes are, it is computed as the convolution over (b, c, t, h, w) that it is.
    """
    step, axis = cast(LinearStep, mixing.step), mixing.axis
    operand, frames_out = step.operands[0], step.shape[axis]
    g, shape = _geometry_of_clip(mixing), _as_clip(operand.source, axis).shape
    within = band or Band(axis, 0, frames_out)
    outputs = Band(TIME, within.start, within.stop)
    first, last = inputs_seen(shape[TIME], outputs.start, outputs.stop, g, 0)
    inputs, static_of_clip = Band(TIME, first, last), _as_clip(static, axis, seeds=1)  # (s, b, c', n, h', w')
    static_part = static.new_zeros(len(static), *inputs.shape(shape))  # (s, b, c, t, h, w) in the band
    is_input = None if operand.x.is_input is None else operand.x.is_input.to(static_part.dtype).expand(operand.shape)
    input_of_clip = None if is_input is None else _as_clip(is_input, axis)
    for share, (part, terms) in enumerate(_terms(mixing)):
        if terms:
            ratio = static_of_clip * outputs.of(_as_clip(part.reciprocal, axis))
            terms = [(_as_clip(a, axis), _as_clip(at_rest, axis), _as_clip(v, axis)) for a, at_rest, v in terms]
            contributions = [_contributions_by_tap(ratio, v, g, shape) for _, _, v in terms]
            for number, (a, at_rest, _) in enumerate(terms):
                mean_shift = mixing.compute_once(
                    (share, number), partial(_means, g, frames_out, a, at_rest, input_of_clip)
                )
                for tap in range(g.kernel[0]):
                    windows, sources = _places(tap, g, outputs, shape[TIME])
                    if not len(windows):
                        continue
                    frames = slice(sources.start, sources.stop, sources.step)
                    rest = at_rest[:, :, frames] + mean_shift[:, :, windows.start : windows.stop]  # (b, c, n, h, w)
                    if input_of_clip is not None:
                        rest = rest.where(input_of_clip[:, :, frames] > 0, a[:, :, frames])
                    contribution = contributions[number][tap][
                        :, :, :, windows.start - outputs.start : windows.stop - outputs.start
                    ]
                    static_part[:, :, :, sources.start - first : sources.stop - first : sources.step].addcmul_(
                        contribution, rest
                    )
        if part.equal is not None:
            equal = within.widened(static * within.of(part.equal), whole_axis(axis, frames_out))
            shared = operand.map.spread(equal, operand.w.value, operand.shape)
            shared = _as_clip(shared if is_input is None else shared * is_input, axis, seeds=1)
            static_part += inputs.inside(shared, whole_axis(TIME, shape[TIME]))
    if band is None:  # a stride may leave the last frames out
        static_part = inputs.widened(static_part, whole_axis(TIME, shape[TIME]))
    found = static_part.flatten(len(operand.shape)) if len(operand.shape) < 5 else static_part
    return found.movedim(1 + TIME, 1 + axis), None if band is None else Band(axis, first, last)


def _as_clip(x: Tensor, axis: int, seeds: int = 0) -> Tensor:
    """A view (b, c, t, h, w) of a tensor of which `axis` is time: axes that it has not have size one.

    Weights of a convolution (c', c, ...) have their kernels on the same axes. Before them may be an axis of seeds.
    """
    moved = x.movedim(seeds + axis, seeds + TIME)
    return moved.reshape(*moved.shape, *[1] * (5 + seeds - x.dim()))


def _geometry_of_clip(mixing: Mixing) -> Geometry:
    """How the kernel moves over the same view."""
    g = cast(Convolution, cast(LinearStep, mixing.step).operands[0].map).geometry
    time = mixing.axis - 2

    def of_clip(numbers: tuple[int, ...], none: int = 0) -> tuple[int, ...]:
        return (numbers[time], *numbers[:time], *numbers[time + 1 :], *[none] * (3 - len(numbers)))

    return replace(
        g,
        kernel=of_clip(g.kernel, 1),
        stride=of_clip(g.stride, 1),
        padding=of_clip(g.padding),
        dilation=of_clip(g.dilation, 1),
        output_padding=of_clip(g.output_padding),
    )


def static_through_frames(mixing: Mixing, static: Tensor) -> Tensor:
    """The same for any other linear operation over frames, computed for one output frame after another."""
    step = cast(LinearStep, mixing.step)
    operand = step.operands[0]
    static_part = static.new_zeros(len(static), *operand.shape)
    windows, axis = windows_of(step, mixing.axis), mixing.axis - len(step.shape)  # from the end, with seeds or without
    for part, terms in _terms(mixing):
        ratio, equal = static * part.reciprocal, None if part.equal is None else static * part.equal
        for frame, window in enumerate(windows):
            inside = window.nonzero().flatten().to(static.device)
            if not len(inside):
                continue
            raw, shared, first = _adjoint(step, part, ratio, equal, frame, mixing.axis)
            size = (raw[0] if len(raw) else cast(Tensor, shared)).shape[axis]
            is_input = (
                None
                if operand.x.is_input is None
                else operand.x.is_input.to(static_part.dtype).narrow(axis, first, size)
            )
            for value, tensors in zip(raw, terms, strict=True):
                a, a_still = (x.narrow(axis, first, size) for x in tensors[:2])
                input_at_rest = (
                    a
                    - _from_mean(a, is_input, inside - first, axis)
                    + _from_mean(a_still, is_input, inside - first, axis)
                )
                static_part.narrow(axis, first, size).add_(value * input_at_rest)
            if shared is not None:
                static_part.narrow(axis, first, size).add_(shared if is_input is None else shared * is_input)
    return static_part


def static_through_maximum(mixing: Mixing, static: Tensor) -> Tensor:
    """The winners' relevance, times what the winner would be if its window stood still as a share (0 to 1) of it."""
    step, still_step = cast(WindowMaximum, mixing.step), cast(WindowMaximum, mixing.still_step)
    groups: dict[str, list[int]] = {}
    time = offsets_along(step, mixing.axis)
    for i, offset in enumerate(step.offsets):
        groups.setdefault(str([place for j, place in enumerate(offset, -len(offset)) if j != time]), []).append(i)
    places: list[tuple[Any, ...]] = [(..., *offset) for offset in step.offsets]
    moving_values, still_values = [step.x[place] for place in places], [still_step.x[place] for place in places]
    inside = [value.isfinite() for value in moving_values]
    if step.is_input is not None:
        inside = [mask & (step.is_input[place] > 0) for mask, place in zip(inside, places, strict=True)]
    static_part = static.new_zeros(len(static), *step.x.shape)
    winners = step._winners()
    for members in groups.values():
        count = reduce(torch.add, [inside[i].to(static) for i in members]).clamp(min=1)
        mean, mean_at_rest = (
            reduce(torch.add, [values[i].where(inside[i], 0.0) for i in members]) / count
            for values in (moving_values, still_values)
        )
        for i in members:
            value = moving_values[i].where(inside[i], 0.0)
            still_value = value + (mean - value) - (mean_at_rest - still_values[i].where(inside[i], 0.0))
            part = torch.where(value == 0, 1.0, (still_value / value).nan_to_num(1.0).clamp(0, 1))
            static_part[places[i]] += static * winners[i] * part
    return static_part[cropped(step)]


def _terms(mixing: Mixing) -> list[tuple[Any, list[tuple[Tensor, Tensor, Any]]]]:
    """The shares of a prepared step, each with its terms: input, input while the clip stands still, weight."""
    step, still_step = cast(LinearStep, mixing.step), cast(LinearStep, mixing.still_step)
    assert step.rule is not None
    other = still_step.operands[0]
    resting = step.rule.shares(other.x, other.w, None)
    shape = step.operands[0].shape
    terms = []
    # A step leaves out a rule's share of negative terms where there are none.
    for part, at_rest in zip(cast(Any, step.prepared.shares), resting, strict=False):
        both = zip(part.terms[0], at_rest.terms, strict=True)
        terms.append((part, [(t.a.expand(shape), rest.a.to(t.a).expand(shape), t.v) for t, rest in both]))
    return terms


def _places(tap: int, g: Geometry, outputs: Band, frames: int) -> tuple[range, range]:
    """The outputs of a band that see a frame through this tap, and the frames that they see."""
    shift, stride = tap * g.dilation[0] - g.padding[0], g.stride[0]
    start = max(outputs.start, -(shift // stride))
    stop = max(start, min(outputs.stop, (frames - 1 - shift) // stride + 1))
    return range(start, stop), range(start * stride + shift, (stop - 1) * stride + shift + 1, stride)


def _contributions_by_tap(ratio: Tensor, v: Tensor, g: Geometry, shape: torch.Size) -> Sequence[Tensor]:
    """For each tap, what outputs (s, b, c', n, h', w') hand down: (s, b, c, n, h, w), not yet summed over outputs."""
    taps = g.kernel[0]
    if g.groups == v.shape[0] == shape[1] and v[0, 0, 0].numel() == 1 and set(g.stride[1:]) == {1}:
        return [ratio * v[:, :, tap].reshape(-1, 1, 1, 1) for tap in range(taps)]
    weight = v.transpose(1, 2).flatten(1, 2).unsqueeze(2)  # (c', taps c / g, 1, p, q)
    flat = replace(
        g,
        kernel=(1, *g.kernel[1:]),
        stride=(1, *g.stride[1:]),
        padding=(0, *g.padding[1:]),
        dilation=(1, *g.dilation[1:]),
    )
    seeds, batch, n = len(ratio), shape[0], ratio.shape[3]
    contributions = kernels.adjoint(ratio.flatten(0, 1), weight, flat, (seeds * batch, shape[1] * taps, n, *shape[3:]))
    by_group = contributions.reshape(seeds, batch, g.groups, taps, shape[1] // g.groups, n, *shape[3:])
    return [by_group[:, :, :, tap].flatten(2, 3) for tap in range(taps)]


def _means(g: Geometry, outputs: int, a: Tensor, at_rest: Tensor, is_input: Tensor | None) -> Tensor:
    """(b, c, n, h, w): the mean over the real frames of each output's window, minus that of a still clip."""
    total = a.new_zeros(*a.shape[:2], outputs, *a.shape[3:])
    count = torch.zeros_like(total[:, :, :, :1, :1] if is_input is None else total)
    for tap in range(g.kernel[0]):
        windows, sources = _places(tap, g, Band(TIME, 0, outputs), a.shape[TIME])
        if len(windows):
            frames, seeing = (
                slice(sources.start, sources.stop, sources.step),
                slice(windows.start, windows.stop),
            )
            weight = 1.0 if is_input is None else is_input[:, :, frames]
            total[:, :, seeing] += (a[:, :, frames] - at_rest[:, :, frames]) * weight
            count[:, :, seeing] += weight
    return total / count.clamp(min=1)


def _from_mean(a: Tensor, is_input: Tensor | None, inside: Tensor, axis: int) -> Tensor:
    """Each frame, minus the mean over the real frames of the window."""
    window = a.index_select(axis, inside)
    if is_input is None:
        return a - window.mean(axis, keepdim=True)
    weight = is_input.expand(a.shape).index_select(axis, inside)
    return (a - (window * weight).sum(axis, keepdim=True) / weight.sum(axis, keepdim=True).clamp(min=1)) * is_input


def _adjoint(
    step: LinearStep, part: Any, ratio: Tensor, equal: Tensor | None, frame: int, axis: int
) -> tuple[Sequence[Tensor], Tensor | None, int]:
    """What one output frame hands down, not yet multiplied by the inputs; the equal parts; the first frame reached."""
    operand = step.operands[0]
    map, shape, first = operand.map, operand.shape, 0
    restricted = map.restrict(Band(axis, frame, frame + 1), shape)

    def single_frame(r: Tensor) -> Tensor:
        if restricted is not None:
            return r.narrow(1 + axis, frame, 1)
        masked = torch.zeros_like(r)
        masked.narrow(1 + axis, frame, 1).copy_(r.narrow(1 + axis, frame, 1))
        return masked

    narrowed: LinearMap = map
    if restricted is not None:
        narrowed, band = restricted
        shape, first = band.shape(shape), band.start
    raw = narrowed.adjoints(single_frame(ratio), [term.v for term in part.terms[0]], shape)
    weight = operand.w.value
    return raw, None if equal is None else narrowed.spread(single_frame(equal), weight, shape), first


def cropped(step: WindowMaximum) -> Any:
    """The input without the padding around it."""
    whole: tuple[Any, ...] = (...,)
    return whole + tuple(step.crop)
