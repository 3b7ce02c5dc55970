"""Ctrl-C at any moment of a command, also while it imports, which torch and numpy do not survive.

Where KeyboardInterrupt is raised inside of an import, a package is left half imported, an extension ends the process
(SIGABRT), or the interrupt is lost in a callback of C and the command goes on with what it has.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN = 0.02  # seconds after which an interrupt that came inside of an import is tried again
PATIENCE = 10.0  # seconds that it waits at most: a module of one's own may compute for hours where it is imported
FFMPEG = os.path.join("video", "pyav.py")
CALLBACKS = {"read", "seek", "tell"}  # an error of these is printed in full, and FFmpeg takes the file for damaged


@contextmanager
def between_imports() -> Iterator[Interrupts]:
    """Inside this block, Ctrl-C waits for the end of an import, or of a callback of FFmpeg.

    Raises:
        KeyboardInterrupt: as Python does, and at the latest at the end of the block.
    """
    in_main = threading.current_thread() is threading.main_thread()  # elsewhere no handler can be set, and none runs
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield Interrupts(0)  # the program that called, or `nohup`, has a handler of its own
        return
    handler = Interrupts(_not_now(sys._getframe()))
    sys.unraisablehook = handler.lost
    signal.signal(signal.SIGINT, handler)
    try:
        yield handler
    finally:
        signal.signal(signal.SIGINT, handler.note)
        is_due = handler.forget()
        sys.unraisablehook = handler.other_errors
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_due:
        raise KeyboardInterrupt


class Interrupts:
    """A handler of signals that comes back later where an import is under way, or where C would lose the interrupt."""

    def __init__(self, around: int):
        self.around = around
        """How many imports were under way before, in the program that called."""
        self.since: float | None = None
        self.raised: bool = False
        """Whether KeyboardInterrupt was raised; an error that comes after it may be what C made of it."""
        self.timer: threading.Timer | None = None
        self.other_errors: Callable[[Any], object] = sys.unraisablehook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raises KeyboardInterrupt, now or later."""
        self.note(number, frame)
        assert self.since is not None
        if _not_now(frame) > self.around and time.monotonic() - self.since < PATIENCE:
            self._again()
            return
        self.since, self.raised = None, True
        raise KeyboardInterrupt

    def lost(self, unraisable: Any) -> None:
        """A hook for errors that C cannot pass on, as in the callbacks by which FFmpeg reads a file."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            self.note(signal.SIGINT, None)
            self._again()
        else:
            self.other_errors(unraisable)

    def _again(self) -> None:
        self._stop()
        self.timer = threading.Timer(AGAIN, _interrupt_main)
        self.timer.daemon = True
        self.timer.start()

    def note(self, number: int, _: FrameType | None) -> None:
        """Remembers that an interrupt came, and does nothing."""
        self.since = time.monotonic() if self.since is None else self.since

    def forget(self) -> bool:
        """Stops waiting; returns whether an interrupt is due."""
        self._stop()
        return self.since is not None

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer.join()
            self.timer = None


def _not_now(frame: FrameType | None) -> int:
    """How many frames around this one bear no interrupt: those of Python's import system, and callbacks of FFmpeg."""
    count = 0
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        count += file.startswith("<frozen importlib.") or (file.endswith(FFMPEG) and name in CALLBACKS)
        frame = frame.f_back
    return count


def _interrupt_main() -> None:
    """Sends Ctrl-C once more, so that the main thread wakes up if it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
