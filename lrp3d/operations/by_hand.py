"""What a forward writes by hand, in several steps, where torch has one function: sigmoids, softmax, log-sum-exp.

How far such a spelling has come is known about the tensor that the last step made; the next step asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.operations.blocks import passes
from lrp3d.registry import active_tracer
from lrp3d.steps.graph import edge_of, edges_below, step_of
from lrp3d.steps.maxima import AxisMaximum
from lrp3d.steps.step import Step
from lrp3d.tracing.signals import Signal, Weighs

# ------------------------------------------------------------------------------- a bounded function, moved and scaled


@dataclass(kw_only=True)
class Bounded(Signal):
    """Values of a function that is bounded on both sides (tanh, the error function), moved and scaled by numbers."""

    ends: tuple[float, float]


def bounded(output: Tensor, ends: tuple[float, float]) -> Tensor:
    """Notes between which numbers an output lies; one that lies between 0 and 1, as `(1 + tanh(x)) / 2`, is a gate."""
    tracer = active_tracer()
    signal = tracer.signal(output)
    if signal is None:
        return output
    known = vars(signal) | {"ends": ends}
    if _from_zero(ends) and math.isclose(ends[1], 1):
        known |= {"nonnegative": True, "weighs": max(signal.weighs, Weighs.GATE)}
    tracer.signals[output] = Bounded(**known)
    return output


def _from_zero(ends: tuple[float, float]) -> bool:
    return any(math.isclose(end, 0, abs_tol=1e-9) for end in ends)


def is_bounded_above_zero(x: Tensor) -> bool:
    """Whether an output lies between 0 and some number, as `1 + tanh(x)`, which may be a gate or a feature."""
    signal = active_tracer().signal(x)
    return isinstance(signal, Bounded) and _from_zero(signal.ends) and signal.ends[1] > 0


def moves_to_zero(x: Tensor, number: Any) -> bool:
    """Whether a number that is added to a bounded function moves one of its ends to zero, so that it is no bias.

    So `1 + tanh(x)` and `1 + erf(x)` are parts of activations that are written by hand: of a sigmoid, of a GELU.
    """
    signal = active_tracer().signal(x)
    if not isinstance(signal, Bounded) or not isinstance(number, (int, float)):
        return False
    low, high = signal.ends
    return not _from_zero(signal.ends) and _from_zero((low + number, high + number))


def multiplied(x: Tensor, output: Tensor, factor: float) -> Tensor:
    """Notes the same of `output`, which is `x` times a number; a number that was added before is still added."""
    tracer = active_tracer()
    signal, outgoing = tracer.signal(x), tracer.signal(output)
    if signal is not None and outgoing is not None and factor:
        outgoing.shifted = signal.shifted
    return moved(x, output, lambda end: end * factor)


def moved(x: Tensor, output: Tensor, function: Callable[[float], float]) -> Tensor:
    """Notes the same of `output`, for which every value of `x` was multiplied by a number, or one was added to it."""
    signal = active_tracer().signal(x)
    if not isinstance(signal, Bounded):
        return output
    low, high = sorted(map(function, signal.ends))
    return bounded(output, (low, high))


# ------------------------------------------------------------------------------------------- a clip in two operations


@dataclass(kw_only=True)
class Clipped(Signal):
    """What was clipped on one side, after a number was added."""

    bounds: tuple[Any, Any]


def bounds_with(x: Tensor, low: Any, high: Any) -> tuple[Any, Any]:
    """The bounds of a clip of `x`, with the one of the clip before that."""
    signal = active_tracer().signal(x)
    before = signal.bounds if isinstance(signal, Clipped) else (None, None)
    return (before[0] if low is None else low), (before[1] if high is None else high)


def is_hard_sigmoid(x: Tensor, bounds: tuple[Any, Any]) -> bool:
    """Whether a clip of `x` is a hard sigmoid (`relu6(x + 3) / 6`): after a number was added, in 0 to at most 6.

    Pixels that are put back into their range are none.
    """
    signal = active_tracer().signal(x)
    numbers = all(isinstance(end, (int, float)) for end in bounds)
    is_shifted = signal is not None and signal.shifted and signal.low is None
    return bool(is_shifted and numbers and bounds[0] == 0 < bounds[1] <= 6)


def clipped(x: Tensor, output: Tensor, bounds: tuple[Any, Any]) -> Tensor:
    """Notes of `output`, a clip of `x`, that it was clipped on one side, if so and if the other side may follow."""
    tracer = active_tracer()
    signal = tracer.signal(x)
    if signal is not None and signal.shifted and (bounds[0] is None) != (bounds[1] is None):
        tracer.signals[output] = Clipped(**vars(tracer.signals[output]) | {"bounds": bounds, "shifted": True})
    return output


# ----------------------------------------------------------------------------- exponentials, and what is made of them


@dataclass(kw_only=True)
class Exponential(Signal):
    """`exp(of)`, and with `added` one plus that."""

    of: Tensor
    made_by: Step | None
    """Its step; held constant, or moved, it has another one."""
    added: bool = False


@dataclass(kw_only=True)
class ExponentialSum(Signal):
    """A sum, or a mean, of `exp(of)` over axes."""

    of: Tensor
    made_by: Step | None
    axes: tuple[int, ...]
    function: Callable[[Tensor], Tensor]
    """Computes it from `of`."""


def exponential(x: Tensor, output: Tensor) -> Tensor:
    """Notes that `output` is `exp(x)`."""
    tracer = active_tracer()
    if tracer.is_signal(x):
        tracer.signals[output] = Exponential(**vars(tracer.signals[output]), of=x, made_by=step_of(output.grad_fn))
    return output


def exponent(x: Any, added: bool = False) -> Tensor | None:
    """The signal z if `x` is `exp(z)`, or, where asked for, `1 + exp(z)`."""
    signal = active_tracer().signal(x)
    if not isinstance(signal, Exponential) or signal.added != added or signal.made_by is not step_of(x.grad_fn):
        return None
    return signal.of


def plus(x: Tensor, number: float, output: Tensor) -> Tensor:
    """Notes of `output`, which is `x + number`, between which numbers it lies, or that it is one plus `exp`."""
    moved(x, output, lambda end: end + number)
    tracer = active_tracer()
    if number == 1 and (z := exponent(x)) is not None:
        known = vars(tracer.signals[output]) | {"of": z, "made_by": step_of(output.grad_fn), "added": True}
        tracer.signals[output] = Exponential(**known)
    return output


def reciprocal_sigmoid(x: Tensor) -> Tensor | None:
    """`1 / x` as the sigmoid that it is if `x` is `1 + exp(-z)`; else None."""
    tracer = active_tracer()
    if (exponent_of_x := exponent(x, added=True)) is None:
        return None
    output = x.reciprocal()
    with tracer.part("negated"):
        z = passes(torch.neg, exponent_of_x, gate=False, factor=-1.0)
    sigmoid = passes(lambda _: output, z, nonnegative=True, gate=True, kind=nn.Sigmoid)
    return tracer.note_probabilities(sigmoid, z)


def softplus_of(x: Tensor, output: Tensor, added: bool) -> Tensor | None:
    """`output` as the softplus that it is, the logarithm of `1 + exp(z)`, if `x` is that, or `exp(z)`; else None.

    Args:
        x: of which the logarithm was taken.
        output: the logarithm.
        added: whether one was added to the exponential, and not by the logarithm itself (`log1p`).
    """
    z = exponent(x, added)
    return None if z is None else passes(lambda _: output, z, nonnegative=True, kind=nn.Softplus)


def summed(z: Tensor | None, output: Tensor, axes: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> Tensor:
    """Notes of `output` that it is the sum or the mean of `exp(z)`; `function` computes it from the exponentials."""
    tracer = active_tracer()
    if z is not None:
        known = vars(tracer.signals[output]) | {"of": z, "made_by": step_of(output.grad_fn), "axes": axes}
        tracer.signals[output] = ExponentialSum(**known, function=lambda x: function(x.exp()))
    return output


def sum_of_exponentials(x: Tensor) -> ExponentialSum | None:
    """What is known about `x` if it is such a sum, as it was computed; else None."""
    signal = active_tracer().signal(x)
    return signal if isinstance(signal, ExponentialSum) and signal.made_by is step_of(x.grad_fn) else None


@dataclass(kw_only=True)
class Lowered(Signal):
    """`of` minus its maximum over an axis, so that exponentials of it are none too large."""

    of: Tensor
    made_by: Step | None
    axis: int


def minus(x: Tensor, other: Any, output: Tensor) -> Tensor:
    """Notes of `output`, which is `x - other`, that the other is the maximum of x over an axis, if it is."""
    tracer = active_tracer()
    step = step_of(other.grad_fn) if isinstance(other, Tensor) else None
    if not isinstance(step, AxisMaximum) or len(step.axes) != 1 or not tracer.is_signal(x):
        return output
    if edges_below(other.grad_fn)[0] == edge_of(x):
        known = vars(tracer.signals[output]) | {"of": x, "made_by": step_of(output.grad_fn)}
        known["axis"] = step.axes[0] % x.dim()
        tracer.signals[output] = Lowered(**known)
    return output


@dataclass(kw_only=True)
class LoweredLogarithm(Signal):
    """The logarithm of the sum of exponentials of `of` minus its maximum over an axis."""

    of: Tensor
    made_by: Step | None
    axis: int


def lowered_logarithm(known: ExponentialSum, output: Tensor) -> Tensor:
    """Notes of `output`, the logarithm of such a sum, that a maximum was taken off before, if it was."""
    tracer = active_tracer()
    lowered = tracer.signal(known.of)
    if not isinstance(lowered, Lowered) or lowered.made_by is not step_of(known.of.grad_fn) or not _is_sum(known):
        return output
    if [axis % known.of.dim() for axis in known.axes] == [lowered.axis]:
        made = {"of": lowered.of, "made_by": step_of(output.grad_fn), "axis": lowered.axis}
        tracer.signals[output] = LoweredLogarithm(**vars(tracer.signals[output]) | made)
    return output


def raised(a: Any, b: Any) -> LoweredLogarithm | None:
    """What is known about such a logarithm if `a + b` adds the maximum to it again: `logsumexp`; else None."""
    for logarithm, maximum in ((a, b), (b, a)):
        signal = active_tracer().signal(logarithm)
        if not isinstance(signal, LoweredLogarithm) or signal.made_by is not step_of(logarithm.grad_fn):
            continue
        node = maximum.grad_fn if isinstance(maximum, Tensor) and maximum.shape == logarithm.shape else None
        while node is not None and step_of(node) is None and node.name().startswith(_WITHOUT_AN_AXIS):
            node = edges_below(node)[0][0]
        step = step_of(node)
        if isinstance(step, AxisMaximum) and step.axes == (signal.axis,) and edges_below(node)[0] == edge_of(signal.of):
            return signal
    return None


_WITHOUT_AN_AXIS = ("Squeeze", "Select", "View")
"""The beginnings of names of the nodes that take away the axis of a maximum."""


def _is_sum(known: ExponentialSum) -> bool:
    """Whether exponentials are summed over one axis, and not averaged."""
    (axis, *others), z = known.axes, known.of
    alone = [size if i - z.dim() == axis else 1 for i, size in enumerate(z.shape)]
    return not others and float(known.function(torch.zeros(alone, device="cpu"))) == z.shape[axis]


def softmax_of(x: Tensor, other: Tensor) -> tuple[Tensor, int] | None:
    """The signal and the axis, counted from the end, of which `x / other` is the softmax; None if it is none.

    A maximum over the same axis that was taken off before changes no softmax.
    """
    z, total = exponent(x), sum_of_exponentials(other)
    if z is None or total is None or total.of is not z or len(total.axes) != 1 or other.dim() != x.dim():
        return None
    (axis,) = total.axes
    if other.shape[axis] != 1 or not _is_sum(total):
        return None
    lowered = active_tracer().signal(z)
    if isinstance(lowered, Lowered) and lowered.made_by is step_of(z.grad_fn) and lowered.axis == axis % z.dim():
        return lowered.of, axis
    return z, axis
