"""How exactly relevance is computed: in float32 at least, and `precision` says what a GPU may make of that.

"highest" is float32 as it is, whatever the caller has set. "high" lets a GPU round the factors of products and
convolutions to TF32, forward and back. There is no "medium": a contrastive row is a small difference of large terms,
which factors in bfloat16 do not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

PRECISIONS = ("highest", "high")


def widened(dtype: torch.dtype) -> torch.dtype:
    """At least float32: shares of relevance over- and underflow in float16, and round away in bfloat16.

    >>> import torch
    >>> widened(torch.bfloat16), widened(torch.float64)
    (torch.float32, torch.float64)
    """
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
    settings = _settings()
    before = [getattr(holder, name) for holder, name, *_ in settings]
    try:
        for holder, name, exact, rounded in settings:
            setattr(holder, name, exact if precision == "highest" else rounded)
        yield
    finally:
        for (holder, name, *_), value in zip(settings, before, strict=True):
            setattr(holder, name, value)


def _settings() -> list[tuple[Any, str, Any, Any]]:
    """Where torch keeps whether a GPU may round: object, attribute, the value for "highest", that for "high".

    Since torch 2.9 there is one for each kind of operation. It refuses to tell the older ones to whom has set those.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    each: list[Any] = [matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None)]
    try:
        if all(isinstance(kind.fp32_precision, str) for kind in each):
            return [(kind, "fp32_precision", "ieee", "tf32") for kind in each]
    except AttributeError:
        pass
    return [(holder, "allow_tf32", False, True) for holder in (matmul, cudnn)]
