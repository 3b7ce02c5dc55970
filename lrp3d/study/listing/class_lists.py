"""Lists of some classes of a data set, in many kinds of files; and when two names stand for the same class.

The names of all classes of a model are read by `class_names`; the lists that come with the package are in `packaged`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lrp3d.filenames import extension
from lrp3d.study.listing import packaged
from lrp3d.study.listing.packaged import HUMANS, packaged_list
from lrp3d.study.listing.texts import lines_of, on_one_line, parsed, read_text

__all__ = ["UnknownClasses", "bare", "check_sides", "class_list", "human_classes", "index_of"]


class UnknownClasses(ValueError):
    """The lists of classes belong to another data set."""


def bare(name: str) -> str:
    """Strips from a name what data sets write differently: case, quotes, brackets, underscores, a stray full stop.

    >>> bare('"Holding [something] next to [something]"') == bare("Holding something next to something")
    True
    >>> bare("yoga''."), bare("rock_scissors_paper"), bare("something that can't roll")
    ('yoga', 'rock scissors paper', 'something that cant roll')
    """
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold().replace("'", "")).split())


def index_of(labels: Sequence[str]) -> dict[str, int]:
    """Maps the bare form of each name to its place.

    Raises:
        ValueError: two labels stand for the same class.

    >>> index_of(["eye makeup", "arm_wrestling"])
    {'eye makeup': 0, 'arm wrestling': 1}
    """
    indices: dict[str, int] = {}
    for index, label in enumerate(labels):
        if bare(label) in indices:
            raise ValueError(f"labels {indices[bare(label)]} and {index} are one class, {label!r}")
        indices[bare(label)] = index
    return indices


@on_one_line()
def class_list(path: str | Path) -> tuple[str, ...]:
    """Reads names of classes from a file: a subset of a data set, or its temporal or static classes.

    Args:
        path: text with a name on each line; or json with a list of names, of [index, name] pairs or of objects with a
            "name". If the json has several such lists by key, the key follows after a colon, as in
            ``mini_classes.json:mini_ssv2``. Or the name of a list in the package: ``mini-kinetics`` or ``mini-ssv2``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no names, or it holds several lists and no key chooses one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "subset.json")
    ...     _ = file.write_text('{"mini": [[4, "archery"], [1, "air drumming"]], "note": "by hand"}')
    ...     class_list(f"{file}:mini")
    ('archery', 'air drumming')
    """
    stored = packaged_list(path)
    if stored is not None:
        return stored
    file, key = _file_and_key(path)
    text = _text(file)
    if extension(file) != ".json":
        if key:
            raise ValueError(f"{file.name} is no json, so that it holds no list {key!r}")
        names = tuple(line for _, line in lines_of(text) if line)
    else:
        names = _names_under(_parsed(text, file), file, key)
    if not names:
        raise ValueError(f"{file.name} names no class")
    if not all(map(str.strip, names)):
        raise ValueError(f"{file.name} holds a class without a name")
    return names


@on_one_line()
def human_classes(path: str | Path, labels: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Reads which classes of a data set people judged to be temporal, and which static.

    Args:
        path: json with lists ``NAME_temporal`` and ``NAME_static`` for one or several data sets; or
            ``only-time-can-tell``, the lists for Kinetics and Something-Something in the package.
        labels: the data set's own names of classes, which tell its pair of lists from the others.

    Returns:
        The names of the temporal and of the static classes, as the file writes them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no such lists, or a class is in both.
        UnknownClasses: (a ValueError) none of the listed classes is among the labels.

    Source: paper, Sec. 4.4; the lists are those of Sevilla-Lara et al. (2021).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "people.json")
    ...     _ = file.write_text('{"sport_temporal": ["juggling"], "sport_static": ["archery"]}')
    ...     human_classes(file, ["Archery", "Juggling"])
    (('juggling',), ('archery',))
    """
    file, _ = _file_and_key(path)
    in_package = str(path) == HUMANS and not Path(path).exists()
    stored: Any = packaged.stored("humans") if in_package else _parsed(_text(file), file)
    stored = stored if isinstance(stored, dict) else {}
    kinds = [key.removesuffix("_temporal") for key in stored if key.endswith("_temporal")]
    pairs = [
        (_every_name(stored, f"{kind}_temporal", file), _every_name(stored, f"{kind}_static", file))
        for kind in kinds
        if f"{kind}_static" in stored
    ]
    if not pairs:
        raise ValueError(f"{file.name} holds no lists NAME_temporal and NAME_static")
    names = {bare(label) for label in labels}
    matches = [sum(bare(name) in names for name in temporal + static) for temporal, static in pairs]
    if not max(matches):
        raise UnknownClasses(f"none of the classes in {file.name} is one of the study's {len(names)} named classes")
    chosen = pairs[matches.index(max(matches))]
    try:
        check_sides(*chosen)
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from None
    return chosen


def check_sides(temporal: Sequence[str], static: Sequence[str]) -> None:
    """Raises ValueError where a class is on both sides: no one can agree with that.

    >>> check_sides(["juggling"], ["archery", "Juggling"])
    Traceback (most recent call last):
    ValueError: 'Juggling' is among the temporal classes and among the static ones: leave it out of one
    """
    others = set(map(bare, temporal))
    if both := [name for name in static if bare(name) in others]:
        more = f" and {len(both) - 1} more are" if len(both) > 1 else " is"
        one = "it" if len(both) == 1 else "each"
        raise ValueError(
            f"{both[0]!r}{more} among the temporal classes and among the static ones: leave {one} out of one"
        )


def _every_name(stored: dict[str, Any], key: str, file: Path) -> tuple[str, ...]:
    """Returns the names under a key; raises ValueError for an entry that is no name."""
    names = _names(stored[key])
    if names is None:
        raise ValueError(f"{file.name}: {key} is no list of names")
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise ValueError(f"{file.name}: entry {place} of {key} names no class ({name!r})")
    return names


def _file_and_key(path: str | Path) -> tuple[Path, str]:
    if Path(path).exists() or ":" not in Path(path).name:
        return Path(path), ""
    file, _, key = str(path).rpartition(":")
    return Path(file), key


def _text(file: Path) -> str:
    return read_text(file, "classes are json or one name per line")


def _parsed(text: str, file: Path) -> Any:
    """Returns what the json of a file holds; an error names the file."""
    try:
        return parsed(text)
    except ValueError as error:
        raise ValueError(f"{file.name} {error}") from None


def _names_under(stored: Any, file: Path, key: str) -> tuple[str, ...]:
    if isinstance(stored, dict):
        lists = {name: names for name, value in stored.items() if (names := _names(value)) is not None}
        if not lists:  # the json maps names to ids
            lists = {"": tuple(stored)}
        key = key or (next(iter(lists)) if len(lists) == 1 else "")
        if key not in lists:
            choices = ", ".join(f"{file.name}:{name}" for name in lists)
            raise ValueError(f"{file.name} holds {len(lists)} lists: say which, {choices}")
        return lists[key]
    names = _names(stored)
    if names is None:
        raise ValueError(f"{file.name} is json, but no list of names")
    return names


def _names(stored: Any) -> tuple[str, ...] | None:
    """Returns the names in a list without what stands beside them, or None if it is no list of names."""
    if not isinstance(stored, list):
        return None
    names = []
    for entry in stored:
        if isinstance(entry, dict):
            if "name" in entry and entry["name"] is None:
                continue  # the source had no name for this class
            entry = entry.get("name")
        elif isinstance(entry, list) and len(entry) == 2:
            entry = entry[1]
        if not isinstance(entry, str):
            return None
        names.append(entry)
    return tuple(names)
