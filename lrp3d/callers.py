"""Finds the line of a user's program that called lrp3d, to which a warning belongs."""

from __future__ import annotations

import sys
import warnings

BETWEEN = ("contextlib", "torch.utils._contextlib")
"""The modules that call decorated functions, and so stand between a function of this package and its caller."""


def _levels_up() -> int:
    """The number of stack levels up to the first caller outside of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_skipped(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_skipped(module: str) -> bool:
    return module.startswith("lrp3d.") or module in BETWEEN


def warn(sentence: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line that called lrp3d, through however many of its functions."""
    warnings.warn(sentence, category, stacklevel=_levels_up())
