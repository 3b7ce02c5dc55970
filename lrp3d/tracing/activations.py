"""Functions of one signal alone, value by value: activations, in however many operations a forward writes them.

Relevance passes an activation unchanged. Written by hand, one is a product of the signal with what was made of it
(`0.5 * x * (1 + tanh(x * c * (1 + k * x * x)))`): numbers that are added in between are no biases of a layer, and
exponentials need no rule. So relevance goes from the product to the signal in one step.
"""

from __future__ import annotations

from collections.abc import Container, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef, WeakTensorKeyDictionary

from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.ends import Unsupported
from lrp3d.steps.graph import edge_of, edges_below, step_of
from lrp3d.tracing.torch_functions import plain_name
from lrp3d.tracing.trees import leaves

_PRODUCTS = {"mul", "rmul", "multiply", "div", "divide", "truediv", "true_divide", "rtruediv", "rdiv"}
_ALONE = """
abs acos acosh arctan asinh atan celu clamp clamp_max clamp_min clip cos cosh elu erf erfc exp exp2 expm1 gelu
hardshrink hardsigmoid hardswish hardtanh leaky_relu log log10 log1p log2 logsigmoid masked_fill mish ndtr neg negative
pow reciprocal relu relu6 rpow rsqrt selu sigmoid sign silu sin sinh softplus softshrink softsign sqrt square tan tanh
tanhshrink threshold
"""
_TOGETHER = "add radd sub rsub subtract where maximum minimum fmax fmin"
BY_HAND = "an activation that is written by hand"
_BY_VALUE = _PRODUCTS | {*_ALONE.split()} | {*_TOGETHER.split()}
"""The names of functions that take values one by one."""
_MOST = 8
"""Signals from which a value may have been made, one after another, that are kept in mind."""


class _Made(NamedTuple):
    """How a signal was made, value by value."""

    of: tuple[TensorWeakRef, ...]
    """The signals of which each of its values is a function, the nearest first."""
    is_refused: bool
    """Whether that function has no relevance as it was written."""


class Activations:
    """What is known of functions of one signal alone, in one forward pass.

    Args:
        signals: the tensors that descend from the clip. (A method of whoever follows the pass would be a circle of
            references, which keeps activations.)
    """

    def __init__(self, signals: Container[Any]) -> None:
        self._signals = signals
        self._made: MutableMapping[Tensor, _Made] = WeakTensorKeyDictionary()

    def of_one_signal(self, function: Any, args: Any, kwargs: Any, output: Any) -> Tensor | None:
        """The signal of which an operation has completed an activation; None if it has not.

        It has where several functions of the same signal are multiplied, or where they meet in any other way and
        relevance could not go through them.

        Args:
            function: of torch, which was called.
            args: its arguments.
            kwargs: its arguments by name.
            output: what it returned.
        """
        name = plain_name(function)
        if name not in _BY_VALUE or output not in self._signals or not output.is_floating_point():
            return None
        given = [x for x in leaves(args, kwargs) if isinstance(x, Tensor)]
        signals = [x for x in given if x in self._signals]
        if any(x.shape != output.shape or x.dtype != output.dtype for x in signals):
            return None
        if not all(_is_alike_everywhere(x, output) for x in given if x not in self._signals):
            return None
        sources, *others = [self._sources(x) for x in signals]
        common = next((i for i, x in enumerate(sources) if all(_is_among(x, other) for other in others)), None)
        if common is None:
            return None
        known = [made for x in signals if (made := self._made.get(x)) is not None]
        is_refused = isinstance(step_of(output.grad_fn), Unsupported) or any(made.is_refused for made in known)
        self._made[output] = _Made(tuple(TensorWeakRef(x) for x in sources[common:][:_MOST]), is_refused)
        of = sources[common]
        if all(x is signals[0] for x in signals) or not (is_refused or name in _PRODUCTS):
            return None
        passes_already = isinstance(step_of(output.grad_fn), PassThrough) and edges_below(output.grad_fn)[0] == edge_of(
            of
        )
        return None if passes_already else of

    def completed(self, output: Tensor, of: Tensor) -> None:
        """Notes that relevance passes from an output to the signal of which it is an activation."""
        self._made[output] = _Made((TensorWeakRef(of),), is_refused=False)

    def _sources(self, x: Tensor) -> list[Tensor]:
        """The signal itself, and those of which it is a function that are still there."""
        made = self._made.get(x)
        return [x] + ([] if made is None else [of for ref in made.of if (of := ref()) is not None])


def _is_among(x: Tensor, others: list[Tensor]) -> bool:
    return any(x is other for other in others)


def _is_alike_everywhere(constant: Tensor, output: Tensor) -> bool:
    """Whether a constant is one number, one for each entry of an axis, or a choice for each value."""
    if constant.dtype == torch.bool:
        return True
    fits = torch.broadcast_shapes(constant.shape, output.shape) == output.shape
    return fits and sum(size > 1 for size in constant.shape) <= 1


def sign_of(output: Tensor, of: Tensor) -> Tensor:
    """What an activation multiplies a signal by, as far as it may turn what speaks for a class round: 1 or -1."""
    output, of = output.detach(), of.detach()
    return torch.where(((output < 0) & (of > 0)) | ((output > 0) & (of < 0)), -1, 1).to(torch.int8)
