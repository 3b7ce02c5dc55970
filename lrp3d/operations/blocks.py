"""Building blocks of handlers: one call says what an operation computes and what it does with relevance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lrp3d.compute.maps import LinearMap
from lrp3d.compute.terms import Signed
from lrp3d.registry import active_tracer
from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.operands import PreparedOperand
from lrp3d.steps.step import Step
from lrp3d.steps.weigher import Weigher
from lrp3d.tracing.advice import GENERAL
from lrp3d.tracing.signals import Signal, Weighs, least

Output = TypeVar("Output")


class Operand(NamedTuple):
    """One input of a linear operation, its linear map, and the weight of the map (1 without parameters).

    >>> from lrp3d.compute.maps import Bilinear
    >>> operand = Operand(torch.tensor([[3.0, 1.0]]), Bilinear(torch.inner), torch.tensor([[1.0, -2.0]]))
    >>> operand.apply(operand.x), operand.apply(torch.tensor([[1.0, 0.0]]))
    (tensor([[1.]]), tensor([[1.]]))
    """

    x: Tensor
    map: LinearMap
    w: Tensor | float = 1.0
    weight_nonnegative: bool = False
    """Whether `w` is known to be nowhere negative, which saves half of the work."""

    @property
    def signed_weight(self) -> Signed:
        """The weight as rules see it."""
        return Signed(self.w, self.weight_nonnegative)

    def apply(self, x: Tensor) -> Tensor:
        """What an input `x` of the same shape would add to the output."""
        return self.map(x, self.w)


def attach(
    step: Step,
    output: Tensor,
    inputs: Sequence[Tensor],
    signal: Signal | None = None,
    kind: type[nn.Module] | None = None,
    note: str = "",
) -> Tensor:
    """Record your own step: `output` descends from `inputs`, which must all be signals.

    Args:
        step: says what happens to relevance; see `lrp3d.steps.step.Step`.
        output: the result of the operation.
        inputs: the tensors for which `step.relevance` returns relevance, in that order.
        signal: what is known about the output; nothing by default.
        kind: the layer type whose rules apply.
        note: what the inspection prints beside the rule.

    >>> import torch, lrp3d
    >>> from lrp3d.steps.step import Step
    >>> class Halved(Step):
    ...     def relevance(self, r):  # (s, *output), one tensor (s, *input) for each input
    ...         return [r * 0.5]
    >>> @lrp3d.register_operation(torch.special.erf)
    ... def erf(x):
    ...     return lrp3d.operations.attach(Halved(), torch.special.erf(x), [x])
    >>> class Erf(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.special.erf(x)
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> torch.autograd.grad(lrp3d.convert(Erf().eval())(x), x, torch.tensor([[2., 5.]]))[0]
    tensor([[1.0000, 2.5000]])
    """
    return active_tracer().attach(step, output, inputs, signal or Signal(), kind=kind, note=note)


def passes(
    function: Callable[..., Tensor],
    x: Tensor,
    *args: Any,
    nonnegative: bool = False,
    lowest: float | None = None,
    gate: bool | None = None,
    weighs: Weighs | None = None,
    shifted: bool = False,
    keeps_range: bool = False,
    bounds_range: bool = False,
    scales: bool = False,
    factor: Any = 1.0,
    inplace: bool = False,
    kind: type[nn.Module] | None = None,
    note: str = "",
) -> Tensor:
    """An operation through which relevance passes unchanged (activations, normalisation, scaling).

    Args:
        function: computes the output from `x` and `args`; monotone, elementwise up to broadcasting.
        x: the signal.
        args: more arguments.
        nonnegative: whether the output is never negative.
        lowest: a number below which the output never is, if that is negative and known.
        gate: whether the output is a gate in a product with another signal; None if it is one where `x` is.
        weighs: how much the output looks like a weight, if that is more than `gate` says.
        shifted: whether a constant is added here.
        keeps_range: whether the output is still the clip if `x` is, and linear in it (a normalisation).
        bounds_range: whether the output is still the clip if `x` is, within bounds.
        scales: whether `x` is multiplied by a constant, and nothing else.
        factor: the constant by which `x` is multiplied, or anything with the same signs.
        inplace: whether `x` itself stands for the result from now on.
        kind: the layer type whose rules apply.
        note: what the inspection prints beside the rule.

    >>> import torch, lrp3d
    >>> @lrp3d.register_operation(torch.special.erf)
    ... def erf(x):
    ...     return lrp3d.operations.passes(torch.special.erf, x)
    >>> class Erf(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.special.erf(x)
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> torch.autograd.grad(lrp3d.convert(Erf().eval())(x), x, torch.tensor([[2., 5.]]))[0]
    tensor([[2., 5.]])
    """
    tracer = active_tracer()
    output = function(x, *args)
    incoming = tracer.signal(x)
    if incoming is None:
        return output
    if weighs is None:
        weighs = Weighs.GATE if gate else incoming.weighs if gate is None else min(incoming.weighs, Weighs.SIMILARITY)

    def at_ends(end: Tensor) -> Tensor:
        return function(end, *args)

    outgoing = incoming.elementwise(output.shape, at_ends if keeps_range or bounds_range else None)
    product = incoming.product if scales and output.shape == x.shape else None
    signal = replace(outgoing, nonnegative=nonnegative, lowest=lowest, weighs=weighs, shifted=shifted, product=product)
    signal.normed = scales and incoming.normed
    step = PassThrough(x.shape, linear=keeps_range, shifts=shifted, factor=_real(factor))
    result = attach(step, output, [x], signal, kind, note)
    if inplace:
        tracer.replace(x, result)
    return result


FEW = 1 << 16  # values: what weighs logits has no more, and is kept as it is


def factor_of(x: Tensor, slope: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor | float:
    """What a signal multiplies another by, as far as it may turn what speaks for a class round.

    Args:
        x: the signal.
        slope: the factor, made of the signal; it has the signs of the signal.

    Returns:
        The factor where these are few values, as behind a classifier, where ways meet and their sum counts. Else its
        signs, which take little memory; 1 where none is negative.
    """
    if x.is_complex():
        return 1.0
    if x.numel() <= FEW:
        return slope(x.detach())
    signal = active_tracer().signal(x)
    return 1.0 if signal is not None and signal.nonnegative else x.detach().sign().to(torch.int8)


def _real(factor: Any) -> Tensor | float:
    """A factor without its history; a complex one has no sign."""
    if isinstance(factor, Tensor):
        return 1.0 if factor.is_complex() else factor.detach()
    return 1.0 if isinstance(factor, complex) else float(factor)


def shares(
    output: Tensor,
    summands: Sequence[Operand],
    bias: Tensor | None = None,
    kind: type[nn.Module] | None = None,
    nonnegative: bool = False,
    is_layer: bool = True,
    of_products: bool = False,
    note: str = "",
    weigher: Weigher | None = None,
) -> Tensor:
    """An operation linear in its signals, `output = sum of map(x, w) + bias`, over which the rule shares relevance.

    Constants among the summands count as bias. The same maps also say what the range of the clip becomes.

    Args:
        output: the result of the operation.
        summands: its inputs, each with its map and weight.
        bias: the bias, if there is one.
        kind: the layer type whose rules apply.
        nonnegative: whether the output is never negative.
        is_layer: whether an operation with weights counts as a layer, which may be the first or the classifier; False
            where the weights are another signal.
        of_products: whether a product of two signals is summed, which has the rule of a product of matrices.
        note: what the inspection prints beside the rule.
        weigher: the other signal, where that is the weight.

    >>> import torch, lrp3d
    >>> from lrp3d.compute.maps import Bilinear
    >>> @lrp3d.register_operation(torch.inner)
    ... def inner(x, w):
    ...     return lrp3d.operations.shares(torch.inner(x, w), [lrp3d.operations.Operand(x, Bilinear(torch.inner), w)])
    >>> class Inner(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.inner(x, torch.tensor([[1., -2.]]))
    >>> x = torch.tensor([[3., 1.]], requires_grad=True)
    >>> twin = lrp3d.convert(Inner().eval(), lrp3d.Composite(operations={torch.inner: lrp3d.rules.Epsilon()}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[ 15., -10.]])
    """
    tracer = active_tracer()
    signals = [s for s in summands if tracer.is_signal(s.x)]
    if not signals:
        return output
    incoming = [tracer.signals[s.x] for s in signals]
    constants = [s for s in summands if not tracer.is_signal(s.x)]
    constants += [
        s._replace(x=s.x * (1 - k.is_input)) for k, s in zip(incoming, signals, strict=True) if k.is_input is not None
    ]
    parts = [s.map(s.x, s.w) for s in constants]
    if bias is not None:
        parts.append(signals[0].map.bias(bias, output))
    bias = sum(parts[1:], parts[0]) if parts else None
    has_weight = any(isinstance(s.w, Tensor) for s in signals)
    operands = [
        PreparedOperand(s.x, k.signed(s.x), s.map, s.signed_weight) for k, s in zip(incoming, signals, strict=True)
    ]
    in_range = all(k.low is not None and k.high is not None for k in incoming)
    is_clip = in_range and (is_layer or len(signals) == 1)
    step = LinearStep(operands, bias, has_weight and is_layer, is_clip, of_products, weigher)
    weighs = least(incoming)
    if has_weight and is_layer:  # a layer makes features, but mixed gates (of heads) are still like weights
        weighs = min(weighs, Weighs.SIMILARITY)
    elif has_weight and len(signals) > 1:  # two features are compared
        weighs = max(weighs, Weighs.SIMILARITY)
    signal = Signal(nonnegative=nonnegative, weighs=weighs)
    if not has_weight and in_range:
        signal.low, signal.high = tracer.signals.range_of_sum([(s.x, s.apply) for s in signals], bias)
    leave_out = all(s.map.may_leave_out(s.x.shape) for s in signals)
    if leave_out or any(k.is_input is not None for k in incoming):
        counts = [s.map.count(tracer.input_mask(s.x), s.w) for s in signals]
        signal.is_input = tracer.signals.constants_among(sum(counts[1:], counts[0]), output.dtype)
    return attach(step, output, [s.x for s in signals], signal, kind, note)


def rearranged(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)` inside a handler, where the function only moves values of the signal `x` (views, transposes)."""
    tracer = active_tracer()
    signal = tracer.signal(x)
    if signal is None:
        return function(x)
    with torch.enable_grad():
        output = function(x)
    return tracer.rearrange(output, signal.through(function))


def refuse(output: Output, *inputs: Any, advice: str = GENERAL, signal: Signal | None = None) -> Output:
    """Lets the forward pass go on, but refuses relevance that would reach the result, by name and with `advice`.

    Args:
        output: the result of the operation.
        inputs: its arguments.
        advice: one sentence that says why, or what to do.
        signal: what is known about the output, for example that it is the weight in a product with another signal.

    >>> import torch, lrp3d
    >>> @lrp3d.register_operation(torch.special.erf)
    ... def erf(x):
    ...     return lrp3d.operations.refuse(torch.special.erf(x), x, advice="saturates; use tanh")
    >>> class Erf(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.special.erf(x)
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> lrp3d.inspect(Erf().eval(), x).problems
    ['special_erf (special_erf): saturates; use tanh']
    """
    tracer = active_tracer()
    signals = [x for x in inputs if tracer.is_signal(x)]
    return tracer.refuse(advice, output, signals, signal) if signals else output


def is_constant(x: Any) -> bool:
    """Whether `x` does not descend from the clip: a number, a parameter, a tensor that the model made itself."""
    return not active_tracer().is_signal(x)


def both_nonnegative(*tensors: Any) -> bool:
    """Whether every signal is known to be non-negative and every constant is.

    Handlers ask this while a model runs; a number or a constant tensor is looked at, a signal is known by its history.

    >>> import torch, lrp3d
    >>> @lrp3d.register_operation(torch.special.expm1)
    ... def expm1(x):
    ...     known = lrp3d.operations.both_nonnegative(x, 1.0)
    ...     return lrp3d.operations.passes(torch.special.expm1, x, nonnegative=known, note=f"nonnegative: {known}")
    >>> class Net(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.special.expm1(x.relu()) + torch.special.expm1(x)
    >>> [row.rule for row in lrp3d.inspect(Net().eval(), torch.rand(1, 4)) if "expm1" in row.name]
    ['Identity() (nonnegative: True)', 'Identity() (nonnegative: False)']
    """
    tracer = active_tracer()
    for x in tensors:
        signal = tracer.signal(x)
        if signal is None:
            if isinstance(x, Tensor):
                if x.is_complex() or not tracer.answers((x >= 0).all()):
                    return False
            elif isinstance(x, complex) or x < 0:
                return False
        elif not signal.nonnegative:
            return False
    return True


def dense(x: Any) -> Any:
    """A constant with a layout of its own (the sparse matrix of a graph) as a plain tensor; all else as it is."""
    if isinstance(x, Tensor) and x.layout != torch.strided and is_constant(x):
        return x.to_dense()
    return x


def tensor_of(x: Any, like: Tensor) -> Tensor:
    """`x` itself if it is a tensor; a number as one, of the type and on the device of `like`."""
    return x if isinstance(x, Tensor) else like.new_tensor(x)
