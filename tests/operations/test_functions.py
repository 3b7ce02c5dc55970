"""Functions in a user's forward mean what the layers mean."""

import einops
import pytest
import torch
import torch.nn.functional as F
from forwards import D, Net, X, clip, close, relevance, twin_relevance
from torch import nn

import lrp3d
from lrp3d.rules import Flat

W3, W3T, B = clip(3, 4, 2, 2, 2) / 3, clip(4, 3, 2, 2, 2) / 3, torch.tensor([0.1, -0.2, 0.3], dtype=D)


def with_weights(layer, weight, bias):
    layer.weight.data, layer.bias.data = weight, bias
    return layer


CONV = with_weights(nn.Conv3d(4, 3, 2, 2, 1, dtype=D), W3, B)
SAME = with_weights(nn.Conv3d(4, 3, 2, padding="same", dtype=D), W3, B)
TRANSPOSED = with_weights(nn.ConvTranspose3d(4, 3, 2, 2, dtype=D), W3T, B)
LINEAR = with_weights(nn.Linear(4, 3, dtype=D), W3[:, :, 0, 0, 0], B)
NORM = nn.BatchNorm3d(4, dtype=D).eval()
NORM.running_mean.data, NORM.running_var.data = torch.arange(4.0, dtype=D), torch.arange(1.0, 5.0, dtype=D)
NORM.weight.data = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=D)
STATE = (NORM.running_mean, NORM.running_var, NORM.weight, NORM.bias)

TWINS = {
    "conv3d": (CONV, lambda x: F.conv3d(x, W3, B, 2, 1)),
    "conv3d by name": (
        CONV,
        lambda x: F.conv3d(input=x, weight=W3, bias=B, stride=(2, 2, 2), padding=(1, 1, 1)),
    ),
    "convolution": (
        CONV,
        lambda x: torch.convolution(x, W3, B, [2] * 3, [1] * 3, [1] * 3, False, [0] * 3, 1),
    ),
    "same padding": (SAME, lambda x: F.conv3d(x, W3, B, padding="same")),
    "conv_transpose3d": (TRANSPOSED, lambda x: F.conv_transpose3d(x, W3T, B, 2)),
    "linear": (LINEAR, lambda x: F.linear(x, W3[:, :, 0, 0, 0], B)),
    "linear as matmul": (LINEAR, lambda x: x @ W3[:, :, 0, 0, 0].T + B),
    "linear as einsum": (LINEAR, lambda x: torch.einsum("bcthw,kw->bcthk", x, W3[:, :, 0, 0, 0]) + B),
    "batch_norm": (NORM, lambda x: F.batch_norm(x, *STATE)),
    "torch.batch_norm": (
        NORM,
        lambda x: torch.batch_norm(x, STATE[2], STATE[3], *STATE[:2], False, 0.1, 1e-5, True),
    ),
    "max_pool3d": (nn.MaxPool3d(3, 2, 1), lambda x: F.max_pool3d(x, 3, 2, 1)),
    "torch.max_pool3d": (nn.MaxPool3d(3, 2, 1), lambda x: torch.max_pool3d(x, 3, 2, 1)),
    "max_pool3d with indices": (nn.MaxPool3d(2), lambda x: F.max_pool3d(x, 2, return_indices=True)[0]),
    "avg_pool3d": (nn.AvgPool3d(2, 1, 1), lambda x: F.avg_pool3d(x, 2, 1, 1)),
    "adaptive_avg_pool3d": (nn.AdaptiveAvgPool3d(3), lambda x: F.adaptive_avg_pool3d(x, 3)),
    "adaptive_max_pool3d": (nn.AdaptiveMaxPool3d(3), lambda x: F.adaptive_max_pool3d(x, 3)),
    "interpolate": (nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, scale_factor=2)),
    "trilinear": (
        nn.Upsample(size=(5, 6, 7), mode="trilinear"),
        lambda x: F.interpolate(x, (5, 6, 7), mode="trilinear"),
    ),
    "relu": (nn.ReLU(), F.relu),
    "torch.relu": (nn.ReLU(), torch.relu),
    "x.relu()": (nn.ReLU(), lambda x: x.relu()),
    "clamp": (nn.ReLU(), lambda x: x.clamp(min=0)),
    "clamp_min": (nn.ReLU(), lambda x: x.clamp_min(0)),
    "relu6": (nn.ReLU6(), F.relu6),
    "hardtanh": (nn.Hardtanh(), F.hardtanh),
    "leaky_relu": (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    "silu": (nn.SiLU(), F.silu),
    "gelu": (nn.GELU(), F.gelu),
    "hardswish": (nn.Hardswish(), F.hardswish),
    "sigmoid": (nn.Sigmoid(), torch.sigmoid),
    "x.sigmoid()": (nn.Sigmoid(), lambda x: x.sigmoid()),
    "tanh": (nn.Tanh(), torch.tanh),
    "softplus": (nn.Softplus(), F.softplus),
    "elu": (nn.ELU(), F.elu),
    "mish": (nn.Mish(), F.mish),
    "dropout": (nn.Dropout(0.3), lambda x: F.dropout(x, 0.3, training=False)),
    "flatten": (nn.Flatten(), lambda x: x.flatten(1)),
    "torch.flatten": (nn.Flatten(2), lambda x: torch.flatten(x, 2)),
    "view": (nn.Flatten(), lambda x: x.view(x.size(0), -1)),
    "reshape": (nn.Flatten(), lambda x: torch.reshape(x, (len(x), -1))),
    "rearrange": (nn.Flatten(), lambda x: einops.rearrange(x, "b c t h w -> b (c t h w)")),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_function_means_what_its_layer_means(name):
    layer, function = TWINS[name]
    output, r, wanted = twin_relevance(layer, X)
    again, _, found = twin_relevance(Net(function), X, r)
    close(again, output, 1e-12)
    close(found, wanted)


@pytest.mark.parametrize("name", ["conv3d", "linear", "avg_pool3d", "interpolate"])
def test_a_rule_for_a_layer_type_meets_its_function_too(name):
    layer, function = TWINS[name]
    composite = lrp3d.Composite(layers={type(layer): Flat()})
    _, r, wanted = twin_relevance(layer, X, None, composite)
    close(relevance(function, X, r, composite), wanted)


@pytest.mark.parametrize("drop", [F.dropout, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout])
def test_what_is_not_dropped_keeps_its_sign(drop):
    """A layer after it shares by the positive and by the negative inputs, as if the dropout were not there."""
    weight = W3[:, :, 0, 0, 0]
    signed = X - 0.25
    with_dropout = Net(lambda x: F.linear(drop(F.leaky_relu(x), training=False).movedim(1, -1), weight))
    without = Net(lambda x: F.linear(F.leaky_relu(x).movedim(1, -1), weight))
    _, r, wanted = twin_relevance(without, signed)
    close(twin_relevance(with_dropout, signed, r)[2], wanted)
