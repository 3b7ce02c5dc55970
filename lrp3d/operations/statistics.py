"""Statistics of a signal over axes (variance, norms, products) and divisions by them.

A statistic is usually the divisor of a signal, and then constant to relevance. Where it is a feature itself (the norm
of a difference of frames, in PAN), relevance is shared in proportion to what each value contributed to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.operations import by_hand
from lrp3d.operations.activation import clamp_min
from lrp3d.operations.arithmetic import add, axes_from_the_end, mean, sub, sum
from lrp3d.operations.blocks import attach, refuse
from lrp3d.operations.products import div, mul
from lrp3d.registry import active_tracer, register_operation
from lrp3d.steps.proportional import Proportional
from lrp3d.tracing.advice import MATRIX_NORM
from lrp3d.tracing.signals import Signal, Weighs


def _statistic(
    x: Tensor,
    dim: Any,
    function: Callable[[Tensor], Tensor],
    contributions: Callable[[Tensor], Tensor],
    **properties: Any,
) -> Tensor:
    """Records `function(x)`, a statistic over axes to which every value contributed as `contributions` says."""
    is_input, axes = active_tracer().signals[x].is_input, axes_from_the_end(x, dim)
    output = function(x)
    step = Proportional(x.detach(), axes, function, contributions, is_input)
    if is_input is not None:
        is_input = is_input.amax(axes, keepdim=True).reshape(output.shape)
    return attach(step, output, [x], Signal(is_input=is_input, **properties))


def _squared_distance(dim: Any) -> Callable[[Tensor], Tensor]:
    def contributions(x: Tensor) -> Tensor:
        return (x - x.mean(axes_from_the_end(x, dim), keepdim=True)) ** 2

    return contributions


def _register_spread(name: str, with_mean: bool) -> None:
    """Registers variance and standard deviation, alone or with the mean; they share by the squared distance from it."""
    function = getattr(torch, name)

    def spread(
        input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
    ) -> Any:
        if isinstance(dim, bool):  # torch.var(input, unbiased)
            dim, unbiased = None, dim
        correction = int(unbiased) if correction is None else correction

        def of(x: Tensor) -> Tensor:
            result = function(x, dim, correction=correction, keepdim=keepdim)
            spread_of: Tensor = result[0] if with_mean else result
            return spread_of

        statistic = _statistic(input, dim, of, _squared_distance(dim), nonnegative=True, weighs=Weighs.STATISTIC)
        return (statistic, mean(input, dim, keepdim)) if with_mean else statistic

    spread.__name__ = name
    owners = (torch, Tensor) if not with_mean else (torch,)
    register_operation([getattr(owner, name) for owner in owners], spread)


for _name in ("var", "std"):
    _register_spread(_name, False)
    _register_spread(f"{_name}_mean", True)


@register_operation([torch.norm, Tensor.norm])
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """`torch.norm`: of all values along the axes, as that of a vector, unless `p` is the nuclear norm of matrices."""
    if p == "nuc":
        return _of_matrices(torch.norm(input, p, dim, keepdim, dtype=dtype), input)
    return vector_norm(input, 2 if p in (None, "fro") else p, dim, keepdim, dtype=dtype)


@register_operation(torch.linalg.norm)
def linalg_norm(input: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`torch.linalg.norm`: of matrices if it is given an order and two axes, else of vectors."""
    axes = input.dim() if dim is None else len(axes_from_the_end(input, dim))
    if ord is None or axes == 1:
        return vector_norm(input, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
    return matrix_norm(input, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)


@register_operation(torch.linalg.matrix_norm)
def matrix_norm(
    input: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """`torch.linalg.matrix_norm`: Frobenius' norm is that of all values as a vector; others are refused."""
    if ord == "fro":
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    return _of_matrices(torch.linalg.matrix_norm(input, ord, dim, keepdim, dtype=dtype), input)


def _of_matrices(output: Tensor, x: Tensor) -> Tensor:
    return refuse(output, x, advice=MATRIX_NORM)


@register_operation(torch.linalg.vector_norm)
def vector_norm(input: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Norms of vectors: share by what each value adds to the sum under the root, `|x|^ord`."""
    largest = {float("inf"): "amax", -float("inf"): "amin"}.get(ord)
    if largest is None and ord < 0:
        output: Tensor = torch.linalg.vector_norm(input, ord, dim, keepdim, dtype=dtype)
        return refuse(output, input, advice="has a rule for orders from 0 on and -inf; a zero decides it alone")

    def contributions(x: Tensor) -> Tensor:
        size = x.abs()
        if largest is None:
            return size.pow(ord) * (size > 0)  # of order 0, values that are not zero are counted
        extreme: Tensor = getattr(size, largest)(axes_from_the_end(x, dim), keepdim=True)
        return (size == extreme).to(x)

    def function(x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, ord, dim, keepdim, dtype=dtype)
        return length

    return _statistic(input, dim, function, contributions, nonnegative=True)


def _unit(x: Tensor, p: float, dim: Any, eps: float) -> Tensor:
    """A signal divided by its norm."""
    return div(x, clamp_min(vector_norm(x, p, dim, keepdim=True), eps))


@register_operation(F.normalize)
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Tensor:
    """A signal divided by its norm, which is constant to relevance."""
    return _unit(input, p, dim, eps)


@register_operation([F.pairwise_distance, torch.pairwise_distance])
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The norm of a difference over the last axis (PAN, Zhang et al. 2020, arXiv:2008.03462, Eq. 3), written out."""
    tracer = active_tracer()
    difference = sub(x1, x2)
    return vector_norm(add(difference, eps) if tracer.is_signal(difference) else difference + eps, p, -1, keepdim)


@register_operation([torch.logsumexp, Tensor.logsumexp])
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """A smooth maximum: shares in proportion to the exponentials."""
    return _statistic(input, dim, lambda x: torch.logsumexp(x, dim, keepdim), _exponentials(dim))


def _exponentials(dim: Any) -> Callable[[Tensor], Tensor]:
    def contributions(x: Tensor) -> Tensor:
        return (x - x.amax(dim, keepdim=True)).exp()

    return contributions


def log_of_exponentials(x: Tensor) -> Tensor | None:
    """`log(x)` if `x` is a sum or a mean of exponentials, `exp(z).sum(dim)`: `logsumexp` by hand; else None."""
    known = by_hand.sum_of_exponentials(x)
    if known is None:
        return None
    logarithm = _statistic(known.of, known.axes, lambda z: known.function(z).log(), _exponentials(known.axes))
    return by_hand.lowered_logarithm(known, logarithm)


@register_operation([torch.prod, Tensor.prod])
def prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """`torch.prod`: every factor gets the same part, as in a product of two features (uniform rule)."""
    signal = active_tracer().signals[input]

    def function(x: Tensor) -> Tensor:
        product: Tensor = torch.prod(x, dtype=dtype) if dim is None else torch.prod(x, dim, keepdim, dtype=dtype)
        return product

    properties = {"nonnegative": signal.nonnegative, "weighs": signal.weighs}
    return _statistic(input, dim, function, torch.ones_like, **properties)


@register_operation(F.cosine_similarity)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Two signals, each divided by its norm, multiplied and summed."""
    tracer = active_tracer()
    units = [_unit(x, 2, dim, eps) if tracer.is_signal(x) else F.normalize(x, dim=dim, eps=eps) for x in (x1, x2)]
    return sum(mul(*units), dim)
