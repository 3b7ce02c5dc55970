"""Products of signals: elementwise, matrices, divisions, and kernels made from the clip.

A product with a constant is linear, and a layer like any other. In a product of two signals, one is the weight and the
other is weighted: attention probabilities weight values, a sigmoid weights features, a generated kernel weights the
signal it is convolved with. The weight is constant to relevance, and the weighted signal takes all of it (signal takes
all: Arras et al. 2017, arXiv:1706.07206; attention: Ali et al. 2022, arXiv:2202.07304). What is known about the two
signals (`Weighs`) decides which of them is the weight, unless the composite says it. If neither is, each takes half
(uniform rule: Achtibat et al. 2024, arXiv:2402.05602, Prop. 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Bilinear, Broadcast, Convolution, FullyConnected, LinearMap, MatrixProduct, SumOver
from lrp3d.compute.plain import plain
from lrp3d.operations import by_hand
from lrp3d.operations.blocks import (
    FEW,
    Operand,
    attach,
    both_nonnegative,
    dense,
    factor_of,
    is_constant,
    passes,
    rearranged,
    refuse,
    shares,
)
from lrp3d.operations.copies import own_shape, shape_among
from lrp3d.operations.over_channels import are_channels, looked_at
from lrp3d.operations.which_weighs import which_weighs, words_of
from lrp3d.registry import TorchFunction, active_tracer, handler_of, register_operation
from lrp3d.steps.elementwise import Halves, PassThrough
from lrp3d.steps.graph import downwards, is_weighted, step_of, weigher_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.operands import without_values
from lrp3d.tracing.signals import Product, Scaled, Signal, Weighs, least

# ------------------------------------------------------------------------------------------------- elementwise


def weighed(
    signal: Tensor,
    weight: Tensor,
    factor: Tensor | float,
    output: Tensor,
    note: str,
    nonnegative: bool = False,
    gate: bool = False,
) -> Tensor:
    """The `output` of weighting `signal` by a factor made of the signal `weight`; `signal` gets all relevance."""
    tracer = active_tracer()
    incoming = tracer.signals[signal]
    weighs = incoming.weighs if gate else min(incoming.weighs, Weighs.SIMILARITY)
    outgoing = replace(incoming.elementwise(output.shape), nonnegative=nonnegative, weighs=weighs)
    outgoing.normed = gate or tracer.signals[weight].weighs == Weighs.STATISTIC
    value = weight.detach() if weight.numel() <= FEW else None
    made_by = weigher_of(weight, Broadcast(output.shape))._replace(token=tracer.token(weight), value=value)
    return attach(PassThrough(signal.shape, factor=factor, weigher=made_by), output, [signal], outgoing, note=note)


@register_operation([torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply, Tensor.multiply])
def mul(input: Any, other: Any) -> Tensor:
    """A product with a constant, or of two signals, one of which may be the weight (see the module's docstring)."""
    output: Tensor = input * other
    if is_constant(input) or is_constant(other):
        signal, factor = (other, input) if is_constant(input) else (input, other)
        if _is_zero_state(signal, factor):
            return output.detach()
        nonnegative = both_nonnegative(input, other)
        product = passes(
            lambda x: x * factor, signal, nonnegative=nonnegative, keeps_range=True, scales=True, factor=factor
        )
        if isinstance(factor, (int, float)):
            by_hand.multiplied(signal, product, factor)
        if isinstance(factor, Tensor) and signal.numel() <= FEW:
            _note_factors(signal, factor, product)
        return _masked(product, factor)
    tracer = active_tracer()
    weight_index, reason = which_weighs(input, other, summed=False)
    note, nonnegative = words_of(weight_index, reason), both_nonnegative(input, other)
    weighs = least([tracer.signals[x] for x in (input, other)])
    shapes = own_shape(input), own_shape(other)
    if weight_index is not None:
        signal, weight = (other, input) if weight_index == 0 else (input, other)
        product = weighed(signal, weight, factor_of(weight), output, note, nonnegative, weighs >= Weighs.GATE)
    else:
        inputs, is_input = None, None
        if any(tracer.signals[x].is_input is not None for x in (input, other)):
            inputs = [tracer.input_mask(x).expand(output.shape) for x in (input, other)]
            is_input = tracer.signals.constants_among(inputs[0] + inputs[1], output.dtype)
        step = Halves([input.shape, other.shape], inputs, [factor_of(other), factor_of(input)])
        nonnegative = nonnegative or input is other
        halved = Signal(is_input=is_input, nonnegative=nonnegative, weighs=weighs)
        product = attach(step, output, [input, other], halved, note=note)
    if input is not other:
        tracer.signals[product].product = Product(shapes, weight_index)
    return product


def _is_zero_state(signal: Tensor, factor: Any) -> bool:
    """Whether a gate weighs the first state of a recurrence written by hand: zeros, or what layers made of them."""
    tracer = active_tracer()
    if not isinstance(factor, Tensor) or isinstance(factor, nn.Parameter) or tracer.depends_on_clip(factor):
        return False
    if tracer.signals[signal].weighs < Weighs.GATE or not factor.dim():
        return False
    return factor in tracer.first_states or tracer.answers((factor == 0).all())


def _note_factors(signal: Tensor, factor: Tensor, product: Tensor) -> None:
    """Notes what a product was made of, if its sum may be a layer: one output for each vector of weights.

    So it is if a constant multiplied copies of the signal along an axis, or if it is the vector of a single output.
    """
    of_signal, of_factor = (shape_among(x, product.dim()) for x in (signal, factor))
    has_copies = any(size == 1 < of_weight for size, of_weight in zip(of_signal, of_factor, strict=True))
    is_vector = product.dim() > 1 and of_factor[0] == 1 and factor.numel() > 1 and not all_alike(factor)
    if has_copies or is_vector:
        active_tracer().signals[product].scaled = Scaled(signal, factor.detach().to(product.dtype))


def _masked(product: Tensor, factor: Any) -> Tensor:
    """A product of a signal and a constant: where the model multiplies by zero, its value is a constant as well."""
    tracer = active_tracer()
    if isinstance(factor, (int, float)) and factor == 0 and tracer.is_signal(product):
        tracer.signals[product].is_input = torch.zeros_like(product.detach())
    if not isinstance(factor, Tensor) or not factor.numel() or tracer.depends_on_clip(factor):
        return product
    if tracer.is_signal(product) and not tracer.answers((factor != 0).all()):
        tracer.signals[product].is_input = (factor != 0).to(product.dtype) * tracer.input_mask(product)
    return product


@register_operation([torch.tril, Tensor.tril])
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """`torch.tril`: zeros above a diagonal."""
    return mul(input, torch.ones_like(input).tril(diagonal))


@register_operation([torch.triu, Tensor.triu])
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """`torch.triu`: zeros below a diagonal."""
    return mul(input, torch.ones_like(input).triu(diagonal))


@register_operation([torch.div, Tensor.div, Tensor.__truediv__, torch.divide, Tensor.divide, torch.true_divide])
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Division by a constant, or by a signal, which is then constant to relevance (norms, sums of attention)."""
    if rounding_mode is not None:
        output: Tensor = torch.div(input, other, rounding_mode=rounding_mode)
        return refuse(output, input, other, advice="rounds, so nothing says what its input contributed")
    if is_constant(other):
        nonnegative = both_nonnegative(input, other)
        quotient = passes(
            lambda x: x / other, input, nonnegative=nonnegative, keeps_range=True, scales=True, factor=other
        )
        if isinstance(other, (int, float)) and other:
            by_hand.multiplied(input, quotient, 1 / other)
        return quotient
    if isinstance(input, (int, float)) and input == 1 and (sigmoid := by_hand.reciprocal_sigmoid(other)) is not None:
        return sigmoid
    tracer = active_tracer()
    if tracer.has_rule_for_softmax() and (of := by_hand.softmax_of(input, other)) is not None:
        handler = handler_of(F.softmax)
        assert handler is not None
        softmax: Tensor = handler(*of)
        return softmax
    if not is_constant(input) and (sigmoid := by_hand.reciprocal_sigmoid(other)) is not None:
        return mul(input, sigmoid)  # `x / (1 + exp(-gate))`
    output = input / other
    nonnegative = both_nonnegative(input, other)
    if is_constant(input):
        statistic = Signal(nonnegative=nonnegative, weighs=Weighs.STATISTIC)
        return refuse(output, other, advice=RECIPROCAL, signal=statistic)
    factor = factor_of(other, torch.reciprocal)
    result = weighed(input, other, factor, output, "the divisor is constant", nonnegative, gate=True)
    if (product := tracer.signals[input].product) is not None:  # such as a softmax that is divided by its sum last
        tracer.signals[result].product = product.divided(own_shape(other))
    return result


RECIPROCAL = "divides a constant by a signal, which has a rule only where the quotient weighs another signal"


@register_operation([Tensor.__rtruediv__, Tensor.__rdiv__])
def rdiv(input: Tensor, other: Any) -> Tensor:
    """`other / input`."""
    return div(other, input)


@register_operation(F.glu)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """`F.glu`: the first half of the channels, weighed by a sigmoid of the second (Dauphin et al. 2017, 1612.08083)."""
    size = input.shape[dim] // 2
    signal = rearranged(lambda x: x.narrow(dim, 0, size), input)
    gate = rearranged(lambda x: x.narrow(dim, size, size), input)
    return mul(signal, passes(torch.sigmoid, gate, nonnegative=True, gate=True, kind=nn.Sigmoid))


def scaled(x: Any, factor: Any) -> Any:
    """`factor * x`, as a step of its own unless the factor is one."""
    if isinstance(factor, (int, float)) and factor == 1:
        return x
    return mul(x, factor) if active_tracer().is_signal(x) else x * factor


# ---------------------------------------------------------------------------------------------------- matrices


def contraction(
    output: Tensor,
    factors: Sequence[Tensor],
    maps: Sequence[LinearMap],
    kind: type[nn.Module] | None,
    shapes: Sequence[torch.Size] | None = None,
) -> Tensor:
    """A bilinear operation of two factors that sums over axes: with a constant a layer, else weighted or halved.

    The weighted factor gets its relevance by the composite's rule for `kind`, with the other factor as the weight. If
    neither is the weight, both are operands of one sum, so that each gets half, in proportion to its contributions.

    Args:
        output: the result of the operation.
        factors: the two factors, at least one of them a signal.
        maps: for each factor, the operation as a linear map of it, with the other factor as its weight.
        kind: the layer type whose rules apply.
        shapes: of both factors, along the axes of their products before these are summed (`which_weighs`).
    """
    tracer = active_tracer()
    signals = [i for i in (0, 1) if tracer.is_signal(factors[i])]
    nonnegative = both_nonnegative(*factors)
    if not signals:
        return output
    if len(signals) == 1:
        i = signals[0]
        return shares(output, [Operand(factors[i], maps[i], factors[1 - i].detach())], None, kind, nonnegative)
    weight_index, reason = which_weighs(factors[0], factors[1], summed=True, shapes=shapes)
    summands = [
        Operand(factors[i], maps[i], factors[1 - i].detach(), tracer.signals[factors[1 - i]].nonnegative)
        for i in (0, 1)
        if i != weight_index
    ]
    made_by = None
    if weight_index is not None:
        weight, other = factors[weight_index], without_values(factors[1 - weight_index])
        made_by = weigher_of(weight, maps[weight_index], other)
    note = words_of(weight_index, reason)
    return shares(output, summands, None, kind, nonnegative, is_layer=False, note=note, weigher=made_by)


_MATRIX_PRODUCTS: list[TorchFunction] = [torch.matmul, torch.mm, torch.bmm, torch.mv, torch.sparse.mm]
_MATRIX_PRODUCTS += [Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm, Tensor.mv]


@register_operation(_MATRIX_PRODUCTS)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """A product of matrices: of a signal and a constant, or of two signals, one of which may be the weight."""
    input, other = dense(input), dense(other)
    for x, weights, axis in ((input, other, -1), (other, input, -2)):
        if (total := weighed_sum(x, weights, axis)) is not None:
            return total
    if min(input.dim(), other.dim()) > 1:
        maps: list[LinearMap] = [MatrixProduct(left=True), MatrixProduct(left=False)]
    else:
        maps = [Bilinear(torch.matmul), Bilinear(lambda a, v: torch.matmul(v, a))]
    shapes = _along_products(input, other)
    return contraction(torch.matmul(input, other), (input, other), maps, nn.Linear, shapes)


def _along_products(a: Tensor, b: Tensor) -> list[torch.Size]:
    """The shapes of a (..., o, i) and b (..., i, n), or of vectors (i,), along the axes (..., o, i, n) of products."""
    of_a, of_b = own_shape(a), own_shape(b)
    of_b = of_b if b.dim() > 1 else torch.Size([*of_b, 1])
    return [torch.Size([*of_a, 1]), torch.Size([*of_b[:-2], 1, *of_b[-2:]])]


def with_bias(product: Any, bias: Any) -> Tensor | None:
    """`product + bias` as one layer, as `nn.Linear` is, for rules that know a bias; None if it is no such sum.

    Args:
        product: a signal times a constant matrix, computed in the same forward and not moved since.
        bias: a constant that varies along axes of that matrix only; along others (positions) it is a summand.
    """
    tracer = active_tracer()
    if not tracer.is_signal(product) or not isinstance(bias, Tensor) or tracer.depends_on_clip(bias):
        return None
    layer = step_of(product.grad_fn)
    if not isinstance(layer, LinearStep) or not _awaits_bias(layer):
        return None
    axes = [axis for axis in range(-bias.dim(), 0) if bias.shape[axis] > 1]
    output: Tensor = product + bias
    if bias.numel() < 2 or output.shape != product.shape or not set(axes) <= _axes_of_weight(layer):
        return None
    step = LinearStep(list(layer.operands), bias.detach(), True, layer.in_range, layer.of_products)
    signal = replace(tracer.signals[product], nonnegative=both_nonnegative(product, bias))
    # The product stays a step of its own, for whatever else reads it.
    return tracer.attach(step, output, [layer.operands[0].source], signal, note="with its bias", like=layer.site)


def _awaits_bias(layer: LinearStep) -> bool:
    """Whether a step is a product with a matrix that has no bias yet, and stands in the forward that is running."""
    if not layer.weighted or layer.bias is not None or len(layer.operands) != 1 or layer.layer is not None:
        return False
    return layer.name.rpartition(".")[0] == active_tracer().next_name().rpartition(".")[0]


def _axes_of_weight(layer: LinearStep) -> set[int]:
    """The axes of a product, counted from the end, that its matrix has as well."""
    map, weight = layer.operands[0].map, layer.operands[0].w.value
    if isinstance(map, Einsum):
        _, of_weight, of_output = map.letters
        return {axis - len(of_output) for axis, letter in enumerate(of_output) if letter in of_weight}
    if isinstance(map, FullyConnected):
        return {-1}
    if isinstance(map, MatrixProduct) and isinstance(weight, Tensor):
        batches = {axis for axis in range(-weight.dim(), -2) if weight.shape[axis] > 1}
        return batches | {-1 if map.left else -2}
    return set()


def weighed_sum(x: Tensor, weights: Tensor, axis: int, of_layer: bool = False) -> Tensor | None:
    """The product with a constant as products and their sum, if it is a sum over frames or places; else None.

    It is one where all weights are alike, or where they are those of a single output and weigh no channels.

    Args:
        x: what is weighed.
        weights: (n,), (..., n, 1) on the right of what it weighs, or (..., 1, n) on the left.
        axis: the axis of what is weighed that is summed: -1 if that stands on the left, -2 if on the right.
        of_layer: whether the weights are those of a layer, whatever their values are.
    """
    if is_constant(x) or not is_constant(weights) or x.dim() < 2 or weights.numel() < 2:
        return None
    if weights.dim() > 1 and weights.shape[axis] != 1:
        return None
    if any(size > 1 for size in own_shape(weights)[:-2]):
        return None
    of_output = weights[(0,) * max(0, weights.dim() - 2)].flatten()
    if x.shape[axis] != len(of_output) or torch.broadcast_shapes(x.shape[:-2], weights.shape[:-2]) != x.shape[:-2]:
        return None
    alike = not of_layer and weights.dim() <= 2 and all_alike(weights)
    if not alike and not weighs_frames_or_places(x, weights, (axis,)):
        return None
    with active_tracer().part("weighed"), active_tracer().outside_layers():  # the sum is the layer, if there is one
        weighed = mul(x, of_output[0] if alike else of_output if axis == -1 else of_output[:, None])
    return summed_over(weighed, (axis,), weights.dim() > 1, nn.Linear)


def weighs_frames_or_places(x: Tensor, weights: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether a constant that is summed to a single output weighs frames or places of features, and no channels."""
    if active_tracer().depends_on_clip(weights) or not x.numel():
        return False
    behind_a_layer = any(is_weighted(node) for node in downwards([x.grad_fn]))  # else it may be one of pixels
    return behind_a_layer and not are_channels(x, axes)


def all_alike(weights: Tensor) -> bool:
    """Whether a constant has one value everywhere; a parameter is a layer's weight, whatever its values are."""
    if not is_constant(weights) or isinstance(weights, nn.Parameter) or weights.numel() < 2:
        return False
    values = weights.flatten()
    return looked_at((values == values[0]).all())


@register_operation(Tensor.__rmatmul__)
def rmatmul(input: Tensor, other: Tensor) -> Tensor:
    """`other @ input`."""
    return matmul(other, input)


def summed_over(x: Tensor, axes: tuple[int, ...], keepdim: bool, kind: type[nn.Module] | None = None) -> Tensor:
    """The sum over axes, which are counted from the end; `kind` is the layer type whose rules apply."""
    map = SumOver(axes, keepdim)
    return shares(map(x, 1.0), [Operand(x, map)], kind=kind, nonnegative=both_nonnegative(x))


# ----------------------------------------------------------------------------------------- kernels from the clip


def weighed_by_kernel(
    output: Tensor, x: Tensor, weight: Tensor, map: Convolution, bias: Tensor | None, kind: type[nn.Module]
) -> Tensor:
    """A convolution whose kernel descends from the clip (TANet, conditional convolution): the kernel is the weight.

    The convolved signal takes all relevance, by the composite's rule for convolutions with that kernel.
    """
    tracer = active_tracer()
    of_weight = Bilinear(partial(_of_kernel, map))
    if not tracer.is_signal(x):
        return shares(output, [Operand(weight, of_weight, x)], bias, kind)
    choice = tracer.product()
    summands = [
        Operand(x, map, weight.detach(), tracer.signals[weight].nonnegative),
        Operand(weight, of_weight, x.detach(), tracer.signals[x].nonnegative),
    ]
    weight_index = {"first": 0, "second": 1, "halves": None}[choice or "second"]
    shared_summands = [summand for i, summand in enumerate(summands) if i != weight_index]
    note = words_of(weight_index, "as the composite says" if choice else "the kernel")
    return shares(output, shared_summands, bias, kind, is_layer=False, note=note)


def _of_kernel(map: Convolution, kernel: Any, x: Any) -> Tensor:
    """A convolution as a function of its kernel, of which torch takes derivatives."""
    with plain():
        return map(x, kernel)


def bilinear_in(function: Callable[[Any, Any], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """Any other function that is linear in each of its two tensors, one of which may be the weight.

    Args:
        function: computes the output from both.
        left: the first factor.
        right: the second factor.

    >>> import torch, lrp3d
    >>> @lrp3d.register_operation(torch.inner)
    ... def inner(input, other):
    ...     return lrp3d.operations.bilinear_in(torch.inner, input, other)
    >>> class Inner(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.inner(x, torch.tensor([[1., 2.]]))
    >>> x = torch.tensor([[3., 1.]], requires_grad=True)
    >>> torch.autograd.grad(lrp3d.convert(Inner().eval())(x), x, torch.tensor([[5.]]))[0]
    tensor([[3., 2.]])
    """
    maps = [Bilinear(function), Bilinear(lambda a, v: function(v, a))]
    return contraction(function(left, right), (left, right), maps, nn.Linear)
