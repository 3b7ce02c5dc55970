"""Writes into parts of a tensor: relevance goes to what was written, and to what was left as it was."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.compute.maps import sum_to_shape
from lrp3d.steps.step import Step


class Written(Step):
    """A tensor whose values come from two others, each value from only one of them."""

    @property
    def is_booked(self) -> bool:
        """It is not: constants that were written have no relevance to lose."""
        return False


class IndexedWrite(Written):
    """`target[index] = value`: relevance goes to the value inside the index, to the target outside of it."""

    def __init__(self, index: Any, shape: torch.Size, value_shape: torch.Size, to_target: bool, to_value: bool):
        self.index = index
        self.target_shape = shape
        self.value_shape = value_shape
        self.to_target = to_target
        self.to_value = to_value

    def relevance(self, r: Tensor) -> list[Tensor]:
        """The relevance of the target and of the value, as far as they descend from the clip."""
        out = []
        if self.to_target:
            mask = r.new_ones(self.target_shape)
            mask[self.index] = 0
            out.append(r * mask)
        if self.to_value:
            # seed by seed, because an index that contains tensors cannot simply be shifted by one axis
            written = torch.stack([seed[self.index] for seed in r])
            stays = self._stays(r)
            out.append(sum_to_shape(written if stays is None else written * stays, self.value_shape))
        return out

    def _stays(self, like: Tensor) -> Tensor | None:
        """1 where a value stays, 0 where another one was written to the same place; None if the index is of slices."""
        parts = self.index if isinstance(self.index, tuple) else (self.index,)
        if all(part is None or part is ... or isinstance(part, int | slice) for part in parts):
            return None
        numbers = torch.zeros(self.target_shape, device=like.device, dtype=torch.long)
        numbered = numbers[self.index]
        places = torch.arange(numbered.numel(), device=like.device).view(numbered.shape)
        numbers[self.index] = places
        stays = numbers[self.index] == places
        return stays.to(like.dtype)


class Strides(NamedTuple):
    """Where the elements of a view lie in its memory."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, x: Tensor) -> Strides:
        """The strides of a tensor."""
        return cls(tuple(x.shape), tuple(x.stride()), int(x.storage_offset()))

    @property
    def end(self) -> int:
        """The first element of the memory after the view."""
        steps = sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))
        return self.offset + steps + 1 if all(self.size) else self.offset

    @property
    def repeats(self) -> bool:
        """Whether several elements of the view may be one element of the memory (as after expand or unfold)."""
        reach = 0
        for stride, size in sorted(zip(self.stride, self.size, strict=True)):
            if size > 1:
                if stride <= reach:
                    return True
                reach += (size - 1) * stride
        return False

    def view(self, memory: Tensor, axes: int = 0) -> Tensor:
        """The view of a memory that has `axes` other axes in front."""
        offset = memory.storage_offset() + self.offset
        return memory.as_strided((*memory.shape[:axes], *self.size), (*memory.stride()[:axes], *self.stride), offset)


class Shared(NamedTuple):
    """Two views of one memory."""

    read: Strides
    """The positions that are read."""
    written: Strides
    """The positions that were written to."""

    @classmethod
    def of(cls, read: Tensor, written: Tensor) -> Shared:
        """The views of two tensors; their memory begins where the first of them does."""
        both = Strides.of(read), Strides.of(written)
        start = min(x.offset for x in both)
        return cls(*(x._replace(offset=x.offset - start) for x in both))

    def memory(self, like: Tensor, *more: int, fill: float = 0) -> Tensor:
        """New memory, as large as the two views need, with axes `more` in front."""
        return like.new_full((*more, max(x.end for x in self)), fill)

    def over(self, value: Tensor, new: Tensor) -> Tensor:
        """What `value`, the tensor that is read, becomes when `new` is written."""
        memory = self.memory(value)
        self.read.view(memory).copy_(value)
        self.written.view(memory).copy_(new)
        return self.read.view(memory)

    def overlap(self) -> tuple[bool, bool]:
        """Whether anything that is read was written, and whether all of it was."""
        if self.read.end <= self.written.offset or self.written.end <= self.read.offset:
            return False, False
        memory = self.memory(torch.empty(0, dtype=torch.bool, device="cpu"))
        self.written.view(memory).fill_(True)
        read = self.read.view(memory)
        return bool(read.any()), bool(read.all())


class StridedWrite(Written):
    """A write through one view of a memory, read through another.

    Args:
        shared: the two views.
        to_value: whether what is read descended from the clip before, and not all of it was written.
        to_new: whether what was written descends from the clip.
    """

    def __init__(self, shared: Shared, to_value: bool, to_new: bool):
        self.shared = shared
        self.to_value = to_value
        self.to_new = to_new

    def relevance(self, r: Tensor) -> list[Tensor]:
        """The relevance of the value before and of what was written, as far as they descend from the clip."""
        memory = self.shared.memory(r, len(r))
        self.shared.read.view(memory, 1).copy_(r)
        written = self.shared.written.view(memory, 1)
        out = [written.clone()] if self.to_new else []
        if self.to_value:
            written.zero_()
            out.insert(0, self.shared.read.view(memory, 1))
        return out
