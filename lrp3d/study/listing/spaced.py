"""Lines whose columns are separated by white space, which names and classes may hold as well."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lrp3d.study.listing.class_lists import bare
from lrp3d.study.listing.rows import (
    PATH_AND_REST,
    Lines,
    ListedRows,
    Row,
    class_of,
    clip_name,
    each_line,
    frame_folder,
    offset_notes,
)
from lrp3d.study.listing.texts import PlaceError, whole_number

__all__ = ["SPLITS", "spaced"]

SPLITS = {"train", "val", "validate", "validation", "test", "training", "testing"}


@dataclass(frozen=True)
class _End:
    """How a line ends that names no file by its suffix."""

    before: str
    """What stands before the class: a name, perhaps with numbers of frames behind it."""
    label: str = ""
    """The class, a number or a known name; empty where there is none."""
    columns: int = 0
    """How many columns the end may have: the class, and up to two numbers of frames before it."""
    is_known: bool = False
    """Whether the class was found because its name is known."""


def spaced(lines: Lines, known: Collection[str] = (), has_classes: bool = False) -> ListedRows:
    """Reads ``path label``, ``folder total_frames label`` or ``folder start end label``, split from the right.

    A path ends with its suffix. A name without one may hold spaces and end with numbers, so the line that ends with the
    fewest columns tells how many belong to the form. Behind such a name a class in words is found if it is known.

    Args:
        lines: numbered lines, none of them a header.
        known: the names of classes that are known, in their bare form.
        has_classes: whether a header says that the second of two columns is the class.

    Raises:
        ValueError: a line has no class where others have one, or could be read in two ways.

    >>> [(row.name, row.label) for row in spaced([(1, "take 2 120 5"), (2, "take two 130 7")]).rows]
    [('take 2', 5), ('take two', 7)]
    >>> [(row.name, row.label) for row in spaced([(1, "my video.mp4 5"), (2, "other.mp4 archery")]).rows]
    [('my video.mp4', 5), ('other.mp4', 'archery')]
    >>> listed = spaced([(1, "clip1 tai chi"), (2, "clip2 archery")], known=["tai chi", "archery"])
    >>> [(row.name, row.label) for row in listed.rows]
    [('clip1', 'tai chi'), ('clip2', 'archery')]
    """
    files = {line: match for _, line in lines if (match := PATH_AND_REST.fullmatch(line))}
    ends = _ends([(number, line) for number, line in lines if line not in files], known)
    columns = min((end.columns for end in ends.values()), default=0)
    labelled = any(end.columns for end in ends.values()) or any(match["rest"] for match in files.values())
    if not columns and has_classes:
        bare_lines = [(number, line) for number, line in lines if line in ends and not ends[line].columns]
        ends |= {line: _below_two_columns(number, line) for number, line in bare_lines}
    elif not columns and labelled and ends:
        number, line = next((number, line) for number, line in lines if line in ends and not ends[line].columns)
        raise PlaceError(f"line {number}", f"no class stands at the end of {line!r}, and other lines have one")

    def row(line: str) -> Row:
        if line in files:
            return _file(files[line]["path"], files[line]["rest"] or "")
        end = ends[line]
        if not end.label:
            return Row(clip_name(line))
        name, *numbers = end.before.rsplit(None, max(columns - 1, 0))
        return frame_folder(name, [*numbers, end.label])

    rows = each_line(lines, row)
    _refuse_longer_names(lines, ends, rows, known)
    parts = [end.before.split() for end in ends.values() if columns == 3 and end.label]
    offsets = [" ".join(name) for *name, first, _ in parts if whole_number(first) == 0]
    return ListedRows(rows, (*_notes(rows, ends), *offset_notes(offsets)))


def _ends(lines: Lines, known: Collection[str]) -> dict[str, _End]:
    """Returns how each line ends: with a known name of a class, with numbers, or with neither."""
    longest = max((len(name.split()) for name in known), default=0)
    ends = {}
    for number, line in lines:
        words = line.split()
        counts = range(1, min(longest, len(words) - 1) + 1)
        named = [count for count in counts if bare(" ".join(words[-count:])) in known]
        if named == [1] and whole_number(words[-1]) is not None:
            named = []  # classes without a name are called by their number
        if named and whole_number(words[-1]) is not None:
            label = " ".join(words[-named[-1] :])
            raise PlaceError(f"line {number}", f"{line!r} ends with the name of class {label!r} and with a number")
        if named:
            before = line.rsplit(None, named[-1])[0]
            ends[line] = _End(before, " ".join(words[-named[-1] :]), 1 + _trailing_numbers(before, 2), is_known=True)
        elif numbers := _trailing_numbers(line, 3):
            ends[line] = _End(line.rsplit(None, 1)[0], words[-1], numbers)
        else:
            ends[line] = _End(line)
    return ends


def _trailing_numbers(line: str, most: int) -> int:
    count = 0
    for part in reversed(line.split()[1:]):
        if whole_number(part) is None or count == most:
            break
        count += 1
    return count


def _below_two_columns(number: int, line: str) -> _End:
    """Reads a line without a known class below a header that names a path and a class: it has two words at most."""
    words = line.split()
    if len(words) > 2:
        raise PlaceError(
            f"line {number}", f"{len(words)} words below a header of 2 columns, {line!r}: separate by commas"
        )
    return _End(words[0], words[1], columns=1) if len(words) == 2 else _End(line)


def _refuse_longer_names(lines: Lines, ends: dict[str, _End], rows: list[Row], known: Collection[str]) -> None:
    """Raises where a class ends like another (arm wrestling, wrestling) and names hold spaces, so that both may be."""
    found = [(number, line, row) for (number, line), row in zip(lines, rows, strict=True) if line in ends]
    if not any(len(row.name.split()) > 1 for _, _, row in found):
        return
    for number, line, row in found:
        words = bare(row.label).split() if ends[line].is_known and isinstance(row.label, str) else []
        shorter = [name for first in range(1, len(words)) if (name := " ".join(words[first:])) in known]
        if shorter:
            raise PlaceError(
                f"line {number}",
                f"{line!r} may be of class {row.label!r} or of class {shorter[0]!r}, as names hold "
                "spaces: separate name and class by a comma",
            )


def _notes(rows: list[Row], ends: dict[str, _End]) -> list[str]:
    """Says which words were taken for classes, or that no line has a class though it has several words."""
    found = next(((line, end) for line, end in ends.items() if end.is_known), None)
    if found is not None:
        line, end = found
        return [f"known names of classes tell where the names of clips end ({line!r} is of class {end.label!r})"]
    several = next((row.name for row in rows if len(row.name.split()) > 1), None)
    if several is None or any(row.label is not None for row in rows):
        return []
    return [
        "no line has a class that is known: each is taken as a whole for the name of a clip "
        f"({several!r}); if it holds a class, write name,class on each line, or give the names of the classes"
    ]


def _file(path: str, rest: str) -> Row:
    if len(rest.split()) > 1 and all(whole_number(part) is not None for part in rest.split()):
        raise ValueError(f"{path} has several labels ({rest}), and a clip of a study has one")
    number, *further = rest.split() or [""]
    if whole_number(number) is not None and further and {word.lower() for word in further} <= SPLITS:
        raise ValueError(
            f"{' '.join(further)} stands behind class {number}: name the columns in a header, path label split"
        )
    return Row(clip_name(path), class_of(rest))
