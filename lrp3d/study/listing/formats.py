"""The forms in which data sets list their videos, one function each; a row is a clip and its class."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lrp3d.video.tensors import TENSOR_SUFFIXES

VIDEO_SUFFIXES = tuple(".mp4 .webm .mkv .avi .mov .m4v .mpg .mpeg .wmv .flv .3gp .ts .nut".split())
_SUFFIX = "|".join(re.escape(suffix) for suffix in (*VIDEO_SUFFIXES, *sorted(TENSOR_SUFFIXES)))
_PATH_AND_REST = re.compile(rf"(?P<path>.*(?:{_SUFFIX}))(?:\s+(?P<rest>.*))?", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A line of a list."""

    name: str
    label: str | int | None = None
    """Its class as the list has it: a name, a number, or nothing."""
    places: tuple[str, ...] = ()
    """Where the clip may lie, if not at `name`."""


def rows_of_file(path: Path) -> list[Row]:
    """The rows of a list file, whose form is told from its first line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is in no known form.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no list {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no text: a list is csv, txt or json, or a folder of classes") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ValueError(f"{path.name} is empty")
    first = lines[0][1]
    try:
        if path.suffix.lower() == ".json" or first[0] in "[{":
            return something_json(text)
        if "youtube_id" in first:
            return kinetics_csv(text)
        if ";" in first:
            return _each(lines, semicolons)
        if _has_commas(first):
            return _each(lines, commas)
        return spaces([line for _, line in lines])
    except ValueError as error:
        raise ValueError(f"{path.name}, {error}") from None


def _each(lines: list[tuple[int, str]], form: Callable[[str], Row]) -> list[Row]:
    rows = []
    for number, line in lines:
        try:
            rows.append(form(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return rows


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _label(text: str) -> str | int | None:
    text = text.strip()
    return (_number(text) if text.isdecimal() else text) if text else None


def kinetics_csv(text: str) -> list[Row]:
    """``label,youtube_id,time_start,time_end,...``; a clip lies at [label/]id_start_end with any suffix.

    >>> kinetics_csv("label,youtube_id,time_start,time_end,split\\ntai chi,a-B,7,17,val")[0].places
    ('tai chi/a-B_000007_000017', 'tai_chi/a-B_000007_000017', 'a-B_000007_000017')
    """
    rows = []
    for number, line in enumerate(csv.DictReader(text.splitlines()), 2):
        try:
            start, end = (int(float(line[key])) for key in ("time_start", "time_end"))
            stem = f"{line['youtube_id']}_{start:06d}_{end:06d}"
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"line {number}: expected label,youtube_id,time_start,time_end") from None
        label = (line.get("label") or "").strip().strip('"')
        folders = dict.fromkeys([f"{label}/", f"{label.replace(' ', '_')}/", ""]) if label else [""]
        rows.append(Row(f"{label}/{stem}" if label else stem, label or None, tuple(f + stem for f in folders)))
    return rows


def something_json(text: str) -> list[Row]:
    """Objects with ``id`` and ``template`` (or ``label``); a template's brackets are no part of its class.

    >>> something_json('[{"id": "7", "label": "holding a cup", "template": "Holding [something]"}]')
    [Row(name='7', label='Holding something', places=())]
    """
    try:
        stored = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"which is no complete json: {error}") from None
    if not isinstance(stored, list) or not all(isinstance(entry, dict) and "id" in entry for entry in stored):
        raise ValueError('which is json, but no list of objects with "id" and "template"')
    rows = []
    for entry in stored:
        label = entry.get("template", entry.get("label"))
        rows.append(Row(str(entry["id"]), label and re.sub(r"[\[\]]", "", label)))
    return rows


def semicolons(line: str) -> Row:
    """``id;label``, or ``folder;start;end;label``.

    >>> semicolons("100218;Holding something"), semicolons("a/b;1;30;5")
    (Row(name='100218', label='Holding something', places=()), Row(name='a/b', label=5, places=()))
    """
    parts = [part.strip() for part in line.split(";")]
    if len(parts) == 4:
        return _frames(parts[0], parts[1:])
    if len(parts) not in (2, 3):
        raise ValueError(f"expected path;label or folder;start;end;label, not {line!r}")
    return Row(parts[0], _label(parts[-1]))


def _has_commas(line: str) -> bool:
    """Whether commas separate, and do not belong to a path."""
    if "," not in line:
        return False
    before, _, last = line.rpartition(" ")
    return not last.isdecimal() or before.rstrip().endswith(",") or line.startswith('"')


def commas(line: str) -> Row:
    """``path,label``, with whatever stands behind it if the label is a name.

    >>> commas('"a, b.mp4",3'), commas("x/y.mp4,x,3,0")
    (Row(name='a, b.mp4', label=3, places=()), Row(name='x/y.mp4', label='x', places=()))
    """
    parts = [part.strip() for part in next(csv.reader([line], skipinitialspace=True))]
    if len(parts) == 2 or (len(parts) > 2 and parts[1] and _number(parts[1]) is None):
        return Row(parts[0], _label(parts[1]))
    if len(parts) in (3, 4) and all(_number(part) is not None for part in parts[1:]):
        return _frames(parts[0], parts[1:])
    raise ValueError(f"expected path,label, not {line!r}")


def spaces(lines: list[str]) -> list[Row]:
    """``path label``, ``folder total_frames label`` or ``folder start end label``, split from the right.

    How many numbers belong to the form is the least that any line ends with: names may end with numbers too.

    >>> spaces(["take 2 120 5", "take two 130 7"])
    [Row(name='take 2', label=5, places=()), Row(name='take two', label=7, places=())]
    >>> spaces(["my video.mp4 5", "other.mp4 archery"])
    [Row(name='my video.mp4', label=5, places=()), Row(name='other.mp4', label='archery', places=())]
    """
    files = [_PATH_AND_REST.fullmatch(line) for line in lines]
    if all(files):
        return [_file(match["path"], match["rest"] or "") for match in files if match]
    numbers = min(_trailing_numbers(line) for line in lines)
    rows = []
    for line in lines:
        name, *parts = line.rsplit(None, numbers)
        rows.append(_frames(name, parts))
    return rows


def _file(path: str, rest: str) -> Row:
    if len(rest.split()) > 1 and all(part.isdecimal() for part in rest.split()):
        raise ValueError(f"{path} has several labels ({rest}), and a clip of a study has one")
    return Row(path, _label(rest))


def _trailing_numbers(line: str) -> int:
    count = 0
    for part in reversed(line.split()[1:]):
        if not part.isdecimal() or count == 3:
            break
        count += 1
    return count


def _frames(name: str, numbers: list[str]) -> Row:
    """A folder of frames with [[start] end] label; the whole folder, or it is refused."""
    if not name or any(_number(part) is None for part in numbers[:-1]):
        raise ValueError(f"expected a folder and numbers of frames, not {name!r} {' '.join(numbers)}")
    if len(numbers) == 3 and int(numbers[0]) > 1:
        raise ValueError(f"{name} is to start at frame {numbers[0]}, and a study explains whole folders of frames")
    return Row(name, _label(numbers[-1]) if numbers else None)


def rows_of_folder(folder: Path) -> list[Row]:
    """A folder of videos, or of frame folders, for every class.

    Raises:
        ValueError: there are none.
    """
    rows = []
    for group in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        for entry in sorted(group.iterdir()):
            if not entry.name.startswith(".") and (entry.is_dir() or is_video(entry)):
                rows.append(Row(f"{group.name}/{entry.name}", group.name))
    if not rows:
        raise ValueError(f"{folder} has no folders of classes with videos in them")
    return rows


def is_video(path: Path) -> bool:
    """Whether a file is one by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES or path.suffix.lower() in TENSOR_SUFFIXES
