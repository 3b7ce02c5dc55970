"""Shows how far a run is: as a bar on a terminal, else as a line from time to time."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any

from lrp3d.printed import counted, say

__all__ = ["Pace"]

EVERY = 60  # seconds between lines


class Pace:
    """Counts clips on stderr, with their rate and the time that is left.

    Args:
        total: how many clips there are, including those that were done before the run.
        before: how many were done before the run.
        name: a text in front, such as "shard 1 of 4".
        shown: False shows nothing.
    """

    def __init__(self, total: int, before: int = 0, name: str = "", shown: bool = True):
        self.total = total
        self.done: int = 0
        self.failed: int = 0
        self.name = name
        self.shown = shown
        self.before = before
        self.started: float = time.monotonic()
        self.said: float = self.started
        self.bar: Any = None
        if shown and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=before, unit="clip", desc=name or "explaining", smoothing=0.05)

    def step(self, done: int = 0, failed: int = 0) -> None:
        """Counts clips that were done, or that failed."""
        self.done += done
        self.failed += failed
        if self.bar is not None:
            self.bar.update(done + failed)
            if self.failed:
                self.bar.set_postfix_str(f"{self.failed} failed", refresh=False)
        elif self.shown and time.monotonic() - self.said > EVERY:
            self.said = time.monotonic()
            say(self.line(time.monotonic() - self.started), stream=sys.stderr)

    def line(self, seconds: float) -> str:
        """Returns the line to show after so many seconds.

        >>> pace = Pace(20_000, before=50, shown=False)
        >>> pace.step(done=150, failed=1)
        >>> pace.line(60.0)
        '201 of 20000 clips, 2.52 clips/s, 2:11:07 left, 1 failed'
        """
        worked = self.done + self.failed
        reached = self.before + worked
        rate = worked / seconds if seconds else 0.0
        parts = [f"{reached} of {counted(self.total, 'clip')}", f"{rate:.3g} clips/s"]
        if rate:
            left = round((self.total - reached) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return (f"{self.name}: " if self.name else "") + ", ".join(parts)

    def close(self) -> None:
        """Closes the bar, because nothing more will come."""
        if self.bar is not None:
            self.bar.close()
