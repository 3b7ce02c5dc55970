"""Interpolation: averages of inputs at fixed places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute.maps import Average
from lrp3d.operations.blocks import Operand, both_nonnegative, shares
from lrp3d.operations.sampling import resample
from lrp3d.registry import register_operation


@register_operation([F.interpolate, F.upsample])
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """`F.interpolate`: an average, which has negative weights if it is bicubic."""

    def function(x: Tensor) -> Tensor:
        return F.interpolate(x, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)

    if mode == "bicubic":
        output = function(input)
        scales = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)

        def axis_matrices(axis: int) -> Callable[[Tensor], Tensor]:
            def axis_matrix(x: Tensor) -> Tensor:
                wanted, factors = list(x.shape[-2:]), [1.0, 1.0]
                wanted[axis] = output.shape[axis - 2]
                if scale_factor is None or recompute_scale_factor:
                    return F.interpolate(x, wanted, None, mode, align_corners, None, antialias)
                factors[axis] = float(scales[axis])
                return F.interpolate(x, None, factors, mode, align_corners, False, antialias)

            return axis_matrix

        return resample(input, output, (axis_matrices(0), axis_matrices(1)))
    return shares(function(input), [Operand(input, Average(function))], None, nn.Upsample, both_nonnegative(input))


def _upsample_nearest(input: Tensor, size: Sequence[int] | int | None = None, scale_factor: Any = None) -> Tensor:
    return interpolate(input, size, scale_factor, "nearest")


def _upsample_bilinear(input: Tensor, size: Sequence[int] | int | None = None, scale_factor: Any = None) -> Tensor:
    return interpolate(input, size, scale_factor, "bilinear", True)


register_operation(F.upsample_nearest, _upsample_nearest)
register_operation(F.upsample_bilinear, _upsample_bilinear)
