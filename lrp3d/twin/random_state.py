"""The caller's random numbers: what a forward draws, it draws from a copy."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def kept_random_state(device: torch.device) -> Iterator[None]:
    """After this block the global generators of torch (CPU and `device`), numpy and Python are as they were before."""
    numpy = sys.modules.get("numpy")
    python, arrays = random.getstate(), numpy and numpy.random.get_state()
    try:
        with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=_kind(device)):
            yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(arrays)


def _kind(device: torch.device) -> str:
    """One that `fork_rng` knows; the CPU's generator is kept with any."""
    return "cuda" if device.type == "cpu" else device.type
