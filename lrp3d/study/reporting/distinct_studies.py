"""What tells the studies of a report apart: their folders, their models, and the lists of clips they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.running.folder import config_hash

__all__ = ["distinct", "lists_of_one_name"]


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


def lists_of_one_name(studies: Sequence[Studied]) -> Iterator[str]:
    """Yields a sentence for each name of a data set that stands for several lists of clips."""
    by_name: dict[str, dict[str, list[str]]] = {}
    by_list: dict[str, dict[str, list[str]]] = {}
    for study in studies:
        if study.listed:
            by_size = by_name.setdefault(replace(study, listed="").dataset, {})
            by_size.setdefault(study.listed, []).append(study.name)
        if clips := study.config.get("clips"):
            by_list.setdefault(study.dataset, {}).setdefault(clips, []).append(study.name)
    for name, by_size in by_name.items():
        lists = f"{len(by_size)} different lists of clips"
        yield f"{name} is the name of {lists}, which are not compared: {_each(by_size)}."
    for name, alike in by_list.items():
        if len(alike) > 1:
            groups = "; ".join(", ".join(names) for names in alike.values())
            yield (
                f"The lists of {name} have as many clips, with other names or classes ({groups}), and are compared as "
                "one data set: give them other names with --dataset if they are not."
            )


def _each(by_size: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{listed} in {', '.join(names)}" for listed, names in by_size.items())


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
    """Adds to the name of a data set how many clips its list has, where lists of other sizes have that name.

    The same clips may be listed by other names (folders of frames, another suffix), so only the size tells lists apart.
    """
    sizes: dict[str, set[str]] = {}
    for study in studies:
        if clips := study.config.get("clips"):
            sizes.setdefault(study.dataset, set()).add(_size(clips))
    return [
        replace(study, listed=_size(study.config.get("clips", "")) if len(sizes.get(study.dataset, ())) > 1 else "")
        for study in studies
    ]


def _size(clips: str) -> str:
    """How many clips a list has, in words."""
    return clips.partition(",")[0]
