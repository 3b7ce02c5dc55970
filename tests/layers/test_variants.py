"""Subclasses, parametrized and shared layers, layers without a rule, and whatever layout and numbers they have."""

import itertools

import numpy as np
import pytest
import reference
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from twins import D, close, twin_relevance

import lrp3d
from lrp3d.rules import Flat, ZPlus


class Named(nn.Conv3d):
    """A subclass that keeps its forward."""


class Standardised(nn.Conv3d):
    """A subclass with a forward of its own."""

    def forward(self, x):
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return F.conv3d(x, weight, self.bias, self.stride, self.padding)


class Doubled(nn.Conv3d):
    """A subclass that calls its parent's forward."""

    def forward(self, x):
        return super().forward(x * 2.0)


def conv_weight(layer):
    if isinstance(layer, Standardised):
        return (layer.weight - layer.weight.mean()) / layer.weight.std()
    return layer.weight


VARIANTS = {
    "subclass": lambda: Named(2, 3, 2, padding=1, dtype=D),
    "own forward": lambda: Standardised(2, 3, 2, padding=1, dtype=D),
    "parent's forward": lambda: Doubled(2, 3, 2, padding=1, dtype=D),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Conv3d(2, 3, 2, padding=1, dtype=D)),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Conv3d(2, 3, 2, padding=1, dtype=D)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Conv3d(2, 3, 2, padding=1, dtype=D)),
    "old weight_norm": lambda: weight_norm(nn.Conv3d(2, 3, 2, padding=1, dtype=D)),
    "old spectral_norm": lambda: spectral_norm(nn.Conv3d(2, 3, 2, padding=1, dtype=D)),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", ["zplus", "flat"])
def test_variants_of_a_convolution_are_convolutions(variant, rule):
    torch.manual_seed(0)
    layer = VARIANTS[variant]().eval()
    x = torch.randn(1, 2, 3, 3, 3, dtype=D)
    plain = nn.Conv3d(2, 3, 2, padding=1, dtype=D)
    wanted = layer(x)
    plain.weight.data, plain.bias.data = conv_weight(layer).detach().clone(), layer.bias.detach().clone()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    chosen = {"zplus": (ZPlus(), reference.zplus), "flat": (Flat(), reference.flat)}[rule]
    output, r, found = twin_relevance(layer, x, composite=lrp3d.Composite(layers={nn.Conv3d: chosen[0]}))
    close(output, wanted.detach(), 1e-12)
    close(found, reference.layer_relevance(plain, x, r, chosen[1]))
    assert before.keys() == layer.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


class Shared(nn.Module):
    """One convolution under two names, used three times, and held in a plain list as well."""

    def __init__(self):
        super().__init__()
        self.a = self.b = nn.Conv1d(2, 2, 3, padding=1, dtype=D)
        self.plain = [self.a]

    def forward(self, x):
        return self.plain[0](self.b(self.a(x).relu()).relu())


def test_a_layer_shared_under_several_names_is_as_many_layers():
    model, x = Shared(), torch.randn(1, 2, 4, dtype=D)
    output, r, found = twin_relevance(model, x)
    assert torch.equal(output, model(x))
    below = [x.detach()]
    for _ in range(2):
        below.append(model.a(below[-1]).relu().detach())
    for a in reversed(below):
        r = reference.layer_relevance(model.a, a, r, reference.zplus)
    close(found, r)


class Hidden(nn.Module):
    """Layers where `named_modules` does not look: a list, a dictionary, a closure, a bound method."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv1d(2, 2, 1, dtype=D) for _ in range(4)]
        self.listed, self.mapped, inner = [layers[0].eval()], {"x": layers[1].eval()}, layers[2].eval()
        self.closed = lambda x: inner(x)
        self.method = layers[3].eval().forward

    def forward(self, x):
        return self.method(self.closed(self.mapped["x"](self.listed[0](x).relu()).relu()).relu())


def test_layers_in_lists_dictionaries_closures_and_methods_are_met():
    model, x = Hidden(), torch.randn(2, 2, 4, dtype=D)
    output, r, found = twin_relevance(model, x)
    assert torch.equal(output, model(x))
    close(found.sum(), r.sum())
    flat, _, uniform = twin_relevance(model, x, r, lrp3d.Composite(layers={nn.Conv1d: Flat()}))
    assert torch.equal(flat, output)
    close(uniform, r.sum(1, keepdim=True).expand_as(x) / 2)


@pytest.mark.parametrize("output_size", [7, 8])
def test_a_transposed_convolution_may_be_told_its_output_size(output_size):
    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose1d(2, 2, 3, 2, 1, dtype=D)

        def forward(self, x):
            return self.up(x, output_size=[output_size])

    model, x = Sized(), torch.randn(1, 2, 4, dtype=D)
    output, r, found = twin_relevance(model, x)
    assert output.shape[-1] == output_size
    assert torch.equal(output, model(x))
    plain = nn.ConvTranspose1d(2, 2, 3, 2, 1, output_size - 7, dtype=D)
    plain.load_state_dict(model.up.state_dict())
    close(found, reference.layer_relevance(plain, x, r, reference.zplus))


UNKNOWN = [nn.Softmax(1), nn.LogSoftmax(1), nn.Softmin(1)]


@pytest.mark.parametrize("layer", UNKNOWN, ids=str)
def test_layers_without_a_rule_are_refused_and_never_passed_over(layer):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x)

    with pytest.raises(lrp3d.UnsupportedOperation):
        twin_relevance(
            Model(),
            torch.randn(1, 2, 4) if not isinstance(layer, nn.LocalResponseNorm) else torch.rand(1, 2, 4),
        )


# ------------------------------------------------------------------------------ layouts and precisions

LAYERS = [nn.Conv3d(2, 3, 3, padding=1), nn.MaxPool3d(2, padding=1), nn.AvgPool3d(2), nn.AdaptiveAvgPool3d(2)]
LAYERS += [
    nn.BatchNorm3d(2),
    nn.ConvTranspose3d(2, 2, 2),
    nn.AdaptiveMaxPool3d(3),
    nn.Upsample(scale_factor=2),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_neither_memory_layout_nor_frozen_parameters_change_anything(layer, dtype):
    layer = layer.to(dtype).eval()
    x = torch.randn(2, 2, 4, 4, 4, dtype=dtype)
    output, r, wanted = twin_relevance(layer, x)
    strided = torch.randn(2, 2, 4, 4, 8, dtype=dtype)[..., ::2].copy_(x)
    layouts = [
        x.contiguous(memory_format=torch.channels_last_3d),
        strided,
        x.transpose(2, 4).clone().transpose(2, 4),
    ]
    for clip, frozen in itertools.product(layouts, (False, True)):
        layer.requires_grad_(not frozen)
        again, _, found = twin_relevance(layer, clip, r)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        close(again, output, tolerance)
        close(found, wanted, tolerance)


@pytest.mark.parametrize(
    "layer",
    [
        lambda n: nn.Conv3d(2, 2, n(1), (n(1), n(2), n(2))),
        lambda n: nn.Conv3d(2, 2, 3, (n(1), n(2), n(2)), n(1), n(1), n(2)),
        lambda n: nn.ConvTranspose3d(2, 2, (1, 2, 2), (n(1), n(2), n(2))),
        lambda n: nn.MaxPool3d((n(1), n(3), n(3)), (n(1), n(2), n(2)), (n(0), n(1), n(1))),
    ],
)
def test_a_layer_may_have_numpys_numbers(layer):
    """As pytorchvideo's stages have; with single frames of a size at which memory is reused."""
    x = torch.rand(1, 2, 4, 384, 384)
    found = []
    for number in (int, np.int64):
        torch.manual_seed(0)
        model = nn.Sequential(layer(number), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 2)).eval()
        found.append(lrp3d.explain(model, x, chunk_size=1).matrix)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
