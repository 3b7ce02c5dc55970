"""Batch norm with frozen statistics: a factor and an offset per channel, through which relevance passes unchanged."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute.maps import Scale, channelwise
from lrp3d.compute.terms import Signed
from lrp3d.operations.blocks import attach, refuse
from lrp3d.registry import active_tracer, register_operation
from lrp3d.steps.linear import LinearStep, Operand
from lrp3d.steps.step import PassThrough
from lrp3d.tracing.advice import advice_for
from lrp3d.tracing.tracer import Signal

_TYPES: dict[int, type[nn.Module]] = {5: nn.BatchNorm3d, 4: nn.BatchNorm2d}


@register_operation(F.batch_norm)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm`; statistics of the batch are refused, and the running ones never touched."""
    run = active_tracer()
    if training or running_mean is None or running_var is None:
        output = F.batch_norm(input, None, None, weight, bias, True, 0.0, eps)
        return refuse(output, input, advice=advice_for(F.batch_norm))

    def normalise(x: Tensor) -> Tensor:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps)

    output = normalise(input)
    known = run.signal(input)
    if known is None:
        return output
    signal = Signal(real=known.real)
    if known.low is not None and known.high is not None:  # normalisation inside the model: still the clip
        ends = normalise(known.low), normalise(known.high)
        signal.low, signal.high = torch.minimum(*ends), torch.maximum(*ends)
    kind = _TYPES.get(input.dim(), nn.BatchNorm1d)
    if run.normalisation_passes:
        return attach(PassThrough(input.shape, linear=True), output, [input], signal, kind)
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    offset = -running_mean * scale
    offset = offset if bias is None else offset + bias
    step = LinearStep(
        [Operand(input, known.signed(input.detach()), Scale(), Signed(scale.detach()))],
        channelwise(offset.detach(), input),
    )
    return attach(step, output, [input], signal, kind)


@register_operation(torch.batch_norm)
def raw_batch_norm(
    input: Tensor,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> Tensor:
    """`torch.batch_norm`, which `F.batch_norm` calls."""
    return batch_norm(input, mean, var, weight, bias, training, momentum, eps)
