"""Reading ahead: a reader that dies, hangs or is not asked loses no other clip."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lrp3d

from lrp3d.study import Failure, ahead
from lrp3d.study.running import prefetch


def square(number):
    if number in (2, 3):
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 4:
        raise ValueError("four\n  is bad.\nThat is all.")
    return number**2


def test_a_reader_that_kills_its_process_is_found_and_no_other_clip_is_lost():
    results = dict(ahead(square, range(8), workers=2, depth=4))
    assert list(results) == list(range(8))
    assert all(results[number] == number**2 for number in (0, 1, 5, 6, 7))
    assert "process that read it died" in results[2].reason
    assert "process that read it died" in results[3].reason
    assert results[4] == Failure("four is bad.")


def waiting(number):
    if number == 2:
        time.sleep(60)
    return number


def test_a_reader_that_hangs_is_given_up_and_no_other_clip_is_lost():
    began = time.monotonic()
    results = dict(ahead(waiting, range(5), workers=2, depth=4, timeout=2.0))
    assert time.monotonic() - began < 50
    assert [results[number] for number in (0, 1, 3, 4)] == [0, 1, 3, 4]
    assert "hung (2 s)" in results[2].reason


def test_no_more_is_read_ahead_than_asked_for():
    taken = []

    def tasks():
        for number in (0, 1, 5, 6, 7, 8):
            taken.append(number)
            yield number

    results = ahead(square, tasks(), workers=1, depth=3)
    next(results)
    assert len(taken) == 3
    results.close()


@pytest.mark.slow
@pytest.mark.parametrize("guarded", [False, True])
def test_a_script_that_runs_when_it_is_imported_is_told_so_and_no_clip_is_blamed(guarded, tmp_path):
    """Processes that read import the script that was started: without a guard each would start others."""
    call = "print(*ahead(int, ['1', '2'], workers=2))"
    guard = "if __name__ == '__main__': "
    script = tmp_path / "script.py"
    script.write_text(f"from lrp3d.study import ahead\n{guard * guarded}{call}\n")
    where = os.pathsep.join([str(Path(lrp3d.__file__).parent.parent), *filter(None, sys.path)])
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": where}
    )
    if guarded:
        assert ended.stdout == "('1', 1) ('2', 2)\n"
        assert ended.returncode == 0
        return
    assert ended.stdout == ""
    assert ended.returncode == 1
    said = ended.stderr.strip().splitlines()[-1]
    assert said.startswith("RuntimeError: clips were to be read ahead by other processes (workers=2)")
    assert said.endswith(
        "put what the script runs below `if __name__ == '__main__':`, or read in this process with workers=0"
    )
    assert ended.stderr.count("Traceback") == 1, "the processes that were started say nothing"


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals are not held back here")
def test_an_interrupt_while_processes_start_comes_once_they_have_started():
    """A process that was asked for and is not known yet could not be waited for, and would find its parent gone."""
    steps = []

    def start():
        with prefetch._interrupts_later():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("started")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["started"]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals are not held back here")
def test_an_interrupt_that_is_ignored_stays_ignored_while_processes_start():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with prefetch._interrupts_later():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
