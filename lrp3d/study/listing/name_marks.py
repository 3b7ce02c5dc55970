"""Marks around class names that belong to a notation and not to the names: dashes of lists, ids in brackets, tabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lrp3d.printed import few
from lrp3d.study.listing.texts import whole_number

Lines = list[tuple[int, str]]
_DASH = re.compile(r"[-*•]\s+(?=\S)")
_FRONT = re.compile(
    r"(?i)(?:class|category|label|index|id)?\s*[\[({<#]?\s*(\d+)\s*[\])}>]?\s*[-–—:.,=|_]*\s*([^\s\d:.,=|_–—-].*)"
)
MARKED = re.compile(r"\s*[-–—:.|]+\s")
"""What stands before a name that was cut off after its id alone."""
_IN_ONE_LINE = 3  # separators; a name of its own may have two commas


def without_dashes(lines: Lines) -> tuple[Lines, list[str]]:
    """The lines without the dashes that begin all of them, or all below a first line, and a note on these.

    >>> without_dashes([(1, "- run"), (2, "- jump")])
    ([(1, 'run'), (2, 'jump')], ["has '-' before every name, which is left out"])
    """
    marked = [number for number, line in lines if _DASH.match(line)]
    if len(marked) < 2 or marked[-(len(lines) - 1) :] != [number for number, _ in lines[1:]]:
        return lines, []
    return [(number, _DASH.sub("", line, count=1)) for number, line in lines], [
        f"has {lines[-1][1][0]!r} before every name, which is left out"
    ]


def numbered_in_front(lines: Sequence[tuple[int, str]]) -> list[tuple[int, str]] | None:
    """Ids and names where every line begins with an id among marks, as in ``[0] run`` or ``class 0: run``.

    They are ids only if they count from 0 or 1 without a gap.

    >>> numbered_in_front([(1, "[0] run"), (2, "[1] jump")])
    [(0, 'run'), (1, 'jump')]
    >>> numbered_in_front([(1, "2 hands up"), (2, "3 jumps")]) is None
    True
    """
    found = [_FRONT.fullmatch(line) for _, line in lines]
    pairs = [(whole_number(match[1]) or 0, match[2]) for match in found if match]
    ids, names = {index for index, _ in pairs}, {name for _, name in pairs}
    if len(lines) < 2 or not len(pairs) == len(lines) == len(ids) == len(names):
        return None
    return pairs if min(ids) in (0, 1) and max(ids) - min(ids) == len(ids) - 1 else None


def refuse_other_notations(lines: Sequence[tuple[int, str]]) -> None:
    """Raises where lines are objects of json or of Python, or where one line holds all names."""
    for number, line in lines:
        if line[0] == "{" and line[-1] == "}" and ":" in line:
            raise ValueError(f"line {number}: {line!r} is an object: write names alone, one per line, or json of all")
    number, line = lines[0]
    if len(lines) > 1:
        return
    if line[0] == "[" and line[-1] == "]" and "," in line:
        raise ValueError(
            f'line {number} is a list, but no json, which quotes names with ": write one per line, or json'
        )
    if max(map(line.count, ",;")) >= _IN_ONE_LINE:
        raise ValueError(f"has all names in line {number}: write one per line")


def refuse_tabs(pairs: Sequence[tuple[int, str]]) -> None:
    """Raises where a tab is left in a name: the lines have more than two columns, or none of them holds ids."""
    if with_tabs := [name.strip() for _, name in pairs if "\t" in name.strip()]:
        parts = few((repr(part) for part in with_tabs[0].split("\t")), 4)
        raise ValueError(
            f"has a tab within a name (between {parts}): write one name per line, an id and a name, or a first line "
            "that names the columns, such as id, name"
        )
