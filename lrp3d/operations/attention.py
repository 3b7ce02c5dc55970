"""Attention: probabilities are weights, values are weighted.

`softmax(q k^T) v` is a product of two signals like any other (`products`): the probabilities are a gate, constant to
relevance, and the values get all of it, in proportion to what each contributed (Ali et al. 2022, arXiv:2202.07304).
Nothing flows into queries and keys, unless the composite gives softmax a rule and halves products (`attnlrp`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute.maps import Bilinear, MatrixProduct
from lrp3d.operations import by_hand
from lrp3d.operations.arithmetic import add
from lrp3d.operations.blocks import attach, is_constant, passes, rearranged, refuse
from lrp3d.operations.products import matmul, mul
from lrp3d.operations.statistics import log_of_exponentials
from lrp3d.registry import active_tracer, register_operation
from lrp3d.steps.ends import Unsupported
from lrp3d.steps.graph import weigher_of
from lrp3d.steps.operands import without_values
from lrp3d.steps.softmax import SoftmaxStep
from lrp3d.steps.weigher import Weigher
from lrp3d.tracing.advice import advice_for, advice_for_softmax
from lrp3d.tracing.signals import Signal, Weighs


def _probabilities(output: Tensor, x: Tensor, dim: int | None) -> Tensor:
    """Records the softmax `output` of `x`: a gate in products, with the composite's rule for softmax if it has one."""
    tracer = active_tracer()
    if not tracer.is_signal(x):
        return output
    is_input = tracer.signals[x].is_input
    if is_input is not None and dim is not None:  # where all of them are constants (class tokens), so is their softmax
        is_input = is_input.expand(x.shape).amax(dim, keepdim=True).expand(x.shape)
    signal = Signal(is_input=is_input, nonnegative=True, weighs=Weighs.GATE)
    if tracer.has_rule_for_softmax() and dim is not None:
        return tracer.note_probabilities(
            attach(SoftmaxStep(x.detach(), output.detach(), dim), output, [x], signal, nn.Softmax), x
        )
    return tracer.note_probabilities(refuse(output, x, advice=_softmax_advice(), signal=signal), x)


def _softmax_advice() -> str:
    """What to do about the softmax that is running, if relevance reaches it."""
    tracer = active_tracer()
    # Steps have names that begin with that of their module, if it is not the model itself.
    name, place = tracer.next_name(), tracer.place
    return advice_for_softmax(place if name.startswith(place) else "", alone=name == place)


@register_operation([F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax])
def softmax(input: Tensor, dim: int | None = None, *options: Any, dtype: Any = None, **ignored: Any) -> Tensor:
    """`F.softmax`."""
    dtype = next((option for option in options if isinstance(option, torch.dtype)), dtype)
    return _probabilities(torch.softmax(input, _axis(input, dim), dtype=dtype), input, _axis(input, dim))


@register_operation([F.log_softmax, torch.log_softmax, Tensor.log_softmax, torch.special.log_softmax])
def log_softmax(input: Tensor, dim: int | None = None, *options: Any, dtype: Any = None, **ignored: Any) -> Tensor:
    """`F.log_softmax`: allowed at the end of a network, refused elsewhere."""
    dtype = next((option for option in options if isinstance(option, torch.dtype)), dtype)
    output = torch.log_softmax(input, _axis(input, dim), dtype=dtype)
    return active_tracer().note_probabilities(refuse(output, input, advice=advice_for(F.log_softmax)), input)


@register_operation([torch.log, Tensor.log])
def log(input: Tensor) -> Tensor:
    """`torch.log` of probabilities, at the end of a network, which are explained instead; log-sum-exp, and softplus."""
    tracer = active_tracer()
    if (smooth_maximum := log_of_exponentials(input)) is not None:
        return smooth_maximum
    if (softplus := by_hand.softplus_of(input, torch.log(input), added=True)) is not None:
        return softplus
    output = refuse(torch.log(input), input, advice=advice_for(torch.log))
    made = tracer.probabilities.get(tracer.token(input))
    return output if made is None else tracer.note_probabilities(output, made.x)


@register_operation(F.softmin)
def softmin(input: Tensor, dim: int | None = None, *options: Any, dtype: Any = None, **ignored: Any) -> Tensor:
    """`F.softmin`."""
    return softmax(mul(input, -1), dim, dtype=dtype)


def _axis(x: Tensor, dim: int | None) -> int:
    """The axis, or the one that torch takes if none is given."""
    return dim if dim is not None else (0 if x.dim() in (0, 1, 3) else 1)


@register_operation(F.scaled_dot_product_attention)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`F.scaled_dot_product_attention`, written out in products and a softmax."""
    tracer = active_tracer()
    if enable_gqa and key.shape[-3] != query.shape[-3]:
        copies = query.shape[-3] // key.shape[-3]
        key, value = (rearranged(lambda x: x.repeat_interleave(copies, -3), x) for x in (key, value))
    if dropout_p > 0 and not tracer.seeded:
        output = F.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, scale=scale)
        return refuse(output, query, key, value, advice=advice_for(F.dropout))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    signals = [x for x in (query, key) if tracer.is_signal(x)]
    with tracer.part("probabilities"):
        is_constant = not signals or not tracer.has_rule_for_softmax()
    if is_constant:
        scores = _masked((query * scale) @ key.mT, attn_mask)
        probabilities = _attended(scores, attn_mask)
        if signals:
            signal = Signal(nonnegative=True, weighs=Weighs.GATE)
            with tracer.part("probabilities"):
                step = Unsupported(_softmax_advice(), _compared(query, key))
                probabilities = attach(step, probabilities, signals, signal)
    else:
        with tracer.part("scores"):
            scores = mul(matmul(query, rearranged(lambda x: x.mT, key)), scale)
        if attn_mask is not None and attn_mask.dtype != torch.bool:  # such as biases of positions
            with tracer.part("scores", torch.add):
                scores = add(scores, attn_mask)
        else:
            with tracer.part("scores"):
                scores = passes(lambda x: _masked(x, attn_mask), scores)
        with tracer.part("probabilities"):
            probabilities = _probabilities(_attended(scores, attn_mask), scores, -1)
    if dropout_p > 0:
        probabilities = tracer.dropout(F.dropout, probabilities, dropout_p)
    return matmul(probabilities, value)


def _compared(query: Tensor, key: Tensor) -> list[Weigher]:
    """How queries and keys, those of them that descend from the clip, go into the scores."""
    both = ((query, MatrixProduct(left=True), key.mT), (key, Bilinear(lambda k, q: q @ k.mT), query))
    return [weigher_of(x, map, without_values(other)) for x, map, other in both if not is_constant(x)]


def _attended(scores: Tensor, mask: Tensor | None) -> Tensor:
    """The softmax over keys; zero, as in torch, for a query whose mask leaves out all of them."""
    probabilities = torch.softmax(scores, -1)
    return probabilities if mask is None else probabilities.masked_fill((scores == -math.inf).all(-1, keepdim=True), 0)


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
