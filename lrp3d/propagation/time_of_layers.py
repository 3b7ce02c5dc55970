"""Where what layers make lies in time, of those layers whose shape says which axis is time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import einops
import torch
from torch import Tensor

from lrp3d.compute.maps import Convolution, sum_to_shape
from lrp3d.propagation.clip_order import ClipOrder
from lrp3d.propagation.first_layers import first_layers
from lrp3d.propagation.frame_times import UNKNOWN, FrameTimes, evenly
from lrp3d.steps.ends import ClipInput, Unsupported
from lrp3d.steps.graph import Node, downwards, parents, step_of, upwards
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step

ALIGNED = 1.5
"""Steps of time by which the times of layers may differ at a place for which these count as the same."""
ROUNDING = 1e-6
"""The difference up to which two times are one."""


class TimeOfLayers:
    """Where what layers make lies in time.

    Args:
        batch: the number of clips.
        orders: for layers whose batch (t b) does not have the frames of a clip together, the order in which it would.
        times: the times of what layers make (`FrameTimes`); None for those of which nobody knows it.
        are_of_clip: whether times are those of the clip, and not those of the first layers.
    """

    def __init__(
        self,
        batch: int,
        orders: Mapping[Step, Tensor],
        times: Mapping[Step, Tensor | None],
        are_of_clip: bool = False,
    ) -> None:
        self.are_of_clip = are_of_clip
        self._batch = batch
        self._orders = orders
        self._times = times
        self._moved: dict[Step, Tensor] = _moved(times, batch, orders)
        """For layers that do not have one frame after another along the axis that is time by their shape, or that have
        others than layers beside them, the number of the time step (b, t, values) of each value; -1 where nobody knows
        it. Empty if there is no such layer, as almost everywhere."""
        self._length: int = 1 + max((int(numbers.max()) for numbers in self._moved.values()), default=0)

    @classmethod
    def below(cls, root: Node, batch: int, has_time_axis: Callable[[Step], bool]) -> TimeOfLayers:
        """Of the last layers below a node whose shape says where time is, as the first layers have it.

        In which order these see the frames of the clip, `frame_order` finds.
        """
        layers = _last_layers(root, batch, has_time_axis)
        first = [layer.step for layer in first_layers(root)]
        if all(step in first for step in layers):
            return cls(batch, {}, {})
        orders = {} if all(len(step.shape) == 4 for step in first) else _orders(layers, batch)
        times = FrameTimes(batch, [step for step in first if has_time_axis(step)], orders)
        return cls(batch, orders, {step: times.of(node) for step, node in layers.items()})

    @classmethod
    def of_clip(cls, root: Node, batch: int, has_time_axis: Callable[[Step], bool]) -> TimeOfLayers | None:
        """The same as the clip has time; None where its frames are not moved before the first layers."""
        nodes = {step: node for node in upwards(root, parents) if (step := step_of(node)) is not None}
        first = [layer.step for layer in first_layers(root) if has_time_axis(layer.step)]
        first = [step for step in first if shape_says_time(step, batch)]
        times = FrameTimes(batch, (), {}, may_wait=False)
        seen = {step: times.of(nodes[step]) for step in first}
        moved = any(found is not None and _is_moved(found, step, batch) for step, found in seen.items())
        # Where a device would be waited for, it is if the order of the first layers is not that of the last ones.
        unseen = any(found is None for found in seen.values()) and cls.below(root, batch, has_time_axis).are_moved
        if not moved and not unseen:
            return None
        times = FrameTimes(batch, (), {})
        layers = _last_layers(root, batch, has_time_axis)
        clips = {step: node for step, node in nodes.items() if isinstance(step, ClipInput)}
        by_step = {step: times.of(node) for step, node in (layers | clips).items()}
        return cls(batch, _orders(layers, batch), by_step, are_of_clip=True)

    def knows(self, layers: Collection[Step]) -> bool:
        """Whether the times of all these layers are known, and differ between their time steps."""
        found = [self._times.get(step) for step in layers]
        return all(times is not None and times.numel() > 1 for times in found)

    def among(self, layers: Collection[Step]) -> TimeOfLayers:
        """The same of some of the layers alone."""
        times = {step: times for step, times in self._times.items() if step in layers}
        return TimeOfLayers(self._batch, self._orders, times, self.are_of_clip)

    @property
    def are_moved(self) -> bool:
        """Whether time is not that of the axes of layers."""
        return bool(self._moved)

    def over_time(self, mask: Tensor, step: Step) -> Tensor:
        """(b, t): whether the mask is set anywhere at each time step of what a step makes.

        The clip has time where its layout says so. Where the axes of a layer are unknown (it has no rule), time is the
        only axis along which the mask is set in part.
        """
        if self._moved:
            return self._over_moved(mask, step)
        if isinstance(step, ClipInput) and step.layout is not None and step.layout.has_time:
            return step.layout.frames(mask[None].float(), self._batch)[0] > 0
        if not shape_says_time(step, self._batch):
            others = [tuple(j for j in range(mask.dim()) if j != axis) for axis in range(mask.dim())]
            parts = [part for axes in others if not bool((part := mask.any(axes)).all())]
            return (parts[0] if len(parts) == 1 else mask.new_ones(1)).expand(self._batch, -1)
        return by_time_step(mask, self._batch, self._orders.get(step)).any(2)

    def mean_times(self, mask: Tensor, step: Step) -> list[float]:
        """The mean time of the values that a mask marks in what a step makes; empty where nobody knows it."""
        times = self._times.get(step)
        if times is None or times.isnan().any():
            return []
        weights = sum_to_shape(mask[None].float(), times.shape)[0].cpu().double()
        return [float((weights * times).sum() / weights.sum())] if bool(weights.any()) else []

    def sums(self, x: Tensor, step: Step) -> Tensor | None:
        """(b, t): the sums over each time step of what a step makes; None if nobody knows these."""
        if isinstance(step, ClipInput) and step.layout is not None and step.layout.has_time:
            return step.layout.frames(x[None], self._batch)[0]
        if not shape_says_time(step, self._batch):
            return None
        return by_time_step(x, self._batch, self._orders.get(step)).sum(2)

    def _over_moved(self, mask: Tensor, step: Step) -> Tensor:
        """The same by the times of values; what lies at a time that nobody knows may lie at any."""
        numbers = self._moved.get(step)
        if numbers is None:
            return mask.any().expand(self._batch, self._length)
        set_at = _by_step(mask, step, self._batch, self._orders.get(step)).flatten(1).long()
        counts = torch.zeros(self._batch, self._length + 1, dtype=torch.long, device=mask.device)
        counts.scatter_add_(1, numbers.to(mask.device).flatten(1) + 1, set_at)
        return (counts[:, 1:] > 0) | (counts[:, :1] > 0)


def _last_layers(root: Node, batch: int, has_time_axis: Callable[[Step], bool]) -> dict[Step, Node]:
    """The last layers below a node whose shape says where time is."""
    nodes = downwards([root], lambda node: (step := step_of(node)) is not None and has_time_axis(step))
    found = {step: node for node in nodes if (step := step_of(node)) is not None and has_time_axis(step)}
    return {step: node for step, node in found.items() if shape_says_time(step, batch)}


def _is_moved(times: Tensor, step: Step, batch: int) -> bool:
    """Whether a first layer does not have frames one after another, from the beginning of the clip to its end."""
    series = _series(times, step, batch, None)
    return series is None or not on_one_clock(_without_unknown(series), evenly(len(series)), within=0.5)


def _orders(layers: Mapping[Step, Node], batch: int) -> dict[Step, Tensor]:
    """For layers whose batch (t b) does not have the frames of a clip together, the order in which it would have.

    Where the first layers have frames in the batch, `frame_order` holds these against the clip.
    """
    if batch < 2:
        return {}
    clips, found = ClipOrder(batch), dict[Step, Tensor]()
    for step, node in layers.items():
        if len(step.shape) == 4:
            axis = clips.of(node, 1)
            if axis.dim == 0 and not axis.is_sorted:
                found[step] = axis.numbers.argsort(stable=True)
    return found


def _moved(by_layer: Mapping[Step, Tensor | None], batch: int, orders: Mapping[Step, Tensor]) -> dict[Step, Tensor]:
    """The numbers of time steps of values, as `TimeOfLayers` takes them."""
    known = {step: times for step, times in by_layer.items() if times is not None}
    series = [_series(times, step, batch, orders.get(step)) for step, times in known.items()]
    if all(one is not None for one in series) and _are_aligned([one for one in series if one is not None]):
        return {}
    rounded = {step: times.div(ROUNDING).round() for step, times in known.items()}
    of_layers = {step: _without_unknown(times.unique()) for step, times in rounded.items()}
    # Layers with the same time steps number them alike, however far beyond the clip the windows of some of them reach.
    own = len({len(values) for values in of_layers.values()}) == 1 and _are_aligned([*of_layers.values()])
    values = _without_unknown(torch.cat([*of_layers.values()]).unique())
    numbers = {}
    for step, times in rounded.items():
        found = torch.searchsorted(of_layers[step] if own else values, times)
        number = torch.where(times.isnan(), -1, found).expand(step.shape)
        numbers[step] = _by_step(number, step, batch, orders.get(step))
    return numbers


def _by_step(x: Tensor, step: Step, batch: int, order: Tensor | None) -> Tensor:
    """The values (b, t, ...) of each time step of what a layer makes, or of a clip."""
    if isinstance(step, ClipInput) and step.layout is not None:
        sizes = step.layout.sizes(x, batch)
        return einops.rearrange(x, f"{step.layout.pattern} -> b t (c h w)", **sizes)
    return by_time_step(x, batch, order)


def _without_unknown(times: Tensor) -> Tensor:
    return times[~times.isnan()]


def _series(times: Tensor, step: Step, batch: int, order: Tensor | None) -> Tensor | None:
    """The times (t,) along the axis that is time by a layer's shape; None if it has not one after another."""
    if isinstance(step, ClipInput):
        known: Tensor = times.flatten().unique()
        return known
    sizes = list(times.shape)
    for axis in (0,) if len(sizes) == 4 else (0, 2):
        sizes[axis] = step.shape[axis]
    by_step = by_time_step(times.expand(sizes), batch, order).movedim(1, 0).flatten(1)  # (t, values)
    missing = by_step.isnan()
    least, most = by_step.masked_fill(missing, 1e9).amin(1), by_step.masked_fill(missing, -1e9).amax(1)
    is_known = least <= most
    alike = bool((most - least <= ROUNDING).all())
    follow = bool((least[is_known].diff() >= -ROUNDING).all())
    return torch.where(is_known, least, UNKNOWN) if alike and follow else None


def _are_aligned(series: list[Tensor]) -> bool:
    """Whether layers begin and end at the same times."""
    known = [times for one in series if len(times := _without_unknown(one)) > 1]
    return all(on_one_clock(one, other) for i, one in enumerate(known) for other in known[:i])


def on_one_clock(one: Tensor, other: Tensor, within: float = ALIGNED) -> bool:
    """Whether two series of times begin together and end together, within so many of their longer steps."""
    if min(len(one), len(other)) < 2:
        return len(one) == len(other)
    step = max(float((times[-1] - times[0]).abs()) / (len(times) - 1) for times in (one, other))
    return all(float((one[end] - other[end]).abs()) <= within * step + ROUNDING for end in (0, -1))


def axes_are_known(step: Step) -> bool:
    """Whether it is known which axis is which: not if a step has no rule, or if its kernel comes from the clip."""
    return not isinstance(step, Unsupported) and not (isinstance(step, LinearStep) and not step.weighted)


def shape_says_time(step: Step, batch: int) -> bool:
    """Whether the shape of what a layer makes says where time is."""
    return axes_are_known(step) and not (len(step.shape) == 4 and step.shape[0] % batch)


def by_time_step(x: Tensor, batch: int, order: Tensor | None = None) -> Tensor:
    """The values (b, t, ...) of each time step of what a layer makes."""
    if x.dim() in (3, 5):
        places = x.movedim(2, 1)
        if len(places) % batch:  # clips and places of a picture in one axis
            return places.transpose(0, 1).flatten(1).expand(batch, -1, -1)
        return torch.unflatten(places, 0, (batch, -1)).transpose(1, 2).flatten(2)
    clip_by_clip = x if order is None else x[order.to(x.device)]
    return torch.unflatten(clip_by_clip, 0, (batch, -1)).flatten(2)


def time_axis_test(batch: int) -> Callable[[Step], bool]:
    """Makes a function that says whether a step is a convolution, whose axes have a fixed order.

    A convolution that sees a single picture of each clip does not count: it is a cell of a recurrence that the model
    writes out, or sees the mean of a clip, and its input is followed further down. Nor does one whose padding makes
    more time steps than it was given: what it says is cut off later, and the frames are those of its input.
    """

    def has_time_axis(step: Step) -> bool:
        if not (isinstance(step, LinearStep) and step.operands and isinstance(step.operands[0].map, Convolution)):
            return False
        shape = step.operands[0].shape
        return shape[0] != batch if len(shape) == 4 else 1 < shape[2] >= step.shape[2]

    return has_time_axis
