"""Finds the line of a user's program that called lrp3d, to which a warning belongs."""

from __future__ import annotations

import sys


def levels_up() -> int:
    """The number of stack levels up to the first caller outside of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("lrp3d."):
        level, frame = level + 1, frame.f_back
    return level
