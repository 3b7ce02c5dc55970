"""Functions that stay plain Python inside of a program that `torch.compile` compiles."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
Result = TypeVar("Result")


def not_compiled(function: Callable[P, Result]) -> Callable[P, Result]:
    """A function at which a compiled program breaks off, as it follows forwards that cannot be followed twice at once.

    Torch's own decorator loads the compiler, which takes seconds; it is asked for only while a program is compiled.
    """

    @functools.wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> Result:
        if torch.compiler.is_compiling():
            outside: Callable[P, Result] = torch.compiler.disable(function)
            return outside(*args, **kwargs)
        return function(*args, **kwargs)

    return plain
