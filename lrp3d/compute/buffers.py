"""Large results on a CPU are written into memory that was used before; what is made of weights is made once.

The C library hands large blocks back to the system when they are freed and gets them anew, page by page: that costs
as much as the arithmetic done in them. A GPU's allocator keeps its memory; there, and outside of `reused()`, this is
`torch.empty`.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

SMALLEST = 2**20  # bytes; what is smaller comes from the heap and stays there
LARGE_PAGE = 2**21
GIVEN_BACK = 2**25  # bytes let go of before the C library is told to


class _Pool:
    """Memory blocks; one is free again as soon as no tensor stands on it."""

    def __init__(self) -> None:
        self.blocks: dict[int, list[mmap.mmap]] = {}
        self.needed: set[int] = set()
        self.freed = 0
        self.derived: dict[tuple[Hashable, tuple[int, ...]], tuple[Sequence[Tensor], Tensor]] = {}

    def take(self, size: int) -> mmap.mmap:
        """A free block that is large enough, or a new one.

        Blocks have sizes that are powers of two, so that one explanation finds what another like it left; what was
        never written to takes up no memory.
        """
        used, size = size, 1 << (size - 1).bit_length()
        for block in self.blocks.setdefault(size, []):
            # A tensor holds the block it stands on; without one, the list, the loop and the question itself do.
            if sys.getrefcount(block) == 3:
                break
        else:
            block = _mapped(size, used)
            self.blocks[size].append(block)
        self.needed.add(id(block))
        return block

    def tidy(self) -> None:
        """Let go of what the last run had no use for."""
        for size, blocks in self.blocks.items():
            self.blocks[size] = [block for block in blocks if id(block) in self.needed]
        self.needed.clear()
        self.derived.clear()


def _c_library_trim() -> Callable[[int], object]:
    """`malloc_trim`, where the C library has it (glibc); elsewhere nothing is done."""
    if sys.platform != "linux":
        return lambda _: None
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)


_trim = _c_library_trim()


def _mapped(size: int, used: int) -> mmap.mmap:
    """Memory fresh from the system, in large pages where it has them: one fault and one look-up instead of 512.

    The last, broken large page stays small: it would be there as a whole as soon as it is touched.
    """
    block = mmap.mmap(-1, size, access=mmap.ACCESS_COPY)  # not to be shared: dearer by far
    if hasattr(mmap, "MADV_HUGEPAGE") and used >= LARGE_PAGE:
        block.madvise(mmap.MADV_HUGEPAGE, 0, used // LARGE_PAGE * LARGE_PAGE)
    return block


class Memory:
    """What a twin keeps from one explanation to the next: the blocks that the last one used, and no more.

    Explanations that run at the same time take one pool each.
    """

    def __init__(self) -> None:
        self._idle: list[_Pool] = []

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return Memory, ()  # a copy, or one in another process, has memory of its own

    def take(self) -> _Pool:
        """A pool for one run."""
        try:
            return self._idle.pop()
        except IndexError:
            return _Pool()

    def give_back(self, pool: _Pool) -> None:
        """Takes a pool back, so that the next run can use it."""
        pool.tidy()
        self._idle.append(pool)


_current: ContextVar[_Pool | None] = ContextVar("lrp3d_buffers", default=None)


@contextmanager
def reused(memory: Memory | None = None) -> Iterator[None]:
    """Inside this block, `empty` hands out again what is no longer used; at its end all goes back, or to `memory`."""
    if _current.get() is not None:
        yield
        return
    memory = Memory() if memory is None else memory
    pool = memory.take()
    token = _current.set(pool)
    try:
        yield
    finally:
        _current.reset(token)
        memory.give_back(pool)


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


def freed(size: int) -> None:
    """Counts bytes that were let go of and did not come from here, and gives them back when they are many."""
    pool = _current.get()
    if pool is not None:
        pool.freed += size
        if pool.freed >= GIVEN_BACK:
            give_back_freed()


def give_back_freed() -> None:
    """Has the C library give the memory of freed tensors back to the system, where it can (glibc's malloc_trim).

    It keeps what lies in pieces between other tensors, as activations do that are let go of one by one. Blocks are
    taken at the same time for what is made of them, and both would be there.
    """
    pool = _current.get()
    if pool is not None:
        pool.freed = 0
        _trim(0)


def derived(what: Hashable, of: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
    """What `make` makes of tensors that stay as they are (a weight, laid out anew): inside `reused()`, made once."""
    pool = _current.get()
    if pool is None:
        return make()
    key = what, tuple(map(id, of))
    if key not in pool.derived:
        pool.derived[key] = of, make()  # the tensors are kept, so that no other gets their ids
    return pool.derived[key][1]
