"""What a command does when it is told to end (SIGTERM), as schedulers of clusters do before they kill."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lrp3d.commands.terminal import complain


@contextmanager
def ends_in_order(what_next: str) -> Iterator[None]:
    """Inside this block SIGTERM leaves as Ctrl-C does, so that processes and their semaphores are put away.

    Args:
        what_next: what a person can do after it, for the line that is printed.

    Raises:
        SystemExit: the process was told to end; the code is the one that shells give, 128 + 15.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield  # elsewhere no handler can be set, or the program that called has one of its own
        return

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends at once
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except SystemExit:
        complain(f"told to end (SIGTERM): {what_next}")
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
