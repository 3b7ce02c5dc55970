"""Forked processes: a child has the locks of threads that it does not have, and would wait for them for ever."""

from __future__ import annotations

import os
from collections.abc import Callable


def renewed_in_children(renew: Callable[[], None]) -> Callable[[], None]:
    """Registers a function that makes locks anew, and drops what other threads hold, in every forked child."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
    return renew
