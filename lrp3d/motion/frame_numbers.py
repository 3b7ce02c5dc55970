"""To which frame each value of one tensor belongs, and to which place in the frame: numbers that go with the values.

`frames_of_values` follows them through a network; nothing here knows a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

DEVICE = torch.device("cpu")  # numbers are small, and asking for them on a GPU would make it wait
NONE = -1  # the number of constants, and of values that belong to no single frame


class Frames(NamedTuple):
    """Where the values of a tensor belong: integers that broadcast to its shape."""

    frame: Tensor
    place: Tensor
    """The clip and the place in a frame: what differs between frames is compared at one place."""
    slot: Tensor
    """The frame to which this part of the tensor belongs, whichever frame's values a shift has put there."""
    length: int
    """How many frames there are; 0 where no value belongs to a single frame."""
    places: int
    """How many places of a frame are numbered, clip by clip."""
    origin: Any = None
    """The node that made all of these values, or those from which they were only moved; None if there are several."""
    unplaced: str = ""
    """The sum over tokens of whose results nothing has said yet to which frames they belong; "" where there is none."""

    @classmethod
    def none(cls, axes: int, device: torch.device) -> Frames:
        """Of a tensor whose values belong to no single frame."""
        label = torch.full([1] * axes, NONE, device=device)
        return cls(label, label, label, 0, 1)

    @property
    def clip(self) -> Tensor:
        """The number of the clip of every value."""
        return compressed(self.place // self.places).clamp(min=0)

    def each(self, change: Callable[[Tensor], Tensor]) -> Frames:
        """The same with all numbers changed alike."""
        return self._replace(frame=change(self.frame), place=change(self.place), slot=change(self.slot))

    def with_axes(self, axes: int) -> Frames:
        """The same for a tensor that broadcasts to more axes."""
        return self.each(lambda x: x.reshape(*[1] * (axes - x.dim()), *x.shape))

    def varies(self, *axes: int) -> bool:
        """Whether frames differ along any of the axes."""
        return any(self.frame.shape[axis] > 1 for axis in axes)

    def hot(self) -> Tensor:
        """A mask (*frame, frames): the frame of every value."""
        hot: Tensor = self.frame.unsqueeze(-1) == torch.arange(self.length, device=self.frame.device)
        return hot

    def axes_of_time(self) -> list[int]:
        """The axes along which frames differ."""
        return [axis for axis, size in enumerate(self.frame.shape) if size > 1]

    @property
    def in_order(self) -> bool:
        """Whether the frames of every clip follow one another along one axis and differ along no other."""
        flat = self.frame.flatten()
        if len(self.axes_of_time()) != 1 or len(flat) % self.length:
            return len(flat) == self.length == 1
        return flat.equal(torch.arange(self.length, device=flat.device).repeat(len(flat) // self.length))

    def anew(self) -> Frames | None:
        """The same with frames numbered by where they stand; None where they are not one after another.

        Frames that differ along an axis along which places do not are its positions. Where frames of several clips or
        places are folded into an axis, each of them must have all of its frames once, beside one another.
        """
        axes = self.axes_of_time()
        if len(axes) != 1:
            return None
        (axis,) = axes
        size = self.frame.shape[axis]
        if not differ(self.place, axis):
            position = along(axis, self.frame.shape, self.frame.device)
            place = self.place.amax(axis, keepdim=True)
            return Frames(position, place, position, size, self.places)
        clips = self._folded_into(axis)
        for sizes, time in (((clips, -1), 1), ((-1, clips), 0)) if clips and size % clips == 0 else ():
            frame, place = (x.unflatten(axis, sizes) for x in (self.frame, self.place))
            by_clip = frame.flatten().reshape(sizes).movedim(time, 1)  # (clips, positions)
            once = by_clip[0][by_clip[0] != NONE]
            alike = by_clip.equal(by_clip[:1].expand_as(by_clip)) and len(once.unique()) == len(once)
            if alike and not differ(place, axis + time):
                position = along(axis + time, frame.shape, frame.device).expand_as(frame).flatten(axis, axis + 1)
                place = place.amax(axis + time, keepdim=True).expand_as(place).flatten(axis, axis + 1)
                return Frames(position, place, position, by_clip.shape[1], self.places)
        return None

    def _folded_into(self, axis: int) -> int:
        """How many clips, or places, are folded into an axis of frames."""
        others = [other for other in range(self.place.dim()) if other != axis]
        place = self.place.amax(others) if others else self.place
        return int(place.unique().ne(NONE).sum())

    def equals(self, other: Frames) -> bool:
        """Whether all numbers are the same."""
        numbers = zip(self.numbers, other.numbers, strict=True)
        same = (self.length, self.places, self.unplaced) == (other.length, other.places, other.unplaced)
        return same and all(a.equal(b) for a, b in numbers)

    @property
    def numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, places and slots."""
        return self.frame, self.place, self.slot


def compressed(x: Tensor) -> Tensor:
    """The same numbers with size one at every axis along which they are the same; `NONE` agrees with all."""
    for axis in range(x.dim()):
        if x.shape[axis] > 1 and not (differ(x.narrow(axis, 0, 2), axis) or differ(x, axis)):
            x = x.amax(axis, keepdim=True)
    return x


def alike_before(numbers: Tensor) -> Tensor:
    """How many earlier numbers (n,) are the same as each.

    >>> alike_before(torch.tensor([3, 5, 3, 3]))
    tensor([0, 0, 1, 2])
    """
    order = numbers.argsort(stable=True)
    alike = numbers[order]
    before = torch.arange(len(numbers), device=numbers.device) - torch.searchsorted(alike, alike)
    return torch.empty_like(before).index_copy_(0, order, before)


def along(axis: int, shape: torch.Size, device: torch.device) -> Tensor:
    """The numbers of the positions along an axis; of size one at all others."""
    return torch.arange(shape[axis], device=device).reshape([-1 if i == axis else 1 for i in range(len(shape))])


def agreed(numbers: Sequence[Tensor]) -> Tensor | None:
    """The numbers on which all agree; None if any differ. `NONE` agrees with all."""
    first, *others = numbers
    for other in others:
        if bool(((first != other) & (first != NONE) & (other != NONE)).any()):
            return None
        first = torch.maximum(first, other)
    return first


def greatest(x: Tensor, axis: int, groups: int = 1) -> Tensor:
    """The greatest number along an axis, of every group of it."""
    if x.shape[axis] == 1 or groups == 1:
        return x.amax(axis, keepdim=True)
    grouped: Tensor = x.unflatten(axis, (groups, -1))
    return grouped.amax(axis + 1)


def differ(x: Tensor, axis: int) -> bool:
    """Whether numbers differ along an axis; `NONE` agrees with all."""
    return not bool(((x == x.amax(axis, keepdim=True)) | (x == NONE)).all())


def name_of_unplaced(operands: Sequence[Frames]) -> str:
    """The name of the first attention of whose queries nothing has said to which frames they belong."""
    return next((frames.unplaced for frames in operands if frames.unplaced), "")


def numbered_apart(operands: Sequence[Frames]) -> bool:
    """Whether numbers of frames and places of several operands mean different things."""
    return len({(frames.length, frames.places) for frames in operands}) > 1


def of_one_length(operands: Sequence[Frames]) -> Sequence[Frames]:
    """Sequences of different lengths are numbered by where they stand, so that what is beside it belongs to a frame."""
    if len({frames.length for frames in operands}) == 1:
        return operands
    return [frames.anew() or frames for frames in operands]


def concatenated(parts: Sequence[Frames], shapes: Sequence[torch.Size], axis: int) -> Frames:
    """Of tensors of some shapes that are concatenated."""
    frame, place, slot = (
        compressed(torch.cat([x.expand(shape) for x, shape in zip(numbers, shapes, strict=True)], axis))
        for numbers in zip(*(part.numbers for part in parts), strict=True)
    )
    return Frames(frame, place, slot, parts[0].length, parts[0].places, unplaced=name_of_unplaced(parts))
