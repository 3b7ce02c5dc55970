"""Csv that a spreadsheet shows and does not run: a name that looks like a formula is written as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

__all__ = ["csv_rows", "csv_text"]

Plain = str | int | float

# Spreadsheets take these for the start of a formula, even after blanks or other kinds of quotes.
FORMULA = re.compile(r"[\s']*[=+\-@＝＋－＠]|'*[\t\r\n]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SEPARATES = re.compile(r"[;\t\r\n]")  # spreadsheets of some countries split unquoted cells at these


def csv_text(rows: Iterable[Sequence[Plain]]) -> str:
    """Writes rows as csv: a text that looks like a formula gets an apostrophe in front, a number stays as it is.

    >>> print(csv_text([["class", "ATR"], ["=cmd|'/c calc'!A0", -1.5]]))
    class,ATR
    '=cmd|'/c calc'!A0,-1.5
    <BLANKLINE>
    """
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    for row in rows:
        cells = [_neutral(cell) for cell in row]
        separates = any(isinstance(cell, str) and SEPARATES.search(cell) for cell in cells)
        (quoted if separates else plain).writerow(cells)
    return text.getvalue()


def csv_rows(text: str) -> list[list[str]]:
    """Reads csv back into the cells that `csv_text` was given, as texts.

    >>> csv_rows(csv_text([["@home", "it's", -1.5]]))
    [['@home', "it's", '-1.5']]
    """
    return [[_original(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]


def _neutral(cell: Plain) -> Plain:
    runs = isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell)
    return f"'{cell}" if runs else cell


def _original(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _neutral(cell[1:]) == cell else cell
