"""Padding: constants get no relevance; copies hand their relevance to the values from which they were copied."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.registry import active_tracer, register_operation


def _positions(size: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """The input position that each position of a padded axis copies."""
    if mode == "circular":  # what a negative side cuts off is gone before the rest goes round
        first, rest = max(0, -before), size - max(0, -before) - max(0, -after)
        return first + torch.arange(-max(0, before), rest + max(0, after), device=device) % rest
    i = torch.arange(-before, size + after, device=device)
    if mode == "replicate":
        return i.clamp(0, size - 1)
    return (size - 1) - ((i % (2 * size - 2)) - (size - 1)).abs() if size > 1 else i * 0  # reflect


@register_operation([F.pad, torch._C._nn.pad, torch.constant_pad_nd])
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`F.pad` in its modes constant, replicate, reflect and circular."""
    tracer = active_tracer()
    signal = tracer.signal(input)
    if signal is None:
        return F.pad(input, list(pad), mode, value)
    if not isinstance(mode, str):  # torch.constant_pad_nd(input, pad, value)
        mode, value = "constant", mode
    with torch.enable_grad():
        output = _padded(input, pad, mode, value)
    if output is input:
        return input
    padded = signal.through(lambda x: _padded(x, pad, mode, value))
    if mode == "constant":
        padded.is_input = F.pad(tracer.input_mask(input), list(pad))
        padded.nonnegative = signal.nonnegative and (value or 0.0) >= 0
    return tracer.rearrange(output, padded)


def _padded(x: Tensor, pad: Sequence[int], mode: str, value: float | None) -> Tensor:
    if mode == "constant":
        return F.pad(x, list(pad), value=value or 0.0) if any(pad) else x
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), start=1):
        if before or after:
            x = x.index_select(-axis, _positions(x.shape[-axis], before, after, mode, x.device))
    return x
