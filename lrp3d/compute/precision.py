"""The precision in which relevance is computed: at least float32, rounded on a GPU only as `precision` allows.

"highest" is full float32, whatever the caller has set in torch, by which a GPU rounds to TF32 and a CPU to bfloat16.
"high" lets a GPU round the factors of products and convolutions to TF32, forward and back. There is no "medium",
because a contrastive row is a small difference of large terms, which factors in bfloat16 cannot represent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from lrp3d.forks import renewed_in_children

PRECISIONS = ("highest", "high")


def widened(dtype: torch.dtype) -> torch.dtype:
    """The type itself, but at least float32: shares of relevance over- or underflow in float16 and vanish in bfloat16.

    >>> import torch
    >>> widened(torch.bfloat16), widened(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


@contextmanager
def no_autocast(device: torch.device) -> Iterator[None]:
    """Switches `torch.autocast` off inside this block, so that results have the types of their inputs."""
    with torch.autocast("cpu", enabled=False), torch.autocast(device.type, enabled=False):
        yield


@dataclass
class _Held:
    """Settings of torch that explanations in progress share, as they are those of the whole process."""

    wanted: list[Any]
    before: list[tuple[Any, str, Any]]
    """What they were, and others that change with them: object, attribute, value."""
    users: list[int] = field(default_factory=list)
    """The threads in whose blocks they hold."""


_held: dict[str, _Held] = {}
_released = threading.Condition()


@renewed_in_children
def _renew() -> None:
    """Takes back what explanations of other threads have set, which do not go on in a child."""
    global _released
    _released = threading.Condition()
    for kind, held in list(_held.items()):
        held.users = [user for user in held.users if user == threading.get_ident()]
        if not held.users:
            _put_back(held)
            del _held[kind]


@contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Makes products and convolutions round as `precision` says inside this block, whatever is set outside.

    The settings are those of the whole process. So blocks of several threads share them: the last one that ends puts
    back what the first one found, and a block that needs other values waits for those in progress.

    Raises:
        RuntimeError: inside a block of the same thread that needs other values, for which it would wait for ever.
    """
    settings = _settings(device)
    wanted = [exact if precision == "highest" else rounded for *_, exact, rounded in settings]
    with _released:
        while device.type in _held and _held[device.type].wanted != wanted:
            if threading.get_ident() in _held[device.type].users:
                raise RuntimeError(f"an explanation inside another one takes the precision of that, not {precision!r}")
            _released.wait()
        if device.type not in _held:
            before = [(holder, name, _own_value(device, holder, name)) for holder, name, *_ in settings]
            _held[device.type] = _Held(wanted, before + _changing_with_them(settings))
        held = _held[device.type]
        held.users.append(threading.get_ident())
    try:
        for (holder, name, *_), value in zip(settings, wanted, strict=True):
            setattr(holder, name, value)
        yield
    finally:
        with _released:
            held.users.remove(threading.get_ident())
            if not held.users:
                _put_back(held)
                del _held[device.type]
                _released.notify_all()


def _put_back(held: _Held) -> None:
    for holder, name, value in held.before:
        if getattr(holder, name) != value:
            setattr(holder, name, value)


def _own_value(device: torch.device, holder: Any, name: str) -> Any:
    """The value of a setting; "none" where that of all operations on the device is the same, which it follows then."""
    value = getattr(holder, name)
    of_all = getattr({"cuda": torch.backends.cudnn, "cpu": torch.backends.mkldnn}.get(device.type), name, None)
    return "none" if name == "fp32_precision" and value == of_all else value


def _settings(device: torch.device) -> list[tuple[Any, str, Any, Any]]:
    """Torch's settings for rounding on a device: object, attribute, value for "highest", value for "high".

    Since torch 2.9 there is one setting for each kind of operation. Once one of these is set, torch refuses to read the
    older ones, as a forward does that uses `torch.backends.cudnn.flags`; so the older ones are set while they say all.
    """
    cudnn, matmul, mkldnn = torch.backends.cudnn, torch.backends.cuda.matmul, torch.backends.mkldnn
    if device.type == "cuda":
        each = _kinds(matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None))
        if each and not _older_say_all():
            return [(kind, "fp32_precision", "ieee", "tf32") for kind in each]
        return [(_Former(), "precision", "highest", "high"), (cudnn, "allow_tf32", False, True)]
    if device.type == "cpu":
        each = _kinds(*(getattr(mkldnn, name, None) for name in ("matmul", "conv", "rnn")))
        if each:
            return [(kind, "fp32_precision", "ieee", "ieee") for kind in each]
        return [(_Former(), "precision", "highest", "highest")]
    return []


def _older_say_all() -> bool:
    """Whether the settings from before torch 2.9 can be read, and nothing is set that they would follow."""
    try:  # reading them is an error once a newer setting was used
        _ = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:
        return False
    return all(getattr(all_of, "fp32_precision", "none") == "none" for all_of in (torch.backends, torch.backends.cudnn))


def _changing_with_them(settings: list[tuple[Any, str, Any, Any]]) -> list[tuple[Any, str, Any]]:
    """The settings that torch sets along with the older ones of a GPU: object, attribute, value."""
    if not any(name == "allow_tf32" for _, name, *_ in settings):
        return []
    cudnn, matmul, mkldnn = torch.backends.cudnn, torch.backends.cuda.matmul, torch.backends.mkldnn
    kinds = _kinds(*(getattr(cudnn, name, None) for name in ("conv", "rnn")), matmul, getattr(mkldnn, "matmul", None))
    return [(kind, "fp32_precision", kind.fp32_precision) for kind in kinds]


def _kinds(*kinds: Any) -> list[Any]:
    """The kinds of operations, if each has a setting of its own; else none."""
    return [*kinds] if all(isinstance(getattr(kind, "fp32_precision", None), str) for kind in kinds) else []


class _Former:
    """The setting for products of all devices before torch 2.9."""

    @property
    def precision(self) -> str:
        """The precision of products."""
        return torch.get_float32_matmul_precision()

    @precision.setter
    def precision(self, value: str) -> None:
        torch.set_float32_matmul_precision(value)
