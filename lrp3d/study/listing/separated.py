"""Lines without a header whose columns a comma, a tab, a semicolon or a bar separates; and whether the first is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lrp3d.study.listing.class_lists import bare
from lrp3d.study.listing.columns import CLASSES, PATHS, fields_of, key_of
from lrp3d.study.listing.rows import (
    Lines,
    ListedRows,
    Row,
    class_of,
    clip_name,
    each_line,
    frame_folder,
    names_video,
    offset_notes,
    stands_out,
    title_or_clip,
)
from lrp3d.study.listing.texts import PlaceError, numbered_lines, whole_number

__all__ = ["delimited", "separated"]


def separated(lines: Lines, separator: str, known: Collection[str] = ()) -> ListedRows:
    """Reads ``path,label`` and the other forms of `delimited`; drops a header in unknown words where it must be one.

    Args:
        lines: numbered lines, the first of which names no columns in words that are known.
        separator: what stands between columns.
        known: the names of classes that are known, in their bare form.

    Raises:
        ValueError: a line is of no such form, holds the separator in a path without quotes, or the first may be a
            header as well as a clip.

    >>> listed = separated([(1, "Datei,Klasse"), (2, "a.mp4,1")], ",")
    >>> [row.name for row in listed.rows], listed.notes
    (['a.mp4'], ('line 1 is taken for a header and skipped (Datei,Klasse)',))
    """
    columns = [fields_of(line, separator) for _, line in lines]
    _refuse_torn_paths(lines, columns, separator)
    _refuse_torn_classes(lines, columns, separator)
    rows = each_line(lines, lambda line: delimited(fields_of(line, separator)))
    longer_lines = [number for (number, _), fields in zip(lines, columns, strict=True) if _behind_words(fields)]
    notes = [f"what stands behind the class is not read ({numbered_lines(longer_lines)})"] if longer_lines else []
    notes += offset_notes([fields[0] for fields in columns if len(fields) == 4 and whole_number(fields[1]) == 0])
    may_be_title = not any(separator in field or whole_number(field) is not None for field in columns[0])
    if may_be_title and _is_title(rows, lines[0], known):
        number, line = lines[0]
        return ListedRows(rows[1:], (f"line {number} is taken for a header and skipped ({line})", *notes))
    if may_be_title:
        _refuse_names_of_columns(rows, lines[0], columns[0], known)
    return ListedRows(rows, tuple(notes))


def delimited(fields: Sequence[str]) -> Row:
    """Reads ``path,label``, ``folder,total,label`` or ``folder,start,end,label``; a label in words ends what is read.

    >>> row = delimited(["x/y.mp4", "x", "3", "0"])
    >>> row.name, row.label
    ('x/y.mp4', 'x')
    >>> row = delimited(["a/b", "1", "30", "5"])
    >>> row.name, row.label, row.frames
    ('a/b', 5, 30)
    """
    if len(fields) == 2 or _behind_words(fields):
        return Row(clip_name(fields[0]), class_of(fields[1]))
    numbers = [whole_number(field) for field in fields[1:-1]]
    if len(fields) in (3, 4) and all(number is not None for number in (*numbers, whole_number(fields[-1]))):
        if names_video(fields[0]):
            raise ValueError(f"{fields[0]} has several labels ({', '.join(fields[1:])}), and a clip of a study has one")
        return frame_folder(fields[0], fields[1:])
    raise ValueError(
        f"expected path,label or folder,start,end,label, or a header above that names the columns, "
        f"not {', '.join(fields)!r}"
    )


def _behind_words(fields: Sequence[str]) -> Sequence[str]:
    """Returns what stands behind a label in words, which is not read."""
    words = len(fields) > 2 and fields[1] and whole_number(fields[1]) is None
    return fields[2:] if words else ()


def _refuse_torn_paths(lines: Lines, columns: Sequence[Sequence[str]], separator: str) -> None:
    """Raises where a later column names a video and the first none: columns are swapped, or a path holds a comma."""
    later = [not names_video(fields[0]) and any(map(names_video, fields[1:])) for fields in columns]
    if not any(later):
        return
    if all(later) and all(names_video(fields[1]) for fields in columns):
        first, second = columns[0][:2]
        raise ValueError(
            f"has videos in its second column ({first}, {second}): write path,label, or a header; a path that holds "
            f"{separator!r} stands in quotes"
        )
    number, line = lines[later.index(True)]
    raise PlaceError(
        f"line {number}",
        f"{line!r} names a video behind {separator!r}: if the path holds {separator!r}, put it in "
        "quotes; if not, write path,label, or a header that names the columns",
    )


def _refuse_torn_classes(lines: Lines, columns: Sequence[Sequence[str]], separator: str) -> None:
    """Raises where words stand behind the class of a line and other lines are shorter: a name may hold a comma."""
    words = [any(whole_number(field) is None for field in _behind_words(fields)) for fields in columns]
    if not any(words):
        return
    here = words.index(True)
    number, line = lines[here]
    for (other, _), fields in zip(lines, columns, strict=True):
        if len(fields) != len(columns[here]):
            raise PlaceError(
                f"line {number}",
                f"{line!r} has {len(columns[here])} columns, and line {other} has {len(fields)}: put a "
                f"path or class that holds {separator!r} in quotes",
            )


def _is_title(rows: Sequence[Row], first_line: tuple[int, str], known: Collection[str]) -> bool:
    """Says whether the first row is a header in unknown words, which it can be where all others alone name videos.

    Raises:
        ValueError: it may be a header, and it may be a clip.
    """
    first, *rest = rows
    files = [names_video(row.name) for row in rows]
    if not rest or files[0] or not all(files[1:]) or not isinstance(first.label, str) or "/" in first.name:
        return False
    names = {bare(row.label) for row in rest if isinstance(row.label, str)}
    if names <= set(known) and known:
        return bare(first.label) not in known
    if all(isinstance(row.label, int) for row in rest):
        return True  # a list has classes by number or by name
    if bare(first.label) in names:
        return False
    raise title_or_clip(first_line, "path,label", [row.name for row in rest])


def _refuse_names_of_columns(
    rows: Sequence[Row], first_line: tuple[int, str], fields: Sequence[str], known: Collection[str]
) -> None:
    """Raises where the first line alone may name columns, by its words or its form, and no other is of its class.

    A class that is known, or that a further clip has, shows that the line is a clip, whatever its words mean.
    """
    first, *rest = rows
    names = {bare(row.label) for row in rest if isinstance(row.label, str)}
    if not names or not isinstance(first.label, str) or bare(first.label) in {*names, *known}:
        return
    paths, classes = ([field for field in fields if key_of(field) in words] for words in (PATHS, CLASSES))
    if paths or classes:
        number, line = first_line
        other = "classes label" if paths else "paths path"
        raise PlaceError(
            f"line {number}",
            f"{line!r} may be a header or a clip, as columns are called {(paths or classes)[0]!r}: call its column of "
            f"{other} if it is a header, and write a header above it, such as path,label, if it is a clip",
        )
    if stands_out([row.name for row in rows]):
        raise title_or_clip(first_line, "path,label", [row.name for row in rest])
