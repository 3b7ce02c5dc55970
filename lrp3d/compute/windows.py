"""The adjoint of a part of a convolution's outputs, which is zero outside of the window of inputs that they see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from lrp3d.compute import along_axis, few_frames, kernels
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.plain import is_plain


def inputs_seen(size: int, start: int, stop: int, g: Geometry, axis: int) -> tuple[int, int]:
    """The range of inputs, of `size` along an axis, in the receptive field of outputs `start` to `stop`."""
    d, k, s, p = g.dilation[axis], g.kernel[axis], g.stride[axis], g.padding[axis]
    first = min(max(0, start * s - p), size - 1)  # the nearest input where outputs see only padding
    return first, max(min(size, (stop - 1) * s - p + d * (k - 1) + 1), first + 1)


def adjoint(r: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], axis: int, start: int, size: int) -> Tensor:
    """The adjoint for r (b, c, ...), the outputs from `start` on; `shape` is that of their window of the inputs."""
    d, k, s, p = g.dilation[axis], g.kernel[axis], g.stride[axis], g.padding[axis]
    stop = start + r.shape[2 + axis]
    first, last = inputs_seen(size, start, stop, g, axis)
    begin = start * s - p  # the first position these outputs see, negative in the padding
    is_along_axis = along_axis.depthwise_axis(shape[1], w, g) == axis or (
        axis == 0 and along_axis.is_dense_in_time(r, w, g)
    )
    if is_along_axis and not is_plain():
        return kernels.adjoint(r, w, _on_window(g, axis, start, stop, size), shape)
    if axis == 0 and k > 1 and few_frames.are_few(r, w, replace(g, padding=_with(g.padding, axis, 0))):
        return few_frames.adjoint(r, w, g, shape, begin - first, kernels.fast_adjoint)
    # Computed without padding, whose part of the result is cut off at the end.
    length = (r.shape[2 + axis] - 1) * s + d * (k - 1) + 1
    if first < begin or last > begin + length:  # these outputs see only padding
        return r.new_zeros(shape)
    unpadded = replace(g, padding=_with(g.padding, axis, 0))
    carried = kernels.adjoint(r, w, unpadded, _with(shape, 2 + axis, length))
    return carried.narrow(2 + axis, first - begin, last - first)


def scaled_adjoint(
    r: Tensor, scale: Tensor, w: Tensor, g: Geometry, shape: Sequence[int], axis: int, start: int, size: int
) -> Tensor | None:
    """The same for r (s b, c, ...) * scale (b, c, ...) in one go; None where to multiply first is as fast."""
    if r.numel() == 0 or is_plain() or along_axis.depthwise_axis(shape[1], w, g) != axis:
        return None
    of_window = _on_window(g, axis, start, start + r.shape[2 + axis], size)
    return along_axis.depthwise_adjoint(r, w, of_window, shape, axis, scale)


def _on_window(g: Geometry, axis: int, start: int, stop: int, size: int) -> Geometry:
    """The geometry of outputs `start` to `stop` over their window of the inputs, which may cut the padding off."""
    first, _ = inputs_seen(size, start, stop, g, axis)
    begin = start * g.stride[axis] - g.padding[axis]
    return replace(g, padding=_with(g.padding, axis, first - begin))


def _with(values: Sequence[int], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])
