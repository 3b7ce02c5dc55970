"""What a module of a twin returns, read or replaced while a block lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from torch import Tensor, nn

from lrp3d.tracing.tracer import output_tensors
from lrp3d.tracing.trees import mapped


class _Changed(NamedTuple):
    """The module whose output is changed, and how."""

    module: str
    change: Callable[[Tensor], Tensor]


_changed: ContextVar[_Changed | None] = ContextVar("changed", default=None)


@contextmanager
def changing_output(module: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Puts `change(tensor)` in the place of every tensor that a module returns; other threads see nothing of it."""
    token = _changed.set(_Changed(module, change))
    try:
        yield
    finally:
        _changed.reset(token)


def changed_output(output: Any, name: str, module: nn.Module) -> Any:
    """What a module returned, changed if it is the one whose output is changed now."""
    changed = _changed.get()
    if changed is None or changed.module != name:
        return output
    numbers = {id(tensor) for tensor in output_tensors(output, module)}
    return mapped(lambda leaf: changed.change(leaf) if id(leaf) in numbers else leaf, output)
