"""Names of classes: reads them from a file, and finds the class that a person's spelling means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from lrp3d.commands import UsageError
from lrp3d.commands.terminal import complain
from lrp3d.study.listing.class_lists import bare, class_list
from lrp3d.study.listing.class_names import read_labels
from lrp3d.study.listing.packaged import SUBSETS
from lrp3d.study.listing.texts import whole_number

__all__ = ["classes_to_keep", "find_class", "label_of", "read_labels"]


def classes_to_keep(given: str | None) -> tuple[str, ...] | None:
    """The names of --classes; None for all classes. Raises UsageError where there is no such file or list."""
    if given is None:
        return None
    try:
        return class_list(given)
    except FileNotFoundError:
        raise UsageError(
            f"--classes {given}: there is no such file, and the lists that come with lrp3d are {', '.join(SUBSETS)}"
        ) from None


def find_class(wanted: str, labels: Sequence[str]) -> int:
    """The class that `wanted` means: an index, or a name up to quotes, brackets, case and underscores.

    Raises:
        UsageError: no class has that name (the message has the nearest names), or several classes have it.

    >>> find_class('"Arm Wrestling"', ["eye makeup", "arm_wrestling"]), find_class("0", ["eye makeup"])
    (1, 0)
    """
    name = wanted.strip()
    number = whole_number(name) if re.fullmatch(r"-?\d+", name) else None
    if number is not None:
        _say_what_else_it_means(name, number, labels)
        return number
    if not labels:
        raise UsageError(f"--target {name!r} is a name, and nothing names the classes: give --labels, or an index")
    exact = [index for index, label in enumerate(labels) if label == name]
    matches = exact or [index for index, label in enumerate(labels) if bare(label) == bare(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"--target {name!r} names {len(matches)} classes: {', '.join(map(str, matches))}")
    by_bare = {bare(label): label for label in labels}
    similar = [by_bare[match] for match in difflib.get_close_matches(bare(name), by_bare, cutoff=0.5)]
    similar = similar or [label for label in labels if bare(name) in bare(label)][:3]
    raise UsageError(f"no class is named {name!r}" + (f"; near are {', '.join(map(repr, similar))}" if similar else ""))


def _say_what_else_it_means(name: str, number: int, labels: Sequence[str]) -> None:
    """Say it where labels are numbers, and an index is also the name of another class."""
    other = [index for index, label in enumerate(labels) if label == name and index != number]
    if other:
        named = f" of class {label_of(number, labels)!r}" if number < len(labels) else ""
        also = f"it is also the name of class {other[0]}: for that, give {other[0]}"
        complain(f"--target {name} is taken as the index{named}; {also}")


def label_of(index: int, labels: Sequence[str]) -> str:
    """The name of a class, or its number if it has no name."""
    return labels[index] if index < len(labels) else f"class {index}"
