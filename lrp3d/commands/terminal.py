"""Errors as a person at a terminal reads them, one line on stderr; and whether there is a terminal."""

from __future__ import annotations

import importlib.util
import sys

from lrp3d.commands.spelling import as_options
from lrp3d.printed import opening, say

TRACEBACK = "LRP3D_TRACEBACK"
"""The environment variable that asks for the traceback of an error instead."""


def complain(sentence: str) -> None:
    """Print a sentence on stderr, where it never mixes with results."""
    say(f"lrp3d: {sentence}", stream=sys.stderr)


def one_line(error: BaseException, items: int = 3) -> str:
    """The message of an error on one line; of a list, only the first items and how many follow.

    Where the message names a call or an argument of Python, the command or option that does the same is named instead.
    """
    return as_options(_line(error, items))


_OWN = (ValueError, ImportError, OSError, NotImplementedError, FloatingPointError)


def _line(error: BaseException, items: int) -> str:
    if _out_of_memory(error):
        return "out of memory: ask for fewer --frames or a smaller --size"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    listed = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    rest = [line for line in lines if not line.startswith("- ")]
    if not rest:
        return type(error).__name__
    # The type of an error matters only if the error is not one of lrp3d's own, whose messages are whole sentences.
    kind = "" if isinstance(error, _OWN) else type(error).__name__
    first = rest[0] if listed else opening(error)
    head = f"{kind}: {first}" if kind else first
    if not listed:
        return head
    more = [f"and {len(listed) - items} more"] if len(listed) > items else []
    return f"{head.rstrip(':.')}: {'; '.join(listed[:items] + more)}"


def _out_of_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules:  # whose import would take longer than saying what is wrong
        return isinstance(error, MemoryError)
    from lrp3d.out_of_memory import is_out_of_memory

    return is_out_of_memory(error)


def shows_progress() -> bool:
    """Whether stderr is a terminal and tqdm is installed, so that a progress bar can be shown."""
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
