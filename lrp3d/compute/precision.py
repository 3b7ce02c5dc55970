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
    """The type that relevance of a model in `dtype` is carried in: bfloat16 for "medium".

    >>> import torch
    >>> carried_in(torch.float32, "medium"), carried_in(torch.float64, "medium")
    (torch.bfloat16, torch.float64)
    """
    return torch.bfloat16 if precision == "medium" and dtype == torch.float32 else dtype


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
