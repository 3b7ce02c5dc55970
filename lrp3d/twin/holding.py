"""What things hold: the references from modules, containers, objects, functions and weak references to others."""

from __future__ import annotations

import functools
import types
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils.hooks import RemovableHandle

PROXIES = (weakref.ProxyType, weakref.CallableProxyType)
ATOMS = frozenset({int, float, complex, bool, str, bytes, range, type, types.NoneType})
"""Types of what holds nothing and cannot change."""


def held_by(x: Any) -> list[Any]:
    """Everything to which something refers.

    >>> held_by({"a": [1]}), held_by(functools.partial(max, 1, key=abs))
    (['a', [1]], [<built-in function max>, 1, <built-in function abs>])
    """
    if type(x) in PROXIES:
        return [] if (target := behind(x)) is None else [target]
    if isinstance(x, weakref.ref):
        return [x()]
    if isinstance(x, dict):
        return [*x, *x.values()]
    if isinstance(x, (tuple, list, deque, set)):
        return list(x)
    if isinstance(x, types.MethodType):
        return [x.__self__, x.__func__]
    if isinstance(x, functools.partial):
        return [x.func, *x.args, *x.keywords.values()]
    if isinstance(x, types.FunctionType):
        return [x.__defaults__, x.__kwdefaults__, *(cell.cell_contents for cell in filled_cells(x))]
    return [*vars(x).values(), *dict(slots_of(x)).values()] if is_plain_object(x) else []


def is_plain_object(x: Any) -> bool:
    """Whether `x` is an instance of a class written in Python, with nothing but a `__dict__` to copy."""
    kind: Any = type(x)
    if isinstance(x, (type, types.ModuleType, types.FunctionType, Tensor)) or not hasattr(x, "__dict__"):
        return False
    if kind in (types.SimpleNamespace, RemovableHandle):
        return True
    plain = kind.__new__ is object.__new__ and kind.__reduce_ex__ is object.__reduce_ex__
    plain = plain and not hasattr(kind, "__del__")  # a copy that goes would close what belongs to the user's object
    return plain and not kind.__module__.startswith(("torch", "threading", "builtins"))


def slots_of(x: Any) -> list[tuple[str, Any]]:
    """What an object has in slots beside its `__dict__`."""
    kind = type(x)
    if kind not in _SLOTS:
        _SLOTS[kind] = [
            f"_{each.__name__.lstrip('_')}{slot}" if slot.startswith("__") else slot
            for each in kind.__mro__
            for slots in [vars(each).get("__slots__", ())]
            for slot in ([slots] if isinstance(slots, str) else slots)
            if slot not in ("__dict__", "__weakref__")
        ]
    return [(slot, getattr(x, slot)) for slot in _SLOTS[kind] if hasattr(x, slot)]


_SLOTS: weakref.WeakKeyDictionary[type, list[str]] = weakref.WeakKeyDictionary()


def behind(proxy: Any) -> Any:
    """What a proxy stands for; None if that is gone."""
    try:
        return proxy.__repr__.__self__
    except ReferenceError:
        return None


def filled_cells(x: types.FunctionType) -> list[types.CellType]:
    """The variables around a function that have a value."""
    return [cell for cell in x.__closure__ or () if content_of(cell) is not _EMPTY]


_EMPTY = object()


def content_of(cell: types.CellType) -> Any:
    """The value of a variable around a function; a mark of its own if it has none yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def leading(roots: Iterable[Any], parts: Callable[[Any], list[Any] | None]) -> set[int]:
    """The ids of everything, from the roots on, that leads to something without parts of its own (None).

    Cycles lead where any of their members leads.

    >>> goal, aside, both = object(), [], []
    >>> both += [aside, goal, both]
    >>> found = leading([both], lambda x: None if x is goal else list(x))
    >>> id(both) in found, id(aside) in found
    (True, False)
    """
    pending, seen, goals = list(roots), {}, []
    holders: defaultdict[int, list[int]] = defaultdict(list)
    while pending:
        x = pending.pop()
        if id(x) in seen:
            continue
        seen[id(x)] = x  # which keeps its id from being given twice
        held = parts(x)
        if held is None:
            goals.append(id(x))
            continue
        for part in held:
            holders[id(part)].append(id(x))
        pending += held
    found: set[int] = set()
    while goals:
        goal = goals.pop()
        if goal not in found:
            found.add(goal)
            goals += holders[goal]
    return found
