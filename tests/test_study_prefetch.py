"""Reading ahead: a reader that dies, hangs or is not asked loses no other clip."""

import os
import signal
import time


from lrp3d.study import Failure, ahead


def square(number):
    if number in (2, 3):
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 4:
        raise ValueError("four\nis bad")
    return number**2


def test_a_reader_that_kills_its_process_is_found_and_no_other_clip_is_lost():
    results = dict(ahead(square, range(8), workers=2, depth=4))
    assert list(results) == list(range(8))
    assert all(results[number] == number**2 for number in (0, 1, 5, 6, 7))
    assert "process that read it died" in results[2].reason
    assert "process that read it died" in results[3].reason
    assert results[4] == Failure("four")


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
