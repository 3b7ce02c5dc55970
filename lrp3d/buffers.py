"""Large results on a CPU are written into memory that was used before; what is made of weights is made once.

The C library hands large blocks back to the system when they are freed and gets them anew, page by page: that costs
as much as the arithmetic done in them. A GPU's allocator keeps its memory; there, and outside of `reused()`, this is
`torch.empty`.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

SMALLEST = 2**20  # bytes; what is smaller comes from the heap and stays there
WASTE = 1.25  # a block may be that much larger than what is put into it


class _Pool:
    """Memory blocks; one is free again as soon as no tensor stands on it."""

    def __init__(self) -> None:
        self.blocks: list[mmap.mmap] = []
        self.derived: dict[tuple[str, tuple[int, ...]], tuple[Sequence[Tensor], Tensor]] = {}

    def take(self, size: int) -> mmap.mmap:
        """The smallest free block that is large enough, or a new one."""
        fitting = [i for i, block in enumerate(self.blocks) if size <= len(block) <= WASTE * size]
        # A tensor holds the block it stands on; without one, the list and the question itself do.
        free = [i for i in fitting if sys.getrefcount(self.blocks[i]) == 2]
        if not free:
            self.blocks.append(mmap.mmap(-1, size, access=mmap.ACCESS_COPY))  # not to be shared: dearer by far
            return self.blocks[-1]
        return self.blocks[min(free, key=lambda i: len(self.blocks[i]))]


_current: ContextVar[_Pool | None] = ContextVar("lrp3d_buffers", default=None)


@contextmanager
def reused() -> Iterator[None]:
    """Inside this block, `empty` hands out again what is no longer used; at its end all of it goes back."""
    if _current.get() is not None:
        yield
        return
    token = _current.set(_Pool())
    try:
        yield
    finally:
        _current.reset(token)


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of this shape, of the type and on the device of `like`, with anything in it.

    >>> import torch
    >>> empty((2, 3), torch.ones(1)).shape
    torch.Size([2, 3])
    """
    pool = _current.get()
    size = math.prod(shape) * like.element_size()
    if pool is None or size < SMALLEST or like.device.type != "cpu":
        return like.new_empty(shape)
    return torch.frombuffer(pool.take(size), dtype=like.dtype, count=math.prod(shape)).view(tuple(shape))


def derived(what: str, of: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
    """What `make` makes of tensors that stay as they are (a weight, laid out anew): inside `reused()`, made once."""
    pool = _current.get()
    if pool is None:
        return make()
    key = what, tuple(map(id, of))
    if key not in pool.derived:
        pool.derived[key] = of, make()  # the tensors are kept, so that no other gets their ids
    return pool.derived[key][1]
