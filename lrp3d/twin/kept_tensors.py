"""A model's own tensors after a forward: their memory, gradients and values are what they were before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lrp3d.transfer import answers


@contextmanager
def restored_tensors(tensors: Sequence[Tensor]) -> Iterator[None]:
    """After this block, every tensor has the memory, the gradient and the `requires_grad` that it had before."""
    # A tracer would follow every look at a tensor, which takes longer than a small forward, and would return what the
    # tensors became in the forward.
    with torch._C.DisableTorchFunction():
        had = [(x, x.data, x.grad, x.requires_grad) for x in tensors if x.is_leaf and not is_lazy(x)]
        places = [_place(x) for x, *_ in had]
    try:
        yield
    finally:
        with torch._C.DisableTorchFunction():
            for (x, data, gradient, requires), place in zip(had, places, strict=True):
                if _place(x) != place:
                    x.data = data
                if x.grad is not gradient:
                    x.grad = gradient
                if x.requires_grad != requires:
                    x.requires_grad_(requires)


@contextmanager
def restored_values(tensors: Sequence[Tensor]) -> Iterator[None]:
    """The same, and every tensor that is no parameter has the values that it had before."""
    copies = [(x, _version(x), x.detach().clone()) for x in tensors if not isinstance(x, nn.Parameter)]
    try:
        with restored_tensors(tensors):
            yield
    finally:
        with torch.no_grad():
            changes = answers([_differs(x, before) for x, _, before in copies])
            for (x, version, before), other in zip(copies, changes, strict=True):
                if _version(x) != version or other:
                    with torch.inference_mode(x.is_inference()):
                        x.detach().copy_(before)


@contextmanager
def taking_gradients(model: nn.Module) -> Iterator[None]:
    """Inside this block, copies stand for parameters and buffers that were made in inference mode, which have none."""
    stood: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in model.modules():
        held: list[dict[str, Any]] = [module._parameters, module._buffers]
        for tensors in held:
            for name, x in list(tensors.items()):
                if x is not None and x.is_inference():
                    stood.append((tensors, name, x))
                    tensors[name] = nn.Parameter(x.clone()) if isinstance(x, nn.Parameter) else x.clone()
    try:
        yield
    finally:
        for tensors, name, x in stood:
            tensors[name] = x


def _place(x: Tensor) -> tuple[int, ...]:
    """Where the values of a tensor lie in memory; nothing is known of those with a layout of their own (sparse)."""
    return (x.data_ptr(), *x.shape, *x.stride()) if _is_plain(x) else ()


def _is_plain(x: Tensor) -> bool:
    return x.layout == torch.strided and not x.is_nested


def _version(x: Tensor) -> int:
    """How often a tensor was written to; torch does not count it for tensors that were made in inference mode."""
    return 0 if x.is_inference() else x._version


def _differs(x: Tensor, before: Tensor) -> Tensor:
    """Whether two tensors differ, as a tensor of one value."""
    if not _is_plain(x):
        return torch.tensor(False, device="cpu")  # only writes that torch counts are known of
    if x.shape != before.shape or x.is_quantized:
        return torch.tensor(not torch.equal(x, before), device="cpu")
    return (x != before).any()
