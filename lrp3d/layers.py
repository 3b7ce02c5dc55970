"""The layers of torch.nn, which a twin computes by the same operations as torch's functions.

A layer that is not listed keeps its own forward, whose functions are handled one by one (`nn.GLU`, user modules). New
layer types are added here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _MaxPoolNd

from lrp3d.operations import activation, convolution, interpolation, normalisation, padding, pooling, recurrence
from lrp3d.registry import own_forward, register_layer


def _padded(layer: _ConvNd, x: Tensor) -> tuple[Tensor, Any]:
    """The input and the zero padding of the convolution; padding modes that copy values are applied to the input."""
    if layer.padding_mode == "zeros":
        return x, layer.padding
    return padding.pad(x, layer._reversed_padding_repeated_twice, layer.padding_mode), 0


@register_layer([nn.Conv1d, nn.Conv2d, nn.Conv3d])
def convolve(layer: _ConvNd, x: Tensor) -> Tensor:
    """A convolution; it is depthwise if it has as many groups as channels."""
    x, pad = _padded(layer, x)
    return convolution.convolution(x, layer.weight, layer.bias, layer.stride, pad, layer.dilation, layer.groups)


@register_layer([nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def convolve_transposed(layer: Any, x: Tensor, output_size: Any = None) -> Tensor:
    """A transposed convolution; an output size, if one is given, fixes the output padding."""
    axes = layer.weight.dim() - 2
    extra = layer._output_padding(x, output_size, layer.stride, layer.padding, layer.kernel_size, axes, layer.dilation)
    return convolution.transposed_convolution(
        x, layer.weight, layer.bias, layer.stride, layer.padding, extra, layer.groups, layer.dilation
    )


@register_layer(nn.Linear)
def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """A fully connected layer."""
    return convolution.linear(x, layer.weight, layer.bias)


@register_layer([nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
def batch_norm(layer: _BatchNorm, x: Tensor) -> Tensor:
    """Batch norm with frozen statistics; other statistics are refused."""
    return normalisation.batch_norm(
        x, layer.running_mean, layer.running_var, layer.weight, layer.bias, layer.training, 0.0, layer.eps
    )


def max_pool(axes: int, layer: _MaxPoolNd, x: Tensor) -> Any:
    """A max pool, in which the winner takes all relevance."""
    return pooling.MAX_POOLS[axes](
        x,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.ceil_mode,
        layer.return_indices,
    )


def avg_pool(axes: int, layer: nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d, x: Tensor) -> Tensor:
    """An average over windows."""
    options = (layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad)
    average: Tensor = pooling.AVG_POOLS[axes](x, *options, getattr(layer, "divisor_override", None))
    return average


def adaptive_max_pool(axes: int, layer: _AdaptiveMaxPoolNd, x: Tensor) -> Any:
    """A max pool in windows of any size."""
    return pooling.ADAPTIVE_MAX_POOLS[axes](x, layer.output_size, layer.return_indices)


def adaptive_avg_pool(axes: int, layer: _AdaptiveAvgPoolNd, x: Tensor) -> Tensor:
    """An average over windows of any size."""
    average: Tensor = pooling.ADAPTIVE_AVG_POOLS[axes](x, layer.output_size)
    return average


for _axes in (1, 2, 3):
    register_layer(getattr(nn, f"MaxPool{_axes}d"), partial(max_pool, _axes))
    register_layer(getattr(nn, f"AvgPool{_axes}d"), partial(avg_pool, _axes))
    register_layer(getattr(nn, f"AdaptiveMaxPool{_axes}d"), partial(adaptive_max_pool, _axes))
    register_layer(getattr(nn, f"AdaptiveAvgPool{_axes}d"), partial(adaptive_avg_pool, _axes))


@register_layer([nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d])
def upsample(layer: nn.Upsample, x: Tensor) -> Tensor:
    """Interpolation, in which every output is an average of inputs."""
    again = getattr(layer, "recompute_scale_factor", None)
    return interpolation.interpolate(x, layer.size, layer.scale_factor, layer.mode, layer.align_corners, again)


@register_layer(nn.ReLU)
def relu(layer: nn.ReLU, x: Tensor) -> Tensor:
    """A rectifier, in place or not."""
    return activation.relu(x, layer.inplace)


@register_layer([nn.Hardtanh, nn.ReLU6])
def hardtanh(layer: nn.Hardtanh, x: Tensor) -> Tensor:
    """An activation that clips values at both ends; `nn.ReLU6`, which clips at 0 and 6, is derived from it."""
    return activation.hardtanh(x, layer.min_val, layer.max_val, layer.inplace)


@register_layer([nn.LSTM, nn.GRU, nn.RNN])
def recurrent(layer: nn.RNNBase, x: Any, state: Any = None) -> Any:
    """A recurrent layer, unrolled over time, with its gates held constant."""
    return recurrence.unrolled(layer, x, state)


@register_layer([nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def recurrent_cell(layer: nn.RNNCellBase, x: Tensor, state: Any = None) -> Any:
    """One step of a recurrent cell, with its gates held constant."""
    return recurrence.one_step(layer, x, state)


# The forward of these layers is a single call of a known function with the layer's settings. They are registered only
# to give the operation the name and the type of the layer.
register_layer([nn.LeakyReLU, nn.RReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.Threshold], own_forward)
register_layer([nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Softplus, nn.Softsign, nn.Tanh], own_forward)
register_layer([nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Sigmoid, nn.Hardsigmoid], own_forward)
register_layer([nn.Softmax, nn.Softmax2d, nn.LogSoftmax], own_forward)
register_layer([nn.Identity, nn.Flatten, nn.Unflatten], own_forward)
register_layer([nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d], own_forward)
register_layer([nn.AlphaDropout, nn.FeatureAlphaDropout], own_forward)
register_layer([nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d], own_forward)
register_layer([nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm], own_forward)
register_layer("torch.nn.modules.normalization.RMSNorm", own_forward)  # since torch 2.4

# Activations that other packages write as custom autograd Functions to save memory; relevance passes them unchanged.
register_layer(
    [
        "pytorchvideo.layers.swish.Swish",
        "slowfast.models.operators.Swish",
        "efficientnet_pytorch.utils.MemoryEfficientSwish",
        "timm.layers.activations_me.SwishMe",
    ],
    lambda layer, x: F.silu(x),
)
register_layer("timm.layers.activations_me.MishMe", lambda layer, x: F.mish(x))
register_layer("timm.layers.activations_me.HardSwishMe", lambda layer, x: F.hardswish(x))
register_layer("timm.layers.activations_me.HardSigmoidMe", lambda layer, x: F.hardsigmoid(x))
