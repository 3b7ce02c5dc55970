"""Fully connected layers that a forward writes as a product and a sum: `(x[..., None] * w).sum(-2)`, cosine heads."""

from __future__ import annotations

from string import ascii_lowercase

from torch import Tensor, nn

from lrp3d.compute.einsum import Einsum
from lrp3d.operations.blocks import rearranged
from lrp3d.operations.copies import shape_among
from lrp3d.operations.over_channels import are_channels
from lrp3d.operations.products import contraction
from lrp3d.registry import active_tracer


def layer_by_hand(x: Tensor, output: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor | None:
    """The sum of such a product over axes along which both factors differ, as a layer with a weight; else None.

    A product with copies of the signal, one for each output, is such a layer; so is one with the vector of a single
    output, if it weighs channels, and not frames or places.

    Args:
        x: the product.
        output: its sum.
        axes: over which it is summed, counted from the end.
        keepdim: whether these axes are kept, with size one.
    """
    signal = active_tracer().signals[x]
    if signal.scaled is None:
        return None
    shapes = [shape_among(factor, x.dim()) for factor in signal.scaled]
    summed = {axis % x.dim() for axis in axes}
    if not all(shape[axis] > 1 for axis in summed for shape in shapes):
        return None
    has_copies = any(size == 1 < of_weight for size, of_weight in zip(*shapes, strict=True))
    if not has_copies and not are_channels(x, axes):
        return None
    source, weight = signal.scaled
    of_signal = [axis for axis in range(x.dim()) if shapes[0][axis] > 1 or x.shape[axis] == 1]
    of_weight = [axis for axis in range(x.dim()) if shapes[1][axis] > 1]
    kept = [axis for axis in range(x.dim()) if axis not in summed]
    left, right, result = ("".join(ascii_lowercase[axis] for axis in each) for each in (of_signal, of_weight, kept))
    equation = f"{left},{right}->{result}"
    factors = [rearranged(lambda t: _with_axes(t, x, of_signal), source), _with_axes(weight, x, of_weight)]
    flat = output.flatten().view([x.shape[axis] for axis in kept]) if keepdim else output
    layer = contraction(flat, factors, [Einsum(equation, True), Einsum(equation, False)], nn.Linear)
    return rearranged(lambda t: t.view(output.shape), layer) if keepdim else layer


def _with_axes(x: Tensor, product: Tensor, axes: list[int]) -> Tensor:
    """A factor with these axes of the product alone; along all others it is a copy of itself."""
    x = x[(None,) * (product.dim() - x.dim())]
    for axis in reversed(range(x.dim())):
        if axis not in axes:
            x = x.select(axis, 0)
    return x
