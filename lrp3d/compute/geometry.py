"""How the windows of a convolution or a pool move over its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """How the windows of a convolution or a pool move over its input; arguments as in torch, one number per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    output_padding: tuple[int, ...]

    @staticmethod
    def of_windows(
        kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
    ) -> Geometry:
        """The geometry of a pool."""
        sizes = (tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))
        return Geometry(*sizes, groups=1, transposed=False, output_padding=(0,) * len(sizes[0]))

    @staticmethod
    def dense(kernel: tuple[int, ...], padding: tuple[int, ...], groups: int = 1) -> Geometry:
        """The geometry of a convolution without stride and dilation."""
        ones = (1,) * len(kernel)
        return Geometry(kernel, ones, padding, ones, groups, False, (0,) * len(kernel))
