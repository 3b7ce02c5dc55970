"""The forms in which data sets list their videos, one function for each; a row is a clip and its class."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from lrp3d.filenames import extension
from lrp3d.study.listing.columns import CLASSES, FRAMES, PATHS, column_of, fields_of, is_header, key_of, separator_of
from lrp3d.study.listing.rows import (
    PATH_AND_REST,
    Lines,
    Listed,
    Row,
    class_of,
    clip_name,
    each_line,
    frames_from,
    is_video,
    names_video,
)
from lrp3d.study.listing.separated import separated
from lrp3d.study.listing.spaced import SPLITS, spaced
from lrp3d.study.listing.texts import few, is_address, lines_of, parsed, read_text, whole_number
from lrp3d.video.folders import is_hidden

__all__ = ["kinetics", "rows_of_file", "rows_of_folder", "something_json"]

_YOUTUBE = re.compile(r"[\w-]{11}")


def rows_of_file(path: Path, known: Collection[str] = ()) -> Listed:
    """Reads the rows of a list file, whose first line tells its form.

    Args:
        path: the file.
        known: the names of classes that are known, in their bare form: they tell a class from the end of a name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is in no known form.
    """
    if not path.exists() and not is_address(str(path)):
        raise FileNotFoundError(f"there is no list {path}")
    text = read_text(path, "a list is csv, txt or json, or a folder of classes")
    written = [(number, line) for number, line in lines_of(text) if line]
    if not written:
        raise ValueError(f"{path.name} is empty")
    try:
        if extension(path) == ".json" or _is_json(written[0][1], text):
            return Listed(something_json(text))
        comments = [number for number, line in written if line.startswith("#")]
        notes = [f"lines that begin with # are skipped ({few(comments)})"] if comments else []
        lines = [(number, line) for number, line in written if not line.startswith("#")]
        if not lines:
            raise ValueError("has comments only")
        listed = _rows_of_lines(lines, known)
    except ValueError as error:
        problem = str(error).removeprefix("which ")
        raise ValueError(f"{path.name}{', ' if problem.startswith(('line ', 'object ')) else ' '}{problem}") from None
    return Listed(listed.rows, (*notes, *listed.notes))


def _is_json(line: str, text: str) -> bool:
    """Says whether a text, or its first line by itself, is json and not just a line that begins with a bracket.

    >>> _is_json("[1] a.mp4 0", "[1] a.mp4 0"), _is_json('{"a.mp4": 0}', '{"a.mp4": 0}'), _is_json("[", "[")
    (False, True, True)
    """
    if line[0] not in "[{":
        return False
    for json in (line, text):
        with contextlib.suppress(ValueError):
            return isinstance(parsed(json, "which"), (list, dict))
    return not PATH_AND_REST.match(line)


def _rows_of_lines(lines: Lines, known: Collection[str]) -> Listed:
    separator = None
    if match := re.fullmatch(r'"?sep=(.)"?', lines[0][1], re.IGNORECASE):  # spreadsheets write it before the header
        separator, lines = match[1], lines[1:]
    if not lines:
        raise ValueError("has a header and no clip")
    separator = separator or separator_of(lines[0][1])
    first = fields_of(lines[0][1], separator)
    if is_header(first) and not any(names_video(field) or _is_quoted(field) for field in first):
        return _rows_below(first, lines, separator, known)
    if separator is None:
        return spaced(lines, known)
    if all(_is_kinetics(fields_of(line, separator)) for _, line in lines):
        header = ["label", "youtube_id", "time_start", "time_end"]
        rows = each_line(lines, lambda line: kinetics(header, fields_of(line, separator)))
        return Listed(rows, ("no header: columns are taken for Kinetics' label,youtube_id,time_start,time_end",))
    return separated(lines, separator, known)


def _is_quoted(field: str) -> bool:
    """Says whether a field holds what separates columns: then somebody quoted it, and it is no column's name."""
    return re.search(r"[\t;,|]", field) is not None


def _rows_below(header: list[str], lines: Lines, separator: str | None, known: Collection[str]) -> Listed:
    """Reads the rows below a header, by the columns that it names."""
    number, line = lines[0]
    note = f"line {number} names the columns ({line})"
    rest = lines[1:]
    if not rest:
        raise ValueError("has a header and no clip")
    keys = [key_of(field) for field in header]
    if "youtubeid" in keys:
        if missing_columns := [name for name in ("time_start", "time_end") if key_of(name) not in keys]:
            raise ValueError(
                f"line {number}: its header names youtube_id and no {' and no '.join(missing_columns)}; "
                "a clip of Kinetics is named by all three"
            )
        label = column_of(header, CLASSES)
        read = [key_of(name) for name in ("youtube_id", "time_start", "time_end")]
        unread = [field for column, field in enumerate(header) if keys[column] not in read and column != label]
        note += f"; not read: {', '.join(unread)}" if unread else ""
        return Listed(each_line(rest, lambda line: kinetics(header, fields_of(line, separator))), (note,))
    label = column_of(header, CLASSES)
    path = column_of(header, PATHS, without=() if label is None else (label,))
    if path is None:
        raise ValueError(f"line {number}: its header names no column of paths: {line}")
    frames = column_of(header, FRAMES)
    ignored_columns = [field for column, field in enumerate(header) if column not in (path, label, frames)]
    if ignored_columns:
        note += f"; not read: {', '.join(ignored_columns)}"
    if separator is None and len(header) == (1 if label is None else 2) and path == 0:
        listed = spaced(rest, known, has_classes=label is not None)  # a path may hold spaces
        return Listed(listed.rows, (note, *listed.notes))

    def row(line: str) -> Row:
        fields = fields_of(line, separator)
        if len(fields) > len(header) or len(fields) <= path:
            raise ValueError(f"{len(fields)} fields below a header of {len(header)}: {line!r}")
        name, of_class, total = (_field(fields, column) for column in (path, label, frames))
        if names_video(of_class) and not names_video(name):
            raise ValueError(f"{of_class!r} stands where the class does: put a path that holds {separator!r} in quotes")
        count = whole_number(total)
        return Row(clip_name(name), class_of(of_class), frames=None if count is None else frames_from(count))

    return Listed(each_line(rest, row), (note,))


def _field(fields: Sequence[str], column: int | None) -> str:
    """Returns the text in a column, which is empty where a line ends before it or the header does not have it."""
    return "" if column is None or column >= len(fields) else fields[column]


def _is_kinetics(fields: Sequence[str]) -> bool:
    """Says whether fields are label,youtube_id,time_start,time_end[,split,...], without a header that says so."""
    return (
        len(fields) >= 4
        and _YOUTUBE.fullmatch(fields[1]) is not None
        and all(whole_number(field) is not None for field in fields[2:4])
        and (len(fields) == 4 or fields[4].lower() in SPLITS)
        and not names_video(fields[0])
    )


def kinetics(header: Sequence[str], fields: Sequence[str]) -> Row:
    """Reads ``label,youtube_id,time_start,time_end,...``; a clip lies at [label/]id_start_end, with any suffix.

    >>> kinetics(["label", "youtube_id", "time_start", "time_end"], ["tai chi", "a-B", "7", "17", "val"]).places
    ('tai chi/a-B_000007_000017', 'tai_chi/a-B_000007_000017', 'a-B_000007_000017')
    """
    line = dict(zip(map(key_of, header), fields, strict=False))
    try:
        start, end = (int(float(line[key])) for key in ("timestart", "timeend"))
        stem = f"{clip_name(line['youtubeid'])}_{start:06d}_{end:06d}"
    except (KeyError, OverflowError, ValueError):
        raise ValueError(f"expected label,youtube_id,time_start,time_end, not {', '.join(fields)}") from None
    column = column_of(header, CLASSES)
    category = class_of(fields[column]) if column is not None and column < len(fields) else None
    label = "" if category is None else str(category)
    folders = dict.fromkeys([f"{label}/", f"{label.replace(' ', '_')}/", ""]) if label else [""]
    return Row(f"{label}/{stem}" if label else stem, category, tuple(f + stem for f in folders))


def something_json(text: str) -> list[Row]:
    """Reads objects with ``id`` and ``template`` (or ``label``); the brackets of a template are not part of its class.

    >>> something_json('[{"id": "7", "label": "holding a cup", "template": "Holding [something]"}]')
    [Row(name='7', label='Holding something', places=(), frames=None)]
    """
    stored = parsed(text, "which")
    if not isinstance(stored, list) or not all(isinstance(entry, dict) and "id" in entry for entry in stored):
        raise ValueError('is json, but no list of objects with "id" and "template"')
    return [_something_row(number, entry) for number, entry in enumerate(stored, 1)]


def _something_row(number: int, entry: dict[str, Any]) -> Row:
    name, label = entry["id"], entry.get("template", entry.get("label"))
    if isinstance(name, bool) or not isinstance(name, (str, int)) or isinstance(label, (bool, float, list, dict)):
        raise ValueError(f"object {number}: an id is text or a number, and a template is text, not {entry}")
    try:
        if isinstance(label, str):
            label = class_of(re.sub(r"[\[\]]", "", label))
        return Row(clip_name(str(name)), label)
    except ValueError as error:
        raise ValueError(f"object {number}: {error}") from None


def rows_of_folder(folder: Path) -> Listed:
    """Reads a folder with one folder of videos, or of frame folders, for every class.

    Raises:
        ValueError: it has no such folder.
    """
    rows, empty, others = [], [], []
    for group in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry)):
        entries = sorted(entry for entry in group.iterdir() if not is_hidden(entry))
        clips = [entry for entry in entries if entry.is_dir() or is_video(entry)]
        others += [f"{group.name}/{entry.name}" for entry in entries if entry not in clips]
        if not clips:
            empty.append(group.name)
        rows += [Row(f"{group.name}/{entry.name}", group.name) for entry in clips]
    if not rows:
        raise ValueError(f"{folder} has no folders of classes with videos in them")
    notes = [f"folders without a video are no classes of the list ({few(empty)})"] if empty else []
    if others:
        notes.append(f"{len(others)} files are no videos by their names and skipped ({few(others)})")
    if all(whole_number(str(row.label)) is not None for row in rows):
        # Sorted as names they would be sorted as text: 10 would come before 2.
        notes.append("the folders' names are taken for numbers of classes")
        rows = [Row(row.name, class_of(str(row.label))) for row in rows]
    return Listed(rows, tuple(notes))
