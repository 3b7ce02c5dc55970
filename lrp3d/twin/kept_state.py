"""What the copied modules, containers and objects of a twin hold, which is put back after every run.

A forward may count, cache and remember. The next clip of a twin is explained as the first one was: what a run left in
the copies would be a constant, or a signal of a graph that is gone.
"""

from __future__ import annotations

import array
import copy
import operator
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import nn


class KeptState:
    """The contents of copies, as they are now; `restore` puts them back.

    >>> counts, kept = {"runs": 0}, []
    >>> state = KeptState([counts, kept])
    >>> counts["runs"] += 1
    >>> kept.append("x")
    >>> state.restore()
    >>> counts, kept
    ({'runs': 0}, [])
    """

    def __init__(self, copies: Iterable[Any]):
        copies = list(copies)
        holders = {id(holder): holder for x in copies for holder in _holders(x)}
        self._contents = [(holder, _content(holder)) for holder in holders.values()]
        self._arrays = [(x, x.copy()) for x in copies if isinstance(x, np.ndarray)]

    def __enter__(self) -> None:
        """Nothing is done before a run."""

    def __exit__(self, *exc: object) -> None:
        """Puts the contents back after a run, whether it ended or failed."""
        self.restore()

    def restore(self) -> None:
        """Puts the contents back; nothing is written where they are the same, as another thread may be reading."""
        for holder, content in self._contents:
            # Most holders are dicts of a module's hooks, which are empty.
            if (holder or content) and not _is_same(holder, content):
                _put_back(holder, content)
        for x, values in self._arrays:
            if not _is_same_array(x, values):
                x[...] = values


_WITHOUT_STATE = (type, types.FunctionType, types.MethodType)  # or with that of the user's


def _holders(x: Any) -> list[Any]:
    """The dicts, sets and lists that hold what a copy has."""
    if isinstance(x, (dict, set, list, deque, array.array, bytearray)):
        return [x]
    if isinstance(x, nn.Module):
        return [vars(x), *(value for value in vars(x).values() if issubclass(type(value), dict))]
    if isinstance(x, _WITHOUT_STATE) or type(getattr(x, "__dict__", None)) is not dict:
        return []
    return [vars(x)]


def _content(holder: Any) -> Any:
    if isinstance(holder, dict):
        return dict(holder)
    return copy.copy(holder)


def _put_back(holder: Any, content: Any) -> None:
    """Only what changed is written: a dict that is empty for a moment is met by the forward of another thread."""
    if isinstance(holder, dict):
        for key in [key for key in holder if key not in content]:
            del holder[key]
        holder.update(content)
        if not _is_same(holder, content):  # in another order
            holder.clear()
            holder.update(content)
    elif isinstance(holder, (set, deque)):
        holder.clear()
        holder.update(content) if isinstance(holder, set) else holder.extend(content)
    else:
        holder[:] = content


def _is_same(holder: Any, content: Any) -> bool:
    """Whether a holder has the very objects that it had, and in the same order."""
    if len(holder) != len(content):
        return False
    if isinstance(holder, (set, array.array, bytearray)):
        return bool(holder == content)
    if isinstance(holder, dict) and not all(map(operator.is_, holder.values(), content.values())):
        return False
    return all(map(operator.is_, holder, content))


def _is_same_array(x: Any, values: Any) -> bool:
    """Whether an array has the values that it had; of objects, the very same ones."""
    if x.dtype.hasobject:
        return all(map(operator.is_, x.flat, values.flat))
    return np.array_equal(x, values, equal_nan=x.dtype.kind in "fc")
