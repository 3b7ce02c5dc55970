"""Copies a model to make its twin: the modules, and the containers, closures and objects that hold them.

Every tensor is shared, so that the copy costs no memory. In a copied module, `swapping` then exchanges what is called.
"""

from __future__ import annotations

import array
import copy as copying
import functools
import random
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lrp3d.twin.swapping import InPlaceOf, swap, uncompiled

# Objects that count or draw numbers, which a forward may change in place, so that they are copied whole.
_DRAWN_FROM = (random.Random, np.random.Generator, np.random.RandomState)
_CHANGEABLE = (np.ndarray, array.array, bytearray, Counter, *_DRAWN_FROM)
_GENERATORS = (torch.Generator, *_DRAWN_FROM)
# Exactly these types: what a subclass needs to be made is not known.
_CONTAINERS = (list, deque, set, dict, OrderedDict, defaultdict)


class Copier:
    """Copies modules and the containers, closures and bound methods that hold them; shares tensors and everything else.

    If not `shared`, tensors are copied as well, each once. Hooks come last, and of what they hold only that is copied
    which leads to something of the model: what lies outside of it stays the user's, so that hooks may write there.
    """

    def __init__(self, shared: bool = True) -> None:
        self.shared = shared
        self.copies: dict[int, Any] = {}
        self.kept: list[Any] = []  # keeps ids from being given twice
        self._hooks: list[tuple[Any, Any, str]] = []
        self._within: bool = False
        self._of_hook: bool = False

    def __call__(self, x: Any, name: str) -> Any:
        """Returns the copy of anything, one for each object; `name` is that of the module in which it was found."""
        if id(x) in self.copies:
            return self.copies[id(x)]
        if self._within:
            return self._remember(x, self._copy(x, name))
        self._within = True
        try:
            copy = self._remember(x, self._copy(x, name))
            while self._hooks:
                self._of_hook = True
                hooks, hooks_of_copy, place = self._hooks.pop()
                hooks_of_copy.update((key, self(hook, place)) for key, hook in hooks.items())
        finally:
            self._within = self._of_hook = False
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
            return _without_history(x) if self.shared else _cloned(x)
        if type(x) is weakref.ref:
            target = x()
            return x if target is None or (copy := self(target, name)) is target else weakref.ref(copy)
        if type(x) in (weakref.ProxyType, weakref.CallableProxyType):
            return weakref.proxy(self(x.__repr__.__self__, name))
        if (plain := uncompiled(x)) is not None:
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
        if self._of_hook and not self._leads_to_copies(x, name):
            return x
        if type(x) is set:
            return {self(item, name) for item in x}
        if type(x) in (list, deque):
            copy = self._remember(x, type(x)())
            copy.extend(self(item, f"{name}.{i}") for i, item in enumerate(x))
            return copy
        factory = [self(x.default_factory, name)] if type(x) is defaultdict else []
        copy = self._remember(x, type(x)(*factory))
        for key, value in x.items():
            copy[key if isinstance(key, (str, int)) else self(key, name)] = self(value, f"{name}.{key}")
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
        of_hook, self._of_hook = self._of_hook, False
        for key, value in sorted(vars(x).items(), key=lambda item: item[0] == "_modules"):  # which come last
            if not isinstance(value, InPlaceOf):  # a twin is converted like its model
                copy.__dict__[key] = self._attribute(key, value, name)
        for slot, value in _slots(x):
            setattr(copy, slot, self(value, f"{name}.{slot}" if name else slot))
        swap(copy, name)
        self._of_hook = of_hook
        return copy

    def _attribute(self, key: str, value: Any, name: str) -> Any:
        """The copy of what a module, called `name`, has under a key."""
        if key in ("_backward_hooks", "_backward_pre_hooks"):
            return OrderedDict()  # they would see relevance, or hide a node
        if key == "_compiled_call_impl":
            return None
        if key in ("_parameters", "_buffers"):
            tensors = value.copy()
            tensors.update({own: self(tensor, name) for own, tensor in value.items() if tensor is not None})
            return tensors
        if key == "_modules":
            modules = type(value)()
            for own, child in value.items():
                modules[own] = None if child is None else self(child, f"{name}.{own}" if name else own)
            return modules
        if key in _HOOKS:
            hooks: OrderedDict[int, Any] = OrderedDict()
            if value:
                self._hooks.append((value, self._remember(value, hooks), name))
            return hooks
        return self(value, f"{name}.{key}" if name else key)

    def _leads_to_copies(self, x: Any, name: str) -> bool:
        """Whether anything in a container has a copy, but for the container itself."""
        self._remember(x, x)
        items = [*x, *x.values()] if isinstance(x, dict) else list(x)
        leads = any(self(item, name) is not item for item in items if not isinstance(item, (str, int)))
        del self.copies[id(x)]
        return leads

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
        if not vars(x) or (self._of_hook and not self._leads_to_copies(vars(x), name)):
            return x
        copy = self._remember(x, cast(Any, type(x)).__new__(type(x)))
        for key, value in vars(x).items():
            copy.__dict__[key] = self(value, f"{name}.{key}")
        return copy


_HOOKS = {f"_forward_{which}hooks{kwargs}" for which in ("", "pre_") for kwargs in ("", "_with_kwargs")}
_HOOKS.add("_forward_hooks_always_called")


def _slots(x: Any) -> list[tuple[str, Any]]:
    """What an object has in slots beside its `__dict__`."""
    return [(name, getattr(x, name)) for name in _names_of_slots(cast(Any, type(x))) if hasattr(x, name)]


@functools.cache
def _names_of_slots(kind: Any) -> tuple[str, ...]:
    of_classes = [vars(each).get("__slots__", ()) for each in kind.__mro__]
    names = [name for slots in of_classes for name in ([slots] if isinstance(slots, str) else slots)]
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _without_history(x: Tensor) -> Tensor:
    """The tensor itself; of one that was computed before, with gradients, a view that is a constant."""
    return x if x.is_leaf else x.detach()


def _cloned(x: Tensor) -> Tensor:
    """Another tensor with the same values; a parameter if `x` is one."""
    copy = x.detach().clone()
    return nn.Parameter(copy, x.requires_grad) if isinstance(x, nn.Parameter) else copy


def _is_plain_object(x: Any) -> bool:
    """Whether `x` is an instance of a class written in Python, with nothing but a `__dict__` to copy."""
    kind: Any = type(x)
    if isinstance(x, (type, types.ModuleType, types.FunctionType, Tensor)) or not hasattr(x, "__dict__"):
        return False
    if kind in (types.SimpleNamespace, RemovableHandle):
        return True
    plain = kind.__new__ is object.__new__ and kind.__reduce_ex__ is object.__reduce_ex__
    return plain and not kind.__module__.startswith(("torch", "threading", "builtins"))
