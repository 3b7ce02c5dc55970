"""Lists of videos, in the forms that data sets come with: their clips, each clip's class, and where it may lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from lrp3d.printed import few, printable
from lrp3d.study.listing.class_lists import bare, index_of
from lrp3d.study.listing.formats import rows_of_file, rows_of_folder
from lrp3d.study.listing.numbering import (
    from_zero,
    list_notes,
    names_beside_numbers,
    refuse_numbers_that_are_names,
)
from lrp3d.study.listing.rows import Row
from lrp3d.study.listing.texts import MOST_CLASSES, in_digits, is_address, on_one_line

__all__ = ["Item", "VideoList", "make_list", "read_list"]


@dataclass(frozen=True)
class Item:
    """One clip of a study.

    >>> from lrp3d.study import Row
    >>> [(item.number, item.name, item.label) for item in make_list([Row("b.mp4", 1), Row("a.mp4", 0)]).items]
    [(0, 'a.mp4', 0), (1, 'b.mp4', 1)]
    """

    number: int
    """The clip's place in the list sorted by name, so that it does not depend on the order of the file."""
    name: str
    """The clip's name in the list."""
    label: int | None = None
    """The clip's class; None where the list names none."""
    places: tuple[str, ...] = ()
    """Where the clip may lie below the root, with or without a suffix; empty means at `name`."""
    frames: int | None = None
    """How many frames the list says that the clip's folder of frames has; None where it does not say."""


@dataclass(frozen=True)
class VideoList:
    """The clips of a study and the names of its classes.

    Made by `read_list` and `make_list`.

    >>> from lrp3d.study import Row
    >>> clips = make_list([Row("b.mp4", "yoga"), Row("a.mp4", "archery")])
    >>> clips.labels, len(clips.items), clips.alphabetical
    (('archery', 'yoga'), 2, True)
    """

    items: tuple[Item, ...]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    """One sentence for each decision made while reading: a header was skipped, classes count from 1."""
    alphabetical: bool = field(default=False, compare=False)
    """Whether nothing but the alphabet numbers the classes: the list names them, and no labels were given."""
    first_class: int | None = field(default=None, compare=False)
    """The number, 0 or 1, from which the list counts classes; None where it has none by number."""

    @property
    def digest(self) -> str:
        """A hash of the clips and their classes, which tells this list from others."""
        content = json.dumps([[item.name, item.label] for item in self.items])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@on_one_line()
def read_list(
    path: str | Path,
    *,
    labels: Sequence[str] = (),
    list_labels: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    num_classes: int | None = None,
    first_class: int | None = None,
) -> VideoList:
    """Reads a list of videos in any of the usual forms.

    Args:
        path: a file or a folder, one of
            - Kinetics' csv: ``label,youtube_id,time_start,time_end,split``;
            - ``path label`` lines, separated by spaces, tabs, commas, semicolons or bars and split from the right, so
              that paths may hold spaces; a path may be a folder of frames;
            - ``folder total_frames label``, ``folder start end label`` and ``folder 0 total_frames label`` lines of
              frame folders; a `Reader` holds the number of frames against the folder's images;
            - Something-Something's json (``id``, ``template``), and the csv of its first version (``id;label``);
            - Moments in Time's csv: ``path,label,...``;
            - a folder with a folder of videos, or of frame folders, for every class.
            A header is skipped; where it names the columns, they are found by their names. Between spaces, a class in
            words is found behind a suffix, or if it is one of the labels.
        labels: names of the model's classes 0, 1, ...; needed where the list has names, but not those of all classes.
            Without them, the names in the list count in alphabetical order, and a note says so.
        list_labels: names of the list's own numbers, where these are not the model's (a model of a mini data set and
            the list of the full one).
        classes: keep only clips of these classes, given by name, such as those of a mini subset.
        limit: keep at most so many clips, spread evenly over the list.
        num_classes: how many classes the model has, where no names tell.
        first_class: the number of the first class, 0 or 1, where another list of the same classes tells.

    Returns:
        `VideoList`, sorted by name, with each clip once, whatever the order of the file. Its notes say what was
        decided: a header, classes that count from 1, lines that repeat others.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: the list is of no known form, a line breaks its form, an entry is an address on the network,
            numbers and names of classes are mixed and no labels are given, a number is the name of another class than
            the one at its place, or a class is unknown.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "val.txt")
    ...     _ = file.write_text("b/two words.mp4 1\\na/one.mp4 0\\n")
    ...     [(item.number, item.name, item.label) for item in read_list(file).items]
    [(0, 'a/one.mp4', 0), (1, 'b/two words.mp4', 1)]
    """
    path = Path(path)
    name = path.name or path.resolve().name or str(path)  # of ".", the folder's
    known = {bare(name) for name in (*labels, *list_labels, *(classes or ()))} - {""}
    listed = rows_of_folder(path) if path.is_dir() else rows_of_file(path, known)
    try:
        labels, of_names = names_beside_numbers(listed, labels, list_labels, num_classes)
        video_list = make_list(
            listed.rows,
            labels=labels,
            list_labels=list_labels,
            classes=classes,
            limit=limit,
            num_classes=num_classes,
            first_class=first_class,
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return replace(
        video_list,
        notes=tuple(printable(f"{name}: {note}") for note in (*listed.notes, *of_names, *video_list.notes)),
    )


@on_one_line()
def make_list(
    rows: Sequence[Row],
    *,
    labels: Sequence[str] = (),
    list_labels: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    num_classes: int | None = None,
    first_class: int | None = None,
) -> VideoList:
    """Makes a list of rows (name, class by name or number or None), as `read_list` makes it of a file.

    Args:
        rows: clips in any order; of equal rows only the first counts.
        labels: as in `read_list`.
        list_labels: as in `read_list`.
        classes: as in `read_list`.
        limit: as in `read_list`.
        num_classes: as in `read_list`.
        first_class: as in `read_list`.

    Raises:
        ValueError: there are no rows, classes are unknown, or numbers and names of classes are mixed as in `read_list`.

    >>> make_list([Row("b.mp4", "yoga"), Row("a.mp4", "archery")]).labels
    ('archery', 'yoga')
    """
    _check(rows, mixed=bool(labels or list_labels))
    rows = [replace(row, name=str(PurePosixPath(row.name))) for row in rows]  # ./a//b.mp4 is a/b.mp4, not another clip
    counted, notes = from_zero(rows, list_labels or labels, None if list_labels else num_classes, first_class)
    first = _first_class(rows, counted)
    if not list_labels:  # else numbers are places among these
        refuse_numbers_that_are_names(rows, counted, labels)
    rows = counted
    notes += list_notes(rows)
    rows = _by_class_names(rows, list_labels)
    if classes is not None:
        rows, absent = _rows_of_classes(rows, classes, labels)
        notes += absent
    names = sorted({row.label for row in rows if isinstance(row.label, str)})
    alphabetical = bool(names) and not labels
    if alphabetical:
        notes.append(_numbered_by_alphabet(names, num_classes))
    labels = tuple(labels) or tuple(names)
    indices = index_of(labels) if names else {}
    numbered = {(row.name, label): row for row in reversed(rows) for label in [_number(row, indices, labels)]}
    ordered = sorted(numbered, key=lambda key: (key[0], -1 if key[1] is None else key[1]))
    if limit is not None and limit < len(ordered):
        ordered = [ordered[i * len(ordered) // limit] for i in range(limit)]
    if not ordered:
        raise ValueError("no clip is left of the list" if classes is not None else "the list is empty")
    return VideoList(
        tuple(Item(number, *key, numbered[key].places, numbered[key].frames) for number, key in enumerate(ordered)),
        labels,
        tuple(notes),
        alphabetical,
        first,
    )


def _first_class(rows: Sequence[Row], counted: Sequence[Row]) -> int | None:
    """The number that became class 0; None where no class is a number."""
    for row, after in zip(rows, counted, strict=True):
        if isinstance(row.label, int) and isinstance(after.label, int):
            return row.label - after.label
    return None


def _numbered_by_alphabet(names: Sequence[str], num_classes: int | None) -> str:
    """Says which numbers the names of a list get without labels, and whether they can be those of the model."""
    numbered = few(f"{number} {name}" for number, name in enumerate(names))
    note = f"class names are numbered in alphabetical order, as no labels were given: {numbered}"
    if num_classes is None or len(names) == num_classes:
        return note
    return f"{note}; the model has {num_classes} classes and the list {len(names)}, so that its own numbers are others"


def _perhaps_a_header(rows: Sequence[Row]) -> str:
    """What to do if only the first line has a class by name, and no name of a file."""
    first, *others = rows
    is_alone = isinstance(first.label, str) and others and all(isinstance(row.label, int) for row in others)
    if not is_alone or "/" in first.name or Path(first.name).suffix:
        return ""
    return f"; if '{first.name}' and '{first.label}' name columns, call them 'path' and 'label'"


def _check(rows: Sequence[Row], mixed: bool) -> None:
    """Refuses what cannot be a clip of a study, before anything is made of it."""
    for row in rows:
        if is_address(row.name):
            raise ValueError(f"{row.name} is an address, and a list names files below the root: download them first")
        if isinstance(row.label, int) and not 0 <= row.label < MOST_CLASSES:
            raise ValueError(f"{row.name} has class {in_digits(row.label)}, which is no number of a class")
    by_name = next((row for row in rows if isinstance(row.label, str)), None)
    by_number = next((row for row in rows if isinstance(row.label, int)), None)
    if by_name and by_number and not mixed:
        raise ValueError(
            f"{by_name.name} has a class by name, {by_name.label!r}, and {by_number.name} one by number, "
            f"{by_number.label}: give the classes' names, or one kind on every line{_perhaps_a_header(rows)}"
        )


def _by_class_names(rows: Sequence[Row], list_labels: Sequence[str]) -> list[Row]:
    """Replaces numbers that mean something else to the model by the names of their classes."""
    if not list_labels:
        return list(rows)
    out_of_range = [row for row in rows if isinstance(row.label, int) and row.label >= len(list_labels)]
    if out_of_range:
        raise ValueError(
            f"{out_of_range[0].name} has class {out_of_range[0].label}, and the list's labels are {len(list_labels)}"
        )
    return [replace(row, label=list_labels[row.label]) if isinstance(row.label, int) else row for row in rows]


def _rows_of_classes(rows: Sequence[Row], classes: Sequence[str], labels: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Returns the rows of these classes, and a sentence about the classes that have none."""
    wanted = index_of(classes)
    if not labels and any(isinstance(row.label, int) for row in rows):
        raise ValueError("the list has numbers and the subset names: give the names of the list's classes")
    rows_kept, known_labels = [], set()
    for row in rows:
        label = row.label
        if isinstance(label, int):
            label = labels[label] if label < len(labels) else None
        if label is not None and bare(label) in wanted:
            rows_kept.append(row)
            known_labels.add(bare(label))
    absent = [name for name in classes if bare(name) not in known_labels]
    sentence = f"{len(absent)} of {len(classes)} classes to keep have no clip in the list ({few(absent)})"
    return rows_kept, [sentence] if absent else []


def _number(row: Row, indices: dict[str, int], labels: Sequence[str]) -> int | None:
    """Returns the model's number of a row's class."""
    if row.label is None:
        return None
    if isinstance(row.label, int):
        if labels and row.label >= len(labels):
            raise ValueError(f"{row.name} has class {row.label}, and there are {len(labels)} labels")
        return row.label
    index = indices.get(bare(row.label))
    if index is None:
        raise ValueError(f"{row.name} is of class {row.label!r}, which is none of the {len(labels)} labels")
    return index
