"""Copies along axes and means over them, however a forward writes them: torch's graph and strides show it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lrp3d.compute.maps import SumOver
from lrp3d.registry import active_tracer
from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.graph import Node, edges_below, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.torch_nodes import keeps_frames, reshapes

ROUNDINGS, ROUNDINGS_OF_HALF = 1e3, 8
"""By how many roundings two ways to compute a mean may differ, as a share of what is averaged.

In half precision a thousand roundings would be larger than the values. Torch adds up in single precision there, so that
only what lies between is rounded.
"""
LEAST_EPS_OF_HALF = 1e-5  # below that of float16 and bfloat16, above that of float32


def own_shape(x: Tensor) -> torch.Size:
    """The shape of a tensor, with size one along the axes along which it is a copy of itself (`expand`, `repeat`).

    >>> own_shape(torch.zeros(2, 1, 3).expand(2, 4, 3)), own_shape(torch.zeros(2, 4, 3))
    (torch.Size([2, 1, 3]), torch.Size([2, 4, 3]))
    """
    sizes = list(x.shape)
    if x.layout == torch.strided and not x.is_nested:
        sizes = [1 if stride == 0 else size for size, stride in zip(sizes, x.stride(), strict=True)]
    node = x.grad_fn
    if node is not None and node.name().startswith("Repeat") and hasattr(node, "_saved_repeats"):
        repeated: Node = node
        own = [1] * (len(sizes) - len(repeated._saved_self_sym_sizes)) + list(repeated._saved_self_sym_sizes)
        sizes = [1 if before == 1 else size for before, size in zip(own, sizes, strict=True)]
    return torch.Size(sizes)


def shape_among(x: Tensor, dim: int) -> list[int]:
    """The shape of a factor without copies (`own_shape`), with as many axes as its product has.

    >>> shape_among(torch.zeros(4, 1).expand(4, 3), 3)
    [1, 4, 1]
    """
    return [1] * (dim - x.dim()) + list(own_shape(x))


def is_mean_of(mean: Tensor, x: Tensor, sign: int = 1) -> bool:
    """Whether a signal is the mean of another over some axes, times a sign, so that adding it centres the other.

    It must be made of the other by averages alone, and have the value of its mean over the axes along which the two are
    broadcast; so the mean of another place, as of another frame, is none.
    """
    tracer = active_tracer()
    if not tracer.is_signal(x) or not tracer.is_signal(mean) or mean.dim() > x.dim() or mean.dtype != x.dtype:
        return False
    sizes = [1] * (x.dim() - mean.dim()) + list(own_shape(mean))
    if any(size not in (1, of_x) for size, of_x in zip(sizes, x.shape, strict=True)):
        return False
    averaged = _averaged(mean, x)
    if averaged is None:
        return False
    with torch.no_grad():
        for axes in _axes(mean, x, sizes):
            if x.numel() == averaged * math.prod(x.shape[axis] for axis in axes) and _is_mean(mean, x, axes, sign):
                return True
    return False


def _axes(mean: Tensor, x: Tensor, sizes: Sequence[int]) -> Iterator[list[int]]:
    """Over which axes a tensor may be the mean of x: those along which it is copied, and more if these are written out.

    Copies that were written out (`contiguous`, `repeat_interleave`) leave no other trace than their values.
    """
    axes = [axis for axis, (size, of_x) in enumerate(zip(sizes, x.shape, strict=True)) if size == 1 < of_x]
    yield axes
    if mean.dim() < x.dim():
        return
    tracer = active_tracer()
    others = [axis for axis in range(x.dim()) if mean.shape[axis] == x.shape[axis] > 1 and axis not in axes]
    alike = [axis for axis in others if tracer.answers((mean == mean.narrow(axis, 0, 1)).all())]
    for count in range(1, len(alike) + 1):
        for more in itertools.combinations(alike, count):
            yield sorted((*axes, *more))


def _is_mean(mean: Tensor, x: Tensor, axes: list[int], sign: int) -> bool:
    """Whether a tensor has the values of the mean of x over these axes, times a sign, up to rounding."""
    own = x.detach().mean(axes, keepdim=True) if axes else x.detach()
    eps = torch.finfo(x.dtype).eps
    allowed = (ROUNDINGS if eps < LEAST_EPS_OF_HALF else ROUNDINGS_OF_HALF) * eps * x.detach().abs().mean()
    return active_tracer().answers(((mean.detach() - sign * own).abs() <= allowed).all())


def _averaged(mean: Tensor, x: Tensor) -> int | None:
    """How many values averages made of a signal on its way to another; None if other operations lie between them.

    Only averages, sums, numbers that multiply and moves of all values may. Windows that average no whole axis make as
    many values as they are given.
    """
    made = _made_of(x.grad_fn)
    node: Node = mean.grad_fn
    fewest = x.numel()
    while node is not None and node not in made:
        step = step_of(node)
        if not (_keeps_values(node) if step is None else _is_average(step)):
            return None
        if isinstance(step, LinearStep):
            is_whole_axis = isinstance(step.operands[0].map, SumOver) or step.shape.numel() < fewest
            if not is_whole_axis:
                return None
            fewest = min(fewest, step.shape.numel())
        node = edges_below(node)[0][0]
    return None if node is None else fewest


def _made_of(node: Node) -> set[Node]:
    """The step that made all values of a tensor, in whatever shape, and those before it that a number multiplied."""
    made = set()
    while node is not None:
        step = step_of(node)
        if step is not None:
            made.add(node)
            if not (isinstance(step, PassThrough) and step.linear):
                break
        elif not _keeps_values(node):
            made.add(node)
            break
        node = edges_below(node)[0][0]
    return made


def _keeps_values(node: Node) -> bool:
    return reshapes(node) or keeps_frames(node)


def _is_average(step: object) -> bool:
    if isinstance(step, LinearStep):
        return len(step.operands) == 1 and not (step.weighted or step.weighed_by_signal) and step.bias is None
    return isinstance(step, PassThrough) and step.linear
