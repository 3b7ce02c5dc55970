"""The forms in which data sets list their videos, one function for each; a row is a clip and its class."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrp3d.filenames import extension
from lrp3d.printed import few
from lrp3d.study.listing.columns import fields_of, is_header, is_open, separator_of
from lrp3d.study.listing.headed import kinetics, rows_below
from lrp3d.study.listing.rows import (
    PATH_AND_REST,
    Lines,
    ListedRows,
    Row,
    class_of,
    clip_name,
    each_line,
    is_video,
    names_video,
    stands_out,
    title_or_clip,
)
from lrp3d.study.listing.separated import separated
from lrp3d.study.listing.spaced import SPLITS, spaced
from lrp3d.study.listing.texts import PlaceError, is_address, lines_of, parsed, read_text, whole_number
from lrp3d.video.folders import is_hidden

__all__ = ["kinetics", "rows_of_file", "rows_of_folder", "something_json"]

_YOUTUBE = re.compile(r"[\w-]{11}")


def rows_of_file(path: Path, known: Collection[str] = ()) -> ListedRows:
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
            return ListedRows(something_json(text))
        comments = [number for number, line in written if line.startswith("#")]
        notes = [f"lines that begin with # are skipped ({few(comments)})"] if comments else []
        lines = [(number, line) for number, line in written if not line.startswith("#")]
        if not lines:
            raise ValueError("has comments only")
        listed = _rows_of_lines(lines, known)
    except ValueError as error:
        raise ValueError(f"{path.name}{', ' if isinstance(error, PlaceError) else ' '}{error}") from None
    return replace(listed, notes=(*notes, *listed.notes))


def _is_json(line: str, text: str) -> bool:
    """Says whether a text, or its first line by itself, is json and not just a line that begins with a bracket.

    >>> _is_json("[1] a.mp4 0", "[1] a.mp4 0"), _is_json('{"a.mp4": 0}', '{"a.mp4": 0}'), _is_json("[", "[")
    (False, True, True)
    """
    if line[0] not in "[{":
        return False
    for json in (line, text):
        with contextlib.suppress(ValueError):
            return isinstance(parsed(json), (list, dict))
    return not PATH_AND_REST.match(line)


def _rows_of_lines(lines: Lines, known: Collection[str]) -> ListedRows:
    separator = None
    if match := re.fullmatch(r'"?sep=(.)"?', lines[0][1], re.IGNORECASE):  # spreadsheets write it before the header
        separator, lines = match[1], lines[1:]
    if not lines:
        raise ValueError("has a header and no clip")
    _refuse_open_quotes(lines[:1], None)
    separator = separator or separator_of(lines[0][1])
    _refuse_open_quotes(lines, separator)
    first = fields_of(lines[0][1], separator)
    if is_header(first) and not any(names_video(field) or _is_quoted(field) for field in first):
        return rows_below(first, lines, separator, known)
    if separator is None:
        listed = spaced(lines, known)
        names = [row.name for row in listed.rows]
        if all(row.label is None for row in listed.rows) and stands_out(names):
            raise title_or_clip(lines[0], "path", names[1:])
        return listed
    if all(_is_kinetics(fields_of(line, separator)) for _, line in lines):
        header = ["label", "youtube_id", "time_start", "time_end"]
        rows = each_line(lines, lambda line: kinetics(header, fields_of(line, separator)))
        return ListedRows(rows, ("no header: columns are taken for Kinetics' label,youtube_id,time_start,time_end",))
    return separated(lines, separator, known)


def _refuse_open_quotes(lines: Lines, separator: str | None) -> None:
    for number, line in lines:
        if is_open(line, separator):
            raise PlaceError(
                f"line {number}",
                f"a quote that is not closed on its line, on which a clip and its class stand: {line}",
            )


def _is_quoted(field: str) -> bool:
    """Says whether a field holds what separates columns: then somebody quoted it, and it is no column's name."""
    return re.search(r"[\t;,|]", field) is not None


def _is_kinetics(fields: Sequence[str]) -> bool:
    """Says whether fields are label,youtube_id,time_start,time_end[,split,...], without a header that says so."""
    return (
        len(fields) >= 4
        and _YOUTUBE.fullmatch(fields[1]) is not None
        and all(whole_number(field) is not None for field in fields[2:4])
        and (len(fields) == 4 or fields[4].lower() in SPLITS)
        and not names_video(fields[0])
    )


def something_json(text: str) -> list[Row]:
    """Reads objects with ``id`` and ``template`` (or ``label``, where the template is missing, null or empty).

    The brackets of a template are not part of its class.

    >>> something_json('[{"id": "7", "label": "holding a cup", "template": "Holding [something]"}]')
    [Row(name='7', label='Holding something', places=(), frames=None)]
    """
    stored = parsed(text)
    if not isinstance(stored, list) or not all(isinstance(entry, dict) and "id" in entry for entry in stored):
        raise ValueError('is json, but no list of objects with "id" and "template"')
    return [_something_row(number, entry) for number, entry in enumerate(stored, 1)]


def _something_row(number: int, entry: dict[str, Any]) -> Row:
    name, label = entry["id"], entry.get("template")
    if label is None or label == "":
        label = entry.get("label")
    if isinstance(name, bool) or not isinstance(name, (str, int)) or isinstance(label, (bool, float, list, dict)):
        raise PlaceError(f"object {number}", f"an id is text or a number, and a template is text, not {entry}")
    try:
        if isinstance(label, str):
            label = class_of(re.sub(r"[\[\]]", "", label))
        return Row(clip_name(str(name)), label)
    except ValueError as error:
        raise PlaceError(f"object {number}", f"{error}") from None


def rows_of_folder(folder: Path) -> ListedRows:
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
    return ListedRows(rows, tuple(notes))
