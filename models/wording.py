"""What a file says, as a message may repeat it."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    return shown((str(error).splitlines() or [""])[0], 300) or type(error).__name__


def shown(name: object, most: int = 100) -> str:
    """A name from a file: on one line, nothing that a terminal obeys, and not too long.

    >>> shown("conv\\n.weight")
    'conv\\\\n.weight'
    """
    text = str(name)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= most else f"{text[:most]}..."
