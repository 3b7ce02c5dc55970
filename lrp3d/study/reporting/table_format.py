"""Tables: the same cells for people (Markdown, HTML) and for programs (csv)."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lrp3d.printed import fixed, printable
from lrp3d.study.cells import csv_text

__all__ = ["Cell", "Table", "Value"]


@dataclass(frozen=True)
class Value:
    """A number, with its deviation and its difference from another number.

    >>> print(Value(6.5, std=0.4), Value(0.123, digits=2))
    6.5 ± 0.4 0.12
    """

    mean: float | None
    std: float | None = None
    difference: float | None = None
    digits: int = 1

    def __str__(self) -> str:
        """Writes the number as the paper does.

        >>> str(Value(6.5, 0.4, 1.0)), str(Value(None))
        ('6.5 ± 0.4 (+1.0)', '–')
        """
        if self.mean is None:
            return "–"
        text = fixed(self.mean, self.digits)
        if self.std is not None:
            text += f" ± {self.std:.{self.digits}f}"
        if self.difference is not None:
            text += f" ({fixed(self.difference, self.digits, '+')})"
        return text


Cell = str | int | Value


@dataclass(frozen=True)
class Table:
    """A table with a name, a title and cells.

    Args:
        name: the name of its file.
        title: the text above the table.
        headers: one text for each column.
        rows: the cells of each row.
        note: the text below the table.
        shown: how many rows people see at first, from both ends; the csv has all of them, and so has a page, folded.
        links: where in the page a cell leads, by row and column.

    >>> table = Table("t", "ATR", ["model", "ATR"], [["I3D", Value(6.5, 0.4)], ["TAM2D", Value(6.0)]])
    >>> print(table.markdown())
    | model | ATR |
    | --- | --- |
    | I3D | 6.5 ± 0.4 |
    | TAM2D | 6.0 |
    >>> print(table.csv())
    model,ATR,ATR std
    I3D,6.5,0.4
    TAM2D,6.0,
    <BLANKLINE>
    """

    name: str
    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    shown: int | None = None
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)

    def markdown(self) -> str:
        """Returns the table in Markdown."""
        lines = [self.headers, ["---"] * len(self.headers), *self._visible()]
        return "\n".join(f"| {' | '.join(in_markdown(cell).replace('|', '/') for cell in line)} |" for line in lines)

    def html(self) -> str:
        """Returns the table in HTML, with all rows; a page may fold the middle, and sort by `data-value`."""
        first = self.rows[0] if self.rows else self.headers
        head = "".join(
            f'<th scope="col"{_right(cell)}>{in_html(header)}</th>'
            for header, cell in zip(self.headers, first, strict=True)
        )
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td{_right(cell)}{_exactly(cell)}>{_linked(in_html(cell), self.links.get((i, j)))}</td>"
                for j, cell in enumerate(row)
            )
            + "</tr>"
            for i, row in enumerate(self.rows)
        )
        folded = f' data-shown="{self.shown}"' if self.cut else ""
        return f"<table{folded}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def csv(self) -> str:
        """Returns csv for programs: all rows, nothing rounded, and every number in a column of its own."""
        parts = [_parts([row[column] for row in self.rows]) for column in range(len(self.headers))]
        head = [
            f"{h} {part}" if part != "mean" else h for h, ps in zip(self.headers, parts, strict=True) for part in ps
        ]
        rows = ([_part(cell, part) for cell, ps in zip(row, parts, strict=True) for part in ps] for row in self.rows)
        return csv_text([head, *rows])

    @property
    def cut(self) -> str:
        """A sentence where people see both ends only."""
        if self.shown is None or len(self.rows) <= self.shown:
            return ""
        return f"The {self.shown} at both ends of {len(self.rows)} rows; the csv has all."

    def _visible(self) -> list[Sequence[Cell]]:
        rows = list(self.rows)
        if self.shown is None or not self.cut:
            return rows
        return [*rows[: self.shown // 2], ["…"] * len(self.headers), *rows[len(rows) - self.shown // 2 :]]


# What begins HTML, an entity, code, a formula (GitHub's), a link, emphasis or a struck text, and what undoes an escape.
MARKS = re.compile(
    r"(?<=\])(?=[(\[:])|(?=<[A-Za-z/!?])|(?=&#?\w+;)|(?=[`$*])|(?=~~)|(?<!\w)(?=_)|(?=_(?!\w))|(?=\\[!-/:-@\[-`{-~])"
)


def in_markdown(text: object) -> str:
    r"""Escapes a name for Markdown, where a less-than sign could begin HTML, a dollar a formula, and brackets a link.

    >>> in_markdown("<img src=x>"), in_markdown("I3D [again]"), in_markdown("[a](b)")
    ('\\<img src=x>', 'I3D [again]', '[a]\\(b)')
    >>> print(in_markdown("pay $5 or $10"), in_markdown("&amp;"), in_markdown("*two_words* _once_"))
    pay \$5 or \$10 \&amp; \*two_words\* \_once\_
    """
    return MARKS.sub(r"\\", printable(text))


def in_html(text: object) -> str:
    """Escapes a name for the text or an attribute of an HTML page."""
    return html.escape(printable(text))


def _linked(text: str, place: str | None) -> str:
    return f'<a href="{html.escape(place)}">{text}</a>' if place else text


def _parts(column: Sequence[Cell]) -> list[str]:
    """Returns which parts a column's values have: number, deviation, difference."""
    extra = ("std", "difference")
    return ["mean", *(p for p in extra if any(isinstance(c, Value) and getattr(c, p) is not None for c in column))]


def _part(cell: Cell, part: str) -> str | int | float:
    if not isinstance(cell, Value):
        return cell if part == "mean" else ""
    number = getattr(cell, part)
    return "" if number is None else number


def _right(cell: Cell) -> str:
    return "" if isinstance(cell, str) else ' class="number"'


def _exactly(cell: Cell) -> str:
    """A number as a page sorts it, not rounded."""
    number = cell.mean if isinstance(cell, Value) else cell
    return "" if isinstance(number, str) or number is None else f' data-value="{number}"'
