"""On a CPU, large results are written into memory that was used before; tensors derived from weights are made once.

The C library returns large blocks to the system when they are freed and requests them again page by page, which costs
as much as the arithmetic done in them. A GPU's allocator keeps its memory; there, and outside of `reused()`, `empty`
is `torch.empty`.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

BLOCK = 2**17  # values that are taken through all passes at once, so that what lies between stays in a core's cache
SMALLEST = 2**20  # bytes; smaller tensors come from the heap, which keeps their memory
HUGE_PAGE = 2**21
GROWTH = 2**26  # bytes that a pool may grow by before the C library is asked to give freed memory back
FAR_LARGER = 8  # values of a kernel for each that it is applied to; copies of such kernels take most of the memory


class _Block:
    """Memory that one tensor at a time uses, with all of its views.

    A tensor is made of a memoryview of the block and keeps it alive: the block is free when that memoryview is gone.
    Counts of references would tell as well, but not in the same way in every version of Python.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._view: weakref.ref[memoryview] | None = None

    def is_free(self) -> bool:
        """Whether no tensor uses it."""
        return self._view is None or self._view() is None

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised tensor in this memory."""
        view = memoryview(self._memory)
        self._view = weakref.ref(view)
        return torch.frombuffer(view, dtype=dtype, count=math.prod(shape)).view(tuple(shape))


class _Pool:
    """Memory blocks; a block is free again as soon as no tensor uses it. Several threads may take some."""

    def __init__(self) -> None:
        self._taking = threading.Lock()
        self.blocks: dict[int, list[_Block]] = {}
        self.needed: set[int] = set()
        self.grown: int = 0
        self.derived: dict[tuple[Hashable, tuple[int, ...]], tuple[Sequence[Tensor], Tensor]] = {}

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """An uninitialised tensor in a free block."""
        with self._taking:
            return self._take(math.prod(shape) * dtype.itemsize).tensor(shape, dtype)

    def _take(self, size: int) -> _Block:
        """A free block that is large enough, or a new one.

        The sizes are powers of two, so that an explanation can reuse the blocks of a similar one; pages that were never
        written to take up no memory.
        """
        bytes_used, size = size, 1 << (size - 1).bit_length()
        blocks = self.blocks.setdefault(size, [])
        block = next((block for block in blocks if block.is_free()), None)
        if block is None:
            self._make_room(size)
            block = _Block(_new_memory(size, bytes_used))
            blocks.append(block)
        self.needed.add(id(block))
        return block

    def _make_room(self, size: int) -> None:
        """Has the C library return freed memory to the system, every now and then while the pool grows.

        It keeps pieces that lie between other tensors, as activations do that are freed one by one while new blocks are
        taken for what is computed from them: the process would hold both. A pool that is used again does not grow, and
        nothing is returned, because the next forward pass would have to fetch it anew, page by page.
        """
        self.grown += size
        if self.grown >= GROWTH:
            self.grown = 0
            _trim(0)

    def tidy(self) -> None:
        """Frees the blocks that the last run did not use, and all derived tensors."""
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


def _new_memory(size: int, bytes_used: int) -> mmap.mmap:
    """New memory from the system, in huge pages where there are any: one fault and one look-up instead of 512.

    What is used of the last page does not fill it. It gets small pages, as a huge one would be taken as a whole.
    """
    block = mmap.mmap(-1, size, access=mmap.ACCESS_COPY)  # private: shared memory costs far more
    if hasattr(mmap, "MADV_HUGEPAGE") and bytes_used >= HUGE_PAGE:
        block.madvise(mmap.MADV_HUGEPAGE, 0, bytes_used // HUGE_PAGE * HUGE_PAGE)
    return block


class Memory:
    """The memory that a twin keeps from one explanation to the next: the blocks that the last one used, and no more.

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
    """Lets `empty` reuse memory inside this block; at its end the memory is freed, or kept in `memory` if given."""
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
    """An uninitialised tensor of this shape, with the type and on the device of `like`.

    >>> import torch
    >>> empty((2, 3), torch.ones(1)).shape
    torch.Size([2, 3])
    """
    pool = _current.get()
    size = math.prod(shape) * like.element_size()
    if pool is None or size < SMALLEST or like.device.type != "cpu":
        return like.new_empty(shape)
    return pool.tensor(shape, like.dtype)


def is_far_larger(kernel: Tensor, applied_to: Tensor) -> bool:
    """Whether a kernel is so large beside what it is applied to that a copy of it does not pay."""
    return kernel.numel() > FAR_LARGER * applied_to.numel()


def derived(name: Hashable, sources: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
    """The result of `make` (such as a weight in another layout); inside `reused()`, once per `name` and `sources`.

    Of two that threads make at the same time, which are equal, one stays.
    """
    pool = _current.get()
    if pool is None:
        return make()
    key = name, tuple(map(id, sources))
    if key not in pool.derived:
        pool.derived[key] = sources, make()  # keeps the tensors alive, so that no others get their ids
    return pool.derived[key][1]
