"""How much memory there is, to be checked before it is allocated."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lrp3d.video.source import VideoError

# The bytes that a decoder may need for each pixel: up to 16 reference frames of 1.5 bytes, and RGB twice.
BYTES_PER_PIXEL = 32
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit() -> int | None:
    """The most bytes of memory that this process can have, by machine and container; None if unknown."""
    limits = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system has this
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _CGROUPS:
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # no container, or one without a limit ("max")
            continue
    return min((limit for limit in limits if limit > 0), default=None)


def require_memory(needed: int, purpose: str, advice: str) -> None:
    """Refuse what does not fit into memory, before anything is allocated.

    Raises:
        VideoError: ``purpose`` needs more bytes than the machine has.
    """
    memory = memory_limit()
    if memory is not None and needed > memory:
        raise VideoError(
            f"{purpose} take {needed / 2**30:,.0f} GiB to read, and this machine has {memory / 2**30:,.0f}: {advice}"
        )


def most_pixels() -> int:
    """The largest picture that a decoder may make, in pixels."""
    memory = memory_limit()
    return 2**31 - 1 if memory is None else min(2**31 - 1, memory // BYTES_PER_PIXEL)
