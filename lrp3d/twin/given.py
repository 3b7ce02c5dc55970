"""What may be given as a model: a module, or what was made of one by compiling or wrapping it."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from lrp3d.forks import renewed_in_children
from lrp3d.printed import few
from lrp3d.twin.swapping import inside_compiled

EXPECTED = "model must be a torch.nn.Module, got "


def module_of(model: Any) -> nn.Module:
    """The module that is explained: the plain one inside `torch.compile`, at any depth, and of torch's wrappers.

    Raises:
        TypeError: it is none; the message says what it is and what to do.
        ValueError: its parameters hold no values.
    """
    module = without_wrappers(model)
    parameters = dict(module.named_parameters())
    if lazy := [name for name, parameter in parameters.items() if is_lazy(parameter)]:
        raise ValueError(
            f"the model has parameters without a shape ({lazy[0]}{', ...' if len(lazy) > 1 else ''}), as lazy modules "
            "have before their first input: run the model on a clip and load its weights before it is explained"
        )
    if parameters and all(parameter.is_meta for parameter in parameters.values()):
        raise ValueError(
            f"the model's parameters ({next(iter(parameters))}, ...) are on the device meta, without values: "
            "make the model on a real device and load its weights, or use model.to_empty(device=...) and load them then"
        )
    return module


def without_wrappers(model: Any) -> nn.Module:
    """The plain module inside of wrappers; raises TypeError as `module_of`."""
    while True:
        if isinstance(model, nn.Module) and (inner := inside_compiled(model)) is not None:
            model = inner
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)):
            model = model.module
        elif isinstance(model, nn.Module):
            return model
        elif isinstance(model, functools.partial) and not model.args and not model.keywords:
            model = model.func
        elif (compiled := _compiled(model)) is not None:
            model = _owner(compiled) or compiled
        else:
            raise TypeError(EXPECTED + _what_it_is(model))


def _compiled(function: Any) -> Any:
    """What was given to `torch.compile`, which made this function of it; None for any other function."""
    if (inner := getattr(function, "_torchdynamo_orig_callable", None)) is not None:
        return inner
    # Beneath it, torch puts a function of its own around what it was given.
    if isinstance(function, FunctionType) and function.__module__ and _is_dynamos(function):
        return getattr(function, "__wrapped__", None)
    return None


def _is_dynamos(function: FunctionType) -> bool:
    return str(function.__globals__.get("__name__", "")).startswith("torch._dynamo")


def _owner(method: Any) -> nn.Module | None:
    """The module whose forward a bound method is, if it says all that the module does (which hooks may change)."""
    module = getattr(method, "__self__", None)
    if not isinstance(module, nn.Module) or not isinstance(method, MethodType):
        return None
    if method.__func__ is type(module).forward and not module._forward_hooks and not module._forward_pre_hooks:
        return module
    return module if method.__name__ in ("__call__", "_wrapped_call_impl", "_call_impl") else None


def _what_it_is(model: Any) -> str:
    kind = type(model).__name__
    if isinstance(model, type):
        call = f"{model.__name__}(...)"
        return f"the class {model.__name__}" + (f"; pass a model, {call}" if issubclass(model, nn.Module) else "")
    if isinstance(model, torch.jit.ScriptFunction):
        return f"a {kind}, which is a program of torch.jit; pass the module whose forward it was made from"
    if isinstance(model, functools.partial):
        return (
            "a functools.partial with arguments; pass a module whose forward calls the model with these, or the "
            "model itself if it needs none of them"
        )
    if isinstance(model, MethodType):
        of = f"the method {model.__name__} of {type(model.__self__).__name__}"
        return of + ("; pass the model itself" if isinstance(model.__self__, nn.Module) else f", {WRAP}")
    if isinstance(model, FunctionType):
        name = "a lambda" if model.__name__ == "<lambda>" else f"the function {model.__name__}"
        return f"{name}; {WRAP} (if it makes a model, pass what it returns)"
    if isinstance(model, torch.export.ExportedProgram):
        return f"an {kind}; pass the module that was exported"
    if isinstance(model, Mapping):
        return f"{kind}, as a state dict is; make the model and call model.load_state_dict(...)"
    if isinstance(model, (str, Path)):
        return (
            f"{kind}; a model of the paper is lrp3d.models.build(name, num_classes=...), a checkpoint "
            "lrp3d.models.load_model(path)"
        )
    return kind


WRAP = "write it as the forward of a module that holds the networks it calls"


def programs_in(model: nn.Module) -> list[str]:
    """One line for each program of torch.jit or torch.export in a model, which nothing can look into.

    Layers that were quantised have one line together.
    """
    quantised = [name for name, module in model.named_modules() if _is_quantised(module)]
    lines: list[str] = []
    above: list[str] = []
    if quantised:
        layers = [name for name in quantised if not any(name.startswith(f"{outer}.") for outer in quantised)]
        what = f"has quantised layers ({few(layers, 4)}), which compute with integers"
        lines.append(f"the model: {what}; {_ITS_MODULE}")
    for name, module in model.named_modules():
        if any(name.startswith(outer) for outer in above):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            hidden = "scripted code that is not visible to lrp3d, a TorchScript program"
            lines.append(f"{name or 'the model'}: is {hidden}; {_ITS_MODULE}")
        elif _is_exported(module):
            lines.append(f"{name or 'the model'}: is an exported program; {_ITS_MODULE}")
        else:
            continue
        above.append(f"{name}." if name else "")
    return lines


_ITS_MODULE = "pass the module that it was made from"


def _is_quantised(module: nn.Module) -> bool:
    kind = type(module)
    of_torch = kind.__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized"))
    return of_torch and kind.__name__ != "FloatFunctional"  # which stands in models that may be quantised later


def _is_exported(module: nn.Module) -> bool:
    if type(module).__module__ == "torch.export.unflatten":
        return True
    nodes = module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ()
    return any(isinstance(node.target, torch._ops.OpOverload) for node in nodes)


@contextmanager
def original_code() -> Iterator[None]:
    """Inside this block, functions that `torch.compile` wrapped run their original code, which a tracer can follow.

    Where nothing loaded the compiler, nothing is compiled, and loading it would take seconds. What torch is told holds
    for all threads: the first block of several tells it, and the last one takes it back.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _lock:
        if not _stances:
            _stances.append(torch.compiler.set_stance("force_eager"))
            _stances[0].__enter__()
        else:
            _stances.append(None)
    try:
        yield
    finally:
        with _lock:
            if len(_stances) == 1:
                _stances[0].__exit__(None, None, None)
                _stances.clear()
            else:
                _stances.remove(None)


_lock = threading.Lock()
_stances: list[Any] = []
"""What the first of the blocks in progress told torch, and None for each of the others."""


@renewed_in_children
def _renew() -> None:
    global _lock
    _lock = threading.Lock()
