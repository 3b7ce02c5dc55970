"""Norms: relevance passes them unchanged; their statistics, scale and offset are constants.

Batch norm with frozen statistics is a factor and an offset per channel (paper App. F). Layer, group, instance and RMS
norm, and batch norm with the statistics of its batch, compute the factor and the offset from the signal; both are held
constant (LN rule of Ali et al. 2022, arXiv:2202.07304; identity rule of Achtibat et al. 2024, arXiv:2402.05602,
Prop. 3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrp3d.compute.maps import Scale, channelwise
from lrp3d.compute.terms import Signed
from lrp3d.operations.blocks import attach, passes, refuse
from lrp3d.registry import TorchFunction, active_tracer, register_operation
from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.operands import PreparedOperand
from lrp3d.tracing.advice import advice_for

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
    """`F.batch_norm` with running statistics, which never change, or with those of the batch if there are none."""
    tracer = active_tracer()
    if running_mean is None or running_var is None:
        kind = _TYPES.get(input.dim(), nn.BatchNorm1d)
        in_channels = _of_channels(weight, input)
        return _by_its_own(
            lambda x: F.batch_norm(x, None, None, weight, bias, True, 0.0, eps), input, kind, in_channels
        )
    if training:
        output = F.batch_norm(input, None, None, weight, bias, True, 0.0, eps)
        return refuse(output, input, advice=advice_for(F.batch_norm))

    def normalise(x: Tensor) -> Tensor:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps)

    output = normalise(input)
    incoming = tracer.signal(input)
    if incoming is None:
        return output
    signal = incoming.elementwise(output.shape, normalise)  # a clip normalised inside the model is still the clip
    kind = _TYPES.get(input.dim(), nn.BatchNorm1d)
    if tracer.normalisation_passes:
        factor = 1.0 if weight is None else channelwise(weight.detach(), input)
        return attach(PassThrough(input.shape, linear=True, factor=factor), output, [input], signal, kind)
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    offset = -running_mean * scale
    offset = offset if bias is None else offset + bias
    step = LinearStep(
        [PreparedOperand(input, incoming.signed(input.detach()), Scale(), Signed(scale.detach()))],
        channelwise(offset.detach(), input),
    )
    return attach(step, output, [input], signal, kind)


@register_operation(torch.batch_norm)
def raw_batch_norm(
    input: Tensor,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """`torch.batch_norm`, which `F.batch_norm` calls."""
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _by_its_own(
    function: Callable[[Tensor], Tensor], x: Tensor, kind: type[nn.Module] | None, weight: Tensor | None = None
) -> Tensor:
    """A norm with the statistics of the signal itself, and a weight that broadcasts with it."""
    factor = 1.0 if weight is None else weight
    output = passes(function, x, gate=False, factor=factor, kind=kind, note="its statistics are constant")
    if weight is None and (signal := active_tracer().signal(output)) is not None:
        signal.normed = True  # scale and offset may follow by hand
    return output


def _of_channels(weight: Tensor | None, x: Tensor) -> Tensor | None:
    return None if weight is None else channelwise(weight, x)


@register_operation([F.layer_norm, torch.layer_norm])
def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """`F.layer_norm`."""
    return _by_its_own(
        lambda x: F.layer_norm(x, list(normalized_shape), weight, bias, eps), input, nn.LayerNorm, weight
    )


@register_operation([F.group_norm, torch.group_norm])
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """`F.group_norm`."""
    in_channels = _of_channels(weight, input)
    return _by_its_own(lambda x: F.group_norm(x, num_groups, weight, bias, eps), input, nn.GroupNorm, in_channels)


_INSTANCE_TYPES: dict[int, type[nn.Module]] = {5: nn.InstanceNorm3d, 4: nn.InstanceNorm2d}


@register_operation(F.instance_norm)
def instance_norm(
    input: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.instance_norm`; with running statistics it is a batch norm."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps)
    kind = _INSTANCE_TYPES.get(input.dim(), nn.InstanceNorm1d)
    in_channels = _of_channels(weight, input)
    return _by_its_own(lambda x: F.instance_norm(x, None, None, weight, bias, True, 0.0, eps), input, kind, in_channels)


_RMS_NORMS: list[TorchFunction] = [owner.rms_norm for owner in (F, torch) if hasattr(owner, "rms_norm")]


@register_operation(_RMS_NORMS)
def rms_norm(input: Tensor, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor:
    """`F.rms_norm`."""
    kind = getattr(nn, "RMSNorm", None)
    return _by_its_own(lambda x: F.rms_norm(x, list(normalized_shape), weight, eps), input, kind, weight)


@register_operation(F.local_response_norm)
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`F.local_response_norm`."""
    return _by_its_own(lambda x: F.local_response_norm(x, size, alpha, beta, k), input, nn.LocalResponseNorm)
