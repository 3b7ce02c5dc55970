"""What a command does when it is told to end.

Schedulers of clusters do so before they kill (SIGTERM), and terminals when they close (SIGHUP).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from lrp3d.commands.terminal import complain

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


@contextmanager
def ends_in_order(what_next: str) -> Iterator[None]:
    """Inside this block these signals leave as Ctrl-C does, so that processes and their semaphores are put away.

    Args:
        what_next: what a person can do after it, for the line that is printed.

    Raises:
        SystemExit: the process was told to end; the code is the one that shells give, 128 + the signal's number.
    """
    # Elsewhere no handler can be set; and the program that called, or `nohup`, may have one of its own.
    in_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in SIGNALS if in_main and signal.getsignal(number) == signal.SIG_DFL]
    told: list[signal.Signals] = []

    def end(number: int, _: FrameType | None) -> None:
        _leave_to_system(ours)  # a second one ends at once
        told.append(signal.Signals(number))
        raise SystemExit(128 + number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    except SystemExit:
        if told:
            with suppress(OSError):  # the terminal may be gone
                complain(f"told to end ({told[0].name}): {what_next}")
        raise
    finally:
        _leave_to_system(ours)


def _leave_to_system(numbers: list[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
