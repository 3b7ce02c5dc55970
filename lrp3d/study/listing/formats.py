"""The forms in which data sets list their videos, one function for each; a row is a clip and its class."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrp3d.filenames import extension
from lrp3d.study.listing.columns import CLASSES, PATHS, column_of, fields_of, is_header, key_of, separator_of, unquoted
from lrp3d.study.listing.texts import few, is_address, lines_of, parsed, read_text, whole_number
from lrp3d.video.folders import is_hidden
from lrp3d.video.tensors import TENSOR_SUFFIXES

VIDEO_SUFFIXES = tuple(".mp4 .webm .mkv .avi .mov .m4v .mpg .mpeg .wmv .flv .3gp .ts .nut".split())
_SUFFIX = "|".join(re.escape(suffix) for suffix in (*VIDEO_SUFFIXES, *sorted(TENSOR_SUFFIXES)))
_PATH_AND_REST = re.compile(rf"(?P<path>.*(?:{_SUFFIX}))(?:\s+(?P<rest>.*))?", re.IGNORECASE)
_YOUTUBE = re.compile(r"[\w-]{11}")
_SPLITS = {"train", "val", "validate", "validation", "test", "training", "testing"}

Lines = Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Row:
    """One line of a list: a clip and its class."""

    name: str
    label: str | int | None = None
    """The class as the list gives it: a name, a number, or None."""
    places: tuple[str, ...] = ()
    """Where the clip may lie; empty means at `name`."""


@dataclass(frozen=True)
class Listed:
    """The rows of a list, with one sentence for each decision that was made while reading them."""

    rows: list[Row]
    notes: tuple[str, ...] = ()


def rows_of_file(path: Path) -> Listed:
    """Reads the rows of a list file, whose first line tells its form.

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
        listed = _rows_of_lines(lines)
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
    return not _PATH_AND_REST.match(line)


def _rows_of_lines(lines: Lines) -> Listed:
    separator = None
    if match := re.fullmatch(r'"?sep=(.)"?', lines[0][1], re.IGNORECASE):  # spreadsheets write it before the header
        separator, lines = match[1], lines[1:]
    if not lines:
        raise ValueError("has a header and no clip")
    separator = separator or separator_of(lines[0][1])
    first = fields_of(lines[0][1], separator)
    if is_header(first):
        return _rows_below(first, lines, separator)
    if separator is None:
        return _without_title(spaces(lines), lines)
    if all(_is_kinetics(fields_of(line, separator)) for _, line in lines):
        header = ["label", "youtube_id", "time_start", "time_end"]
        rows = _each(lines, lambda line: kinetics(header, fields_of(line, separator)))
        return Listed(rows, ("no header: columns are taken for Kinetics' label,youtube_id,time_start,time_end",))
    longer_lines = [number for number, line in lines if len(_trailing_words(fields_of(line, separator)))]
    listed = _without_title(_each(lines, lambda line: delimited(fields_of(line, separator))), lines)
    _refuse_swapped(listed.rows)
    note = f"what stands behind the class is not read (lines {few(longer_lines)})"
    return Listed(listed.rows, (*listed.notes, *([note] if longer_lines else [])))


def _rows_below(header: list[str], lines: Lines, separator: str | None) -> Listed:
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
        return Listed(_each(rest, lambda line: kinetics(header, fields_of(line, separator))), (note,))
    label = column_of(header, CLASSES)
    path = column_of(header, PATHS, without=() if label is None else (label,))
    if path is None:
        raise ValueError(f"line {number}: its header names no column of paths: {line}")
    ignored_columns = [field for column, field in enumerate(header) if column not in (path, label)]
    if ignored_columns:
        note += f"; not read: {', '.join(ignored_columns)}"
    if separator is None and len(header) == (1 if label is None else 2) and path == 0:
        return Listed(spaces(rest), (note,))  # a path may hold spaces

    def row(line: str) -> Row:
        fields = fields_of(line, separator)
        if len(fields) > len(header) or len(fields) <= path:
            raise ValueError(f"{len(fields)} fields below a header of {len(header)}: {line!r}")
        return Row(_name(fields[path]), None if label is None or len(fields) <= label else _label(fields[label]))

    return Listed(_each(rest, row), (note,))


def _refuse_swapped(rows: Sequence[Row]) -> None:
    """Raises where the second column names video files and the first none: paths and classes are swapped."""
    if all(isinstance(row.label, str) and _PATH_AND_REST.fullmatch(row.label) for row in rows) and not any(
        _PATH_AND_REST.fullmatch(row.name) for row in rows
    ):
        raise ValueError(
            f"has videos in its second column ({rows[0].name}, {rows[0].label}): write path,label, or a header"
        )


def _without_title(rows: list[Row], lines: Lines) -> Listed:
    """Drops a header in unknown words: a first row that names no video where all others do."""
    files = [_PATH_AND_REST.fullmatch(row.name) is not None for row in rows]
    first, rest = rows[0], rows[1:]
    if rest and not files[0] and all(files[1:]) and isinstance(first.label, str) and "/" not in first.name:
        numbers = all(isinstance(row.label, int) for row in rest)
        if numbers or all(row.label != first.label for row in rest):
            number, line = lines[0]
            return Listed(rest, (f"line {number} is taken for a header and skipped ({line})",))
    return Listed(rows)


def _each(lines: Lines, form: Callable[[str], Row]) -> list[Row]:
    rows = []
    for number, line in lines:
        try:
            rows.append(form(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return rows


def _name(text: str) -> str:
    name = unquoted(text)
    if name in ("", ".", "..", "/"):
        raise ValueError("a clip without a name")
    return name


def _label(text: str) -> str | int | None:
    """Returns a class by number or by name, or None for an empty field; refuses numbers that cannot be a class."""
    text = unquoted(text)
    number = whole_number(text)
    if number is None and re.fullmatch(r"[+-]?(\d*\.\d+|\d+\.?(?=e)|nan$|inf$)(e[+-]?\d+)?", text, re.IGNORECASE):
        raise ValueError(f"class {text}: numbers of classes are whole; leave it out if nobody knows the class")
    if number is not None and number < 0:
        raise ValueError(f"class {text}: numbers of classes go from 0; leave it out if nobody knows the class")
    return (text or None) if number is None else number


def _is_kinetics(fields: Sequence[str]) -> bool:
    """Says whether fields are label,youtube_id,time_start,time_end[,split,...], without a header that says so."""
    return (
        len(fields) >= 4
        and _YOUTUBE.fullmatch(fields[1]) is not None
        and all(whole_number(field) is not None for field in fields[2:4])
        and (len(fields) == 4 or fields[4].lower() in _SPLITS)
        and _PATH_AND_REST.fullmatch(fields[0]) is None
    )


def kinetics(header: Sequence[str], fields: Sequence[str]) -> Row:
    """Reads ``label,youtube_id,time_start,time_end,...``; a clip lies at [label/]id_start_end, with any suffix.

    >>> kinetics(["label", "youtube_id", "time_start", "time_end"], ["tai chi", "a-B", "7", "17", "val"]).places
    ('tai chi/a-B_000007_000017', 'tai_chi/a-B_000007_000017', 'a-B_000007_000017')
    """
    line = dict(zip(map(key_of, header), fields, strict=False))
    try:
        start, end = (int(float(line[key])) for key in ("timestart", "timeend"))
        stem = f"{_name(line['youtubeid'])}_{start:06d}_{end:06d}"
    except (KeyError, OverflowError, ValueError):
        raise ValueError(f"expected label,youtube_id,time_start,time_end, not {', '.join(fields)}") from None
    column = column_of(header, CLASSES)
    category = _label(fields[column]) if column is not None and column < len(fields) else None
    label = "" if category is None else str(category)
    folders = dict.fromkeys([f"{label}/", f"{label.replace(' ', '_')}/", ""]) if label else [""]
    return Row(f"{label}/{stem}" if label else stem, category, tuple(f + stem for f in folders))


def something_json(text: str) -> list[Row]:
    """Reads objects with ``id`` and ``template`` (or ``label``); the brackets of a template are not part of its class.

    >>> something_json('[{"id": "7", "label": "holding a cup", "template": "Holding [something]"}]')
    [Row(name='7', label='Holding something', places=())]
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
            label = _label(re.sub(r"[\[\]]", "", label))
        return Row(_name(str(name)), label)
    except ValueError as error:
        raise ValueError(f"object {number}: {error}") from None


def delimited(fields: Sequence[str]) -> Row:
    """Reads ``path,label``, ``folder,total,label`` or ``folder,start,end,label``; a label in words ends what is read.

    >>> delimited(["x/y.mp4", "x", "3", "0"]), delimited(["a/b", "1", "30", "5"])
    (Row(name='x/y.mp4', label='x', places=()), Row(name='a/b', label=5, places=()))
    """
    if len(fields) == 2 or _trailing_words(fields):
        return Row(_name(fields[0]), _label(fields[1]))
    numbers = [whole_number(field) for field in fields[1:-1]]
    if len(fields) in (3, 4) and all(number is not None for number in (*numbers, whole_number(fields[-1]))):
        if _PATH_AND_REST.fullmatch(fields[0]):
            raise ValueError(f"{fields[0]} has several labels ({', '.join(fields[1:])}), and a clip of a study has one")
        return _frames(fields[0], fields[1:])
    raise ValueError(f"expected path,label or folder,start,end,label, not {', '.join(fields)!r}")


def _trailing_words(fields: Sequence[str]) -> Sequence[str]:
    """Returns what stands behind a label in words, which is not read."""
    words = len(fields) > 2 and fields[1] and whole_number(fields[1]) is None
    return fields[2:] if words else ()


def spaces(lines: Lines) -> list[Row]:
    """Reads ``path label``, ``folder total_frames label`` or ``folder start end label``, split from the right.

    The line that ends with the fewest numbers tells how many belong to the form: a name may end with numbers, too.

    >>> spaces([(1, "take 2 120 5"), (2, "take two 130 7")])
    [Row(name='take 2', label=5, places=()), Row(name='take two', label=7, places=())]
    >>> spaces([(1, "my video.mp4 5"), (2, "other.mp4 archery")])
    [Row(name='my video.mp4', label=5, places=()), Row(name='other.mp4', label='archery', places=())]
    """
    files = {number: _PATH_AND_REST.fullmatch(line) for number, line in lines}
    counts = {number: _trailing_numbers(line) for number, line in lines if not files[number]}
    numbers = min(counts.values(), default=0)
    labelled = max(counts.values(), default=0) or any(match and match["rest"] for match in files.values())
    if counts and not numbers and labelled:
        number, line = next((number, line) for number, line in lines if counts.get(number) == 0)
        raise ValueError(f"line {number}: no class stands at the end of {line!r}, and other lines have one")

    def row(line: str) -> Row:
        if match := _PATH_AND_REST.fullmatch(line):
            return _file(match["path"], match["rest"] or "")
        name, *parts = line.rsplit(None, numbers)
        return _frames(name, parts)

    return _each(lines, row)


def _file(path: str, rest: str) -> Row:
    if len(rest.split()) > 1 and all(whole_number(part) is not None for part in rest.split()):
        raise ValueError(f"{path} has several labels ({rest}), and a clip of a study has one")
    number, *further = rest.split() or [""]
    if whole_number(number) is not None and further and {word.lower() for word in further} <= _SPLITS:
        raise ValueError(
            f"{' '.join(further)} stands behind class {number}: name the columns in a header, path label split"
        )
    return Row(_name(path), _label(rest))


def _trailing_numbers(line: str) -> int:
    count = 0
    for part in reversed(line.split()[1:]):
        if whole_number(part) is None or count == 3:
            break
        count += 1
    return count


def _frames(name: str, numbers: Sequence[str]) -> Row:
    """Reads a folder of frames with [[start] end] label; refuses anything but the whole folder."""
    values = [whole_number(part) for part in numbers]
    if not name or any(number is None for number in values[:-1]):
        raise ValueError(f"expected a folder and numbers of frames, not {name!r} {' '.join(numbers)}")
    if len(numbers) == 3 and (values[0] or 0) > 1:
        raise ValueError(f"{name} is to start at frame {numbers[0]}, and a study explains whole folders of frames")
    return Row(_name(name), _label(numbers[-1]) if numbers else None)


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
        rows = [Row(row.name, _label(str(row.label))) for row in rows]
    return Listed(rows, tuple(notes))


def is_video(path: Path) -> bool:
    """Says whether the name of a file is that of a video."""
    return extension(path) in VIDEO_SUFFIXES or extension(path) in TENSOR_SUFFIXES
