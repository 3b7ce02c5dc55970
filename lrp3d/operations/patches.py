"""Overlapping patches: cut out of images (`F.unfold`) or along an axis (`Tensor.unfold`), and laid over each other."""

from __future__ import annotations

from typing import Any

import torch
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


@register_operation(torch.Tensor.unfold)
def windows(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """`Tensor.unfold`: windows along one axis, as a view.

    The view is the one that torch makes, by its strides: the node that `unfold` leaves in torch's graph warns of its
    own slowness wherever several seeds go through it at once.
    """

    def function(x: Tensor) -> Tensor:
        view = x.detach().unfold(dimension, size, step)
        return x.as_strided(view.shape, view.stride(), view.storage_offset())

    return rearranged(function, input)


@register_operation(F.fold)
def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """`F.fold`: lays patches over each other, so that every output is the sum of the patches that overlap there."""

    def function(x: Tensor) -> Tensor:
        return F.fold(x, output_size, kernel_size, dilation, padding, stride)

    patches = Operand(input, Average(function, leaves_out=True))
    return shares(function(input), [patches], nonnegative=both_nonnegative(input))
