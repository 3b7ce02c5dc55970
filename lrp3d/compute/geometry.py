"""How a convolution moves over its input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its input; arguments as in torch, one number per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    output_padding: tuple[int, ...]

    @staticmethod
    def dense(kernel: tuple[int, ...], padding: tuple[int, ...], groups: int = 1) -> Geometry:
        """The geometry of a convolution without stride and dilation."""
        ones = (1,) * len(kernel)
        return Geometry(kernel, ones, padding, ones, groups, False, (0,) * len(kernel))
