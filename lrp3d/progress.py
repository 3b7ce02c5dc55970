"""Progress bars, shown only on request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from lrp3d.extras import missing

T = TypeVar("T")


def bar(items: Iterable[T], unit: str, wanted: bool, label: str = "explaining") -> Iterable[T]:
    """The items, with a progress bar on stderr if `wanted`; raises ImportError with a command if tqdm is missing.

    Args:
        items: what is gone through.
        unit: what one item is called.
        wanted: whether a bar is shown.
        label: what is done with the items; it stands before the bar.
    """
    if not wanted:
        return items
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise missing("tqdm", "progress=True") from None
    shown: Iterable[T] = tqdm(items, label, unit=unit)
    return shown
