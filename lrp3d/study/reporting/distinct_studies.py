"""What tells the studies of a report apart: their folders, their models, and the lists of clips they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.running.folder import config_hash

__all__ = ["distinct", "lists_told_apart"]

DIGITS = 8  # of a digest, where two lists have as many clips


def distinct(studies: Sequence[Studied]) -> list[Studied]:
    """Makes studies distinguishable: by their names, by the lists behind one name of a data set, and by their models.

    Raises:
        ValueError: there are none, or two are one study, which would count as two models.
    """
    if not studies:
        raise ValueError("a report is of one study or more")
    _refuse_copies(studies)
    found: list[Studied] = []
    for study in _with_lists(studies):
        name, number = study.name, 2
        while name in {other.name for other in found}:
            name, number = f"{study.name}-{number}", number + 1
        # Of one model with different weights, the names of the folders tell them apart.
        alike = any((other.dataset, other.label()) == (study.dataset, study.label()) for other in found)
        found.append(replace(study, name=name, mark=name if alike else ""))
    return found


def lists_told_apart(studies: Sequence[Studied]) -> Iterator[str]:
    """Yields a sentence for each name of a data set that stands for several lists of clips."""
    by_name: dict[str, dict[str, list[str]]] = {}
    for study in studies:
        if study.listed:
            by_list = by_name.setdefault(replace(study, listed="").dataset, {})
            by_list.setdefault(study.listed, []).append(study.name)
    for name, by_list in by_name.items():
        each = "; ".join(f"{listed} in {', '.join(names)}" for listed, names in by_list.items())
        yield f"{name} is the name of {len(by_list)} different lists of clips, which are not compared: {each}."


def _refuse_copies(studies: Sequence[Studied]) -> None:
    """Raises where two studies have one configuration, if it says of which weights and clips they are."""
    whole = [study for study in studies if {"weights", "clips"} <= set(study.config)]
    for one, other in combinations(whole, 2):
        if config_hash(one.config) == config_hash(other.config):
            both = f"{one.name} and {other.name}" if one.name != other.name else f"two studies called {one.name}"
            raise ValueError(
                f"{both} are one study, with the same model, weights, clips and options, and would count as two "
                "models: give one of them"
            )


def _with_lists(studies: Sequence[Studied]) -> list[Studied]:
    """Adds to the name of a data set how many clips its list has, where studies give that name to several lists."""
    counts: dict[str, dict[str, str]] = {}  # of each list of each name
    for study in studies:
        if clips := study.config.get("clips"):
            counts.setdefault(study.dataset, {})[clips] = clips.partition(",")[0]
    return [
        replace(study, listed=_listed(study.config.get("clips", ""), counts.get(study.dataset, {})))
        for study in studies
    ]


def _listed(clips: str, counts: dict[str, str]) -> str:
    """What tells a list of clips from others of its name; empty where there is no other."""
    if not clips or len(counts) < 2:
        return ""
    count = counts[clips]
    digest = clips.rpartition(" ")[2]
    return count if list(counts.values()).count(count) == 1 else f"{count}, {digest[:DIGITS]}"
