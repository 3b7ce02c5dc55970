"""Pools of 1 to 3 axes, adaptive ones included."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute import maxima_by_axis
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Average, AxisMatrices, averaging_matrix
from lrp3d.operations.blocks import Operand, attach, both_nonnegative, refuse, shares
from lrp3d.operations.convolution import per_axis
from lrp3d.registry import active_tracer, register_operation
from lrp3d.steps.window_maxima import WindowMaximum
from lrp3d.tracing.signals import Signal
from lrp3d.transfer import placed

_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_ADAPTIVE_MAX = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}
_ADAPTIVE_AVG = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}

# ---------------------------------------------------------------------------------------------------- maxima


def _max_pool(
    axes: int, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Tensor:
    kernel = per_axis(kernel_size, axes)
    strides = per_axis(stride if stride else kernel, axes)
    paddings, dilations = per_axis(padding, axes), per_axis(dilation, axes)

    def by_torch(x: Tensor) -> Tensor:
        out: Tensor = getattr(torch, f"max_pool{axes}d")(x, kernel, strides, paddings, dilations, ceil_mode)
        return out

    def pooled(x: Tensor) -> Tensor:
        if not maxima_by_axis.are_worth_it(x):
            return by_torch(x)
        sizes = by_torch(torch.empty(x.shape, device="meta")).shape[-axes:]
        return maxima_by_axis.maxima(x.detach(), kernel, strides, paddings, dilations, sizes)

    output, tracer = pooled(x), active_tracer()
    incoming = tracer.signal(x)
    if incoming is None:
        return output
    sizes = output.shape[-axes:]
    ends = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(sizes, strides, dilations, kernel, strict=True)]
    sides: list[int] = []
    for size, before, end in reversed(list(zip(x.shape[-axes:], paddings, ends, strict=True))):
        sides += [before, max(0, end - before - size)]
    offsets = [
        tuple(
            slice(p * d, p * d + (o - 1) * s + 1, s) for p, d, o, s in zip(tap, dilations, sizes, strides, strict=True)
        )
        for tap in itertools.product(*map(range, kernel))
    ]
    crop = tuple(slice(p, p + size) for p, size in zip(paddings, x.shape[-axes:], strict=True))
    padded = F.pad(x.detach(), sides, value=-torch.inf)
    is_input = None if incoming.is_input is None else F.pad(incoming.is_input, sides)
    windows = Geometry.of_windows(kernel, strides, paddings, dilations)
    step = WindowMaximum(padded, output, offsets, is_input=is_input, crop=crop, windows=windows)
    return attach(step, output, [x], _of_maxima(incoming, pooled), _MAX[axes])


def _of_maxima(incoming: Signal, pooled: Callable[[Tensor], Tensor]) -> Signal:
    """What is known about the maxima of windows: one that holds constants alone is a constant."""
    is_input = None
    if incoming.is_input is not None:
        is_input = active_tracer().signals.constants_among(pooled(incoming.is_input), incoming.is_input.dtype)
    return Signal(is_input=is_input, nonnegative=incoming.nonnegative, weighs=incoming.weighs)


def _with_indices(output: Tensor, wanted: bool) -> Any:
    """The output of a max pool, and its indices if `wanted`; the indices have no relevance rule."""
    if not wanted:
        return output
    return output, refuse(output, output, advice="indices of maxima (max unpooling) have no relevance rule").long()


def max_pool(
    axes: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """A max pool: the winner of every window takes all."""
    output = _max_pool(axes, input, kernel_size, stride, padding, dilation, ceil_mode)
    return _with_indices(output, return_indices)


def max_pool_with_indices(
    axes: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """A max pool as torch calls it where the indices are wanted, whatever `return_indices` says."""
    return _with_indices(_max_pool(axes, input, kernel_size, stride, padding, dilation, ceil_mode), True)


def _window_positions(inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Positions (p, outputs) of torch's adaptive windows, and whether each position is inside its window."""
    starts = torch.tensor([i * inputs // outputs for i in range(outputs)], device="cpu")
    ends = torch.tensor([-(-(i + 1) * inputs // outputs) for i in range(outputs)], device="cpu")
    positions = starts + torch.arange(int((ends - starts).max()), device="cpu")[:, None]  # (p, outputs)
    return positions.clamp(max=inputs - 1), positions < ends


def _sizes(x: Tensor, output_size: Any, axes: int) -> list[int]:
    """The output size of an adaptive pool; None keeps the size of an axis."""
    wanted = [output_size] * axes if output_size is None or isinstance(output_size, int) else list(output_size)
    wanted = wanted * axes if len(wanted) == 1 else wanted
    return [have if want is None else want for want, have in zip(wanted, x.shape[-axes:], strict=True)]


def _adaptive_max_pool(axes: int, x: Tensor, output_size: Any) -> Tensor:
    sizes = _sizes(x, output_size, axes)

    def pooled(x: Tensor) -> Tensor:
        out: Tensor = getattr(F, f"adaptive_max_pool{axes}d")(x, sizes)
        return out

    output = pooled(x)
    incoming = active_tracer().signal(x)
    if incoming is None:
        return output
    windows = [_window_positions(have, want) for have, want in zip(x.shape[-axes:], sizes, strict=True)]
    offsets, inside = [], []
    for tap in itertools.product(*(range(len(positions)) for positions, _ in windows)):
        shaped = [[1] * i + [-1] + [1] * (axes - 1 - i) for i in range(axes)]
        offsets.append(tuple(windows[i][0][tap[i]].to(x.device).view(shaped[i]) for i in range(axes)))
        flags = [windows[i][1][tap[i]].to(x.device).view(shaped[i]) for i in range(axes)]
        inside.append(torch.stack(torch.broadcast_tensors(*flags)).all(0))
    step = WindowMaximum(x.detach(), output, offsets, inside, incoming.is_input)
    return attach(step, output, [x], _of_maxima(incoming, pooled), _ADAPTIVE_MAX[axes])


def adaptive_max_pool(axes: int, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """A max pool in as many windows as are asked for."""
    return _with_indices(_adaptive_max_pool(axes, input, output_size), return_indices)


def adaptive_max_pool_with_indices(axes: int, input: Tensor, output_size: Any, return_indices: bool = True) -> Any:
    """The same as torch calls it where the indices are wanted, whatever `return_indices` says."""
    return _with_indices(_adaptive_max_pool(axes, input, output_size), True)


# --------------------------------------------------------------------------------------------------- averages


_PLAIN = {axes: getattr(F, f"avg_pool{axes}d") for axes in (1, 2, 3)}


def avg_pool(
    axes: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """An average over windows."""
    windows = [per_axis(value, axes) for value in (kernel_size, stride or kernel_size, padding)]
    options = (ceil_mode, count_include_pad, divisor_override)
    over_space = None
    if axes != 2 and divisor_override is None and windows[0][0] == input.shape[-axes] and not windows[2][0]:
        alone = [[of_time, *rest] for of_time, (_, *rest) in zip((1, 1, 0), windows, strict=True)]
        over_space = _average_of_windows(alone, options)
    average = _average_of_windows(windows, options, over_space)
    return shares(average.function(input), [Operand(input, average)], None, _AVG[axes], both_nonnegative(input))


def _average_of_windows(
    windows: list[list[int]], options: tuple[bool, bool, int | None], over_space: Average | None = None
) -> Average:
    """The average pool of kernel, stride and padding for each axis; torch's options are ceil mode, counts, divisor."""
    axes = len(windows[0])
    plain = _PLAIN[axes]

    def pooled(x: Tensor) -> Tensor:
        out: Tensor = plain(x, *windows, *(options if axes > 1 else options[:2]))
        return out

    def gradient(r: Tensor, shape: torch.Size) -> Tensor:
        numbers = windows
        if axes == 1:  # torch has no gradient for it alone
            r, shape = r.unsqueeze(-2), torch.Size((*shape[:-1], 1, shape[-1]))
            numbers = [[neutral, *sizes] for neutral, sizes in zip((1, 1, 0), windows, strict=True)]
        backward = getattr(torch.ops.aten, f"avg_pool{max(axes, 2)}d_backward")
        out: Tensor = backward(r, r.new_empty(shape), *numbers, *options)
        return out.squeeze(-2) if axes == 1 else out

    kernel, strides, paddings = windows
    geometry = Geometry.of_windows(kernel, strides, paddings, [1] * axes)
    return Average(pooled, gradient, over_space, geometry)


def adaptive_avg_pool(axes: int, input: Tensor, output_size: Any) -> Tensor:
    """An average over as many windows as are asked for."""
    sizes = _sizes(input, output_size, axes)
    matrices = tuple(
        placed(averaging_matrix(have, want), input.device, input.dtype)
        for have, want in zip(input.shape[-axes:], sizes, strict=True)
    )
    output = getattr(F, f"adaptive_avg_pool{axes}d")(input, sizes)
    operand = Operand(input, AxisMatrices(matrices))
    return shares(output, [operand], None, _ADAPTIVE_AVG[axes], both_nonnegative(input))


# ------------------------------------------------------------------------------------------------ registration


def _registered(handler: Callable[..., Any], *names: str) -> dict[int, Callable[..., Any]]:
    """Registers a pool for every number of axes, under the names that torch has for it; returns it by that number."""
    pools = {}
    for axes in (1, 2, 3):
        pool = functools.partial(handler, axes)
        functools.update_wrapper(pool, handler)
        del pool.__wrapped__  # type: ignore[attr-defined]  # the axes are no argument of torch's function
        places = (name.format(axes).split(".") for name in names)
        functions = (getattr({"F": F, "torch": torch}[owner], name, None) for owner, name in places)
        pools[axes] = register_operation([function for function in functions if function is not None], pool)
    return pools


# Pools by number of axes, for `lrp3d.layers`.
MAX_POOLS = _registered(max_pool, "F.max_pool{}d", "F._max_pool{}d", "torch.max_pool{}d")
AVG_POOLS = _registered(avg_pool, "F.avg_pool{}d")
ADAPTIVE_MAX_POOLS = _registered(adaptive_max_pool, "F.adaptive_max_pool{}d", "F._adaptive_max_pool{}d")
ADAPTIVE_AVG_POOLS = _registered(adaptive_avg_pool, "F.adaptive_avg_pool{}d", "torch.adaptive_avg_pool{}d")
_registered(max_pool_with_indices, "F.max_pool{}d_with_indices", "torch.max_pool{}d_with_indices")
_registered(adaptive_max_pool_with_indices, "F.adaptive_max_pool{}d_with_indices", "torch.adaptive_max_pool{}d")
