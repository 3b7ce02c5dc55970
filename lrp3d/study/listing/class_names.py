"""Files with the names of all classes 0, 1, ... of a model, in the forms in which data sets come with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lrp3d.filenames import extension
from lrp3d.printed import few, printable
from lrp3d.study.listing.class_lists import bare
from lrp3d.study.listing.columns import IDS, NAMES, column_of, fields_of, is_header, unquoted
from lrp3d.study.listing.name_marks import (
    MARKED,
    numbered_in_front,
    refuse_other_notations,
    refuse_tabs,
    without_dashes,
)
from lrp3d.study.listing.packaged import packaged_labels
from lrp3d.study.listing.texts import (
    MOST_CLASSES,
    NotJsonError,
    in_digits,
    lines_of,
    numbered_lines,
    on_one_line,
    parsed,
    read_text,
    whole_number,
)

__all__ = ["Labels", "names_of_lines", "read_labels"]

Pairs = list[tuple[int, str]]
FORMS = tuple((separator, first) for separator in ("\t", ";", ",", None, ":", "|", "=", ")") for first in (True, False))
PLAIN = ("\t", ";", ",")
"""These always separate an id from a name; other separators may be part of the name."""


class Labels(tuple[str, ...]):
    """Names of classes, with `notes`: one sentence for each decision that was made while reading them.

    A tuple of names in every other way; made by `read_labels`.

    >>> labels = read_labels("kinetics-400")
    >>> len(labels), labels[5]
    (400, 'archery')
    """

    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str], notes: Iterable[str] = ()) -> Labels:
        """Names of classes, with notes on how they were read."""
        labels = cls(names)
        labels.notes = tuple(notes)
        return labels


@on_one_line()
def read_labels(path: str | Path) -> Labels:
    """Reads the names of classes 0, 1, ...: json, or lines of text with a name, ``id,name`` or ``name,id``.

    The package itself has the names of ``kinetics-400`` and ``ssv2``.

    Json is a list of names, or a dict of names to ids or of ids to names. Ids that count from 1 without a gap are
    counted from 0. A class that the file leaves out is called by its number. Headers, comments and blank lines are
    skipped. The `notes` of the result name each of these decisions.

    Raises:
        ValueError: the file is of no such form, gives an id twice, or leaves open whether it counts from 0 or 1.
        OSError: it cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "classInd.txt")
    ...     _ = file.write_text("1 ApplyEyeMakeup\\n2 ApplyLipstick\\n")
    ...     labels = read_labels(file)
    >>> labels
    ('ApplyEyeMakeup', 'ApplyLipstick')
    >>> labels.notes[-1]
    'classInd.txt counts classes from 1: its 1 is class 0, and so on'
    """
    path = Path(path)
    stored = packaged_labels(path)
    if stored is not None:
        return Labels.of(stored[0], [f"labels {path}: {stored[1]}"])
    text = read_text(path, "labels are json or one name per line")
    try:
        pairs, notes = _pairs(text, is_json=extension(path) == ".json")
        by_index, more_notes = _names_of_pairs(pairs)
    except ValueError as error:
        raise ValueError(f"{path.name} {error}") from None
    names = [by_index.get(index, str(index)) for index in range(max(by_index) + 1)]
    return Labels.of(names, [printable(f"{path.name} {note}") for note in (*notes, *more_notes)])


def _pairs(text: str, is_json: bool) -> tuple[Pairs, list[str]]:
    """Returns the ids and names that the file has, and a note on everything that was skipped."""
    if is_json or text.lstrip()[:1] in ("{", "["):
        try:
            return _by_id(parsed(text)), []
        except NotJsonError:
            if is_json:
                raise
    return _by_line(text)


def _by_id(stored: object) -> Pairs:
    """Returns the ids and names in json, which may be keys and values or values and keys."""
    pairs: list[tuple[object, object]] = []
    if isinstance(stored, list):
        pairs = list(enumerate(stored))
    elif isinstance(stored, dict):
        by_name = [(value, key) for key, value in stored.items()]
        by_id: list[tuple[object, object]] = list(stored.items())
        forms = [form for form in (by_name, by_id) if all(_is_id(index) for index, _ in form)]
        # Both may be numbers: then a number in json is an id, and a text is a name.
        plain = [form for form in forms if all(isinstance(name, str) for _, name in form)]
        numbers = [form for form in plain if all(isinstance(index, int) for index, _ in form)]
        forms = numbers or plain
        if len(forms) == 2 and {(str(i), n) for i, n in by_name} != {(str(i), n) for i, n in by_id}:
            raise ValueError("gives numbers as text on both sides: which are the ids? Write ids as numbers")
        pairs = list(forms[0]) if forms else []
    if not pairs or not all(isinstance(name, str) for _, name in pairs):
        raise ValueError("is json, but neither names to ids, nor ids to names, nor a list of names")
    return [(whole_number(str(index)) or 0, str(name)) for index, name in pairs]


def _is_id(value: object) -> bool:
    number = None if isinstance(value, bool) or not isinstance(value, (int, str)) else whole_number(str(value))
    return number is not None and number >= 0


def names_of_lines(text: str) -> tuple[str, ...]:
    """Returns the names in a text, without the ids beside them."""
    return tuple(unquoted(name) for _, name in _by_line(text)[0])


def _by_line(text: str) -> tuple[Pairs, list[str]]:
    """Reads one name from each line, with or without an id beside it."""
    lines, notes = _lines_with_names(text)
    if not lines:
        return [], notes
    refuse_other_notations(lines)
    lines, more = without_dashes(lines)
    pairs, more_notes = _by_line_without_marks(lines)
    refuse_tabs(pairs)
    return pairs, [*notes, *more, *more_notes]


def _by_line_without_marks(lines: list[tuple[int, str]]) -> tuple[Pairs, list[str]]:
    notes: list[str] = []
    number, title = lines[0]
    below = _below_titles(lines)
    if below is not None:
        return below, [*notes, f"names its columns in line {number} ({title})"]
    pairs = _numbers_beside_names(lines)
    if pairs is None or all(MARKED.match(name) for _, name in pairs):
        pairs = numbered_in_front(lines) or pairs
    if pairs is not None and not _separated(lines):
        notes.append(f"is read as ids and names ({title!r} is class {pairs[0][0]}, {unquoted(pairs[0][1])!r})")
    if pairs is None and len(lines) > 2 and not _begins_or_ends_with_number(title):
        pairs = _numbers_beside_names(lines[1:])
        ids, names = {index for index, _ in pairs or ()}, {name for _, name in pairs or ()}
        if pairs and len(ids) == len(names) == len(pairs) == max(ids) - min(ids) + 1 and min(ids) < 2:
            return pairs, [*notes, f"has a header, which is skipped (line {number}: {title})"]
        pairs = None
    if pairs is None:
        lines, more = _without_count(lines)
        notes += more
        _refuse_stragglers(lines)
        _refuse_other_ids(lines)
        pairs = [(index, line) for index, (_, line) in enumerate(lines)]
    return pairs, notes


def _lines_with_names(text: str) -> tuple[list[tuple[int, str]], list[str]]:
    """The numbered lines without blank ones and comments, and notes on these."""
    every = lines_of(text.strip("\ufeff"))
    while every and not every[-1][1]:
        every.pop()
    comments = [number for number, line in every if line in ("#", "//") or line.startswith(("# ", "// "))]
    blank = [number for number, line in every if not line]
    lines = [(number, line) for number, line in every if line and number not in comments]
    notes = [f"has comments, which are skipped ({numbered_lines(comments)})"] if comments else []
    notes += [f"has blank lines, which are skipped ({numbered_lines(blank)})"] if blank else []
    for number, line in lines:
        if not line.strip("{}[]()<>,;:=-\"' "):
            raise ValueError(f"holds {line!r} in line {number}, which is no name: write one per line, or json")
    return lines, notes


def _below_titles(lines: Sequence[tuple[int, str]]) -> Pairs | None:
    """Reads ids and names if the first line names the columns, else None."""
    title = lines[0][1]
    for separator in ("\t", ";", ","):
        header = fields_of(title, separator)
        if len(header) > 1 and is_header(header):
            return _by_column(header, lines[1:], separator)
    if not is_header(title.split()):
        return None
    pairs = _numbers_beside_names(lines[1:]) if len(lines) > 1 else None
    return pairs or list(enumerate(line for _, line in lines[1:]))


def _by_column(header: Sequence[str], lines: Sequence[tuple[int, str]], separator: str) -> Pairs:
    """Reads ids and names below a header; without a column of ids, the names count in the order of their lines."""
    if not lines:
        return []
    if len(header) == 2:  # a name may hold the separator
        first = column_of(header, IDS) == 0 and column_of(header, NAMES, without=[0]) == 1
        last = column_of(header, IDS) == 1 and column_of(header, NAMES, without=[1]) == 0
        sides = [first] if first != last else [True, False]
        for side in sides:
            pairs = [_id_and_name(line, separator, side) for _, line in lines]
            whole = [pair for pair in pairs if pair is not None]
            if len(whole) == len(lines):
                return whole
    rows = []
    for number, line in lines:
        fields = fields_of(line, separator)
        if len(fields) > len(header):
            raise ValueError(f"line {number}: {len(fields)} fields below a header of {len(header)}: {line!r}")
        rows.append([*fields, *[""] * (len(header) - len(fields))])
    columns = list(zip(*rows, strict=True))
    numeric = [i for i, column in enumerate(columns) if all(_is_id(field) for field in column)]
    index = column_of(header, IDS, without=[i for i in range(len(header)) if i not in numeric])
    name = column_of(header, NAMES, without=numeric)
    if name is None:
        raise ValueError(f"has a header without a column of names: {separator.join(header)}")
    names = columns[name]
    if "" in names:
        raise ValueError(f"line {lines[names.index('')][0]}: a class without a name")
    ids = range(len(lines)) if index is None else [whole_number(field) or 0 for field in columns[index]]
    return list(zip(ids, names, strict=True))


def _separated(lines: Sequence[tuple[int, str]]) -> bool:
    """Says whether every line has a separator that cannot be part of a name."""
    return any(all(mark in line for _, line in lines) for mark in "\t;,")


def _numbers_beside_names(lines: Sequence[tuple[int, str]]) -> Pairs | None:
    """Returns ids and names if every line has both in the same way, else None.

    White space or a colon separates them only where the ids can hardly be part of the names: where they count from 0 or
    1, and each appears once.
    """
    readings: list[Pairs] = []
    for separator, first in FORMS:
        pairs = [_id_and_name(line, separator, first) for _, line in lines]
        whole = [pair for pair in pairs if pair is not None]
        if len(whole) < len(lines):
            continue
        if separator not in PLAIN:
            ids, names = {index for index, _ in whole}, {name for _, name in whole}
            if len(ids) < len(whole) or len(names) < len(whole):
                continue
            if min(ids) > 1 or len(ids) < (max(ids) + 1) / 2:
                continue
        if readings and readings[0] != whole and separator in PLAIN:
            raise ValueError("has numbers on both sides of every line: which are the ids? Say it by a header, id,name")
        if not readings:
            readings.append(whole)
        if not first:
            break
        if any(whole_number(name) is None for _, name in whole):
            break
    return readings[0] if readings else None


def _id_and_name(line: str, separator: str | None, first: bool) -> tuple[int, str] | None:
    index, name = _sides(line, separator, first)
    return (whole_number(index) or 0, name) if _is_id(index) else None


def _sides(line: str, separator: str | None, first: bool) -> tuple[str, str]:
    """Returns what may be the id and the name beside it; returns nothing where the line lacks the separator."""
    parts = line.split(separator, 1) if first else line.rsplit(separator, 1)
    if len(parts) < 2:
        return "", ""
    index, name = (parts[0], parts[1]) if first else (parts[1], parts[0])
    return unquoted(index), name


def _begins_or_ends_with_number(line: str) -> bool:
    """Says whether a line has a number where others have their ids (``-1,background``), so that it is no header."""
    sides = [_sides(line, separator, first)[0] for separator, first in FORMS]
    return any(re.fullmatch(r"[+-]?\d+(\.\d+)?", side) for side in sides)


def _without_count(lines: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[str]]:
    """Drops a first line that says how many names follow; any other number alone among names is refused."""
    numbers = [whole_number(unquoted(line)) for _, line in lines]
    if len(lines) < 3 or numbers[0] is None or any(number is not None for number in numbers[1:]):
        return lines, []
    number, line = lines[0]
    if numbers[0] != len(lines) - 1:
        raise ValueError(f"line {number}: {line} is a number, and the other lines are names: is it a class?")
    return lines[1:], [f"says in line {number} how many classes follow ({line})"]


def _refuse_other_ids(lines: Sequence[tuple[int, str]]) -> None:
    """Raises where every line begins or ends with a number of its own: these are ids, but of no known kind."""
    for separator, first in FORMS:
        parts = [_sides(line, separator, first) for _, line in lines]
        names = {name for _, name in parts}
        each = len(lines) > 1 and "" not in names and len(names) == len(lines)
        if each and all(re.fullmatch(r"[+-]?\d+(\.\d+)?", index) for index, _ in parts):
            raise ValueError(
                f"has a number on every line ({lines[0][1]!r}, {lines[1][1]!r}), and they are no ids that count "
                "from 0 or 1, each once: write id,name with whole numbers, or names alone"
            )


def _refuse_stragglers(lines: Sequence[tuple[int, str]]) -> None:
    """Raises where nearly every line has an id: a line without one would shift the names of all that follow."""
    for separator, first in FORMS:
        pairs = {number: _id_and_name(line, separator, first) for number, line in lines}
        whole = [pair for pair in pairs.values() if pair is not None]
        is_numbering = len({index for index, _ in whole}) == len(whole) == len({name for _, name in whole})
        most = (0.5 if separator in PLAIN else 0.8) * len(lines)
        if is_numbering and len(whole) > max(most, 1) and len(whole) < len(lines):
            number = next(number for number, pair in pairs.items() if pair is None)
            line = dict(lines)[number]
            raise ValueError(f"line {number}: no id and name, as the other lines have: {line!r}")


def _names_of_pairs(pairs: Pairs) -> tuple[dict[int, str], list[str]]:
    """Returns the names by class from 0, and the notes on what was decided."""
    if not pairs:
        raise ValueError("names no class")
    by_index: dict[int, str] = {}
    for index, name in pairs:
        if index in by_index:
            raise ValueError(f"gives one id to several names: {index} to {unquoted(by_index[index])!r} and {name!r}")
        by_index[index] = unquoted(name)
        if not bare(by_index[index]) and not by_index[index].strip():
            raise ValueError(f"gives class {index} no name")
    last = max(by_index)
    if last >= MOST_CLASSES:
        raise ValueError(f"has ids up to {in_digits(last)}, which are no numbers of classes")
    missing = (index for index in range(last + 1) if index not in by_index)
    gaps = [index for index, _ in zip(missing, range(7), strict=False)]
    if 0 not in by_index and gaps == [0]:
        return (
            {index - 1: name for index, name in by_index.items()},
            ["counts classes from 1: its 1 is class 0, and so on", *_same(by_index.values())],
        )
    if 1 in by_index and 0 not in by_index:
        raise ValueError(
            f"has no class 0 and leaves out {few(gaps[1:])}, so that it is not plain whether it counts from 0 or 1: "
            "name class 0"
        )
    notes = [f"names no class {few(gaps)}: {'they are' if len(gaps) > 1 else 'it is'} called by number"] if gaps else []
    return by_index, notes + _same(by_index.values())


def _same(names: Iterable[str]) -> list[str]:
    """Returns a note on classes that share one name."""
    by_form: set[str] = set()
    double: list[str] = []
    for name in names:
        (double.append if name in by_form else by_form.add)(name)
    return [f"gives several classes one name ({few(dict.fromkeys(double))})"] if double else []
