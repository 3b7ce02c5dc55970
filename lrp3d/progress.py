"""Progress bars, shown only on request, and what is said of long runs where none is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from lrp3d.extras import missing

T = TypeVar("T")

LONG = 20.0
"""Seconds after which it is said how long a run will take."""


@dataclass
class _Listener:
    """Who is told of long runs, and of which kinds it has been told."""

    say: Callable[[str], None]
    told: set[str] = field(default_factory=set)


_listener: ContextVar[_Listener | None] = ContextVar("listener", default=None)


@contextmanager
def told_of_long_runs(say: Callable[[str], None]) -> Iterator[None]:
    """Has `say` called, once for each kind of run, with how long a run without a bar will take if it takes long."""
    token = _listener.set(_Listener(say))
    try:
        yield
    finally:
        _listener.reset(token)


def bar(items: Iterable[T], unit: str, wanted: bool, label: str = "explaining") -> Iterable[T]:
    """The items, with a progress bar on stderr if `wanted`; raises ImportError with a command if tqdm is missing.

    Args:
        items: what is gone through.
        unit: what one item is called.
        wanted: whether a bar is shown.
        label: what is done with the items; it stands before the bar.
    """
    if not wanted:
        return _timed(items, unit, label)
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise missing("tqdm", "progress=True") from None
    shown: Iterable[T] = tqdm(items, label, unit=unit)
    return shown


def _timed(items: Iterable[T], unit: str, label: str) -> Iterable[T]:
    """The items; who listens is told how long all of them will take, once that is known to be long."""
    listener = _listener.get()
    if listener is None or not isinstance(items, Sized):
        return items
    return _told(items, len(items), unit, label, listener)


def _told(items: Iterable[T], total: int, unit: str, label: str, listener: _Listener) -> Iterator[T]:
    started = time.monotonic()
    for done, item in enumerate(items):
        seconds = time.monotonic() - started
        if done and seconds > LONG and label not in listener.told:
            listener.told.add(label)
            listener.say(
                f"{label}: {done:,} of {total:,} {unit}s took {in_words(seconds)}, so that all of them take about "
                f"{in_words(seconds * total / done)}"
            )
        yield item


def in_words(seconds: float) -> str:
    """A length of time for people.

    >>> in_words(40.2), in_words(600), in_words(9000), in_words(1e6)
    ('40 s', '10 minutes', '2.5 hours', '12 days')
    """
    for size, unit in ((1, "s"), (60, "minutes"), (3600, "hours")):
        if seconds < 2 * 60 * size:
            digits = 0 if size == 1 or seconds >= 10 * size else 1
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86400:.0f} days"
