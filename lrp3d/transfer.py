"""Copies values between a device and the host, in as few transfers as possible.

A program queues work on a GPU and continues. When it reads a value of a tensor, it waits for all queued work, and then
the GPU is idle until new work is queued. Therefore values are gathered and read at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn


def numbers(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies tensors (of any shapes and real types) to the host as float64, waiting only once.

    >>> numbers([torch.tensor([True]), torch.tensor(2.5)])
    [tensor([1.], dtype=torch.float64), tensor(2.5000, dtype=torch.float64)]
    """
    if not tensors:
        return []
    device = tensors[0].device
    # A copy to the host that does not wait may be read before it is there.
    flat = [x.detach().to(device, non_blocking=device.type != "cpu").flatten() for x in tensors]
    kind = torch.float64
    if device.type == "mps":  # which has no float64
        kind = torch.float32
    alike = [torch.cat(list(of_type)).to(kind) for _, of_type in groupby(flat, lambda x: x.dtype)]
    together = torch.cat(alike).cpu().double()
    parts = together.split([x.numel() for x in tensors])
    return [part.reshape(x.shape) for part, x in zip(parts, tensors, strict=True)]


def answers(questions: Sequence[Tensor]) -> list[bool]:
    """Reads which of some tensors of one value are true, waiting only once."""
    return [bool(x) for x in numbers(questions)]


def answers_by_name(**questions: Sequence[Tensor]) -> dict[str, list[bool]]:
    """Reads which of some named tensors of one value are true, waiting only once.

    >>> answers_by_name(even=[torch.tensor(False), torch.tensor(True)], odd=[])
    {'even': [False, True], 'odd': []}
    """
    replies = iter(answers([question for group in questions.values() for question in group]))
    return {name: [next(replies) for _ in group] for name, group in questions.items()}


def finite(tensors: Iterable[Any]) -> Tensor:
    """A tensor of one value: whether no floating-point tensor among these has NaN or infinite values."""
    checked = [torch.isfinite(x.detach()).all() for x in tensors if isinstance(x, Tensor) and x.is_floating_point()]
    return (
        torch.stack([x.to(checked[0].device) for x in checked]).all() if checked else torch.tensor(True, device="cpu")
    )


def device_of_model(model: nn.Module) -> torch.device:
    """The device of a model's parameters; the CPU for a model without any.

    >>> device_of_model(nn.Linear(2, 2, device="meta")), device_of_model(nn.ReLU())
    (device(type='meta'), device(type='cpu'))
    """
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def placed(values: Any, device: torch.device, dtype: torch.dtype = torch.long) -> Tensor:
    """Copies numbers of the host (a sequence or a tensor) to a device without waiting.

    >>> placed([0, 3], torch.device("cpu"))
    tensor([0, 3])
    """
    tensor = values.to(dtype) if isinstance(values, Tensor) else torch.as_tensor(values, dtype=dtype, device="cpu")
    # Only copies of pinned memory are asynchronous.
    tensor = tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor
    return tensor.to(device, non_blocking=reads_at_once(device))


def reads_at_once(device: torch.device) -> bool:
    """Whether the host may go on while its memory is copied to the device: MPS may read it when it is gone."""
    return device.type not in ("cpu", "mps")
