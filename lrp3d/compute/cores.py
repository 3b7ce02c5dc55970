"""Independent computations at the same time, each on its share of a CPU's cores.

One core runs Python while the others wait for the next operation, and small operations are not worth dividing. So
several whole computations at once keep more cores busy than one after the other, each on all cores.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from lrp3d.forks import renewed_in_children

T = TypeVar("T")
_lock, _callers = threading.Lock(), list[int]()


@renewed_in_children
def _renew() -> None:
    global _lock
    _lock = threading.Lock()
    _callers.clear()


MOST = 4  # each takes memory for what it computes


def at_once(device: torch.device) -> int:
    """How many computations may run at the same time; one on a GPU, or where a mode counts the caller's operations."""
    if device.type != "cpu" or _get_current_dispatch_mode() is not None:
        return 1
    return min(MOST, torch.get_num_threads())


def results_of(tasks: Sequence[Callable[[], T]], at_once: int) -> Generator[T, None, None]:
    """Yields the results of independent tasks, in their order.

    Args:
        tasks: what is computed; they may share what they only read.
        at_once: how many of them run at the same time. If the tasks do not divide evenly, the remainder runs first, one
            at a time on all cores.
    """
    alone = len(tasks) if at_once == 1 else len(tasks) % at_once
    for task in tasks[:alone]:
        yield task()
    if alone == len(tasks):
        return
    with _lock:
        # Torch keeps the number of threads for each thread, and the last one that was set for threads still to come. So
        # while workers of another caller have a share each, the number is that which this caller found.
        threads = _callers[0] if _callers else torch.get_num_threads()
        _callers.append(threads)
    executor = ThreadPoolExecutor(at_once, "lrp3d", initializer=torch.set_num_threads, initargs=(threads // at_once,))

    def submit(task: Callable[[], T]) -> Future[T]:
        return executor.submit(contextvars.copy_context().run, task)

    try:
        waiting = iter(tasks[alone:])
        running = deque(map(submit, islice(waiting, at_once + 1)))  # results that nobody has fetched take memory
        while running:
            result = running.popleft().result()
            running.extend(map(submit, islice(waiting, 1)))
            yield result
    finally:
        executor.shutdown(cancel_futures=True)
        with _lock:
            _callers.pop()
            torch.set_num_threads(threads)
