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

    def leaves_out(self, sizes: Sequence[int]) -> bool:
        """Whether some outputs may see no input, of these sizes.

        >>> strided = ((2,), (3,), (0,), (1,))
        >>> Geometry(*strided, 1, True, (0,)).leaves_out([4])  # transposed, with a kernel smaller than the stride
        True
        >>> Geometry(*strided, 1, False, (0,)).leaves_out([4])
        False
        """
        axes = zip(self.kernel, self.stride, self.padding, self.dilation, self.output_padding, sizes, strict=True)
        for kernel, stride, padding, dilation, output_padding, size in axes:
            if self.transposed and (stride > kernel or dilation > 1 < stride or output_padding > padding):
                return True
            if not self.transposed and (padding > dilation * (kernel - 1) or size < dilation > 1):
                return True
        return False
