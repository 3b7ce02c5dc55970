"""Standard output and error of a command, whose work must not depend on who reads them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

NOBODY_READS = (errno.EPIPE, errno.EBADF)  # the reader (such as `| head`) has gone; the stream was closed


class StandardStream:
    """A stream that ignores that its reader has gone, and remembers any other failure to write."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._gone = stream is None
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write the text unless an earlier write has failed."""
        self._forward("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush the buffer unless an earlier write has failed."""
        self._forward("flush")

    def isatty(self) -> bool:
        """Whether a person reads the stream at a terminal."""
        return not self._gone and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _forward(self, method: str, *arguments: str) -> None:
        if self._gone:
            return
        try:
            getattr(self._stream, method)(*arguments)
        except UnicodeEncodeError:  # the stream could not be set to escape letters that its encoding lacks
            self._forward(method, *(text.encode("ascii", "backslashreplace").decode() for text in arguments))
        except (OSError, ValueError) as error:  # ValueError: the stream was closed by Python itself
            self._gone = True
            if isinstance(error, OSError) and error.errno not in NOBODY_READS:
                self.failure = error
            self._drain()

    def _drain(self) -> None:
        """Discard what is still in the buffer, which Python would try to write once more when it exits."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, self._stream.fileno())
            os.close(null_device)


@contextlib.contextmanager
def standard_streams() -> Iterator[StandardStream]:
    """Replace stdout (which is returned) and stderr by streams of ours inside this block."""
    _open_what_is_closed()
    stdout, stderr = sys.stdout, sys.stderr
    for stream in (stdout, stderr):
        # A letter that the terminal's encoding lacks must not cost results.
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = outlet, errors = StandardStream(stdout), StandardStream(stderr)
    try:
        yield outlet
    finally:
        outlet.flush()
        errors.flush()
        sys.stdout, sys.stderr = stdout, stderr


def _open_what_is_closed() -> None:
    """Open closed standard streams on the null device, or the next files to be opened would take their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # opens the lowest free number, which is this one
