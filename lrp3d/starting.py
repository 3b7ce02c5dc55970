"""A worker process that is not forked imports the script that was started: importing that script must run nothing."""

from __future__ import annotations

import multiprocessing
import sys

__all__ = ["START_FAILED", "check_start", "leave_if_starting", "not_started"]

START_FAILED = (ConnectionError, EOFError)
"""What starting a process raises if the server that forks it ended first, as it does where it imports a script."""


def not_started(what: str, workers: int, alone: str) -> RuntimeError:
    """The error of a script without a guard.

    Args:
        what: what the processes were to do.
        workers: how many processes were asked for.
        alone: what this process does with workers=0.
    """
    return RuntimeError(
        f"{what} by other processes (workers={workers}), and the first of them ended before it read any: each of them "
        "imports the script that was started, and an import must run nothing; put what the script runs below "
        f"`if __name__ == '__main__':`, or {alone} in this process with workers=0"
    )


def leave_if_starting() -> None:
    """Ends this process without a word if another one just started it, and it is only importing its script yet.

    The process that started it sees that it ended, and says why.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)


def check_start(what: str, workers: int, alone: str) -> None:
    """Starts a process that does nothing, as others will be started.

    Args:
        what: as in `not_started`.
        workers: as in `not_started`; with 0, nothing is started.
        alone: as in `not_started`.

    Raises:
        RuntimeError: it did not come up, as in a script without ``if __name__ == "__main__":``.
    """
    if not workers:
        return
    leave_if_starting()
    if multiprocessing.get_start_method() == "fork" or not hasattr(sys.modules["__main__"], "__file__"):
        return  # no script is imported
    process = multiprocessing.Process(target=_nothing)
    try:
        process.start()
    except START_FAILED:
        raise not_started(what, workers, alone) from None
    process.join()
    if process.exitcode:
        raise not_started(what, workers, alone)


def _nothing() -> None:
    """Does nothing: all that can fail is the start of its process."""
