"""Where a command speaks to: what it does must not depend on who listens."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

NOBODY_READS = (errno.EPIPE, errno.EBADF)  # `| head` has seen enough; the stream was closed


class StandardStream:
    """A stream that goes on without a word when its reader has gone, and remembers any other reason to fail."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._gone = stream is None
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Pass the text on as long as somebody takes it."""
        self._forward("write", text)
        return len(text)

    def flush(self) -> None:
        """Pass on what was held back."""
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
        except UnicodeEncodeError:  # a stream that could not be told to replace letters that it does not know
            self._forward(method, *(text.encode("ascii", "backslashreplace").decode() for text in arguments))
        except (OSError, ValueError) as error:  # ValueError: the stream was closed by Python itself
            self._gone = True
            if isinstance(error, OSError) and error.errno not in NOBODY_READS:
                self.failure = error
            self._drain()

    def _drain(self) -> None:
        """Let what is still in the buffer go nowhere, or Python tries to write it once more at its end."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, self._stream.fileno())
            os.close(null_device)


@contextlib.contextmanager
def standard_streams() -> Iterator[StandardStream]:
    """Speak through streams of our own on stdout (which is returned) and stderr for as long as this lasts."""
    _open_what_is_closed()
    stdout, stderr = sys.stdout, sys.stderr
    for stream in (stdout, stderr):
        # A letter that the terminal does not know is no reason to lose results.
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
    """Give closed standard streams a place, or the first files that are opened would be taken for them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
