"""Text folded into lines of a width, by how wide letters are."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["folded", "shortened"]

WITHOUT_BLANKS = "[\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"  # Chinese, Japanese, Korean


def folded(text: str, width: int, lines: int = 6) -> str:
    """Text in lines of at most `width` letters, a Chinese one counting two; what does not fit ends with an ellipsis.

    Lines that end already stay apart.

    >>> print(folded("making a very long cake", 12))
    making a
    very long
    cake
    >>> folded("a" * 30, 10, lines=2), folded("打太极拳", 4)
    ('aaaaaaaaaa\\naaaaaaaaa…', '打太\\n极拳')
    """
    text = text[: 8 * width * lines]
    found = [line for paragraph in text.split("\n") for line in _fold(paragraph, width)]
    if len(found) <= lines:
        return "\n".join(found)
    last = found[lines - 1]
    while last and _wide(last) >= width:
        last = last[:-1]
    return "\n".join([*found[: lines - 1], f"{last}…"])


def shortened(text: str, width: int) -> str:
    """One line of at most `width` letters, without what is in the middle of a longer one.

    >>> shortened("throwing something in the air", 15)
    'throwin…the air'
    """
    if _wide(text) <= width:
        return text
    half, front, back = (width - 1) / 2, "", ""
    while _wide(front + text[len(front)]) <= half:
        front += text[len(front)]
    while _wide(text[-1 - len(back)] + back) <= half:
        back = text[-1 - len(back)] + back
    return f"{front}…{back}"


def _wide(text: str) -> int:
    return sum(_width(letter) for letter in text)


def _width(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _fold(text: str, width: int) -> list[str]:
    """Broken at blanks, beside letters of scripts without blanks, and inside what is too long for a line."""
    lines = [""]
    for piece in re.findall(rf"\s+|{WITHOUT_BLANKS}|\S+?(?=\s|$|{WITHOUT_BLANKS})", text):
        if _wide(lines[-1]) + _wide(piece) > width and lines[-1]:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        if not lines[-1] and piece.isspace():
            continue
        for letter in piece:
            if _wide(lines[-1]) + _width(letter) > width and lines[-1]:
                lines.append("")
            lines[-1] += letter
    lines[-1] = lines[-1].rstrip()
    return lines
