"""Between the memory of a device and that of the host, in as few copies as can be.

A program gives a GPU work and goes on. Where it asks for a number of a tensor, it waits for all that it gave before,
and the GPU is idle until it has been given more: so questions are gathered, and asked at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def numbers(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors (any shapes, real types) on the host, as float64: one wait for all of them.

    >>> numbers([torch.tensor([True]), torch.tensor(2.5)])
    [tensor([1.], dtype=torch.float64), tensor(2.5000, dtype=torch.float64)]
    """
    if not tensors:
        return []
    device = tensors[0].device
    flat = [x.detach().to(device, non_blocking=True).flatten() for x in tensors]
    kind = torch.float64
    if device.type == "mps":  # which has none
        kind = torch.float32
    together = torch.cat([x.to(kind) for x in flat]).cpu().double()
    parts = together.split([x.numel() for x in tensors])
    return [part.reshape(x.shape) for part, x in zip(parts, tensors, strict=True)]


def answers(questions: Sequence[Tensor]) -> list[bool]:
    """Which of some tensors of one value are true: one wait for all of them."""
    return [bool(x) for x in numbers(questions)]


def finite(tensors: Iterable[Any]) -> Tensor:
    """Whether (a tensor of one value) those that are floating tensors hold neither NaN nor infinite values."""
    checked = [torch.isfinite(x.detach()).all() for x in tensors if isinstance(x, Tensor) and x.is_floating_point()]
    return torch.stack([x.to(checked[0].device) for x in checked]).all() if checked else torch.tensor(True)


def placed(values: Any, device: torch.device, dtype: torch.dtype = torch.long) -> Tensor:
    """Numbers of the host (a sequence of them, or a tensor) on a device, without a wait.

    >>> placed([0, 3], torch.device("cpu"))
    tensor([0, 3])
    """
    tensor = torch.as_tensor(values, dtype=dtype)
    # Only a copy of memory that stays where it is goes on by itself.
    tensor = tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor
    return tensor.to(device, non_blocking=True)
