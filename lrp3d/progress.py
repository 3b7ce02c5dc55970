"""Progress bars, shown only on request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from lrp3d.extras import missing

T = TypeVar("T")


def bar(items: Iterable[T], unit: str, wanted: bool) -> Iterable[T]:
    """The items, with a progress bar on stderr if `wanted`; raises ImportError with a command if tqdm is missing."""
    if not wanted:
        return items
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise missing("tqdm", "progress=True") from None
    shown: Iterable[T] = tqdm(items, unit=unit)
    return shown
