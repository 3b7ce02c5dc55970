"""How exactly relevance is propagated: `precision` as in `torch.set_float32_matmul_precision`.

The forward pass and the denominators stay as they are; what follows them is carried in the type of `carried_in`, and
the units of a GPU that round factors to TF32 are used from "high" on only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("highest", "high", "medium")


def carried_in(dtype: torch.dtype, precision: str) -> torch.dtype:
    """The type that relevance of a model in `dtype` is carried in: bfloat16 for "medium", else float32 at least.

    >>> import torch
    >>> carried_in(torch.float32, "medium"), carried_in(torch.float64, "medium"), carried_in(torch.float16, "highest")
    (torch.bfloat16, torch.float64, torch.float32)
    """
    wide = widened(dtype)
    return torch.bfloat16 if precision == "medium" and wide == torch.float32 else wide


def widened(dtype: torch.dtype) -> torch.dtype:
    """At least float32: shares of relevance over- and underflow in float16, and round away in bfloat16."""
    return torch.promote_types(dtype, torch.float32)


@contextmanager
def no_autocast(device: torch.device) -> Iterator[None]:
    """Whatever block of `torch.autocast` the caller is in: what is computed here has the types it has."""
    with torch.autocast("cpu", enabled=False), torch.autocast(device.type, enabled=False):
        yield


@contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Products and convolutions on a GPU round as asked inside this block, whatever is set outside of it."""
    if device.type != "cuda":
        yield
        return
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if precision == "highest" else "high")
    try:
        with cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=cudnn.benchmark,
            deterministic=cudnn.deterministic,
            allow_tf32=precision != "highest",
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
