"""What torch's functions do to their arguments: overwrite them, only move their values, or leave torch.

Names and torch's own graph say this for all functions at once; what a function does with relevance is in the registry.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.steps.graph import downwards
from lrp3d.steps.torch_nodes import REARRANGEMENTS
from lrp3d.tracing.written_out import WRITTEN_OUT


def only_moves(out: Tensor, limits: set[Any]) -> bool:
    """Whether torch's graph between `limits` and `out` is made of rearrangements alone, and reaches them."""
    if out.grad_fn is None:
        return False
    reaches_limits = False
    for node in downwards([out.grad_fn], limits.__contains__):
        if node in limits:
            reaches_limits = True
        elif node.name() not in REARRANGEMENTS:
            return False
    return reaches_limits


def plain_name(func: Any) -> str:
    """The name of a function, or of the attribute that it reads, without underscores."""
    name = getattr(func, "__name__", str(func))
    return name.strip("_") if name != "__get__" else getattr(func.__self__, "__name__", "attribute")


# The registry has torch's writes under these names, as their handlers return new values. Nobody calls them.


def setitem(target: Tensor, index: Any, value: Any) -> Tensor:
    """Stands for `target[index] = value` in the registry."""
    raise NotImplementedError


def write_(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Stands for `target.copy_(source)` in the registry."""
    raise NotImplementedError


def fill_(target: Tensor, value: Any = 0.0) -> Tensor:
    """Stands for `target.fill_(value)` and `target.zero_()` in the registry."""
    raise NotImplementedError


def overwritten(value: Tensor, new: Tensor, shared: Any) -> Tensor:
    """Stands in the registry for what `value` becomes when `new` is written through another view of its memory."""
    raise NotImplementedError


_WRITTEN_IN_PYTHON = {F.multi_head_attention_forward, F.lp_pool1d, F.lp_pool2d, F.lp_pool3d}


@functools.cache
def written_in_python(func: Any) -> Any:
    """Python code that computes what a torch function computes, of functions that can be followed; None for others.

    It is a copy of the function's own code, or stands in `WRITTEN_OUT`.

    The first lines of the function ask whether someone overrides it, which would never end; the copy does not ask.
    """
    if func in WRITTEN_OUT:
        return WRITTEN_OUT[func]
    if func not in _WRITTEN_IN_PYTHON:
        return None
    asks_no_one = {name: lambda *args: False for name in func.__globals__ if name.startswith("has_torch_function")}
    copy = types.FunctionType(func.__code__, {**func.__globals__, **asks_no_one}, func.__name__, func.__defaults__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d}
"""The dropouts that multiply by a factor."""
_OUT_OF_PLACE = {Tensor.__setitem__: setitem, Tensor.copy_: write_, Tensor.fill_: fill_, Tensor.zero_: fill_}
LEAVES_TORCH = {"numpy", "tolist", "item"} | {
    f"__{name}__" for name in ("array", "float", "int", "bool", "index", "complex", "format", "repr", "str")
}
# Of these, by their plain names, the ones with which a forward can compute; the others choose, count or print.
READS_VALUES = {"numpy", "tolist", "item", "array", "float", "complex"}
_INPLACE_OPERATORS = {
    f"__i{name}__" for name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
}
_CHANGES_NO_VALUE = {"requires_grad_", "share_memory_", "rename_"}
# Only the shape or the type of the second tensor matters.
LIKE_ANOTHER = {"expand_as", "view_as", "reshape_as", "type_as", "to"}
TAKES_ONLY_THE_SHAPE = {
    f"{kind}{what}" if kind == "new_" else f"{what}{kind}"
    for kind in ("new_", "_like")
    for what in ("zeros", "ones", "empty", "full", "rand", "randn", "tensor")
}


def without_inplace(func: Any) -> Any:
    """The out-of-place variant of an in-place function; None for all other functions."""
    if func in _OUT_OF_PLACE:
        return _OUT_OF_PLACE[func]
    name = getattr(func, "__name__", "")
    if name in _INPLACE_OPERATORS:
        return getattr(Tensor, "__" + name[3:])
    if not name.endswith("_") or name.endswith("__") or name in _CHANGES_NO_VALUE:
        return None
    for owner in (Tensor, torch, F):
        if (function := getattr(owner, name[:-1], None)) is not None:
            return function
    return None
