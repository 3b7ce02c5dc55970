"""What a person at a terminal reads when something goes wrong: one line, on stderr."""

from __future__ import annotations

import sys

from lrp3d.printed import opening, say

TRACEBACK = "LRP3D_TRACEBACK"
"""The environment variable that asks for the traceback of an error instead."""


def complain(sentence: str) -> None:
    """Say something on stderr, where it never mixes with results."""
    say(f"lrp3d: {sentence}", stream=sys.stderr)


def one_line(error: BaseException, items: int = 3) -> str:
    """What an error says, on one line: of a list the first few items and how many follow."""
    if _out_of_memory(error):
        return "out of memory: ask for fewer --frames or a smaller --size"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    listed = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    rest = [line for line in lines if not line.startswith("- ")]
    if not rest:
        return type(error).__name__
    # Our own errors are written to be read; of others the kind is half of what they say.
    kind = "" if isinstance(error, (ValueError, ImportError, OSError, NotImplementedError)) else type(error).__name__
    first = rest[0] if listed else opening(error)
    head = f"{kind}: {first}" if kind else first
    if not listed:
        return head
    more = [f"and {len(listed) - items} more"] if len(listed) > items else []
    return f"{head.rstrip(':.')}: {'; '.join(listed[:items] + more)}"


def _out_of_memory(error: BaseException) -> bool:
    full = isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))
    return full or isinstance(error, MemoryError)
