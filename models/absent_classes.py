"""Whole modules that were pickled, and the classes that their pickle needs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .wording import shown

INSTEAD = (
    "save its state dict in the program that made it, torch.save(model.state_dict(), PATH), and give that together "
    "with the model's code"
)
_OF_MAIN = re.compile(r"Can't get attribute '([\w.]+)' on <module '(?:[\w.]+\.)?__main__'")


def of_main(names: Iterable[str]) -> str | None:
    """The first class in a pickle that was defined in the program that saved it, which no other program has.

    >>> of_main(["torch._utils._rebuild", "__main__.Net"]), of_main(["nets.Net"])
    ('Net', None)
    """
    return next((name.removeprefix("__main__.") for name in names if name.startswith("__main__.")), None)


def class_of_main(error: BaseException) -> str | None:
    """The class for whose sake an unpickling failed, if it was defined in the program that saved it.

    >>> class_of_main(AttributeError("Can't get attribute 'Net' on <module '__main__' from 'train.py'>"))
    'Net'
    """
    found = _OF_MAIN.search(str(error)) if isinstance(error, AttributeError) else None
    return None if found is None else found[1]


def why_absent(name: str) -> str:
    """The sentence about a pickled module of a class that only the program that saved it has."""
    return (
        f"it is a whole module, pickled with its class {shown(name)} of the program that saved it (__main__), which no "
        f"other program has: {INSTEAD}"
    )
