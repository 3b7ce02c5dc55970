"""Random numbers that depend on a seed and a clip's number, not on a state, and are the same on every device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as signed 64-bit integers, which wrap around
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


class Dice:
    """Random numbers for the clips `indices` (b,); each number depends only on seed, index and name.

    A clip is therefore the same in every batch, order, process and device.

    >>> bool((Dice(0, torch.arange(4)).uniform("noise", 3)[2] == Dice(0, torch.tensor([2])).uniform("noise", 3)).all())
    True
    """

    def __init__(self, seed: int, indices: Tensor):
        self.key: Tensor = _mix(_mix(torch.full_like(indices, seed)) ^ indices)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), float32, (b, *shape); another name gives other numbers."""
        stream = _mix(self.key + int.from_bytes(name.encode()[:7], "little") * 8)
        counter = torch.arange(math.prod(shape), device=stream.device) * _GOLDEN
        bits = _mix(stream[:, None] + counter)
        numbers: Tensor = _shift(bits, 40).float() * 2.0**-24
        return numbers.reshape(len(stream), *shape)

    def integer(self, name: str, below: Tensor | int, *shape: int) -> Tensor:
        """Integers from 0 to `below` - 1, int64, (b, *shape)."""
        return (self.uniform(name, *shape) * below).long()


def _mix(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right, because torch's shift keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
