"""Products of matrices by oneDNN, for processors whose speed MKL leaves half unused.

Torch has its products of matrices from MKL, and its convolutions from oneDNN. On processors of AMD, MKL does without
AVX-512, whose instructions compute twice as much at a time; oneDNN uses them wherever there are any.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path

import torch
from torch import Tensor

from lrp3d.compute.plain import is_plain

LEAST = 2**21
"""Multiplications; a call of oneDNN takes longer than one of MKL, by as much as MKL takes for half of these."""
LARGEST = 2**23
"""Values of a result that is worth no memory of ours: the C library keeps blocks of up to 32 MiB."""
PIECE = 2**21
"""Values of a part of a larger result, which stays in the caches until it is where it belongs."""


@functools.cache
def outruns_mkl() -> bool:
    """Whether oneDNN multiplies about twice as fast as MKL here."""
    found = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return found and torch.backends.cpu.get_cpu_capability() == "AVX512" and "AuthenticAMD" in _processor()


def _processor() -> str:
    """What the system says of the processor, with the name of its maker."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return platform.processor()


def suits(a: Tensor, b: Tensor) -> bool:
    """Whether the product of a (..., i) and b (i, n) is for oneDNN, which is slow if there are gaps in b."""
    is_allowed = getattr(torch.backends.mkldnn, "enabled", True) and not is_plain()  # a user may switch it off
    if not outruns_mkl() or not is_allowed:
        return False
    has_gaps = not b.is_contiguous() and not b.mT.is_contiguous()
    is_large = a.numel() * b.shape[1] >= LEAST
    return is_large and not has_gaps and a.device.type == "cpu" and a.dtype == b.dtype == torch.float32


def product(a: Tensor, b: Tensor) -> Tensor:
    """The product (o, n) of a (o, i) and b (i, n)."""
    return linear(a, b.T, None)


def linear(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """What `F.linear` computes of x (..., i), w (o, i) and a bias (o,)."""
    # It takes x and the bias for contiguous, and would read past their ends.
    bias = None if bias is None else bias.contiguous()
    output: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), w, bias, "none", [], "")
    return output


def multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Writes the product of a (o, i) and b (i, n) to `out` (o, n)."""
    rows = max(1, PIECE // b.shape[1])
    for first in range(0, len(a), rows):
        out[first : first + rows].copy_(product(a[first : first + rows], b))
