"""Copies a model to make its twin: the modules, and the containers, closures and objects that hold them.

Every tensor is shared, so that the copy costs no memory. The copy of a module gets a class of its own: a registered
layer computes its forward with its handler, and every module tells the run its name.
"""

from __future__ import annotations

import array
import copy as copying
import copyreg
import functools
import random
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Hashable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

import lrp3d.layers
import lrp3d.operations  # noqa: F401  both register what they know
from lrp3d.registry import LAYERS, Handler, current_tracer, own_forward


class TwinModule(nn.Module):
    """The base class of every module of a twin, which tells the run its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the module as usual; inside a run, under its name."""
        run = current_tracer.get()
        if run is None:
            return super().__call__(*args, **kwargs)
        name = self.__dict__["_lrp3d_name"]
        with run.scope(name, self, type(self)._lrp3d_handler is not None):
            output = super().__call__(*args, **kwargs)
        run.adopt(output, name)
        return run.add_outlet(run.hold_constant(output, name), name)

    _lrp3d_handler: Handler | None = None
    _lrp3d_original: type[nn.Module]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles the class of the user's module, from which this class is made again on loading."""
        make, arguments, *rest = cast(tuple[Any, ...], super().__reduce_ex__(protocol))
        if make is not getattr(copyreg, "__newobj__"):  # noqa: B009  not in the stubs
            return make, arguments, *rest
        return _empty_twin, (type(self)._lrp3d_original, *arguments[1:]), *rest


class RelevanceLayer(TwinModule):
    """A layer whose forward, inside a run, is the registered handler of its type."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the handler in a run, and the layer's own forward outside of one."""
        if current_tracer.get() is None:
            return super().forward(*args, **kwargs)
        handler = type(self)._lrp3d_handler
        assert handler is not None
        return handler(self, *args, **kwargs)


def handler_of(layer_type: type) -> Handler | None:
    """The handler of a layer type: its own, or that of an ancestor whose forward it keeps."""
    for ancestor in layer_type.__mro__:
        handler = LAYERS.get(ancestor) or LAYERS.get(f"{ancestor.__module__}.{ancestor.__qualname__}")
        if handler is not None:
            return handler
        if "forward" in vars(ancestor):
            return None
    return None


@functools.cache
def _twin_class(original: Any, handler: Handler | None) -> type:
    base = TwinModule if handler in (None, own_forward) else RelevanceLayer
    members = {"_lrp3d_handler": handler and staticmethod(handler), "_lrp3d_original": original}
    members |= {"__doc__": original.__doc__, "__module__": original.__module__}
    plain = {name: method for name in dir(original) if (method := _uncompiled(getattr(original, name, None)))}
    return type(original.__name__, (base, original), {**plain, **members})


def _empty_twin(original: Any, *arguments: Any) -> nn.Module:
    """A module of the twin's class of `original`, before its state is set."""
    kind = _twin_class(cast(Hashable, original), handler_of(original))
    return cast(nn.Module, kind.__new__(cast(Any, kind), *arguments))


def _uncompiled(function: Any) -> Any:
    """The function that was given to `torch.compile`, if any: compiled code computes the same, but cannot be traced."""
    return getattr(function, "_torchdynamo_orig_callable", None)


# Objects that count or draw numbers, which a forward may change in place, so that they are copied whole.
_DRAWN_FROM = (random.Random, np.random.Generator, np.random.RandomState)
_CHANGEABLE = (np.ndarray, array.array, bytearray, Counter, *_DRAWN_FROM)
_GENERATORS = (torch.Generator, *_DRAWN_FROM)
# Exactly these types: what a subclass needs to be made is not known.
_CONTAINERS = (list, deque, set, dict, OrderedDict, defaultdict)


class Copier:
    """Copies modules and the containers, closures and bound methods that hold them; shares tensors and everything else.

    If not `shared`, tensors are copied as well, each once.
    """

    def __init__(self, shared: bool = True) -> None:
        self.shared = shared
        self.copies: dict[int, Any] = {}
        self.kept: list[Any] = []  # keeps ids from being given twice

    def __call__(self, x: Any, name: str) -> Any:
        """Returns the copy of anything, one for each object; `name` is that of the module in which it was found."""
        if id(x) in self.copies:
            return self.copies[id(x)]
        copy = self._copy(x, name)
        self.copies[id(x)] = copy
        self.kept.append(x)
        return copy

    def _remember(self, x: Any, copy: Any) -> Any:
        """Notes a copy before its contents are copied, so that cycles end."""
        self.copies[id(x)] = copy
        self.kept.append(x)
        return copy

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that were found and are shared."""
        return [x for x in self.kept if isinstance(x, Tensor)]

    @property
    def modules(self) -> list[nn.Module]:
        """The copies of all modules that were found, each before those it holds; scripted ones are no copies."""
        found = {id(x): x for x in self.copies.values() if isinstance(x, nn.Module)}
        return list(found.values())

    @property
    def generators(self) -> list[Any]:
        """The copies of all random generators that were found."""
        return [x for x in self.copies.values() if isinstance(x, _GENERATORS)]

    def _copy(self, x: Any, name: str) -> Any:
        if isinstance(x, nn.Module):
            inner = getattr(x, "_orig_mod", None)  # of a compiled module
            return self(inner, name) if isinstance(inner, nn.Module) else self._module(x, name)
        if isinstance(x, Tensor):
            return x if self.shared else _cloned(x)
        if (plain := _uncompiled(x)) is not None:
            return self(plain, name)
        if isinstance(x, _CHANGEABLE):
            return copying.deepcopy(x)
        if isinstance(x, torch.Generator):
            return x.clone_state()
        if isinstance(x, tuple) or type(x) in _CONTAINERS:
            return self._container(x, name)
        if isinstance(x, (types.MethodType, functools.partial, types.FunctionType)):
            return self._callable(x, name)
        return self._object(x, name) if _is_plain_object(x) else x

    def _container(self, x: Any, name: str) -> Any:
        """Copies a container and what it holds; a tuple of which nothing had to be copied stays itself."""
        if isinstance(x, tuple):
            items = [self(item, f"{name}.{i}") for i, item in enumerate(x)]
            if all(a is b for a, b in zip(items, x, strict=True)):
                return x
            return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
        if type(x) is set:
            return {self(item, name) for item in x}
        if type(x) in (list, deque):
            copy = self._remember(x, type(x)())
            copy.extend(self(item, f"{name}.{i}") for i, item in enumerate(x))
            return copy
        factory = [self(x.default_factory, name)] if type(x) is defaultdict else []
        copy = self._remember(x, type(x)(*factory))
        for key, value in x.items():
            copy[key] = self(value, f"{name}.{key}")
        return copy

    def _callable(self, x: Any, name: str) -> Any:
        """Copies a bound method, a partial function or a closure, if what it holds has to be copied."""
        if isinstance(x, types.MethodType):
            owner = self(x.__self__, name)
            return x if owner is x.__self__ else types.MethodType(x.__func__, owner)
        if isinstance(x, functools.partial):
            return functools.partial(self(x.func, name), *self(x.args, name), **self(x.keywords, name))
        return self._closure(x, name) if x.__closure__ else x

    def _module(self, x: nn.Module, name: str) -> nn.Module:
        if isinstance(x, torch.jit.ScriptModule):
            return x  # the audit will refuse what it computes
        copy: nn.Module = self._remember(x, object.__new__(type(x)))
        state = copy.__dict__
        for key, value in vars(x).items():
            if key == "_modules":
                continue
            if key in ("_backward_hooks", "_backward_pre_hooks"):
                state[key] = OrderedDict()  # they would see relevance, or hide a node
            elif key == "_compiled_call_impl":
                state[key] = None
            elif key in ("_parameters", "_buffers"):
                state[key] = value.copy()
                state[key].update({own: self(tensor, name) for own, tensor in value.items() if tensor is not None})
            elif key in _HOOKS:
                state[key] = OrderedDict((k, self._hook(hook, name)) for k, hook in value.items())
            else:
                state[key] = self(value, f"{name}.{key}" if name else key)
        state["_modules"] = type(x._modules)()
        for key, child in x._modules.items():
            state["_modules"][key] = None if child is None else self(child, f"{name}.{key}" if name else key)
        state["_lrp3d_name"] = name
        original = getattr(type(x), "_lrp3d_original", type(x))  # a twin is converted like its model
        copy.__class__ = _twin_class(cast(Hashable, original), handler_of(original))
        return copy

    def _hook(self, hook: Any, name: str) -> Any:
        """Keeps forward hooks; one that is bound to a module is bound to its copy, others keep their owner."""
        bound_to = getattr(hook, "__self__", None)
        return self(hook, name) if isinstance(bound_to, nn.Module) else hook

    def _closure(self, x: types.FunctionType, name: str) -> types.FunctionType:
        assert x.__closure__ is not None
        cells = tuple(types.CellType() for _ in x.__closure__)
        copy = types.FunctionType(x.__code__, x.__globals__, x.__name__, x.__defaults__, cells)
        copy.__kwdefaults__, copy.__dict__ = x.__kwdefaults__, x.__dict__
        self._remember(x, copy)
        changed = False
        for cell, original in zip(cells, x.__closure__, strict=True):
            try:
                content = original.cell_contents
            except ValueError:  # still empty
                continue
            cell.cell_contents = self(content, f"{name}.{x.__name__}")
            changed = changed or cell.cell_contents is not content
        return copy if changed else x

    def _object(self, x: Any, name: str) -> Any:
        """Copies a plain object, in which a forward may count; one without attributes is a mark and stays itself."""
        if not vars(x):
            return x
        copy = self._remember(x, cast(Any, type(x)).__new__(type(x)))
        for key, value in vars(x).items():
            copy.__dict__[key] = self(value, f"{name}.{key}")
        return copy


_HOOKS = {f"_forward_{which}hooks{kwargs}" for which in ("", "pre_") for kwargs in ("", "_with_kwargs")}
_HOOKS.add("_forward_hooks_always_called")


def _cloned(x: Tensor) -> Tensor:
    """Another tensor with the same values; a parameter if `x` is one."""
    copy = x.detach().clone()
    return nn.Parameter(copy, x.requires_grad) if isinstance(x, nn.Parameter) else copy


def _is_plain_object(x: Any) -> bool:
    """Whether `x` is an instance of a class written in Python, with nothing but a `__dict__` to copy."""
    kind: Any = type(x)
    if isinstance(x, (type, types.ModuleType, types.FunctionType, Tensor)) or not hasattr(x, "__dict__"):
        return False
    if kind is types.SimpleNamespace:
        return True
    plain = kind.__new__ is object.__new__ and kind.__reduce_ex__ is object.__reduce_ex__
    return plain and not kind.__module__.startswith(("torch", "threading", "builtins"))
