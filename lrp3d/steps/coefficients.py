"""Factors over denominators, by which relevance is multiplied before it is handed out; and what is done with zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lrp3d.compute import buffers
from lrp3d.compute.buffers import BLOCK
from lrp3d.steps.zero_denominators import may_matter


def coefficients(
    z: Tensor,
    epsilon: float,
    coefficient: Tensor | float,
    factor: Tensor | None,
    count: Callable[[], Tensor],
    overwrite: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The factors by which relevance is multiplied before it is handed out.

    Args:
        z: the denominators.
        epsilon: is added to the denominators with their sign.
        coefficient: the coefficient of the share.
        factor: the factor with which relevance comes, None without one.
        count: returns how many inputs each output has.
        overwrite: whether `z` may be written to.

    Returns:
        `coefficient * factor / z`, zero where z is zero; and `coefficient * factor / count` where z is zero, else
        zero, because all inputs get the same there (None if z is zero nowhere).
    """
    if factor is not None and not epsilon and _side_by_side_on_a_cpu(factor, z):
        quotient, empty = over_denominators(factor, z, overwrite)
    else:
        quotient, empty = _reciprocal(z, epsilon, overwrite)
        if factor is not None:
            quotient.mul_(factor)
            if empty is not None and z.device.type == "cpu":  # mostly, the factor is zero where the output is
                empty = empty & (factor != 0)
                empty = empty if bool(empty.any()) else None
    if not (isinstance(coefficient, float) and coefficient == 1.0):
        quotient.mul_(coefficient)
    if empty is None or (z.device.type != "cpu" and not may_matter(empty, factor)):
        return quotient, None
    equal = torch.where(empty, 1 / count().clamp(min=torch.finfo(z.dtype).tiny), 0.0).mul_(coefficient)
    return quotient, equal if factor is None else equal.mul_(factor)


def _side_by_side_on_a_cpu(factor: Tensor, z: Tensor) -> bool:
    """Whether both can be looked at without waiting, and go through memory side by side."""
    alike = factor.shape == z.shape and factor.is_contiguous() and z.is_contiguous()
    return alike and z.numel() > 0 and z.device.type == "cpu"


def over_denominators(factor: Tensor, z: Tensor, overwrite: bool) -> tuple[Tensor, Tensor | None]:
    """Returns factor / z, zero where that could overflow, and the mask of such places (None if there are none).

    A z so small counts as zero. Where an output is zero its factor mostly is as well, so that no relevance arrives
    there and no mask is needed.
    Values stay in a core's cache, as all is computed block by block.
    """
    quotient, empty = z if overwrite else buffers.empty(z.shape, z), None
    blocks = zip(*(t.view(-1).split(BLOCK) for t in (factor, z, quotient)), strict=True)
    for i, (f, denominators, out) in enumerate(blocks):
        torch.div(f, denominators, out=out)
        if _are_below(_limit(z), out):
            continue
        out.nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)  # 0 / 0
        if _are_below(_limit(z), out):
            continue
        zeros = ~(out.abs() < _limit(z))
        out.masked_fill_(zeros, 0.0)
        empty = torch.zeros(z.shape, dtype=torch.bool, device="cpu") if empty is None else empty
        empty.view(-1)[i * BLOCK : i * BLOCK + len(f)] = zeros
    return quotient, empty


def _are_below(limit: float, values: Tensor) -> bool:
    """Whether the magnitudes of all values, of which there must be some, are below the limit; not if one is NaN."""
    return all(abs(float(extreme)) < limit for extreme in torch.aminmax(values))


def _limit(z: Tensor) -> float:
    """The size of 1 / z, with its factor, from which on R / z could overflow, so that z counts as zero."""
    return torch.finfo(z.dtype).eps / torch.finfo(z.dtype).tiny


def _reciprocal(z: Tensor, epsilon: float, overwrite: bool = False) -> tuple[Tensor, Tensor | None]:
    """Returns 1 / z, zero where z is zero, and the mask of these zeros (None if there are none).

    A z so small that R / z could overflow counts as zero: its relevance is shared equally, so that nothing leaks.
    """
    if epsilon:
        empty = z.abs() <= 1 / _limit(z)
        is_negative = torch.lt(z, 0, out=torch.empty_like(z))
        # Epsilon with the sign of z; `where` would branch at every value, which takes many times as long.
        reciprocal = is_negative.mul_(-2 * epsilon).add_(epsilon).add_(z).reciprocal_()
        looked = z.device.type == "cpu"  # on a GPU, looking would make it wait
        if looked and not bool(empty.any()):
            return reciprocal, None
        return reciprocal.masked_fill_(empty, 0.0), empty
    reciprocal = torch.reciprocal(z, out=z if overwrite else buffers.empty(z.shape, z))
    if z.device.type == "cpu" and (not z.numel() or _are_below(_limit(z), reciprocal)):
        return reciprocal, None
    empty = ~(reciprocal.abs() < _limit(z))
    return reciprocal.masked_fill_(empty, 0.0), empty


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape; of a single one, that tensor itself."""
    return sum(tensors[1:], tensors[0])
