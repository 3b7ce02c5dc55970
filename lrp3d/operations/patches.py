"""Overlapping patches of images: cut out (`unfold`), and laid over each other (`fold`)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from lrp3d.compute.maps import Average
from lrp3d.operations.blocks import Operand, both_nonnegative, rearranged, shares
from lrp3d.operations.padding import pad
from lrp3d.registry import register_operation


@register_operation(F.unfold)
def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """`F.unfold`: patches, whose zeros beyond the border are no inputs."""
    rows, columns = [padding] * 2 if isinstance(padding, int) else padding
    padded = pad(input, [columns, columns, rows, rows])
    return rearranged(lambda x: F.unfold(x, kernel_size, dilation, 0, stride), padded)


@register_operation(F.fold)
def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """`F.fold`: lays patches over each other, so that every output is the sum of the patches that overlap there."""

    def function(x: Tensor) -> Tensor:
        return F.fold(x, output_size, kernel_size, dilation, padding, stride)

    return shares(function(input), [Operand(input, Average(function))], nonnegative=both_nonnegative(input))
