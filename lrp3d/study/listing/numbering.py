"""Lists that count classes from 1, as UCF101's do: the list itself gives them away, and they are counted from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lrp3d.printed import few
from lrp3d.study.listing.class_lists import bare
from lrp3d.study.listing.rows import ListedRows, Row

__all__ = ["from_zero", "list_notes", "refuse_numbers_that_are_names"]


def from_zero(
    rows: Sequence[Row], names: Sequence[str] = (), count: int | None = None, first: int | None = None
) -> tuple[list[Row], list[str]]:
    """Returns the rows with classes counted from 0, and one sentence for each decision.

    Args:
        rows: the clips; those whose class is no number stay as they are.
        names: the names of the list's classes 0, 1, ...
        count: the number of classes, where no names tell.
        first: the number of the first class, 0 or 1, where another list of the same classes tells.

    Raises:
        ValueError: a clip has class 0, and the first class is 1.

    >>> rows, notes = from_zero([Row("Archery/a.avi", 1), Row("Bowling/b.avi", 2)], ["Archery", "Bowling"])
    >>> [(row.name, row.label) for row in rows]
    [('Archery/a.avi', 0), ('Bowling/b.avi', 1)]
    """
    numbered = [row for row in rows if isinstance(row.label, int)]
    numbers = {row.label for row in numbered if isinstance(row.label, int)}
    if not numbers:
        return list(rows), []
    indices = _folders_by_name(names)
    votes = [number - indices[folder] for folder, number in _folders(numbered) if folder in indices]
    if first and 0 in numbers:
        zero = next(row.name for row in numbered if row.label == 0)
        raise ValueError(f"{zero} has class 0, and the other list counts classes from 1: let both count alike")
    notes = []
    told = 0 not in numbers and _counts_from_one(numbered, numbers, votes, len(names) or count)
    if told if first is None else first:
        notes.append("the list counts classes from 1: class 1 is taken for 0, and so on")
        rows = [replace(row, label=row.label - 1) if isinstance(row.label, int) else row for row in rows]
        votes = [vote - 1 for vote in votes]
    elif min(numbers) == 1:
        where = "no clip has class 0" if len(numbered) == len(rows) else "of the classes by number none is 0"
        notes.append(f"{where}: the list's classes are taken to count from 0")
    if others := sum(vote != 0 for vote in votes):
        notes.append(
            f"{others} of {len(votes)} clips lie in folders that are named like other classes than theirs: "
            "are the labels those of the list?"
        )
    return list(rows), notes


def _counts_from_one(rows: Sequence[Row], numbers: set[int], votes: Sequence[int], count: int | None) -> bool:
    """Says whether classes count from 1, by folders with names of classes or by the numbers: 1 to K, of K classes."""
    if votes and (1 in votes) != (0 in votes):
        return 1 in votes
    last = max(numbers)
    if min(numbers) != 1 or (count is not None and last != count):
        return False
    if count is not None:
        return True
    pairs = set(_folders(rows))
    whole = len(numbers) == last > 1 and len(pairs) == last
    return whole and len({folder for folder, _ in pairs}) == last


def _folders(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Returns the folder that each clip lies in, with the clip's class; skips clips outside of any folder."""
    return [
        (bare(row.name.split("/")[-2]), row.label)
        for row in rows
        if isinstance(row.label, int) and "/" in row.name.strip("/")
    ]


def _folders_by_name(names: Sequence[str]) -> dict[str, int]:
    indices: dict[str, int] = {}
    for index, name in enumerate(names):
        indices.setdefault(bare(name), index)
    return indices


def refuse_numbers_that_are_names(rows: Sequence[Row], counted: Sequence[Row], labels: Sequence[str]) -> None:
    """Raises where the numbers of a list are names of classes as well, and not those of the same classes.

    Args:
        rows: the clips as the list has them.
        counted: the same clips with classes counted from 0.
        labels: the names of classes 0, 1, ..., such as folders that are numbers and were sorted as text.

    >>> refuse_numbers_that_are_names([Row("a", 2)], [Row("a", 2)], ["0", "1", "10", "2"])
    Traceback (most recent call last):
    ValueError: a has class 2: a number counts the labels from 0, and label 3 has it for a name: give --list-labels too
    """
    indices = _folders_by_name(labels)
    pairs = [(row, after.label) for row, after in zip(rows, counted, strict=True) if isinstance(row.label, int)]
    if not all(str(row.label) in indices for row, _ in pairs):
        return  # some are no names, so that none is meant as a name
    for row, place in pairs:
        by_name = indices[str(row.label)]
        if by_name != place:
            raise ValueError(
                f"{row.name} has class {row.label}: a number counts the labels from 0, and label {by_name} has it for "
                "a name: give --list-labels too"
            )


def names_beside_numbers(
    listed: ListedRows, labels: Sequence[str], list_labels: Sequence[str], count: int | None
) -> tuple[tuple[str, ...], list[str]]:
    """The labels, held against the names that a list has beside its numbers, or made of these if none are given.

    Args:
        listed: the list as it was read.
        labels: the names of the model's classes 0, 1, ...
        list_labels: the names of the list's own numbers, where these are not the model's.
        count: the number of the model's classes, where no names tell.

    Returns:
        The labels, and a sentence about what was decided.

    Raises:
        ValueError: a number has a name beside it that is the label of another class.
    """
    numbers, names = [number for number, _ in listed.names], [name for _, name in listed.names]
    given = list_labels or labels
    if not names:
        return tuple(labels), []
    if given:
        indices = _folders_by_name(given)
        places = [(number, indices[bare(name)]) for number, name in listed.names if bare(name) in indices]
        first = {number - place for number, place in places}
        if len(first) > 1 or not first <= {0, 1}:
            number, place = next(pair for pair in places if pair[0] != pair[1])
            name = dict(listed.names)[number]
            raise ValueError(
                f"class {number} is called {name!r} beside its number, and that is label {place}: give labels in the "
                "order of the list's numbers, or its own as --list-labels"
            )
        unknown = [name for name in names if bare(name) not in indices]
        note = f"{len(unknown)} of {len(names)} names beside the numbers are no labels ({few(unknown, 3)})"
        return tuple(labels), [note] if unknown else []
    whole = numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))
    if not whole or count not in (None, len(names)):
        return (), [f"the names beside the numbers ({few(names, 3)}) are not those of all classes, and are not used"]
    return tuple(names), ["the classes are called as beside their numbers"]


def _clips_have(count: int) -> str:
    return "1 clip has" if count == 1 else f"{count} clips have"


def list_notes(rows: Sequence[Row]) -> list[str]:
    """Returns notes on clips that are listed several times, and on classes that are missing or of two kinds."""
    notes = []
    entries = {(row.name, row.label) for row in rows}
    if len(entries) < len(rows):
        repeated = len(rows) - len(entries)
        several = f"{repeated} lines repeat others and count once"
        notes.append("1 line repeats another and does not count" if repeated == 1 else several)
    names: dict[str, int] = {}
    for name, _ in entries:
        names[name] = names.get(name, 0) + 1
    ambiguous = [name for name, count in names.items() if count > 1]
    if ambiguous:
        notes.append(
            f"{_clips_have(len(ambiguous))} several classes and {'is' if len(ambiguous) == 1 else 'are'} explained for "
            f"each ({few(sorted(ambiguous), 3)})"
        )
    without = sum(row.label is None for row in rows)
    if 0 < without < len(rows):
        notes.append(f"{without} of {len(rows)} clips {'has' if without == 1 else 'have'} no class")
    by_number = [row.name for row in rows if isinstance(row.label, int)]
    by_name = [row.name for row in rows if isinstance(row.label, str)]
    if by_number and by_name:
        notes.append(
            f"{_clips_have(len(by_number))} a class by number ({few(by_number, 3)}) and {len(by_name)} by name "
            f"({few(by_name, 3)}): a number is taken for a place among the labels, counted from 0, and not for a name"
        )
    return notes
