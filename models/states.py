"""Finds the parameters in a checkpoint: in which of its dictionaries, under which prefix, and what else would fit.

Trainers wrap what they save: in dictionaries (`state_dict`, `model_ema`), in the names of wrapping modules
(`module.`, `_orig_mod.`) and in the attribute that holds the network (`model.`, `backbone.`), with losses and metrics
beside it. Nothing here knows a model; the caller says by a function whether tensors fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .wording import shown

Fits = Callable[[Mapping[str, Tensor]], bool]

_USUAL = "state_dict model_state model_state_dict blobs model module net network weights params".split()
_AVERAGED = re.compile(r"(?i)(?:^|[._])(?:model)?(?:ema|swa|avg|average|averaged|teacher|shadow)(?=[._]|$)")
_MOST = 2000  # the largest number of dictionaries searched: an optimiser has one for every parameter
_DEPTH = 6  # of nested dictionaries, and of modules around the network
_WRAPPER = re.compile(r"(?:module\.|_orig_mod\.)*")  # DataParallel, DistributedDataParallel, torch.compile


@dataclass(frozen=True)
class Place:
    """Some tensors of a checkpoint, under their bare names."""

    keys: tuple[str, ...]
    """The keys of the dictionaries that lead there."""
    prefix: str
    """The beginning of all its names."""
    tensors: Mapping[str, Tensor]
    left_out: tuple[str, ...] = ()
    """The other names in the dictionary."""

    @property
    def averaged(self) -> bool:
        """Whether its name says that it is an average over training steps."""
        return any(_AVERAGED.search(part) for part in (*self.keys, self.prefix))

    @property
    def rank(self) -> tuple[bool, int, int]:
        """A key for sorting places, the lowest first: trained weights before averages, usual before unusual names."""
        if not self.keys:
            return self.averaged, 0, len(self.prefix)
        name = self.keys[-1]
        return self.averaged, 1 + (_USUAL.index(name) if name in _USUAL else len(_USUAL)), len(self.prefix)

    def __str__(self) -> str:
        parts = [shown(part) for part in (*self.keys, self.prefix) if part]
        return " / ".join(map(repr, parts)) or "the top level"


@dataclass(frozen=True)
class Choice:
    """The place that was taken, and notes on the choice."""

    place: Place
    notes: tuple[str, ...]


def find(state: Mapping[Any, Any], fits: Fits) -> Choice | None:
    """The tensors of a checkpoint that fit; None if none do.

    If several fit, trained weights are preferred to their average (EMA). The notes say which were taken and which
    were not.
    """
    fitting = [place for keys, tensors in _dictionaries(state) for place in _fitting(keys, tensors, fits)]
    if not fitting:
        return None
    taken, *others = sorted(fitting, key=lambda place: place.rank)
    return Choice(taken, tuple(_notes(taken, others)))


def tensors_within(state: Mapping[Any, Any]) -> Iterator[Tensor]:
    """All tensors of a checkpoint in all its dictionaries."""
    for _, tensors in _dictionaries(state):
        yield from tensors.values()


def nearest(state: Mapping[Any, Any], names: Any) -> Place:
    """The place that has the most of these `names`, about which an error message is most useful."""
    places = [place for keys, tensors in _dictionaries(state) for place in _places(keys, tensors)]
    most = max((len(names & place.tensors.keys()) for place in places), default=0)
    best = (place for place in places if len(names & place.tensors.keys()) == most)
    return min(best, key=lambda place: place.rank, default=Place((), "", {}))


def _notes(place: Place, others: list[Place]) -> Iterator[str]:
    if others:
        left = ", ".join(map(str, others[:3])) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        yield f"the checkpoint holds {1 + len(others)} sets of weights that fit: {place} is taken, not {left}"
    elif place.averaged:
        yield f"the averaged weights in {place} are taken: the checkpoint holds no others that fit"
    elif not _WRAPPER.fullmatch(place.prefix) or (place.keys and place.keys[-1] not in _USUAL):
        yield f"the weights in {place} are taken"
    if place.left_out:
        examples = ", ".join(map(shown, place.left_out[:3])) + (", ..." if len(place.left_out) > 3 else "")
        count = len(place.left_out)
        yield f"{count} tensor{'s' * (count > 1)} beside the model {'are' if count > 1 else 'is'} left out: {examples}"


def _fitting(keys: tuple[str, ...], tensors: dict[str, Tensor], fits: Fits) -> Iterator[Place]:
    """The outermost places of one dictionary that fit; places below them are parts of them."""
    accepted: list[str] = []
    for place in _places(keys, tensors):
        if not any(place.prefix.startswith(prefix) for prefix in accepted) and fits(place.tensors):
            accepted.append(place.prefix)
            yield place


def _places(keys: tuple[str, ...], tensors: dict[str, Tensor]) -> list[Place]:
    """A place for all tensors of a dictionary, and one for each prefix, the shortest first."""
    groups: dict[str, dict[str, Tensor]] = {"": tensors}
    for name, value in tensors.items():
        end = 0
        for _ in range(_DEPTH):
            end = name.find(".", end) + 1
            if not end:
                break
            groups.setdefault(name[:end], {})[name[end:]] = value
    return [
        Place(keys, prefix, group, tuple(name for name in tensors if not name.startswith(prefix)))
        if len(group) < len(tensors) and prefix
        else Place(keys, prefix, group)
        for prefix, group in sorted(groups.items(), key=lambda item: item[0].count("."))
    ]


def _dictionaries(state: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every dictionary of a checkpoint that holds tensors, with the keys that lead to it."""
    waiting: list[tuple[tuple[str, ...], tuple[Mapping[Any, Any], ...]]] = [((), (state,))]
    for keys, (*path_above, mapping) in islice(_growing(waiting), _MOST):
        tensors = _tensors(mapping)
        if tensors:
            yield keys, tensors
        if len(keys) < _DEPTH:
            inner = ((str(key), _as_mapping(value)) for key, value in mapping.items())
            path = (*path_above, mapping)
            waiting += [
                ((*keys, key), (*path, value))
                for key, value in inner
                if value is not None and not any(value is outer for outer in path)  # a dictionary may contain itself
            ]


def _growing(items: list[Any]) -> Iterator[Any]:
    """The items of a list that grows during the iteration; each is removed when it is yielded."""
    queue = items
    while queue:
        yield queue.pop(0)


def _as_mapping(value: Any) -> Mapping[Any, Any] | None:
    """A dictionary, or the state dict of a module that was pickled as a whole; None for anything else."""
    if isinstance(value, nn.Module):
        return value.state_dict()
    return value if isinstance(value, Mapping) else None


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of one dictionary, by their names without what torch.compile adds."""
    tensors: dict[str, Tensor] = {}
    for key, value in mapping.items():
        tensor = _as_tensor(value)
        if tensor is not None:
            tensors[str(key)] = tensor
    bare = {bare_name(name): value for name, value in tensors.items()}
    return bare if len(bare) == len(tensors) else tensors


def bare_name(name: str) -> str:
    """A parameter's name without what torch.compile adds.

    >>> bare_name("features._orig_mod.conv1.weight")
    'features.conv1.weight'
    """
    return re.sub(r"(?:^|(?<=\.))_orig_mod\.", "", name)


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    return None
