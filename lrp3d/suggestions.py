"""Suggests a known name for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean"]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A question to add to an error sentence, or an empty text if no known name is close.

    >>> did_you_mean("explian", ["explain", "study"]), did_you_mean("vit", ["explain"])
    ('; did you mean explain?', '')
    """
    names = {name.lower(): name for name in choices}
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.7)
    return f"; did you mean {names[close[0]]}?" if close and names[close[0]] != word else ""
