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

from lrp3d.twin.holding import (
    ATOMS,
    PROXIES,
    behind,
    content_of,
    filled_cells,
    held_by,
    is_plain_object,
    leading,
    slots_of,
)
from lrp3d.twin.swapping import InPlaceOf, inside_compiled, swap, uncompiled

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
        self.alive: list[Any] = []
        """Copies to which only weak references lead."""
        self._names: dict[int, str] = {}
        self._cells: dict[int, types.CellType] = {}
        self._handles: list[tuple[RemovableHandle, RemovableHandle]] = []
        self._hooks: list[tuple[Any, Any, str]] = []
        self._within: bool = False
        self._leading: set[int] | None = None
        """Of a hook, what leads to something of the model; None outside of hooks."""

    def __call__(self, x: Any, name: str) -> Any:
        """Returns the copy of anything, one for each object; `name` is that of the module in which it was found."""
        if type(x) in ATOMS:
            return x
        if type(x) in PROXIES:  # of which any question asks what they stand for
            return self._reference(x, name)
        if id(x) in self.copies:
            return self.copies[id(x)]
        if self._within:
            return self._remember(x, self._copy(x, name))
        self._within = True
        try:
            if isinstance(x, nn.Module):  # before those names under which other containers hold the modules
                self._names = {id(module): _plain_name(own) for own, module in x.named_modules()}
            copy = self._remember(x, self._copy(x, name))
            while self._handles or self._hooks:
                self._copy_hooks()
        finally:
            self._within, self._leading = False, None
        return copy

    def _copy_hooks(self) -> None:
        """Copies what came last: the handles of hooks, and then the hooks of one module."""
        for handle, copy in self._handles:
            vars(copy).update({key: self(value, "") for key, value in vars(handle).items()})
        self._handles.clear()
        if self._hooks:
            hooks, hooks_of_copy, place = self._hooks.pop()
            self._leading = leading(hooks.values(), self._parts)
            hooks_of_copy.update((key, self(hook, place)) for key, hook in hooks.items())
            self._leading = None

    def _parts(self, x: Any) -> list[Any] | None:
        """What something holds; None of what has a copy."""
        if type(x) not in PROXIES:
            is_copied = self.copies.get(id(x), x) is not x or (isinstance(x, Tensor) and not self.shared)
            if is_copied or isinstance(x, nn.Module):
                return None
        return held_by(x)

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
    def made(self) -> list[Any]:
        """All copies that are not what they were made of, each once."""
        return list({id(copy): copy for x in self.kept if (copy := self.copies[id(x)]) is not x}.values())

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
        if isinstance(x, weakref.ref):
            return self._reference(x, name)
        if isinstance(x, nn.Module):
            inner = inside_compiled(x)
            return self._module(x, name) if inner is None else self(inner, name)
        if self._leading is not None and id(x) not in self._leading:
            return x
        if isinstance(x, Tensor):
            return _without_history(x) if self.shared else _cloned(x)
        if isinstance(x, _CHANGEABLE):
            return copying.deepcopy(x)
        if isinstance(x, torch.Generator):
            return x.clone_state()
        if isinstance(x, tuple):
            return self._tuple(x, name)
        if type(x) in _CONTAINERS:
            return self._container(x, name)
        if isinstance(x, (types.MethodType, types.BuiltinMethodType, functools.partial, types.FunctionType)):
            return self._callable(x, name)
        return self._object(x, name) if is_plain_object(x) else x

    def _reference(self, x: Any, name: str) -> Any:
        """Copies a weak reference to what has a copy, which is kept alive."""
        target = behind(x) if type(x) in PROXIES else x()
        if target is None or type(x) not in (weakref.ref, weakref.WeakMethod, *PROXIES):
            return x
        copy = self(target, name)
        if copy is target or (isinstance(x, weakref.WeakMethod) and copy == target):
            return x
        self.alive.append(copy)
        return weakref.proxy(copy) if type(x) in PROXIES else type(x)(copy)

    def _tuple(self, x: Any, name: str) -> Any:
        """Copies a tuple of which something had to be copied; any other stays itself."""
        items = [self(item, name) for item in x]
        if all(a is b for a, b in zip(items, x, strict=True)):
            return x
        if hasattr(x, "n_sequence_fields"):  # of C
            return cast(Any, type(x))(items)
        copy = tuple.__new__(type(x), items)
        if hasattr(x, "__dict__"):
            vars(copy).update(vars(x))
        return copy

    def _container(self, x: Any, name: str) -> Any:
        """Copies a container and what it holds."""
        if type(x) is set:
            items = self._remember(x, set())
            items.update(self(item, name) for item in x)
            return items
        if type(x) in (list, deque):
            copy = self._remember(x, [] if type(x) is list else deque(maxlen=x.maxlen))
            copy.extend(item if type(item) in ATOMS else self(item, f"{name}.{i}") for i, item in enumerate(x))
            return copy
        factory = [self(x.default_factory, name)] if type(x) is defaultdict else []
        copy = self._remember(x, type(x)(*factory))
        for key, value in x.items():
            copy[self(key, name)] = value if type(value) in ATOMS else self(value, f"{name}.{key}")
        return copy

    def _callable(self, x: Any, name: str) -> Any:
        """Copies a bound method, a partial function or a closure, if what it holds has to be copied."""
        if (plain := uncompiled(x)) is not None:
            return self(plain, name)
        if isinstance(x, types.MethodType):
            owner = self(x.__self__, name)
            return x if owner is x.__self__ else types.MethodType(self(x.__func__, name), owner)
        if isinstance(x, types.BuiltinMethodType):  # as `kept.append`
            owner = self(x.__self__, name) if type(x.__self__) in _CONTAINERS else x.__self__
            return x if owner is x.__self__ else getattr(owner, x.__name__)
        if isinstance(x, functools.partial):
            keywords = {key: self(value, name) for key, value in x.keywords.items()}
            return functools.partial(self(x.func, name), *(self(value, name) for value in x.args), **keywords)
        return self._function(x, name) if x.__closure__ or x.__defaults__ or x.__kwdefaults__ else x

    def _module(self, x: nn.Module, name: str) -> nn.Module:
        if isinstance(x, torch.jit.ScriptModule):
            return x  # the audit will refuse what it computes
        copy: nn.Module = self._remember(x, object.__new__(type(x)))
        name = self._names.get(id(x), name)
        of_hook, self._leading = self._leading, None
        for key, value in sorted(vars(x).items(), key=lambda item: item[0] == "_modules"):  # which come last
            if not issubclass(type(value), InPlaceOf):  # a twin is converted like its model
                copy.__dict__[key] = self._attribute(key, value, name)
        for slot, value in slots_of(x):
            setattr(copy, slot, self(value, f"{name}.{slot}" if name else slot))
        swap(copy, name)
        self._leading = of_hook
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

    def _function(self, x: types.FunctionType, name: str) -> types.FunctionType:
        """Copies a function with other variables around it and other defaults, if any of these has to be copied."""
        around = x.__closure__ or ()
        new = {id(cell) for cell in around} - self._cells.keys()  # cells are equal where what they hold is
        self._cells.update((cell, types.CellType()) for cell in new)
        cells = tuple(self._cells[id(cell)] for cell in around)
        copy = types.FunctionType(x.__code__, x.__globals__, x.__name__, x.__defaults__, cells)
        copy.__dict__ = x.__dict__
        self._remember(x, copy)
        for cell in filled_cells(x):
            if id(cell) in new:
                self._cells[id(cell)].cell_contents = self(cell.cell_contents, f"{name}.{x.__name__}")
        copy.__defaults__ = self(x.__defaults__, name)
        copy.__kwdefaults__ = cast(
            Any, x.__kwdefaults__ and {key: self(v, name) for key, v in x.__kwdefaults__.items()}
        )
        pairs = [(content_of(self._cells[id(cell)]), cell.cell_contents) for cell in filled_cells(x)]
        pairs += [(copy.__kwdefaults__[key], value) for key, value in (x.__kwdefaults__ or {}).items()]
        same = all(a is b for a, b in pairs) and copy.__defaults__ is x.__defaults__
        return x if same else copy

    def _object(self, x: Any, name: str) -> Any:
        """Copies a plain object, in which a forward may count; one without attributes is a mark and stays itself."""
        slots = slots_of(x)
        if not vars(x) and not slots:
            return x
        copy = self._remember(x, cast(Any, type(x)).__new__(type(x)))
        if isinstance(x, RemovableHandle) and self._leading is None:
            self._handles.append((x, copy))  # the modules are copied before
            return copy
        for key, value in vars(x).items():
            copy.__dict__[key] = self(value, f"{name}.{key}")
        for slot, value in slots:
            object.__setattr__(copy, slot, self(value, f"{name}.{slot}"))
        return copy


_HOOKS = {f"_forward_{which}hooks{kwargs}" for which in ("", "pre_") for kwargs in ("", "_with_kwargs")}
_HOOKS.add("_forward_hooks_always_called")


def _plain_name(name: str) -> str:
    """The name of a module without the wrapper that `torch.compile` puts around one.

    >>> _plain_name("body._orig_mod.conv"), _plain_name("_orig_mod")
    ('body.conv', '')
    """
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _without_history(x: Tensor) -> Tensor:
    """The tensor itself; of one that was computed before, with gradients, a view that is a constant."""
    return x if x.is_leaf else x.detach()


def _cloned(x: Tensor) -> Tensor:
    """Another tensor with the same values; a parameter if `x` is one."""
    copy = x.detach().clone()
    return nn.Parameter(copy, x.requires_grad) if isinstance(x, nn.Parameter) else copy
