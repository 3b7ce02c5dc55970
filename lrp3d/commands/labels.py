"""Names of classes: read from a file, and found again as people write them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from lrp3d.commands import UsageError
from lrp3d.study.listing.classes import bare


def read_labels(path: Path) -> tuple[str, ...]:
    """The names of classes 0, 1, ... from a file: json (name to id, id to name, list), one name per line, or name,id.

    Ids that the file leaves out get their number as a name.

    Raises:
        ValueError: the file is nothing of that kind.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no text, and labels are json or one name per line") from None
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        try:
            named = _by_id(json.loads(text), path.name)
        except json.JSONDecodeError as error:
            if path.suffix.lower() == ".json":
                raise ValueError(f"{path.name} is no complete json: {error}") from None
            named = _by_line(text)
    else:
        named = _by_line(text)
    if not named:
        raise ValueError(f"{path.name} names no class")
    return tuple(named.get(index, str(index)) for index in range(max(named) + 1))


def _by_line(text: str) -> dict[int, str]:
    """A name on each line, or name,id on every line, as Moments in Time has it."""
    lines = text.strip().splitlines()
    pairs = [line.rpartition(",") for line in lines]
    if lines and all(name and number.strip().isdecimal() for name, _, number in pairs):
        named = {int(number): _plain(name) for name, _, number in pairs}
        if len(named) == len(lines):
            return named
    return {index: _plain(line) for index, line in enumerate(lines)}


def _by_id(stored: object, file: str) -> dict[int, str]:
    """Ids to names, whichever way round the file has them."""
    if isinstance(stored, list):
        pairs = list(enumerate(stored))
    elif isinstance(stored, dict) and all(_is_id(value) for value in stored.values()):
        pairs = [(int(index), name) for name, index in stored.items()]  # before the other: names may be numbers
    elif isinstance(stored, dict) and all(_is_id(key) for key in stored):
        pairs = [(int(index), name) for index, name in stored.items()]
    else:
        pairs = []
    if not pairs or not all(isinstance(name, str) for _, name in pairs):
        raise ValueError(f"{file} is json, but neither names to ids, nor ids to names, nor a list of names")
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"{file} gives one id to several names")
    if max(index for index, _ in pairs) >= 1_000_000:
        raise ValueError(f"{file} has ids up to {max(index for index, _ in pairs)}, which are no numbers of classes")
    return {index: _plain(name) for index, name in pairs}


def _is_id(value: object) -> bool:
    return not isinstance(value, bool) and str(value).isdecimal()


def _plain(name: str) -> str:
    """Kinetics' files have quotes inside their quotes."""
    name = name.strip()
    return name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] == '"' else name


def find_class(wanted: str, labels: Sequence[str]) -> int:
    """The class that `wanted` means: an index, or a name up to quotes, brackets, case and underscores.

    Raises:
        UsageError: no class has that name, with the nearest that have, or several have.

    >>> find_class('"Arm Wrestling"', ["eye makeup", "arm_wrestling"]), find_class("0", ["eye makeup"])
    (1, 0)
    """
    name = wanted.strip()
    if name.lstrip("-").isdecimal():
        return int(name)
    if not labels:
        raise UsageError(f"--target {name!r} is a name, and nothing names the classes: give --labels, or an index")
    exact = [index for index, label in enumerate(labels) if label == name]
    found = exact or [index for index, label in enumerate(labels) if bare(label) == bare(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"--target {name!r} names {len(found)} classes: {', '.join(map(str, found))}")
    by_bare = {bare(label): label for label in labels}
    near = [by_bare[match] for match in difflib.get_close_matches(bare(name), by_bare, cutoff=0.5)]
    near = near or [label for label in labels if bare(name) in bare(label)][:3]
    raise UsageError(f"no class is named {name!r}" + (f"; near are {', '.join(map(repr, near))}" if near else ""))


def label_of(index: int, labels: Sequence[str]) -> str:
    """How a class is called: by its name, else by its number."""
    return labels[index] if index < len(labels) else f"class {index}"
