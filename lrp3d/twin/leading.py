"""Which of the things that a hook holds lead to something of the model, as far as references go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any


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
