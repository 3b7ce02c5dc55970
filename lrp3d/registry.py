"""The two registries of layers (by type) and functions (by identity) that lrp3d supports.

The library registers everything it supports through these same functions (`lrp3d.layers`, `lrp3d.operations`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from torch import nn

from lrp3d.errors import UnsupportedOperation

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

current_tracer: ContextVar[Tracer | None] = ContextVar("lrp3d_tracer", default=None)


_OTHER_NAMES = {
    "axis": "dim",
    "keepdims": "keepdim",
    "x": "input",
    "a": "input",
    "x1": "input",
    "x2": "other",
    "mat2": "other",
    "vec": "other",
    "batch1": "mat1",
    "batch2": "mat2",
}
"""Other names of the same argument: numpy's, all of which torch accepts for its own, and those of matrix products."""

_CALLED: dict[int, Handler] = {}
"""Handlers as they are called, by the identity of what was registered, which they keep alive."""


def handler_of(function: Any) -> Handler | None:
    """The handler of a function as `TorchFunctionMode` sees it; None if it has none.

    It takes the arguments of the function by every name that torch accepts. Arguments that what was registered does not
    take are refused by name.

    >>> import torch
    >>> handler_of(torch.relu).__name__
    'relu'
    """
    handler = OPERATIONS.get(function)
    if handler is None and (name := getattr(function, "_qualified_op_name", None)) is not None:
        handler = OPERATIONS.get(name)
    return None if handler is None else _called(handler)


def _called(handler: Handler) -> Handler:
    """The handler as it is called: with torch's names for its arguments, and only with arguments that it takes."""
    if id(handler) in _CALLED:
        return _CALLED[id(handler)]
    try:
        signature = inspect.signature(handler)
    except ValueError:  # compiled code may have none
        signature = inspect.signature(lambda *args, **kwargs: None)
    names = {
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    fit = _numbers_that_fit(signature)

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            args, kwargs = _renamed(names, args, kwargs)
        try:
            if kwargs or len(args) not in fit:
                signature.bind(*args, **kwargs)
        except TypeError as error:
            where = active_tracer().running
            raise UnsupportedOperation([f"{where}: its rule does not take these arguments ({error})"]) from error
        return handler(*args, **kwargs)

    return _CALLED.setdefault(id(handler), call)


def _numbers_that_fit(signature: inspect.Signature) -> range:
    """How many arguments fit a signature if none is given by name."""
    parameters, kinds = signature.parameters.values(), inspect.Parameter
    by_name_alone = [parameter for parameter in parameters if parameter.kind is kinds.KEYWORD_ONLY]
    if any(parameter.default is parameter.empty for parameter in by_name_alone):
        return range(0)
    places = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    by_place = [parameter for parameter in parameters if parameter.kind in places]
    needed = sum(parameter.default is parameter.empty for parameter in by_place)
    return range(needed, len(by_place) + 1)


def _renamed(names: set[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments by the names that a handler has for them."""
    renamed = {}
    for name, value in kwargs.items():
        own = name if name in names else _OTHER_NAMES.get(name, name)
        if name == "out" and value is None and "out" not in names:  # the same as nothing
            continue
        if own == "input" and own not in names and not args:  # torch's first argument, whatever the handler calls it
            args = (value,)
        else:
            renamed[own if own in names else name] = value
    return args, renamed


def own_forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The handler of layers that keep their own forward in a twin but count as layers with a name and a type."""
    raise NotImplementedError


def active_tracer() -> Tracer:
    """The tracer of the current run; raises RuntimeError outside the forward of a twin."""
    run = current_tracer.get()
    if run is None:
        raise RuntimeError("lrp3d operations work inside the forward of a converted model only; see lrp3d.convert")
    return run


def _check_handler(function: str, handler: Any) -> None:
    """Raises TypeError unless a handler can be called."""
    if not callable(handler):
        raise TypeError(f"{function} takes a function that computes the output, got {handler!r}")


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
    _check_handler("register_layer", handler)
    if isinstance(types, nn.Module):
        raise TypeError(f"register_layer takes nn.Module types, got a layer: give its type, {type(types).__name__}")
    layer_types = [types] if isinstance(types, (type, str)) else list(types)
    for layer_type in layer_types:
        if not isinstance(layer_type, str) and not (isinstance(layer_type, type) and issubclass(layer_type, nn.Module)):
            raise TypeError(f"register_layer takes nn.Module types, got {layer_type!r}; functions: register_operation")
    LAYERS.update(dict.fromkeys(layer_types, handler))
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
    _check_handler("register_operation", handler)

    @functools.wraps(handler)
    def perform_in_twin(*args: Any, **kwargs: Any) -> Any:
        return active_tracer().perform(_called(handler), args, kwargs)

    keys = [functions] if callable(functions) or isinstance(functions, str) else list(functions)
    for function in keys:
        if not callable(function) and not (isinstance(function, str) and "::" in function):
            raise TypeError(f"register_operation takes functions, got {function!r}; modules: register_layer")
    OPERATIONS.update(dict.fromkeys(keys, handler))
    return perform_in_twin
