"""The plain path: torch's own kernels alone, to which all faster ones are equal up to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_plain: ContextVar[bool] = ContextVar("lrp3d_plain_kernels", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Uses only torch's own kernels inside this block."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Whether torch's own kernels are asked for."""
    return _plain.get()
