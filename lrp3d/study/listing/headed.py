"""Lists whose first line names the columns: which columns are read, and what a line below it says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from lrp3d.study.listing.class_lists import bare
from lrp3d.study.listing.columns import (
    CLASSES,
    FRAMES,
    IDS,
    NAMES,
    PATHS,
    STARTS,
    column_of,
    fields_of,
    key_of,
    unquoted,
)
from lrp3d.study.listing.rows import Lines, ListedRows, Row, class_of, clip_name, each_line, frames_from, names_video
from lrp3d.study.listing.spaced import spaced
from lrp3d.study.listing.texts import PlaceError, whole_number

__all__ = ["kinetics", "rows_below"]


def rows_below(header: list[str], lines: Lines, separator: str | None, known: Collection[str]) -> ListedRows:
    """Reads the rows below a header, by the columns that it names.

    Args:
        header: the names of the columns.
        lines: the lines of the list, the header first.
        separator: what separates columns; white space for None.
        known: the names of classes that are known, in their bare form.

    Raises:
        ValueError: a column is missing, or a line breaks its form.
    """
    number, line = lines[0]
    note = f"line {number} names the columns ({line})"
    rest = lines[1:]
    if not rest:
        raise ValueError("has a header and no clip")
    keys = [key_of(name) for name in header]
    if "youtubeid" in keys:
        if missing_columns := [name for name in ("time_start", "time_end") if key_of(name) not in keys]:
            raise PlaceError(
                f"line {number}",
                f"its header names youtube_id and no {' and no '.join(missing_columns)}; "
                "a clip of Kinetics is named by all three",
            )
        read = [key_of(name) for name in ("youtube_id", "time_start", "time_end")]
        used = [column_of(header, CLASSES), *(column for column, key in enumerate(keys) if key in read)]
        rows = each_line(rest, _Cuts(header, separator).row)
        return ListedRows(rows, (note + _not_read(header, used),))
    label = column_of(header, CLASSES)
    path = column_of(header, PATHS, without=() if label is None else (label,))
    if path is None:
        raise PlaceError(f"line {number}", f"its header names no column of paths: {line}")
    table = _Table(header, separator, path, label)
    used = [path, label, table.frames]
    if separator is None and len(header) == (1 if label is None else 2) and path == 0:
        listed = spaced(rest, known, has_classes=label is not None)  # a path may hold spaces
        return ListedRows(listed.rows, (note + _not_read(header, used), *listed.notes))
    rows = each_line(rest, table.row)
    if table.several_names:
        return ListedRows(rows, (note + _not_read(header, used),))
    return ListedRows(rows, (note + _not_read(header, [*used, table.names]),), tuple(sorted(table.class_names.items())))


def _not_read(header: Sequence[str], used: Sequence[int | None]) -> str:
    """The end of a note: the columns that are not used, if there are any."""
    others = [name or f"column {column + 1}" for column, name in enumerate(header) if column not in used]
    return f"; not read: {', '.join(others)}" if others else ""


@dataclass
class _Cuts:
    """The columns of Kinetics below a header, and from when to when the clips that were read so far go."""

    header: Sequence[str]
    separator: str | None
    _times: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def row(self, line: str) -> Row:
        """Reads a line; raises ValueError where another cut of the same video would lie in the same file."""
        fields = fields_of(line, self.separator)
        row = kinetics(self.header, fields)
        by_key = dict(zip(map(key_of, self.header), fields, strict=False))
        times = tuple(float(by_key[key]) for key in ("timestart", "timeend"))
        if (others := self._times.setdefault(row.name, times)) != times:
            raise ValueError(
                f"{row.name} is listed from {others[0]:g} to {others[1]:g} and from {times[0]:g} to {times[1]:g}, and "
                "files are named by whole seconds: list the files with a header path,label"
            )
        return row


CLASS_NAMES = tuple(word for word in NAMES if word in CLASSES)  # and neither captions nor names of videos


@dataclass
class _Table:
    """The columns below a header, and what the lines that were read so far say of classes and of starts."""

    header: Sequence[str]
    separator: str | None
    path: int
    label: int | None
    class_names: dict[int, str] = field(default_factory=dict)
    """The names that stand beside numbers of classes."""
    several_names: bool = False
    """Whether some class has several of them, so that they are names of something else."""
    _starts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.frames = column_of(self.header, FRAMES)
        self.start = column_of(self.header, STARTS)
        self.names: int | None = None
        if self.label is not None and key_of(self.header[self.label]) in IDS:
            self.names = column_of(self.header, CLASS_NAMES, without=(self.label, self.path))

    def row(self, line: str) -> Row:
        """Reads a line; raises ValueError if it breaks the form, or asks for a part of a clip."""
        fields = fields_of(line, self.separator)
        if len(fields) > len(self.header) or len(fields) <= self.path:
            raise ValueError(f"{len(fields)} fields below a header of {len(self.header)}: {line!r}")
        columns = (self.path, self.label, self.frames, self.start, self.names)
        name, of_class, total, start, class_name = (_field(fields, column) for column in columns)
        if names_video(of_class) and not names_video(name):
            raise ValueError(
                f"{of_class!r} stands where the class does: put a path that holds {self.separator!r} in quotes"
            )
        self._check_start(name, start)
        label = class_of(of_class)
        if isinstance(label, int) and class_name:
            self._name_class(label, unquoted(class_name))
        return Row(clip_name(name), label, frames=_total(total))

    def _check_start(self, name: str, start: str) -> None:
        """Refuses parts of videos and of folders: segments of one, or one that starts behind its first frame."""
        whole = "and a study explains whole videos and folders of frames: cut them into clips first"
        if self._starts.setdefault(name, start) != start:
            raise ValueError(f"{name} is listed with the starts {self._starts[name]} and {start}, {whole}")
        counts_frames = self.start is not None and key_of(self.header[self.start]) == "startframe"
        if counts_frames and (whole_number(start) or 0) > 1:
            raise ValueError(f"{name} is to start at frame {start}, {whole}")

    def _name_class(self, number: int, name: str) -> None:
        before = self.class_names.setdefault(number, name)
        self.several_names = self.several_names or bare(before) != bare(name)


def _total(text: str) -> int | None:
    """Reads a total of frames; None where the field is empty, or says that nobody knows."""
    count = whole_number(text)
    if text and count is None:
        raise ValueError(f"{text!r} is no number of frames: leave it empty if nobody knows")
    return None if count is None else frames_from(count)


def _field(fields: Sequence[str], column: int | None) -> str:
    """Returns the text in a column, which is empty where a line ends before it or the header does not have it."""
    return "" if column is None or column >= len(fields) else fields[column]


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
