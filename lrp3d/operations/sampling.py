"""Reading a signal at places that are computed: grids, offsets, deformable convolutions, indices.

The places are constant to relevance, as a gate is; the signal that is read takes all of it. For fixed places p, the
output `y_i = sum_j k(p_i - j) x_j` is linear in x (Jaderberg et al. 2015, arXiv:1506.02025, Eq. 3; deformable
convolution: Dai et al. 2017, arXiv:1703.06211, Eq. 3; with masks: Zhu et al. 2019, arXiv:1811.11168, Eq. 1), and a rule
shares relevance over it as over an average. If the kernel k is cubic, some of its weights are negative, and a rule sees
them as such. Reads by an index (`x[index]`, `gather`, `index_select`) only move values, whatever the index was computed
from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute.maps import Average
from lrp3d.operations.blocks import Operand, both_nonnegative, rearranged, refuse, shares
from lrp3d.operations.convolution import convolution
from lrp3d.operations.products import mul
from lrp3d.registry import active_tracer, register_operation
from lrp3d.tracing.signals import Signal, Weighs

NOTE = "the places are constant"
ONLY_PLACES = "reads a constant at places that descend from the clip, and places have no relevance"

Read = Callable[[Tensor], Tensor]


def read(x: Tensor, output: Tensor, added_values: Read, subtracted_values: Read | None = None) -> Tensor:
    """An operation that is linear in the signal `x`: `output = added(x) - subtracted(x)`, both with weights >= 0.

    Args:
        x: the signal that is read.
        output: the result of the operation.
        added_values: the part of the operation with the positive weights.
        subtracted_values: the part with the negative weights, with reversed sign; None if there are none.
    """
    summands = [Operand(x, Average(added_values))]
    if subtracted_values is not None:
        summands.append(Operand(x, Average(subtracted_values), x.new_tensor(-1.0)))
    nonnegative = subtracted_values is None and both_nonnegative(x)
    result = shares(output, summands, None, nn.Upsample, nonnegative, is_layer=False, note=NOTE)
    tracer = active_tracer()
    reached_inputs = added_values(tracer.input_mask(x))  # values read outside of the picture are constants
    if subtracted_values is not None:
        reached_inputs = reached_inputs + subtracted_values(tracer.input_mask(x))
    tracer.signals[result].is_input = tracer.signals.constants_among(reached_inputs, output.dtype)
    return result


# ----------------------------------------------------------------------------------------------------- grids


@register_operation(F.grid_sample)
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """`F.grid_sample`, in all its modes: linear in `input`, with `grid` constant."""
    tracer = active_tracer()
    corners = bool(align_corners)
    places = grid.detach()  # (b, h', w', 2), or (b, t', h', w', 3)

    def function(x: Tensor) -> Tensor:
        return F.grid_sample(x, places.to(x.dtype), mode, padding_mode, corners)

    output = function(input)
    if not tracer.is_signal(input):
        inside = Signal(nonnegative=both_nonnegative(input), weighs=Weighs.GATE)
        return refuse(output, grid, advice=ONLY_PLACES, signal=inside)  # it may be a mask of what lies in the picture
    if mode != "bicubic":
        return read(input, output, function)
    taps = _cubic_taps(places, input.shape[-2:], corners)

    def part(sign: int) -> Read:
        def weighted(x: Tensor) -> Tensor:
            total = x.new_zeros(())
            for points, weight in taps:
                value = F.grid_sample(x, points.to(x.dtype), "nearest", padding_mode, corners)
                total = total + value * (sign * weight).clamp(min=0).to(x.dtype)
            return total

        return weighted

    return read(input, output, part(1), part(-1))


def _cubic_taps(grid: Tensor, sizes: Sequence[int], corners: bool) -> list[tuple[Tensor, Tensor]]:
    """The grids and the weights of the 16 pixels of a cubic convolution (Keys 1981, with torch's a = -0.75)."""
    size = grid.new_tensor([sizes[1], sizes[0]])  # x before y, as in grids
    centre = (grid + 1) / 2 * (size - 1) if corners else ((grid + 1) * size - 1) / 2  # (b, h', w', 2)
    first = centre.floor()
    weights = torch.stack([_cubic(centre - first - k) for k in (-1, 0, 1, 2)])  # (4, b, h', w', 2)
    taps = []
    for i in range(4):
        for j in range(4):
            pixel = first + first.new_tensor([j - 1, i - 1])  # (b, h', w', 2)
            points = 2 * pixel / (size - 1).clamp(min=1) - 1 if corners else (2 * pixel + 1) / size - 1
            taps.append((points, (weights[j][..., 0] * weights[i][..., 1]).unsqueeze(1)))
    return taps


def _cubic(distance: Tensor, a: float = -0.75) -> Tensor:
    d = distance.abs()
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return torch.where(d <= 1, near, far)


_MODES, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


@register_operation([torch.grid_sampler, torch.grid_sampler_2d, torch.grid_sampler_3d])
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`torch.grid_sampler`, which takes its modes as numbers."""
    return grid_sample(input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)


# --------------------------------------------------------------------------------- interpolation with overshoot


def resample(input: Tensor, output: Tensor, axis_maps: Sequence[Read]) -> Tensor:
    """A separable interpolation with negative weights (cubic).

    Args:
        input: a signal (b, c, h, w).
        output: the result of the interpolation.
        axis_maps: the interpolation along height alone, and along width alone.
    """
    rows, columns = (torch.eye(size, device="cpu").to(input) for size in input.shape[-2:])
    # two copies side by side, because torch 2.13 antialiases a picture that is one pixel wide incorrectly
    down = axis_maps[0](rows[:, None, :, None].repeat(1, 1, 1, 2))[:, 0, :, 0]  # (h, h')
    across = axis_maps[1](columns[:, None, None].repeat(1, 1, 2, 1))[:, 0, 0]  # (w, w')
    matrices = (down, across)
    rows_matrix, columns_matrix = ((m.clamp(min=0), (-m).clamp(min=0)) for m in matrices)

    def part(pairs: Sequence[tuple[Tensor, Tensor]]) -> Read:
        def weighted(x: Tensor) -> Tensor:
            parts = [(x @ w.to(x)).mT.matmul(h.to(x)).mT for h, w in pairs]  # (b, c, h', w')
            return parts[0] + parts[1]

        return weighted

    same, other = (
        [(rows_matrix[0], columns_matrix[0]), (rows_matrix[1], columns_matrix[1])],
        [(rows_matrix[0], columns_matrix[1]), (rows_matrix[1], columns_matrix[0])],
    )
    return read(input, output, part(same), part(other))


# ---------------------------------------------------------------------------------------- deformable convolution


@register_operation("torchvision::deform_conv2d")
def deform_conv2d(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """`torchvision.ops.deform_conv2d`: reads at constant offsets, weights by a mask, and convolves."""
    used_mask = mask if use_mask else None
    steps = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    return deformable(input, weight, offset, bias, *steps, groups, used_mask)


def deformable(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """A deformable convolution over two axes, made of operations that are known.

    Args:
        input: (b, c, h, w).
        weight: (c', c / groups, p, q).
        offset: (b, 2 g p q, h', w'), y before x, for g groups of input channels; constant to relevance.
        bias: (c',), or None.
        stride: for height and width, like `padding` and `dilation`.
        padding: number of zeros around the input.
        dilation: distance of the kernel's taps.
        groups: number of groups of the convolution.
        mask: (b, g p q, h', w'), the weight by which the values read are multiplied.
    """
    (b, c, h, w), (kernel_h, kernel_w) = input.shape, weight.shape[-2:]
    taps, (height, width) = kernel_h * kernel_w, offset.shape[-2:]
    offset_groups = offset.shape[1] // (2 * taps)
    shifts = offset.detach().reshape(b * offset_groups, taps, 2, height, width)  # (b g, p q, 2, h', w')
    rows = _places(
        height,
        stride[0],
        padding[0],
        dilation[0] * torch.arange(kernel_h, device="cpu").repeat_interleave(kernel_w),
        shifts,
    )
    columns = _places(
        width, stride[1], padding[1], dilation[1] * torch.arange(kernel_w, device="cpu").repeat(kernel_h), shifts
    )
    size = shifts.new_tensor([w, h])
    grid = (2 * torch.stack([shifts[:, :, 1] + columns, shifts[:, :, 0] + rows.mT], -1) + 1) / size - 1
    grid = grid.reshape(b * offset_groups, taps * height, width, 2)  # (b g, p q h', w', 2)
    x = rearranged(lambda x: x.reshape(b * offset_groups, c // offset_groups, h, w), input)
    x = grid_sample(x, grid, "bilinear", "zeros", False)  # (b g, c / g, p q h', w')
    x = rearranged(lambda x: x.reshape(b, offset_groups, c // offset_groups, taps, height, width), x)
    if mask is not None:
        weighs = rearranged(lambda m: m.reshape(b, offset_groups, 1, taps, height, width), mask)
        x = mul(x, weighs) if active_tracer().is_signal(x) or active_tracer().is_signal(weighs) else x * weighs
    x = rearranged(lambda x: x.reshape(b, c * taps, height, width), x)  # (b, c p q, h', w')
    kernel = rearranged(lambda w: w.reshape(len(w), -1, 1, 1), weight)  # (c', c p q / groups, 1, 1)
    return convolution(x, kernel, bias, groups=groups)


def _places(size: int, stride: int, padding: int, taps: Tensor, like: Tensor) -> Tensor:
    """The positions (taps, 1, outputs) of a convolution's taps along one axis, without offsets."""
    return (torch.arange(size, device="cpu") * stride - padding + taps[:, None, None]).to(like)
