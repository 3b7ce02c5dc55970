"""What a line of a list says: which clip it names, of which class, and how many frames a folder of frames has."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrp3d.filenames import extension
from lrp3d.printed import few
from lrp3d.study.listing.columns import unquoted
from lrp3d.study.listing.texts import PlaceError, whole_number
from lrp3d.video.tensors import TENSOR_SUFFIXES

__all__ = [
    "PATH_AND_REST",
    "VIDEO_SUFFIXES",
    "Lines",
    "ListedRows",
    "Row",
    "class_of",
    "clip_name",
    "each_line",
    "frame_folder",
    "frames_from",
    "is_video",
    "names_video",
    "offset_notes",
    "places_a_clip",
    "stands_out",
    "title_or_clip",
]

VIDEO_SUFFIXES = tuple(".mp4 .webm .mkv .avi .mov .m4v .mpg .mpeg .wmv .flv .3gp .ts .nut".split())
_SUFFIX = "|".join(re.escape(suffix) for suffix in (*VIDEO_SUFFIXES, *sorted(TENSOR_SUFFIXES)))
PATH_AND_REST = re.compile(rf"(?P<path>.*(?:{_SUFFIX}))(?:\s+(?P<rest>.*))?", re.IGNORECASE)

Lines = Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Row:
    """One line of a list: a clip and its class.

    >>> Row("archery/a.mp4", "archery")
    Row(name='archery/a.mp4', label='archery', places=(), frames=None)
    """

    name: str
    label: str | int | None = None
    """The class as the list gives it: a name, a number, or None."""
    places: tuple[str, ...] = ()
    """Where the clip may lie; empty means at `name`."""
    frames: int | None = None
    """How many frames the list says that the clip's folder of frames has; None where it does not say."""


@dataclass(frozen=True)
class ListedRows:
    """The rows of a list, with one sentence for each decision that was made while reading them."""

    rows: list[Row]
    notes: tuple[str, ...] = ()
    names: tuple[tuple[int, str], ...] = ()
    """Each number of a class with the name that stands beside it, where a list has both, in order."""


def names_video(text: str) -> bool:
    """Says whether a text names a video file, perhaps with something behind it; no class is called so.

    >>> names_video("a/b c.MP4"), names_video("b.mp4 yoga"), names_video("yoga")
    (True, True, False)
    """
    return PATH_AND_REST.fullmatch(text) is not None


def places_a_clip(text: str) -> bool:
    """Says whether a text looks like where a clip lies, and not like the name of a column: by suffix, folder or number.

    >>> [places_a_clip(text) for text in ("b.mp4", "yoga/b", "1001", "clip_1", "recording")]
    [True, True, True, True, False]
    """
    return names_video(text) or re.search(r"[/\\\d]", text) is not None


def stands_out(names: Sequence[str]) -> bool:
    """Says whether the first of some names may be that of a column, as it alone does not look like a clip's.

    >>> stands_out(["clip1", "a.mp4", "b.mp4"]), stands_out(["clip1", "1001"]), stands_out(["Datei", "1001"])
    (True, False, True)
    """
    first, *others = names
    of_a_clip = names_video if all(map(names_video, others)) else places_a_clip
    return bool(others) and "/" not in first and not of_a_clip(first) and all(map(of_a_clip, others))


def title_or_clip(line: tuple[int, str], header: str, others: Sequence[str]) -> PlaceError:
    """The error for a first line that may name columns in unknown words, or a clip unlike the others."""
    number, text = line
    named = "name video files" if all(map(names_video, others)) else "name clips by folders or numbers"
    return PlaceError(
        f"line {number}",
        f"{text!r} may be a header or a clip, as the other lines {named}: write {header} in its place if it is a "
        "header, and above it if it is a clip",
    )


def is_video(path: Path) -> bool:
    """Says whether the name of a file is that of a video."""
    return extension(path) in VIDEO_SUFFIXES or extension(path) in TENSOR_SUFFIXES


def each_line(lines: Lines, form: Callable[[str], Row]) -> list[Row]:
    """Reads each line by the same form; an error names its line."""
    rows = []
    for number, line in lines:
        try:
            rows.append(form(line))
        except ValueError as error:
            raise PlaceError(f"line {number}", str(error)) from None
    return rows


def clip_name(text: str) -> str:
    """Returns the name of a clip without quotes around it; raises ValueError where nothing is named."""
    name = unquoted(text)
    if name in ("", ".", "..", "/"):
        raise ValueError("a clip without a name")
    return name


def class_of(text: str) -> str | int | None:
    """Returns a class by number or by name, or None for an empty field; refuses numbers that cannot be a class.

    >>> class_of("3.0"), class_of('"tai chi"'), class_of("")
    (3, 'tai chi', None)
    """
    text = unquoted(text)
    number = whole_number(text)
    if number is None and re.fullmatch(r"[+-]?(\d*\.\d+|\d+\.?(?=e)|nan$|inf$)(e[+-]?\d+)?", text, re.IGNORECASE):
        raise ValueError(f"class {text}: numbers of classes are whole; leave it out if nobody knows the class")
    if number is not None and number < 0:
        raise ValueError(f"class {text}: numbers of classes go from 0; leave it out if nobody knows the class")
    return (text or None) if number is None else number


def frame_folder(name: str, parts: Sequence[str]) -> Row:
    """Reads a folder of frames with ``[[start] end] label`` or ``total label``; refuses all but the whole folder.

    >>> frame_folder("x", ["1", "30", "yoga"]) == frame_folder("x", ["30", "yoga"]) == Row("x", "yoga", frames=30)
    True
    """
    values = [whole_number(part) for part in parts[:-1]]
    numbers = [value for value in values if value is not None]
    if not name or len(numbers) < len(values):
        raise ValueError(f"expected a folder and numbers of frames, not {name!r} {' '.join(parts)}")
    if len(numbers) == 2 and numbers[0] > 1:
        raise ValueError(f"{name} is to start at frame {parts[0]}, and a study explains whole folders of frames")
    frames = frames_from(*numbers) if numbers else None
    return Row(clip_name(name), class_of(parts[-1]) if parts else None, frames=frames)


def frames_from(first: int, last: int | None = None) -> int | None:
    """Returns how many frames a list says, as a total or from first to last; None for -1, where nobody knows.

    Lists count frames from 1. A first frame of 0 is the number of frames that mmaction2 leaves out, before the total.

    >>> frames_from(30), frames_from(1, 30), frames_from(0, 30), frames_from(-1)
    (30, 30, 30, None)
    """
    end, begin = (first, 1) if last is None else (last, first)
    if end == -1:
        return None
    count = end - max(begin, 1) + 1
    if begin < 0 or count < 0:
        said = f"{first} is no number" if last is None else f"{first} and {last} are no numbers"
        raise ValueError(f"{said} of frames: write -1 for a last frame or a total that nobody knows")
    return count


def offset_notes(folders: Sequence[str]) -> list[str]:
    """Says for which folders the number behind a 0 is taken for a total, and not for that of the last frame."""
    return [f"a number of frames behind 0 is taken for a total, as in mmaction2 ({few(folders)})"] if folders else []
