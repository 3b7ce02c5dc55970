"""Activations, choices and dropout: relevance passes them unchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.operations import by_hand
from lrp3d.operations.blocks import both_nonnegative, factor_of, passes, refuse
from lrp3d.registry import active_tracer, register_operation
from lrp3d.tracing.advice import advice_for
from lrp3d.tracing.signals import Signal, Weighs
from lrp3d.tracing.torch_functions import DROPOUTS


def _register(name: str, kind: type[nn.Module] | None, *others: Any, **properties: Any) -> None:
    """Registers an activation under every name that torch has for it, and its `others`, which compute the same."""
    candidates = [*(getattr(owner, name, None) for owner in (F, torch, Tensor)), *others]
    functions = list(dict.fromkeys(f for f in candidates if f is not None))

    def activation(input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Tensor:
        def function(x: Tensor) -> Tensor:
            return cast(Tensor, functions[0](x, *args, **kwargs))

        lowest = float(function(torch.tensor(-torch.inf, device="cpu"))) if name in SATURATED_BELOW else None
        output = passes(function, input, lowest=lowest, inplace=inplace, kind=kind, **properties)
        if name in BOUNDED:
            by_hand.bounded(output, BOUNDED[name])
        return active_tracer().note_probabilities(output, input) if name == "sigmoid" else output

    properties.setdefault("gate", False)
    activation.__name__ = name
    register_operation(functions, activation)


SATURATED_BELOW = ("elu", "selu", "celu", "tanh", "erf")
"""Activations that rise from a lowest value, as in the kernel `elu(x) + 1`."""
BOUNDED = {**dict.fromkeys(("tanh", "erf", "softsign"), (-1.0, 1.0)), "erfc": (0.0, 2.0)}
"""Activations between two numbers, which are gates once they are moved and scaled to lie between 0 and 1."""

# Elementwise functions, each with the layer type that does the same. Sigmoids are gates in every product.
_register("leaky_relu", nn.LeakyReLU)
_register("rrelu", nn.RReLU)
_register("elu", nn.ELU)
_register("selu", nn.SELU)
_register("celu", nn.CELU)
_register("gelu", nn.GELU)
_register("silu", nn.SiLU)
_register("mish", nn.Mish)
_register("hardswish", nn.Hardswish)
_register("softplus", nn.Softplus, nonnegative=True)
_register("softsign", nn.Softsign)
_register("tanh", nn.Tanh)
_register("hardshrink", nn.Hardshrink)
_register("softshrink", nn.Softshrink)
_register("tanhshrink", nn.Tanhshrink)
_register("threshold", nn.Threshold)
_register("prelu", nn.PReLU)
_register("logsigmoid", nn.LogSigmoid)
for _name in ("expm1", "sin", "asinh"):
    _register(_name, None)
_register("erf", None, torch.special.erf)
_register("erfc", None, torch.special.erfc, nonnegative=True)
_register("ndtr", None, torch.special.ndtr, nonnegative=True, gate=True)  # as in `x * ndtr(x)`, which is GELU
_register("sigmoid", nn.Sigmoid, torch.special.expit, nonnegative=True, gate=True)
_register("hardsigmoid", nn.Hardsigmoid, nonnegative=True, gate=True)


@register_operation([torch.log1p, Tensor.log1p, torch.special.log1p])
def log1p(input: Tensor) -> Tensor:
    """`torch.log1p`, which makes a softplus of an exponential."""
    softplus = by_hand.softplus_of(input, torch.log1p(input), added=False)
    return passes(torch.log1p, input, gate=False) if softplus is None else softplus


@register_operation([F.relu, torch.relu, Tensor.relu])
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """`F.relu`."""
    bounds = by_hand.bounds_with(input, 0.0, None)
    gate = by_hand.is_hard_sigmoid(input, bounds)
    output = passes(torch.relu, input, nonnegative=True, gate=gate, inplace=inplace, kind=nn.ReLU)
    return by_hand.clipped(input, output, bounds)


def _clip(
    input: Tensor, low: Any, high: Any, inplace: bool, kind: type[nn.Module], bounds_range: bool = False
) -> Tensor:
    """Clamps; after a number was added, this is a hand-written hard sigmoid, `relu6(x + 3) / 6`, and a gate."""
    nonnegative = low is not None and both_nonnegative(low)
    bounds = by_hand.bounds_with(input, low, high)
    gate = by_hand.is_hard_sigmoid(input, bounds)
    keeps_range = bounds_range and not isinstance(low, Tensor) and not isinstance(high, Tensor)
    options: dict[str, Any] = {"gate": gate, "inplace": inplace, "kind": kind, "bounds_range": keeps_range}
    return by_hand.clipped(input, passes(torch.clamp, input, low, high, nonnegative=nonnegative, **options), bounds)


@register_operation(F.relu6)
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """`F.relu6`."""
    return _clip(input, 0.0, 6.0, inplace, nn.ReLU6)


@register_operation([F.hardtanh])
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """`F.hardtanh`."""
    return _clip(input, min_val, max_val, inplace, nn.Hardtanh)


@register_operation([torch.clamp, Tensor.clamp, torch.clip, Tensor.clip])
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """`torch.clamp` with constant bounds."""
    tracer = active_tracer()
    if tracer.is_signal(min) or tracer.is_signal(max):
        return refuse(torch.clamp(input, min, max), input, min, max, advice="is bounded by another signal")
    # A clip within bounds is still a clip; whoever means an activation takes one of the functions with its name.
    return _clip(input, min, max, False, nn.Hardtanh if max is not None else nn.ReLU, bounds_range=True)


@register_operation([torch.clamp_min, Tensor.clamp_min])
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """`torch.clamp_min`."""
    return clamp(input, min)


@register_operation([torch.clamp_max, Tensor.clamp_max])
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """`torch.clamp_max`."""
    return clamp(input, None, max)


@register_operation(torch.where)
def where(condition: Tensor, input: Any, other: Any) -> Tensor:
    """A choice between two signals, or between a signal and a constant.

    Each signal keeps its values' relevance. A constant is written where the model says so, and gets nothing; where the
    clip decides (as in a bound, `where(x > 3, 3, x)`), the choice is an activation.
    """
    tracer = active_tracer()
    sources = [x for x in (input, other) if tracer.is_signal(x)]
    output = torch.where(condition, input, other)
    if len(sources) == 1 and sources[0].shape == output.shape and tracer.depends_on_clip(condition):
        return passes(lambda _: output, sources[0], nonnegative=both_nonnegative(input, other))
    if len(sources) == 1 and sources[0].shape != output.shape:
        return refuse(output, input, other, advice="broadcasts a signal inside a choice; expand it before")

    def as_tensor(x: Any) -> Tensor:
        if tracer.is_signal(x):
            return cast(Tensor, x)
        return x.detach() if isinstance(x, Tensor) else output.new_tensor(x)

    branches = as_tensor(input), as_tensor(other)
    with torch.enable_grad():
        values = torch.where(condition, *branches)
    (signal,) = tracer.signals.through(torch.where, (condition, *branches), {}, sources, 1)
    if signal.is_input is not None:
        signal.is_input = tracer.signals.constants_among(signal.is_input, output.dtype)
    return tracer.rearrange(values, signal)


@register_operation(Tensor.where)
def where_method(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """`input.where(condition, other)`."""
    return where(condition, input, other)


@register_operation([torch.masked_fill, Tensor.masked_fill])
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Like `where` with a constant."""
    tracer = active_tracer()
    if not tracer.is_signal(input) or tracer.is_signal(value):
        return refuse(torch.masked_fill(input, mask, value), input, value)
    return where(mask, value, input)


@register_operation([torch.nan_to_num, Tensor.nan_to_num])
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """`torch.nan_to_num`: numbers in place of what is none; a constant there, as any other that is written."""
    finite = torch.isfinite(input)
    passed = passes(lambda x: torch.nan_to_num(x, nan, posinf, neginf), input, nonnegative=both_nonnegative(input))
    return where(finite, passed, passed.detach())


# -------------------------------------------------------------------------------------------- roots and powers
# Functions of a single value: all relevance that arrives can only go to this value.


@register_operation([torch.sqrt, Tensor.sqrt])
def sqrt(input: Tensor) -> Tensor:
    """Square root."""
    return passes(torch.sqrt, input, nonnegative=True)


@register_operation([torch.abs, Tensor.abs, Tensor.__abs__, torch.absolute, Tensor.absolute])
def absolute(input: Tensor) -> Tensor:
    """Absolute value."""
    return passes(torch.abs, input, nonnegative=True, factor=factor_of(input, torch.sign))


@register_operation([torch.square, Tensor.square])
def square(input: Tensor) -> Tensor:
    """Square."""
    return passes(torch.square, input, nonnegative=True, factor=factor_of(input, lambda x: 2 * x))


@register_operation([torch.pow, Tensor.pow, Tensor.__pow__])
def power(input: Any, exponent: Any) -> Tensor:
    """A constant, positive power; other powers may only be the weight of another signal."""
    tracer = active_tracer()
    if tracer.is_signal(exponent):
        gate = Signal(weighs=Weighs.GATE)
        return refuse(torch.pow(input, exponent), input, exponent, advice=WEIGHS_ONLY, signal=gate)
    constant = float(exponent) if not isinstance(exponent, Tensor) or exponent.numel() == 1 else None
    if constant == -1 and (sigmoid := by_hand.reciprocal_sigmoid(input)) is not None:
        return sigmoid
    if constant is None or constant <= 0:
        statistic = Signal(nonnegative=both_nonnegative(input), weighs=Weighs.STATISTIC)
        return refuse(torch.pow(input, exponent), input, advice=WEIGHS_ONLY, signal=statistic)
    even = constant % 2 == 0
    factor = factor_of(input, lambda x: constant * x.pow(constant - 1)) if even else 1.0
    return passes(torch.pow, input, exponent, nonnegative=even or both_nonnegative(input), factor=factor)


WEIGHS_ONLY = "has a rule only where its result weighs another signal (a gate, or a norm's divisor)"


def _register_weights(names: Sequence[str], weighs: Weighs) -> None:
    """Registers exponentials and reciprocals, parts of a softmax or a norm, which refuse relevance that arrives."""

    def only_weighs(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def weight(input: Tensor) -> Tensor:
            if name == "reciprocal" and (sigmoid := by_hand.reciprocal_sigmoid(input)) is not None:
                return sigmoid
            signal = Signal(nonnegative=name == "exp" or both_nonnegative(input), weighs=weighs)
            output = refuse(function(input), input, advice=WEIGHS_ONLY, signal=signal)
            return by_hand.exponential(input, output) if name == "exp" else output

        weight.__name__ = function.__name__
        return weight

    for name in names:
        functions = [f for owner in (torch, Tensor) if (f := getattr(owner, name, None)) is not None]
        register_operation(functions, only_weighs(functions[0]))


_register_weights(["exp"], Weighs.GATE)
_register_weights(["rsqrt", "reciprocal"], Weighs.STATISTIC)


@register_operation([torch.sign, Tensor.sign, torch.sgn, Tensor.sgn])
def sign(input: Tensor) -> Tensor:
    """The sign, which weighs in a signed square root, `sign(x) sqrt(|x|)` (bilinear pooling)."""
    return refuse(torch.sign(input), input, advice=WEIGHS_ONLY, signal=Signal(weighs=Weighs.GATE))


@register_operation([torch.cumprod, Tensor.cumprod])
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The cumulative product of gates, which is a gate (what a state keeps over several time steps)."""
    signal = active_tracer().signals[input]
    outgoing = Signal(nonnegative=signal.nonnegative, weighs=signal.weighs)
    return refuse(torch.cumprod(input, dim, dtype=dtype), input, advice=WEIGHS_ONLY, signal=outgoing)


# ------------------------------------------------------------------------------------------------- dropout


def _register_dropout(name: str) -> None:
    functions = [f for owner in (F, torch) if (f := getattr(owner, name, None)) is not None]

    def dropout(
        input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, train: bool = True
    ) -> Tensor:
        if training and train and p > 0:
            output: Tensor = functions[0](input, p, True)
            plain = functions[0] in DROPOUTS
            return refuse(output, input, advice=advice_for(F.dropout if plain else F.alpha_dropout))
        signal = active_tracer().signal(input)
        nonnegative = bool(signal and signal.nonnegative)
        return passes(lambda x: x, input, nonnegative=nonnegative, keeps_range=True, kind=nn.Dropout)

    dropout.__name__ = name
    register_operation(functions, dropout)


for _name in (
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_alpha_dropout",
    "feature_dropout",
):
    _register_dropout(_name)
