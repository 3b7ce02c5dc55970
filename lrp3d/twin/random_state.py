"""Random numbers in a forward: drawn from a copy of the caller's generators, or from a seed, and noticed."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

DIFFERS = (
    "draws random numbers, and what the model returns differs from run to run: switch the draws off, or pass seed= "
    "to explain the run with the draws of that seed"
)


class Draws:
    """Whether random numbers were drawn since this was made.

    Args:
        device: one whose generator counts, beside those of the CPU, of numpy and of Python.
        own: generators that the model holds.
    """

    def __init__(self, device: torch.device, own: Sequence[Any] = ()):
        self.device, self.own = device, own
        self.before = self._states()

    def _states(self) -> list[Any]:
        numpy = sys.modules.get("numpy")
        states: list[Any] = [torch.get_rng_state().numpy().tobytes(), random.getstate()]
        states += [_comparable(numpy.random.get_state())] if numpy is not None else []
        states += [torch.cuda.get_rng_state(self.device).numpy().tobytes()] if self.device.type == "cuda" else []
        return states + [_comparable(_state(generator)) for generator in self.own]

    def __bool__(self) -> bool:
        return self._states() != self.before


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state() if hasattr(generator, "get_state") else generator.bit_generator.state


def _comparable(state: Any) -> str:
    """Arrays inside of it are no obstacle."""
    return repr([x.tolist() if hasattr(x, "tolist") else x for x in state] if isinstance(state, tuple) else state)


@contextmanager
def kept_random_state(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """After this block the global generators of torch (CPU and `device`), numpy and Python are as they were before.

    Args:
        device: one whose generator is kept, beside that of the CPU.
        seed: what they are seeded with inside the block; None: they go on from where they are.
    """
    numpy = sys.modules.get("numpy")
    python, arrays = random.getstate(), numpy and numpy.random.get_state()
    try:
        with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=_kind(device)):
            if seed is not None:
                torch.manual_seed(seed)
                random.seed(seed)
                if numpy is not None:
                    numpy.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(arrays)


def same_output(a: Any, b: Any) -> bool:
    """Whether two runs returned the same, up to what rounding may change between two orders of the same sums."""
    if a.shape != b.shape:
        return False
    a, b = a.detach(), b.detach()
    allowed = 1e3 * torch.finfo(a.dtype).eps * max(float(x.abs().max()) if x.numel() else 0.0 for x in (a, b))
    return not bool(((a - b).abs() > allowed).any())


def _kind(device: torch.device) -> str:
    """One that `fork_rng` knows; the CPU's generator is kept with any."""
    return "cuda" if device.type == "cpu" else device.type
