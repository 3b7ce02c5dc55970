"""Folds text into lines of a given width, measured by the widths of its letters."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["folded"]

WITHOUT_BLANKS = "[\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"  # Chinese, Japanese, Korean

ORPHAN = 0.25  # of the width: a shorter last line looks as if it had been lost
NARROWER = (0.95, 0.9, 0.85, 0.8, 0.75)  # widths that are tried against that


def folded(text: str, width: float, lines: int, width_of: Callable[[str], float] = len) -> str:
    """Text folded into lines no wider than `width`; if they are too few for it, the last one ends with an ellipsis.

    Args:
        text: its line breaks are kept.
        width: of a line, in the unit of `width_of`.
        lines: the largest number of lines.
        width_of: how wide one letter is; by default a letter counts one.

    >>> print(folded("making a very long cake", 12, lines=6))
    making a
    very long
    cake
    >>> print(folded("they have 0 %.", 12, lines=6))
    they have
    0 %.
    >>> folded("a" * 30, 10, lines=2)
    'aaaaaaaaaa\\naaaaaaaaa…'
    """
    text = text[: 500 * lines]  # wider than any figure
    pieces = [line for paragraph in text.split("\n") for line in _without_orphan(paragraph, width, width_of)]
    if len(pieces) <= lines:
        return "\n".join(pieces)
    last = pieces[lines - 1]
    while last and sum(map(width_of, f"{last}…")) > width:
        last = last[:-1]
    return "\n".join([*pieces[: lines - 1], f"{last}…"])


def _without_orphan(text: str, width: float, width_of: Callable[[str], float]) -> list[str]:
    """Folds a paragraph; if little of it is left for the last line, into lines that are narrower, but as many."""
    lines = _fold(text, width, width_of)
    for share in NARROWER:
        if len(lines) < 2 or sum(map(width_of, lines[-1])) >= ORPHAN * width:
            break
        narrower = _fold(text, share * width, width_of)
        if len(narrower) > len(lines):
            break
        lines = narrower
    return lines


def _fold(text: str, width: float, width_of: Callable[[str], float]) -> list[str]:
    """Breaks text at blanks, beside letters of scripts without blanks, and inside words too long for a line.

    A number keeps its percent sign.
    """
    lines, line_width = [""], 0.0
    for piece in re.findall(rf"\s+|{WITHOUT_BLANKS}|\S+?(?: %\S*)?(?=\s|$|{WITHOUT_BLANKS})", text):
        if lines[-1] and line_width + sum(map(width_of, piece)) > width:
            lines, line_width = [*lines[:-1], lines[-1].rstrip(), ""], 0.0
        if not lines[-1] and piece.isspace():
            continue
        for letter in piece:
            if lines[-1] and line_width + width_of(letter) > width:
                lines, line_width = [*lines, ""], 0.0
            lines[-1] += letter
            line_width += width_of(letter)
    return [*lines[:-1], lines[-1].rstrip()]
