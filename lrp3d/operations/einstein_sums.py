"""Einstein sums, of which products of matrices along any axes are some."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.compute.einsum import Einsum, contracted_in_pairs, explicit
from lrp3d.compute.maps import Bilinear, LinearMap
from lrp3d.operations.arithmetic import sum
from lrp3d.operations.blocks import Operand, is_constant, rearranged, shares
from lrp3d.operations.copies import own_shape
from lrp3d.operations.products import all_alike, contraction, mul, summed_over, weighs_frames_or_places
from lrp3d.registry import active_tracer, register_operation


@register_operation(torch.einsum)
def einsum(equation: str, *operands: Any) -> Tensor:
    """Einstein sums: a layer if there is one signal; of two signals, one may be the weight of the other."""
    tensors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    output = torch.einsum(equation, *tensors)
    signals = [x for x in tensors if not is_constant(x)]
    if len(tensors) == 1:
        return _einsum_of_one(equation, tensors[0], output)
    if len(tensors) > 2:
        equation, tensors = _constants_first(explicit(equation, [x.dim() for x in tensors]), tensors)
        first, second = contracted_in_pairs(equation)
        pair = tensors[:2]
        inner = torch.einsum(first, *pair) if all(map(is_constant, pair)) else einsum(first, *pair)
        return einsum(second, inner, *tensors[2:]) if signals else output
    subscripts = explicit(equation, [x.dim() for x in tensors])
    if signals and (product := _elementwise(subscripts, tensors)) is not None:
        return product
    if signals and (total := _weighed_sum(subscripts, tensors)) is not None:
        return total
    if len(signals) == 2 and (gated := _gated(subscripts, tensors)) is not None:
        return gated
    maps: list[LinearMap]
    if Einsum.can(subscripts, [x.shape for x in tensors]):
        maps = [Einsum(subscripts, first=True), Einsum(subscripts, first=False)]
    else:
        maps = [
            Bilinear(lambda a, v: torch.einsum(equation, a, v)),
            Bilinear(lambda a, v: torch.einsum(equation, v, a)),
        ]
    return contraction(output, tensors, maps, nn.Linear, _along_products(subscripts, tensors))


def _along_products(subscripts: str, tensors: Sequence[Tensor]) -> list[torch.Size] | None:
    """The shapes of two factors along the axes of their products (`which_weighs`); None where one has a diagonal."""
    operands = subscripts.split("->")[0].split(",")
    if any(len(set(letters)) < len(letters) for letters in operands):
        return None
    sizes = [dict(zip(letters, own_shape(x), strict=True)) for letters, x in zip(operands, tensors, strict=True)]
    return [torch.Size([of_one.get(letter, 1) for letter in sorted(set("".join(operands)))]) for of_one in sizes]


def _constants_first(subscripts: str, tensors: Sequence[Tensor]) -> tuple[str, list[Tensor]]:
    """The same sum, in which two constants that are summed with each other come first: together they are one weight."""
    operands, kept = subscripts.split("->")
    letters = operands.split(",")
    constants = [i for i, x in enumerate(tensors) if is_constant(x)]
    pairs = [pair for pair in itertools.combinations(constants, 2) if set(letters[pair[0]]) & set(letters[pair[1]])]
    first = pairs[0] if pairs else ()
    order = [*first, *(i for i in range(len(tensors)) if i not in first)]
    return f"{','.join(letters[i] for i in order)}->{kept}", [tensors[i] for i in order]


@register_operation(torch.tensordot)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """`torch.tensordot`: a sum over the last axes of one and the first of the other, or over those that are listed."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        dims = list(range(a.dim() - dims, a.dim())), list(range(dims))
    of_a, of_b = (
        [axis % x.dim() for axis in ([axes] if isinstance(axes, int) else axes)]
        for x, axes in zip((a, b), dims, strict=True)
    )
    left, right = list(ascii_letters[: a.dim()]), list(ascii_letters[a.dim() : a.dim() + b.dim()])
    for axis, other in zip(of_a, of_b, strict=True):
        right[other] = left[axis]
    kept = [x for i, x in enumerate(left) if i not in of_a] + [x for i, x in enumerate(right) if i not in of_b]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", a, b)


@register_operation([torch.inner, Tensor.inner, torch.dot, Tensor.dot])
def inner(input: Tensor, other: Tensor) -> Tensor:
    """`torch.inner`: sums of products over the last axes of both; with a single value it is a product."""
    if not input.dim() or not other.dim():
        return mul(input, other)
    return tensordot(input, other, ([input.dim() - 1], [other.dim() - 1]))


@register_operation(torch.linalg.vecdot)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """`torch.linalg.vecdot`: products that are summed over one axis, as a forward writes them."""
    total: Tensor = sum(mul(x, y), dim)
    return total


@register_operation([torch.outer, Tensor.outer, torch.ger, Tensor.ger])
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """`torch.outer`: the product of every value of one vector with every value of another."""
    return einsum("i,j->ij", input, vec2)


def _elementwise(subscripts: str, tensors: Sequence[Tensor]) -> Tensor | None:
    """A sum of nothing (`bcthw,c->bcthw`) as the product of its factors, entry by entry; None for other sums."""
    operands, kept = subscripts.split("->")
    letters = operands.split(",")
    if set(kept) != set("".join(letters)) or any(len(set(each)) < len(each) for each in letters):
        return None
    factors = []
    for each, x in zip(letters, tensors, strict=True):

        def aligned(x: Tensor, letters: str = each) -> Tensor:
            x = x.permute([letters.index(letter) for letter in kept if letter in letters])
            for axis, letter in enumerate(kept):
                x = x if letter in letters else x.unsqueeze(axis)
            return x

        if each == kept:
            factors.append(x)
        elif is_constant(x):
            factors.append(aligned(x))
        else:
            with active_tracer().part("aligned"):
                factors.append(rearranged(aligned, x))
    return mul(*factors)


def _weighed_sum(subscripts: str, tensors: Sequence[Tensor]) -> Tensor | None:
    """A sum over the axes of a constant of which all are alike, or that weighs frames or places; None for others.

    So `bct,t->bc` may be a mean over frames.
    """
    operands, kept = subscripts.split("->")
    left, right = operands.split(",")
    first, second = tensors
    for x, of_x, weights, of_weights in ((first, left, second, right), (second, right, first, left)):
        sizes = dict(zip(of_x, x.shape, strict=True))
        alone = len(set(of_weights)) == len(of_weights) and not set(of_weights) & set(kept)
        aligned = [sizes.get(letter) for letter in of_weights] == list(
            weights.shape
        )  # a size of one would be spread out
        if not alone or not aligned or is_constant(x) or not is_constant(weights) or weights.numel() < 2:
            continue
        alike = all_alike(weights)
        axes = tuple(of_x.index(letter) - len(of_x) for letter in of_weights if letter in of_x)
        if alike or (len(axes) == len(of_weights) and weighs_frames_or_places(x, weights, axes)):
            with active_tracer().part("weighed"):
                weighed = mul(x, weights.flatten()[0]) if alike else mul(x, _laid_out_as(of_x, weights, of_weights))
            equation = f"{of_x}->{kept}"
            return _einsum_of_one(equation, weighed, torch.einsum(equation, weighed.detach()), nn.Linear)
    return None


def _laid_out_as(letters: str, weights: Tensor, of_weights: str) -> Tensor:
    """Weights with their axes in the order of letters, and an axis of size one for each letter that they lack."""
    weights = weights.permute([of_weights.index(letter) for letter in letters if letter in of_weights])
    sizes = iter(weights.shape)
    return weights.reshape([next(sizes) if letter in of_weights else 1 for letter in letters])


def _gated(subscripts: str, tensors: Sequence[Tensor]) -> Tensor | None:
    """A gate that is the same along all summed axes (`bcthw,bc->bc`), as a product and its sum; None for other sums."""
    operands, kept = subscripts.split("->")
    gate, together = sorted(operands.split(","), key=len)
    summed = set(together) - set(kept)
    # One factor has all letters, so that the product is no larger than it.
    if not summed or summed & set(gate) or not set(gate) <= set(together):
        return None
    with active_tracer().part("product"):
        product = _elementwise(f"{operands}->{together}", tensors)
    if product is None:
        return None
    return _einsum_of_one(f"{together}->{kept}", product, torch.einsum(f"{together}->{kept}", product.detach()))


def _einsum_of_one(equation: str, x: Tensor, output: Tensor, kind: type[nn.Module] | None = None) -> Tensor:
    """An Einstein sum of one tensor: its axes in another order, and the last of them summed; it may average time.

    `kind` is the layer type whose rules apply.
    """
    letters, kept = explicit(equation, [x.dim()]).split("->")
    if len(set(letters)) < len(letters):  # a diagonal
        return shares(output, [Operand(x, Bilinear(lambda a, v: torch.einsum(equation, a) * v))])
    ordered = [*kept, *(letter for letter in letters if letter not in kept)]
    with active_tracer().part("ordered"):
        x = rearranged(lambda x: x.permute([letters.index(letter) for letter in ordered]), x)
    summed = len(letters) - len(kept)
    return summed_over(x, tuple(range(-summed, 0)), False, kind) if summed else x
