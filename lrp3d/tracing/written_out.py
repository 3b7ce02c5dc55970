"""Functions of torch that are made of others: a forward that calls one is followed through those it is made of.

So they have the relevance of the same thing written by hand, and the composite's rules for its parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WRITTEN_OUT: dict[Any, Callable[..., Any]] = {}
"""By function, what computes the same of functions that can be followed."""


def _computes(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(written_out: Callable[..., Any]) -> Callable[..., Any]:
        WRITTEN_OUT.update(dict.fromkeys(functions, written_out))
        return written_out

    return register


@_computes(torch.kron, Tensor.kron)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """`torch.kron`: every value of one tensor times another tensor, side by side."""
    axes = max(input.dim(), other.dim())
    left = [1] * (axes - input.dim()) + list(input.shape)
    right = [1] * (axes - other.dim()) + list(other.shape)
    spread = input.reshape([size for of_input in left for size in (of_input, 1)])
    repeated = other.reshape([size for of_other in right for size in (1, of_other)])
    return (spread * repeated).reshape([i * o for i, o in zip(left, right, strict=True)])


@_computes(torch.cdist)
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """`torch.cdist`: the length of the difference of every vector of one tensor and every vector of another."""
    lengths: Tensor = torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
    return lengths


@_computes(torch.logaddexp, Tensor.logaddexp)
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """`torch.logaddexp`: the logarithm of the sum of two exponentials."""
    return torch.logsumexp(torch.stack(torch.broadcast_tensors(input, other)), 0)


@_computes(torch.hypot, Tensor.hypot)
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """`torch.hypot`: the length of the vector of two values."""
    length: Tensor = torch.linalg.vector_norm(torch.stack(torch.broadcast_tensors(input, other)), 2, 0)
    return length


@_computes(torch.diag_embed, Tensor.diag_embed)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """`torch.diag_embed`: matrices of zeros with the values of the last axis on a diagonal."""
    padded = torch.nn.functional.pad(input, (max(offset, 0), max(-offset, 0)))
    size = padded.shape[-1]
    on_diagonal = torch.ones(size, size, dtype=torch.bool, device=input.device).tril(offset).triu(offset)
    repeated = padded.unsqueeze(-2).expand(*padded.shape[:-1], size, size)
    matrices = torch.where(on_diagonal, repeated, 0)
    return matrices.movedim((-2, -1), (dim1, dim2))


@_computes(torch.diag, Tensor.diag)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """`torch.diag`: a matrix with these values on a diagonal, or the values on a diagonal of a matrix."""
    return diag_embed(input, diagonal) if input.dim() == 1 else torch.diagonal(input, diagonal)


@_computes(torch.trapezoid, torch.trapz)
def trapezoid(y: Tensor, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """`torch.trapezoid`: the sum of the means of neighbours, each times their distance."""
    means = (y.narrow(dim, 1, y.shape[dim] - 1) + y.narrow(dim, 0, y.shape[dim] - 1)) / 2
    if x is None:
        return (means * dx).sum(dim)
    distances = x.diff(dim=dim if x.dim() > 1 else -1)
    if x.dim() == 1:
        distances = distances.reshape([-1 if axis == dim % y.dim() else 1 for axis in range(y.dim())])
    total: Tensor = (means * distances).sum(dim)
    return total
