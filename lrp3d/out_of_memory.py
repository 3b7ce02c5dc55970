"""Recognises errors that mean that memory ran out, which libraries report in many ways."""

from __future__ import annotations

import re

import torch

# Of CUDA, cuBLAS, cuDNN (which finds no algorithm without room to work in), MPS and the CPU.
_MESSAGES = re.compile("out of memory|ALLOC_FAILED|unable to find an engine to execute|can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether a smaller batch may help, as memory ran out: torch reports that in one way on GPUs, or in another.

    >>> is_out_of_memory(torch.OutOfMemoryError()), is_out_of_memory(ValueError("no such layer"))
    (True, False)
    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    True
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and _MESSAGES.search(str(error)) is not None


def free_cached_memory(device: torch.device) -> None:
    """Returns to a GPU the memory that torch keeps for later and that nothing uses now."""
    if device.type != "cpu":
        empty_cache = getattr(torch.get_device_module(device.type), "empty_cache", None)
        if empty_cache is not None:
            empty_cache()
