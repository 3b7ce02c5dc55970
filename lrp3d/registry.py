"""The two registries of layers (by type) and functions (by identity) that lrp3d supports.

The library registers everything it supports through these same functions (`lrp3d.layers`, `lrp3d.operations`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from torch import nn

if TYPE_CHECKING:
    from lrp3d.tracing.tracer import Tracer

Handler = Callable[..., Any]
TorchFunction = Callable[..., Any]
LayerType = type[nn.Module] | str
LayerHandler = TypeVar("LayerHandler", bound=Handler)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LAYERS: dict[type[nn.Module] | str, Handler] = {}
"""Handlers by layer type, or by "module.ClassName" if the package may not be installed."""
OPERATIONS: dict[TorchFunction | str, Handler] = {}
"""Handlers by function, or by "library::operation" if the library may not be installed."""

current_tracer: ContextVar[Tracer | None] = ContextVar("lrp3d_run", default=None)


def handler_of(function: Any) -> Handler | None:
    """The handler of a function as `TorchFunctionMode` sees it; None if it has none.

    >>> import torch
    >>> handler_of(torch.relu).__name__
    'relu'
    """
    handler = OPERATIONS.get(function)
    if handler is None and (name := getattr(function, "_qualified_op_name", None)) is not None:
        handler = OPERATIONS.get(name)
    return handler


def own_forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The handler of layers that keep their own forward in a twin but count as layers with a name and a type."""
    raise NotImplementedError


def active_tracer() -> Tracer:
    """The tracer of the current run; raises RuntimeError outside the forward of a twin."""
    run = current_tracer.get()
    if run is None:
        raise RuntimeError("lrp3d operations work inside the forward of a converted model only; see lrp3d.convert")
    return run


@overload
def register_layer(types: LayerType | Iterable[LayerType], handler: LayerHandler) -> LayerHandler: ...
@overload
def register_layer(
    types: LayerType | Iterable[LayerType], handler: None = None
) -> Callable[[LayerHandler], LayerHandler]: ...
def register_layer(types: LayerType | Iterable[LayerType], handler: Handler | None = None) -> Any:
    """Register how a twin computes the forward of a layer type: `handler(layer, *inputs)`, made of known operations.

    Args:
        types: one `nn.Module` type or several, or their full names ("package.module.Class"), so that they need not be
            imported; subclasses that keep the type's forward are recognised as well.
        handler: the forward; without it, a decorator is returned. It may call any torch function that lrp3d knows, so
            that a layer that hides a custom autograd Function or scripted code can say what it really computes.

    Raises:
        TypeError: if something other than an `nn.Module` type is given.

    >>> import torch, lrp3d
    >>> class Swish(torch.nn.Module):
    ...     def forward(self, x):
    ...         return some_fused_kernel(x)
    >>> @lrp3d.register_layer(Swish)
    ... def swish(layer, x):
    ...     return torch.nn.functional.silu(x)
    """
    if handler is None:
        return functools.partial(register_layer, types)
    for layer_type in [types] if isinstance(types, (type, str)) else list(types):
        if not isinstance(layer_type, str) and not (isinstance(layer_type, type) and issubclass(layer_type, nn.Module)):
            raise TypeError(f"register_layer takes nn.Module types, got {layer_type!r}; functions: register_operation")
        LAYERS[layer_type] = handler
    return handler


@overload
def register_operation(
    functions: TorchFunction | str | Iterable[TorchFunction | str], handler: Callable[Arguments, Result]
) -> Callable[Arguments, Result]: ...
@overload
def register_operation(
    functions: TorchFunction | str | Iterable[TorchFunction | str], handler: None = None
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]: ...
def register_operation(
    functions: TorchFunction | str | Iterable[TorchFunction | str], handler: Handler | None = None
) -> Any:
    """Register what a torch function does in a twin: `handler` takes the arguments of the function.

    Args:
        functions: one function as `TorchFunctionMode` sees it (`torch.add`, `torch.Tensor.add`, ...), or several; an
            operation of `torch.ops` may also be given by its name, "library::operation", so that the library need
            not be imported. In-place variants need no entry of their own.
        handler: computes the result from the building blocks of `lrp3d.operations` (`passes`, `shares`, `attach`) or
            from other known operations; without it, a decorator is returned.

    Returns:
        A function that runs the handler inside the current twin, for use in other handlers.

    Raises:
        TypeError: if something that is not callable is given.

    >>> import torch, lrp3d
    >>> @lrp3d.register_operation(torch.special.expit)
    ... def expit(x):
    ...     return lrp3d.operations.passes(torch.sigmoid, x, nonnegative=True, gate=True)
    """
    if handler is None:
        return functools.partial(register_operation, functions)

    @functools.wraps(handler)
    def door(*args: Any, **kwargs: Any) -> Any:
        return active_tracer().perform(handler, args, kwargs)

    for function in [functions] if callable(functions) or isinstance(functions, str) else list(functions):
        if not callable(function) and not (isinstance(function, str) and "::" in function):
            raise TypeError(f"register_operation takes functions, got {function!r}; modules: register_layer")
        OPERATIONS[function] = handler
    return door
