"""Cases in a process of their own, which may crash, hang or take all memory: that is a finding, and the next begins."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.judging import Outcome, run_case
from benchmarks.fuzzing.kinds import KINDS, kind_of

Serve = Callable[[Connection, int], None]
"""What the process does with the numbers of cases that come, and a seed."""
MOST_MEMORY = 2**30  # bytes that the process may grow by: seeds have kilobytes
_CEILING = 8 * 2**30  # bytes of addresses beyond what it has, so that the machine does not pay for a finding
_START = 300.0  # seconds that imports and seeds may take


def serve(pipe: Connection, seed: int) -> None:
    """Run the cases that come, until none does."""
    warm_up()
    _limit_addresses()
    pipe.send(peak())
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            case = pipe.recv()
            with tempfile.TemporaryDirectory() as folder:
                outcome = run_case(kind_of(case), seed, case, Path(folder))
            pipe.send(replace(outcome, peak=peak()))


def warm_up() -> None:
    """Make all seeds and run a case of each kind: what loads lazily is loaded, and costs no case its memory or time."""
    for case, kind in enumerate(KINDS):
        with tempfile.TemporaryDirectory() as folder:
            run_case(kind, -1, case, Path(folder))


def peak() -> int:
    """Bytes: the most memory that this process ever had."""
    with suppress(OSError, StopIteration):  # ru_maxrss of Linux begins with the parent's
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _limit_addresses() -> None:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize:"))
        resource.setrlimit(resource.RLIMIT_AS, (now + _CEILING, now + _CEILING))


class Child:
    """A process that runs cases, started again whenever it has to be."""

    def __init__(self, seed: int, limit: float, most_memory: int = MOST_MEMORY, serve: Serve = serve):
        self.seed = seed
        self.limit = limit
        self.most_memory = most_memory
        self.serve = serve
        self.grown = 0
        """Bytes: the most that any process has grown by, from what it took with all seeds read."""
        self.greediest: int | None = None
        """The case in which that happened."""
        self._process: Any = None
        self._pipe: Any = None
        self._base = 0

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def run(self, case: int) -> Outcome:
        """What comes of a case, a crash and a hang included."""
        if self._process is None:
            self._start()
        self._pipe.send(case)
        try:
            if not self._pipe.poll(self.limit):
                self.stop()
                return _finding(case, f"no end after {self.limit:g} s", self.limit)
            outcome: Outcome = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join(10)
            code = self._process.exitcode
            self.stop()
            return _finding(case, f"the process died of {_name(code)}")
        return self._with_memory(outcome)

    def _with_memory(self, outcome: Outcome) -> Outcome:
        grown = outcome.peak - self._base
        if grown > self.grown:
            self.grown, self.greediest = grown, outcome.case
        if grown <= self.most_memory:
            return outcome
        self.stop()  # a peak never falls: the next case begins without
        return replace(outcome, findings=(*outcome.findings, f"memory grew by {grown / 2**20:,.0f} MiB"))

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=self.serve, args=(theirs, self.seed), daemon=True)
        self._process.start()
        theirs.close()
        try:
            if not self._pipe.poll(_START):
                raise TimeoutError(f"the seeds are not made after {_START:g} s")
            self._base = self._pipe.recv()
        except (EOFError, TimeoutError) as error:
            self.stop()
            raise RuntimeError("the process that runs the cases does not begin") from error

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _finding(case: int, description: str, seconds: float = 0.0) -> Outcome:
    return Outcome(kind_of(case).name, case, (description,), seconds=seconds)


def _name(code: int | None) -> str:
    """What an exit code means."""
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
