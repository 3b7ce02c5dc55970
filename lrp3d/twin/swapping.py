"""Module swapping: what is called in the copied modules of a twin.

Every module tells the run its name when it is called, and a registered layer computes its forward with its handler.
Both are attributes of the copy: its class stays the user's, as a forward may ask for it or make another one of it.
"""

from __future__ import annotations

import functools
import inspect
import types
import weakref
from collections.abc import Callable
from typing import Any

from torch import nn

import lrp3d.layers
import lrp3d.operations  # noqa: F401  both register what they know
from lrp3d.registry import LAYERS, Handler, current_tracer, own_forward
from lrp3d.twin.other_outputs import changed_output


class InPlaceOf:
    """What stands in a copied module in the place of one of its methods; the class of the module stays the user's.

    The module holds it and is held weakly, so that it goes with the last that uses it.
    """

    method: str = "_call_impl"

    def __init__(self, module: nn.Module):
        self._module = weakref.ref(module)

    def module(self) -> Any:
        """The module, which is there as long as it is called."""
        return self._module()

    @property
    def __wrapped__(self) -> Any:
        """The method of the class, bound to the module: whoever looks at the method sees its signature."""
        return getattr(type(self.module()), self.method).__get__(self.module())

    def __getattr__(self, name: str) -> Any:
        """What a method has beside its call (`__func__`, `__self__`, `__name__`)."""
        if name in ("__func__", "__self__", "__name__", "__qualname__"):
            return getattr(self.__wrapped__, name)
        raise AttributeError(name)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_module": self._module()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _module=weakref.ref(state["_module"]))


class Named(InPlaceOf):
    """The call of a module: as usual, and inside a run under its name."""

    def __init__(self, module: nn.Module, name: str, is_layer: bool, own: Callable[..., Any] | None = None):
        super().__init__(module)
        self.name, self.is_layer = name, is_layer
        self.own = own
        """The call that the user put in the place of the usual one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the module."""
        module = self.module()
        call, run = self.own or functools.partial(type(module)._call_impl, module), current_tracer.get()
        if run is None:
            return changed_output(call(*args, **kwargs), self.name, module)
        with run.scope(self.name, module, self.is_layer):
            output = changed_output(call(*args, **kwargs), self.name, module)
        run.adopt(output, self.name)
        return run.add_outlet(run.hold_constant(output, self.name), self.name, module)


class Handled(InPlaceOf):
    """The forward of a registered layer: inside a run its handler, and outside of one its own."""

    method = "forward"

    def __init__(self, layer: nn.Module, handler: Handler):
        super().__init__(layer)
        self.handler: Handler | None = handler

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the output of the layer."""
        layer = self.module()
        if current_tracer.get() is None:
            own = type(layer).forward
            return (uncompiled(own) or own)(layer, *args, **kwargs)
        self.handler = self.handler or handler_of_layer(layer)
        assert self.handler is not None
        return self.handler(layer, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "handler": None}  # which may be a lambda, that cannot be pickled


class Uncompiled(InPlaceOf):
    """A method that was compiled, as it was before: compiled code computes the same, but cannot be traced."""

    def __init__(self, module: nn.Module, method: str):
        super().__init__(module)
        self.method = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the method."""
        module = self.module()
        return uncompiled(getattr(type(module), self.method))(module, *args, **kwargs)


def swap(module: nn.Module, name: str) -> None:
    """Exchanges what is called in a copied module of a twin.

    Args:
        module: the copy, which has no such exchange yet.
        name: its qualified name.
    """
    state = vars(module)
    for method in _compiled_methods(type(module)):
        state.setdefault(method, Uncompiled(module, method))
    handler = handler_of_layer(module)
    if handler is not None and handler is not own_forward:
        state["forward"] = Handled(module, handler)
    state["_call_impl"] = Named(module, name, handler is not None, state.get("_call_impl"))


def name_in_twin(module: nn.Module) -> str:
    """The name under which a module of a twin was copied; empty for others, which a forward may make."""
    call = vars(module).get("_call_impl")
    return call.name if isinstance(call, Named) else ""


def handler_of_layer(layer: nn.Module) -> Handler | None:
    """The handler of a layer: that of its type, or of the nearest ancestor whose forward it keeps.

    A layer of torch that changes a method which that forward calls keeps its own forward.
    """
    if not isinstance(vars(layer).get("forward"), (InPlaceOf, types.NoneType)):
        return None
    handler, called = _handler_of_type(type(layer))
    return own_forward if any(name in vars(layer) for name in called) else handler


@functools.cache
def _methods_called_by(ancestor: Any) -> frozenset[str]:
    """Names of the methods that the forward of a type calls, but for those that only check something."""
    names = getattr(getattr(ancestor, "forward", None), "__code__", None)
    found = names.co_names if names is not None and ancestor.__module__.startswith("torch.") else ()
    methods = (name for name in found if isinstance(inspect.getattr_static(ancestor, name, None), types.FunctionType))
    return frozenset(name for name in methods if not name.lstrip("_").startswith("check"))


def _handler_of_type(layer_type: type) -> tuple[Handler | None, frozenset[str]]:
    """The handler of a type, and the methods whose change by a single layer means that it computes something else."""
    for ancestor in layer_type.__mro__:
        handler = LAYERS.get(ancestor) or LAYERS.get(f"{ancestor.__module__}.{ancestor.__qualname__}")
        if handler is not None:
            called = frozenset() if handler is own_forward else _methods_called_by(ancestor)
            changed = any(getattr(layer_type, name, None) is not getattr(ancestor, name) for name in called)
            return (own_forward if changed else handler), called
        if "forward" in vars(ancestor):
            break
    return None, frozenset()


def _compiled_methods(kind: type) -> tuple[str, ...]:
    if kind not in _COMPILED:
        found = (name for name in dir(kind) if uncompiled(inspect.getattr_static(kind, name, None)))
        _COMPILED[kind] = tuple(found)
    return _COMPILED[kind]


_COMPILED: weakref.WeakKeyDictionary[type, tuple[str, ...]] = weakref.WeakKeyDictionary()


def inside_compiled(module: nn.Module) -> nn.Module | None:
    """The module that was given to `torch.compile`, which made this one of it; None for any other module."""
    inner = module._modules.get("_orig_mod") if type(module).__module__.startswith("torch._dynamo") else None
    return inner


def uncompiled(function: Any) -> Any:
    """The function that was given to `torch.compile`, if any: compiled code computes the same, but cannot be traced."""
    if not isinstance(function, (types.FunctionType, types.MethodType)):  # others may answer to any name
        return None
    return getattr(function, "_torchdynamo_orig_callable", None)
