"""Sums of products of several tensors over all positions, without writing the products to memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.compute.buffers import BLOCK

LONG = 2**19  # values of a row; from this length on a CPU is faster row by row than with a matrix of few rows


def sums_of_products(value: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """The sum (s,) over all positions of value (s, *shape) times every factor, each of which broadcasts to (*shape).

    >>> sums_of_products(torch.ones(2, 3), [torch.tensor([1.0, 2.0, 3.0]), torch.tensor(2.0)])
    tensor([12., 12.])
    """
    shape = value.shape[1:]
    if value.dim() == 1:  # a signal of one value
        return functools.reduce(torch.mul, factors, value)
    if not factors:
        return value.sum(tuple(range(1, value.dim())))  # of what has gaps, flat values would be a copy
    factors = [factor.expand(shape) for factor in factors]
    if value.device.type != "cpu" or shape.numel() < LONG or value.dim() < 3:
        return value.flatten(1) @ functools.reduce(torch.mul, factors).flatten()
    if len(factors) == 1 and factors[0].is_contiguous():
        return torch.stack([torch.dot(row.flatten(), factors[0].flatten()) for row in value])
    return torch.stack([_sum_of_blocks([row, *factors]) for row in value])


def _sum_of_blocks(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of the product of tensors of one shape, whatever their layout, block by block along the second axis."""
    first, *others = tensors
    size = max(1, BLOCK * first.shape[1] // max(first[0].numel(), 1))
    total = first.new_zeros(())
    for sample in range(len(first)):
        blocks = zip(*(t[sample].split(size) for t in (first, *others)), strict=True)
        scratch = first.new_empty(first[sample, :size].shape)
        for block, *rest in blocks:
            product = scratch[: len(block)]
            for a in rest[:-1]:
                block = torch.mul(block, a, out=product)
            if rest[-1].is_contiguous() and block.is_contiguous():
                total += torch.dot(block.flatten(), rest[-1].flatten())
            else:
                total += torch.mul(block, rest[-1], out=product).sum()
    return total
