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
from lrp3d.motion.frame_mixing import TIME, frame_of, windows_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.maxima import WindowMaximum
from lrp3d.steps.step import Step


@dataclass(frozen=True)
class Mixing:
    """An operation that mixes frames, and the same operation on a clip that stands still."""

    step: Step
    still_step: Step
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
    the output stood still.
    """
    step = cast(LinearStep, mixing.step)
    operand, g = step.operands[0], cast(Convolution, step.operands[0].map).geometry
    shape, outputs = operand.shape, band or Band(TIME, 0, step.shape[TIME])
    first, last = kernels.window(shape[TIME], outputs.start, outputs.stop, g, 0)
    inputs = Band(TIME, first, last)
    static_part = static.new_zeros(len(static), *inputs.shape(shape))  # (s, b, c, t, h, w) in the band
    is_input = None if operand.x.is_input is None else operand.x.is_input.to(static_part.dtype).expand(shape)
    for share, (part, terms) in enumerate(_terms(mixing)):
        if terms:
            ratio = static * outputs.of(part.reciprocal)  # (s, b, c', n, h', w')
            contributions = [_contributions_by_tap(ratio, v, g, shape) for _, _, v in terms]
            for number, (a, at_rest, _) in enumerate(terms):
                mean_shift = mixing.compute_once((share, number), partial(_means, step, a, at_rest, is_input))
                for tap in range(g.kernel[0]):
                    windows, sources = _places(tap, g, outputs, shape[TIME])
                    if not len(windows):
                        continue
                    frames = slice(sources.start, sources.stop, sources.step)
                    rest = at_rest[:, :, frames] + mean_shift[:, :, windows.start : windows.stop]  # (b, c, n, h, w)
                    if is_input is not None:
                        rest = rest.where(is_input[:, :, frames] > 0, a[:, :, frames])
                    contribution = contributions[number][tap][
                        :, :, :, windows.start - outputs.start : windows.stop - outputs.start
                    ]
                    static_part[:, :, :, sources.start - first : sources.stop - first : sources.step].addcmul_(
                        contribution, rest
                    )
        if part.equal is not None:
            shared = step.operands[0].map.spread(
                outputs.widened(static * outputs.of(part.equal), whole_axis(TIME, step.shape[TIME])),
                operand.w.value,
                shape,
            )
            shared = shared if is_input is None else shared * is_input
            static_part += inputs.inside(shared, whole_axis(TIME, shape[TIME]))
    if band is None:  # a stride may leave the last frames out
        return inputs.widened(static_part, whole_axis(TIME, shape[TIME])), None
    return static_part, inputs


def static_through_frames(mixing: Mixing, static: Tensor) -> Tensor:
    """The same for any other linear operation over frames, computed for one output frame after another."""
    step = cast(LinearStep, mixing.step)
    operand = step.operands[0]
    static_part = static.new_zeros(len(static), *operand.shape)
    windows, axis = windows_of(step, operand), -3
    for part, terms in _terms(mixing):
        ratio, equal = static * part.reciprocal, None if part.equal is None else static * part.equal
        for frame, window in enumerate(windows):
            inside = window.nonzero().flatten().to(static.device)
            if not len(inside):
                continue
            raw, shared, first = _adjoint(step, part, ratio, equal, frame)
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
    for i, offset in enumerate(step.offsets):
        groups.setdefault(str(offset[1:]), []).append(i)
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


def _means(step: LinearStep, a: Tensor, at_rest: Tensor, is_input: Tensor | None) -> Tensor:
    """(b, c, n, h, w): the mean over the real frames of each output's window, minus that of a still clip."""
    operand, g = step.operands[0], cast(Convolution, step.operands[0].map).geometry
    shape = operand.shape
    total = a.new_zeros(shape[0], shape[1], step.shape[TIME], *shape[3:])
    count = torch.zeros_like(total[:, :, :, :1, :1] if is_input is None else total)
    for tap in range(g.kernel[0]):
        windows, sources = _places(tap, g, Band(TIME, 0, step.shape[TIME]), shape[TIME])
        if len(windows):
            frames, outputs = (
                slice(sources.start, sources.stop, sources.step),
                slice(windows.start, windows.stop),
            )
            weight = 1.0 if is_input is None else is_input[:, :, frames]
            total[:, :, outputs] += (a[:, :, frames] - at_rest[:, :, frames]) * weight
            count[:, :, outputs] += weight
    return total / count.clamp(min=1)


def _from_mean(a: Tensor, is_input: Tensor | None, inside: Tensor, axis: int) -> Tensor:
    """Each frame, minus the mean over the real frames of the window."""
    window = a.index_select(axis, inside)
    if is_input is None:
        return a - window.mean(axis, keepdim=True)
    weight = is_input.expand(a.shape).index_select(axis, inside)
    return (a - (window * weight).sum(axis, keepdim=True) / weight.sum(axis, keepdim=True).clamp(min=1)) * is_input


def _adjoint(
    step: LinearStep, part: Any, ratio: Tensor, equal: Tensor | None, frame: int
) -> tuple[Sequence[Tensor], Tensor | None, int]:
    """What one output frame hands down, not yet multiplied by the inputs; the equal parts; the first frame reached."""
    operand = step.operands[0]
    map, shape, first = operand.map, operand.shape, 0
    restricted = map.restrict(Band(TIME, frame, frame + 1), shape) if len(step.shape) == 5 else None

    def single_frame(r: Tensor) -> Tensor:
        if restricted is not None:
            return frame_of(r, frame)
        masked = torch.zeros_like(r)
        frame_of(masked, frame).copy_(frame_of(r, frame))
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
