"""Lists of classes in the package, under the names that `--classes`, `--labels` and `--humans` take."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["HUMANS", "packaged_labels", "packaged_list", "packaged_names"]

HUMANS = "only-time-can-tell"
"""The temporal and static classes of Sevilla-Lara et al. (2021) go by this name."""
SUBSETS = ("mini-kinetics", "mini-ssv2")
LABELS = ("kinetics-400", "ssv2")


def packaged_names() -> tuple[str, ...]:
    """Returns the names of the lists: of subsets, and of whole data sets."""
    return (*SUBSETS, *LABELS)


@cache
def stored(name: str) -> dict[str, Any]:
    """Reads one of the package's files of lists, with its `source`: "mini", "labels" or "humans"."""
    text = resources.files("lrp3d.study.listing").joinpath(f"lists/{name}.json").read_text(encoding="utf-8")
    lists: dict[str, Any] = json.loads(text)
    return lists


def packaged_list(name: str | Path) -> tuple[str, ...] | None:
    """Returns the classes of a list in the package; None for an unknown name, or where a file has this name.

    >>> names = packaged_list("mini-kinetics")
    >>> len(names), names[:2]
    (200, ('air drumming', 'answering questions'))
    """
    if Path(name).exists():
        return None
    for file, names in (("mini", SUBSETS), ("labels", LABELS)):
        if str(name) in names:
            return tuple(stored(file)[str(name)])
    return None


def packaged_labels(name: str | Path) -> tuple[tuple[str, ...], str] | None:
    """Returns all classes of a data set in their usual order and their source, or None as in `packaged_list`."""
    names = packaged_list(name)
    return None if names is None else (names, stored("mini" if str(name) in SUBSETS else "labels")["source"])
