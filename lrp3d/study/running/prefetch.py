"""Reads ahead: worker processes prepare the next clips while the model explains the current one.

A decoder can crash and take its process with it, and a decoder that hangs is ended together with its process. So every
clip is one task of a pool. Where a process dies, the clips that were lost with it are read again one by one, each in a
process of its own, and the clip that kills its process once more is to blame.

The processes are not forked from this one, which may hold a GPU and threads. They come from a server process that has
imported what they need and nothing else, so that they start at once and share its memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lrp3d.defaults import TIMEOUT
from lrp3d.printed import opening
from lrp3d.starting import START_FAILED, leave_if_starting, not_started

__all__ = ["Failure", "ahead"]

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """One line that says why a clip could not be read.

    Given by `ahead` in the place of a result.

    >>> Failure("a.mp4 is not a video").reason
    'a.mp4 is not a video'
    """

    reason: str


def ahead(
    read: Callable[[Task], Result], tasks: Iterable[Task], workers: int = 0, depth: int = 1, timeout: float = TIMEOUT
) -> Generator[tuple[Task, Result | Failure], None, None]:
    """Yields results in the order of the tasks while worker processes prepare the next ones.

    Args:
        read: the function that handles a task; it, the tasks and the results are sent between processes.
        tasks: taken from the iterable as they are needed.
        workers: how many processes read; with 0, this process reads when a result is asked for.
        depth: at most how many tasks are under way or waiting, which bounds memory.
        timeout: seconds that a worker process may take for one task; without workers there is no limit.

    Yields:
        Each task with its result, or with a `Failure` if reading it raised an error, killed its process or took too
        long.

    Raises:
        ImportError: a package that reading needs is missing, which concerns every clip.
        RuntimeError: no process could start, as in a script without ``if __name__ == "__main__":``.

    >>> list(ahead(int, ["1", "two"]))
    [('1', 1), ('two', Failure(reason="invalid literal for int() with base 10: 'two'"))]
    """
    if workers == 0:
        for task in tasks:
            yield task, _attempt(read, task)
        return
    waiting: deque[tuple[Task, Future[Any] | None]] = deque()
    rest = iter(tasks)
    pool = _Pool(read, workers, timeout)
    try:
        while True:
            for task in rest:
                waiting.append((task, pool.submit(task)))
                if len(waiting) >= max(depth, workers):
                    break
            if not waiting:
                return
            task, future = waiting.popleft()
            try:
                result = future.result() if future else pool.alone(task)
            except BrokenProcessPool:
                result = pool.alone(task)
                # The task to blame is among the lost ones, so none of these shares a process again.
                waiting = deque((task, None if _is_lost(future) else future) for task, future in waiting)
                pool.restart()
            yield task, result
    finally:
        pool.close()


def _is_lost(future: Future[Any] | None) -> bool:
    return future is None or not future.done() or isinstance(future.exception(), BrokenProcessPool)


class _Pool(Generic[Task, Result]):
    """Worker processes that can be replaced."""

    def __init__(self, read: Callable[[Task], Result], workers: int, timeout: float):
        self.read, self.workers, self.timeout = read, workers, timeout
        leave_if_starting()
        self.executor = self._executor(workers)
        try:  # before any clip is blamed for the death of a process that never looked at it
            with _interrupts_later():  # a process that was asked for and is not known could not be waited for
                started = self.executor.submit(_start)
            started.result()
        except (BrokenProcessPool, *START_FAILED):
            self.close()
            raise not_started("clips were to be read ahead", workers, "read") from None
        except BaseException:  # an interrupt: what is starting would find its parent gone
            self.close()
            raise

    def _executor(self, workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(workers, mp_context=_context(), initializer=_start_worker)

    def submit(self, task: Task) -> Future[Any] | None:
        """Returns the task's future, or None if the pool is broken, which shows when a result is asked for."""
        try:
            return self.executor.submit(_attempt_in_time, self.read, task, self.timeout)
        except BrokenProcessPool:
            return None

    def alone(self, task: Task) -> Result | Failure:
        """Returns the result of a task that runs in a process of its own."""
        with self._executor(1) as executor:
            try:
                return executor.submit(_attempt_in_time, self.read, task, self.timeout).result()
            except BrokenProcessPool:
                return Failure(
                    f"the process that read it died: the decoder crashed, hung ({self.timeout:g} s), or memory ran out"
                )

    def restart(self) -> None:
        """Starts new processes in place of those that died."""
        self.close()
        self.executor = self._executor(self.workers)

    def close(self) -> None:
        """Ends all processes."""
        self.executor.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    """The first task of a pool, at which nothing but the start of its process can fail."""


def _attempt(read: Callable[[Task], Result], task: Task) -> Result | Failure:
    try:
        return read(task)
    except ImportError:
        raise
    except Exception as error:
        reason = opening(error)
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return Failure(f"{kind}{reason}" if reason else type(error).__name__)


def _attempt_in_time(read: Callable[[Task], Result], task: Task, timeout: float) -> Result | Failure:
    """Ends the process when time is up, because nothing else stops a decoder that hangs."""
    watch = threading.Timer(timeout, os._exit, (1,))
    watch.daemon = True
    watch.start()
    try:
        return _attempt(read, task)
    finally:
        watch.cancel()


def _context() -> multiprocessing.context.BaseContext:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["lrp3d.study.running.reader"])
        multiprocessing.resource_tracker.ensure_running()  # which would let interrupts through again
        with _interrupts_later():
            multiprocessing.forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Holds Ctrl-C back inside this block; processes that start there never get it, and leave it to this one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()  # elsewhere no handler can be set, and none runs
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number)) if in_main else None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which processes take over that start here
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if in_main:
            signal.signal(signal.SIGINT, handler)
    if held:
        signal.raise_signal(signal.SIGINT)


def _start_worker() -> None:
    """Gives each process one thread, leaves interrupts to the parent, and ends the process when the parent dies."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
