"""What is fuzzed: a kind of file, how a case of it is made, and which public readers read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

Step = Callable[[], Iterable[str]]
"""Calls a public reader once, and gives a sentence for everything that is wrong with what it read."""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    errors: tuple[type[Exception], ...]
    """What its readers document; no subclass of these counts, for it would be documented by its own name."""
    prepare: Callable[[Path, Random], Path]
    """Writes the files of a case into an empty folder, and returns what is to be read."""
    steps: Callable[[Path, Random], list[Step]]
    """The readers of a case, and what may be asked of what they give."""
    warnings: tuple[type[Warning], ...] = ()
    """What its readers may say while they read."""


def writable(name: str) -> str:
    """A name that a file can have: what no file system takes is left out."""
    kept = name.replace("/", "_").replace("\0", "_")
    while len(kept.encode("utf-8", "surrogateescape")) > 120:
        kept = kept[: len(kept) // 2]
    return kept if kept.strip(".") else "_"
