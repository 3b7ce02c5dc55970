"""An accelerator for machines without one: tensors say that they live on `sim:0`, and are computed on the CPU.

It refuses what a GPU would refuse, tensors of two devices in one operation, and writes down every wait: where the
program stops until all that was given to the device is done, because it asks for a number of a tensor, or for a shape
that depends on numbers, or copies from one memory to the other.
"""

from __future__ import annotations

import copy
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.utils.backend_registration as registration
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "sim"
KNOWN: bool = hasattr(registration, "_setup_privateuseone_for_python_backend")
"""Whether this torch can have a device in Python: 2.10 and later."""

SHAPE_OF_NUMBERS = ("nonzero", "masked_select", "unique", "repeat_interleave.Tensor", "bincount")
ONE_NUMBER = ("_local_scalar_dense", "is_nonzero", "aten.equal.", "allclose")


@dataclass(frozen=True)
class Wait:
    """One stop of the program, and where it was asked for."""

    operation: str
    place: str
    propagating: bool


@dataclass
class Device:
    """What happened inside of `device()`."""

    waits: Counter[Wait] = field(default_factory=Counter)

    @property
    def inside(self) -> list[str]:
        """The waits while relevance was propagated."""
        return [f"{n} x {w.operation} at {w.place}" for w, n in self.waits.items() if w.propagating]

    @property
    def outside(self) -> list[str]:
        """All others."""
        return [f"{n} x {w.operation} at {w.place}" for w, n in self.waits.items() if not w.propagating]

    @property
    def count(self) -> int:
        """How many waits there were."""
        return sum(self.waits.values())


_current: list[Device] = []


def _wait(operation: str) -> None:
    frames = [f for f in traceback.extract_stack() if "/lrp3d/" in f.filename or "/models/" in f.filename]
    place = "outside of the library"
    if frames:
        place = f"{'/'.join(frames[-1].filename.rsplit('/', 2)[-2:])}:{frames[-1].lineno} {frames[-1].line}"
    propagating = any(f.name == "propagate" and f.filename.endswith("propagation/propagate.py") for f in frames)
    for device in _current:
        device.waits[Wait(operation, place, propagating)] += 1


class Tensor(torch.Tensor):
    """A tensor of the CPU that says it is elsewhere."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Tensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )
        made.inner = inner
        return made

    def _read(self, how: str) -> torch.Tensor:
        _wait(how)
        return self.inner

    def item(self) -> Any:
        return self._read("item").item()

    def tolist(self) -> Any:
        return self._read("tolist").tolist()

    def cpu(self) -> Any:
        return self._read("cpu")

    def __float__(self) -> float:
        return float(self._read("float"))

    def __int__(self) -> int:
        return int(self._read("int"))

    def __bool__(self) -> bool:
        return bool(self._read("bool"))

    def __index__(self) -> int:
        return int(self._read("index"))

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _bare(x: Any) -> Any:
    return x.inner if isinstance(x, Tensor) else x


def _each(function: Callable[[Any], Any], x: Any) -> Any:
    """`tree_map`, for the few containers that operations take and return, and faster."""
    if isinstance(x, (list, tuple)):
        return type(x)([_each(function, part) for part in x])
    return {key: _each(function, part) for key, part in x.items()} if isinstance(x, dict) else function(x)


def _tensors(x: Any) -> list[torch.Tensor]:
    if isinstance(x, (list, tuple)):
        return [tensor for part in x for tensor in _tensors(part)]
    return [x] if isinstance(x, torch.Tensor) else []


def _reads_numbers(name: str, args: Any) -> bool:
    """Whether an operation needs numbers of the device, so that the host waits."""
    bools = [x for x in _tensors(args[1:2]) if x.dtype == torch.bool]
    filled = "index_put" in name and args[2].numel() == 1  # torch fills it, and needs no shape
    chosen = name.startswith(("aten.index.Tensor", "aten.index_put")) and bools and not filled
    return bool(chosen) or any(part in name for part in SHAPE_OF_NUMBERS + ONE_NUMBER)


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = _tensors((args, tuple(kwargs.values())))
    here, name, asked = any(isinstance(x, Tensor) for x in tensors), str(function), kwargs.get("device")
    to = None if asked is None else torch.device(asked).type
    elsewhere = [x for x in tensors if not isinstance(x, Tensor) and x.dim()]
    if here and elsewhere:
        if name.startswith(("aten.index.Tensor", "aten.index_put", "aten._index_put", "aten._unsafe_index")):
            _wait("an index from the host")
        elif "copy" in name:
            _wait("copy")
        else:
            raise RuntimeError(f"{name}: expected all tensors to be on one device, found {NAME}:0 and cpu")
    if (here and to == "cpu") or (tensors and not here and to == NAME and not kwargs.get("non_blocking")):
        _wait(f"copy to {to}")
    if here and _reads_numbers(name, args):
        _wait(name)
    plain = dict(kwargs)
    if to is not None:
        plain["device"] = "cpu"
    if plain.get("pin_memory"):
        plain["pin_memory"] = False
    out = function(*_each(_bare, args), **_each(_bare, plain))
    if not (to == NAME or (here and to != "cpu")):
        return out
    if function._schema.is_mutable:
        return kwargs["out"] if kwargs.get("out") is not None else args[0]
    return _each(lambda x: Tensor(x) if isinstance(x, torch.Tensor) else x, out)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _factory(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` and `torch.as_tensor`, which ask no dispatcher."""

    def made(data: Any, *args: Any, device: Any = None, **options: Any) -> torch.Tensor:
        given = {key: value for key, value in options.items() if value is not None}
        if isinstance(data, Tensor):
            return data.to(**given) if given else data
        if device is not None and torch.device(device).type == NAME:
            _wait("a tensor of numbers of the host")
            return Tensor(function(data, *args, **options))
        return function(data, *args, **options, **({} if device is None else {"device": device}))

    return made


if KNOWN:

    class _Backend(registration._DummyBackendModule):
        def is_available(self) -> bool:
            return bool(_current)  # others ask, and would take what is there

        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.float16, torch.bfloat16]

        # What is drawn on it comes from the CPU's generator.
        def get_rng_state(self, device: Any = None) -> torch.Tensor:
            return torch.empty(0, dtype=torch.uint8)

        def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
            pass

        def manual_seed_all(self, seed: int) -> None:
            pass

        def _is_in_bad_fork(self) -> bool:
            return False

    registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())


@contextmanager
def device() -> Iterator[Device]:
    """Inside, there is the device; what is yielded tells its waits."""
    kept, found = (torch.as_tensor, torch.tensor), Device()
    torch.as_tensor, torch.tensor = map(_factory, kept)
    _current.append(found)
    try:
        with _Mode():
            yield found
    finally:
        _current.remove(found)
        torch.as_tensor, torch.tensor = kept


def moved(x: Any) -> Any:
    """A clip, or a copy of a model, on the device."""
    if isinstance(x, (list, tuple)):
        return [moved(part) for part in x]
    if isinstance(x, torch.Tensor):
        return Tensor(x.detach().clone())
    model: nn.Module = copy.deepcopy(x)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(Tensor(parameter.detach().clone()), requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = Tensor(buffer.clone())
    return model


def at_home(x: Any) -> Any:
    """The same on the CPU, without a wait that is counted."""
    return _each(_bare, x)
