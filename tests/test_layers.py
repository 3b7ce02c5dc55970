"""Every layer's twin computes what the layer computes, and shares relevance as its slow oracle does."""

import itertools

import numpy as np
import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

import lrp3d
from lrp3d.carried import Carried
from lrp3d.maxima import Maximum
from lrp3d.rules import Epsilon, Flat, ZPlus

D = torch.float64
SHARING = lrp3d.Composite(layers=dict.fromkeys((*lrp3d.composites.CONVOLUTIONS, *lrp3d.composites.AVERAGES), ZPlus()))


def twin_relevance(model, x, r=None, composite=SHARING):
    """The twin's output, the relevance that came in (drawn, if none is given), and the relevance of x."""
    clip = x.clone().requires_grad_()
    output = lrp3d.convert(model.eval(), composite)(clip)
    if r is None:
        r = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=output.dtype)
    return output.detach(), r, torch.autograd.grad(output, clip, r)[0]


def close(found, wanted, tolerance=1e-9):
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def draw_input(generator, *shape):
    """Few different values: ties everywhere, zeros, and windows of nothing but zeros."""
    x = torch.randint(-2, 3, shape, generator=generator).to(D)
    return x * (torch.rand(shape, generator=generator) < 0.7)


generators = st.integers(0, 2**20).map(lambda seed: torch.Generator().manual_seed(seed))

# ------------------------------------------------------------------------------------- max pools

MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
ADAPTIVE_MAX = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}


@st.composite
def per_axis(draw, values, axes):
    return draw(st.lists(values, min_size=axes, max_size=axes))


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), generators)
def test_max_pools_give_all_to_the_winner_and_ties_share(data, axes, generator):
    draw = lambda low, high: data.draw(per_axis(st.integers(low, high), axes))  # noqa: E731
    kernel, stride, dilation, sizes = draw(1, 3), draw(1, 3), draw(1, 2), draw(2, 6)
    padding = [data.draw(st.integers(0, k // 2)) for k in kernel]
    pool = MAX[axes](kernel, stride, padding, dilation, ceil_mode=data.draw(st.booleans()))
    assume(all(s + 2 * p >= d * (k - 1) + 1 for s, p, d, k in zip(sizes, padding, dilation, kernel, strict=True)))
    x = draw_input(generator, 2, 2, *sizes)
    output, r, found = twin_relevance(pool, x)
    assert torch.equal(output, pool(x))
    described = zip(sizes, output.shape[2:], kernel, stride, padding, dilation, strict=True)
    close(found, reference.max_relevance(x, r, [reference.plain_windows(*axis) for axis in described]))
    close(found.sum(), r.sum())


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), generators, st.booleans())
def test_maxima_by_positions_are_maxima_by_slices(data, axes, generator, tied):
    """Also where relevance comes with a factor that is zero at most ties, as activations are."""
    kernel, stride = (data.draw(per_axis(st.integers(1, 3), axes)) for _ in range(2))
    x = draw_input(generator, 2, 2, *(size + 3 for size in data.draw(per_axis(st.integers(0, 3), axes)))).relu()
    if not tied:
        x = x * torch.rand(x.shape, generator=generator)
    output = MAX[axes](kernel, stride)(x)
    moves = list(zip(output.shape[-axes:], stride, strict=True))
    offsets = [
        tuple(slice(at, at + (outputs - 1) * step + 1, step) for at, (outputs, step) in zip(place, moves, strict=True))
        for place in itertools.product(*map(range, kernel))
    ]
    arriving = Carried(torch.randn(3, *output.shape, generator=generator, dtype=D), output)
    maximum = Maximum(x, output, offsets)
    maximum.shape = output.shape
    (found,) = maximum.carry(arriving)
    with lrp3d.kernels.plain():
        (by_slices,) = maximum.carry(arriving)
    close(found.value, by_slices.value)


@settings(max_examples=40)
@given(st.data(), st.integers(1, 3), generators)
def test_adaptive_max_pools_give_all_to_the_winner_and_ties_share(data, axes, generator):
    sizes, outputs = (data.draw(per_axis(st.integers(1, 5), axes)) for _ in range(2))
    pool, x = ADAPTIVE_MAX[axes](outputs), draw_input(generator, 2, 2, *sizes)
    output, r, found = twin_relevance(pool, x)
    assert torch.equal(output, pool(x))
    windows = [reference.adaptive_windows(*pair) for pair in zip(sizes, outputs, strict=True)]
    close(found, reference.max_relevance(x, r, windows))


def test_a_constant_clip_shares_the_maximum_over_all_frames():
    _, _, found = twin_relevance(nn.MaxPool3d((4, 1, 1)), torch.ones(1, 1, 4, 1, 1, dtype=D), torch.ones(1, 1, 1, 1, 1))
    assert found.flatten().tolist() == [0.25] * 4


def test_max_pools_without_a_batch_axis():
    x = torch.rand(2, 4, 4, 4, dtype=D)
    output, r, found = twin_relevance(nn.MaxPool3d(2), x)
    assert torch.equal(output, nn.MaxPool3d(2)(x))
    close(found.sum(), r.sum())


def test_indices_of_a_max_pool_are_computed_and_have_no_relevance():
    class Indexed(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.MaxPool2d(2, return_indices=True)

        def forward(self, x):
            values, indices = self.pool(x)
            assert indices.dtype == torch.int64
            assert torch.equal(values, F.max_pool2d(x, 2))
            return values

    _, r, found = twin_relevance(Indexed(), torch.rand(1, 1, 4, 4, dtype=D))
    close(found.sum(), r.sum())


# ---------------------------------------------------------------------------------- average pools

AVG = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE_AVG = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3), generators)
def test_average_pools_share_by_positive_parts(data, axes, generator):
    draw = lambda low, high: data.draw(per_axis(st.integers(low, high), axes))  # noqa: E731
    kernel, stride, sizes = draw(1, 3), draw(1, 3), draw(3, 5)
    padding = [data.draw(st.integers(0, k // 2)) for k in kernel]
    options = {"ceil_mode": data.draw(st.booleans()), "count_include_pad": data.draw(st.booleans())}
    if axes > 1:
        options["divisor_override"] = data.draw(st.sampled_from([None, 1, 5]))
    pool, x = AVG[axes](kernel, stride, padding, **options), draw_input(generator, 2, 2, *sizes)
    output, r, found = twin_relevance(pool, x)
    assert torch.equal(output, pool(x))
    close(found, reference.average_relevance(pool, x, r))
    close(found.sum(), r.sum())


@settings(max_examples=40)
@given(st.data(), st.integers(1, 3), generators)
def test_adaptive_average_pools_of_uneven_and_larger_sizes(data, axes, generator):
    sizes = data.draw(per_axis(st.integers(1, 5), axes))
    outputs = data.draw(per_axis(st.one_of(st.integers(1, 6), st.none()), axes))
    pool, x = ADAPTIVE_AVG[axes](outputs if axes > 1 else outputs[0]), draw_input(generator, 2, 2, *sizes)
    try:
        wanted = pool(x)
    except TypeError:  # one axis knows no None
        assume(False)
    output, r, found = twin_relevance(pool, x)
    close(output, wanted, 1e-12)
    close(found, reference.average_relevance(pool, x, r))
    close(found.sum(), r.sum())


UPSAMPLES = [
    (3, {"scale_factor": 2}),
    (3, {"size": 7, "mode": "linear"}),
    (3, {"size": 2, "mode": "linear", "align_corners": True}),
    (4, {"size": (5, 3)}),
    (4, {"scale_factor": 1.5, "mode": "nearest-exact"}),
    (4, {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True}),
    (4, {"size": (6, 7), "mode": "bilinear", "align_corners": True}),
    (5, {"scale_factor": (2, 1, 3)}),
    (5, {"scale_factor": (1, 2, 2), "mode": "trilinear", "align_corners": False}),
]


@pytest.mark.parametrize(("dimensions", "options"), UPSAMPLES, ids=str)
def test_upsampling_shares_as_the_average_it_is(dimensions, options):
    layer = nn.Upsample(**options)
    x = draw_input(torch.Generator().manual_seed(0), 2, 2, *(4, 3, 3)[: dimensions - 2])
    output, r, found = twin_relevance(layer, x)
    assert torch.equal(output, layer(x))
    close(found, reference.average_relevance(layer, x, r))


def test_bicubic_upsampling_has_negative_weights_and_is_refused():
    with pytest.raises(lrp3d.UnsupportedOperation, match="negative weights"):
        twin_relevance(nn.Upsample(scale_factor=2, mode="bicubic"), torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize("layer", [nn.UpsamplingNearest2d(scale_factor=2), nn.UpsamplingBilinear2d(size=5)], ids=str)
def test_old_upsampling_layers(layer):
    x = torch.rand(1, 2, 3, 3, dtype=D)
    output, r, found = twin_relevance(layer, x)
    assert torch.equal(output, layer(x))
    close(found, reference.average_relevance(layer, x, r))


# ------------------------------------------------------------------- what passes relevance unchanged

PASSING = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.ReLU6(inplace=True), nn.LeakyReLU(0.2),
    nn.LeakyReLU(0.2, inplace=True), nn.PReLU(), nn.PReLU(2), nn.ELU(), nn.SELU(), nn.CELU(), nn.GELU(),
    nn.GELU(approximate="tanh"), nn.SiLU(), nn.SiLU(inplace=True), nn.Mish(), nn.Hardswish(),
    nn.Hardswish(inplace=True), nn.Softplus(), nn.Softsign(), nn.Tanh(), nn.Sigmoid(), nn.Hardsigmoid(),
    nn.Hardtanh(), nn.Hardtanh(-3, 2),
    nn.Hardshrink(), nn.Softshrink(), nn.Tanhshrink(), nn.Threshold(0.1, 0.0), nn.RReLU(),
    nn.Identity(), nn.Dropout(), nn.Dropout(inplace=True), nn.Dropout3d(), nn.AlphaDropout(),
    nn.FeatureAlphaDropout(),
]  # fmt: skip


@pytest.mark.parametrize("layer", PASSING, ids=str)
def test_activations_and_dropout_pass_relevance_unchanged(layer):
    layer = layer.to(D).eval()
    x = torch.randn(2, 2, 3, 3, 3, dtype=D)
    wanted = layer(x.clone())
    output, r, found = twin_relevance(layer, x)
    assert torch.equal(output, wanted)
    assert torch.equal(found, r)


NORMS = [(nn.BatchNorm1d, (4, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (2, 3, 4, 4))]
NORMS += [(nn.BatchNorm3d, (2, 3, 2, 4, 4))]


def trained(norm):
    """A batch norm with statistics, and with scales of both signs."""
    generator = torch.Generator().manual_seed(5)
    for name in ("weight", "bias", "running_mean"):
        if getattr(norm, name, None) is not None:
            getattr(norm, name).data = torch.randn(3, generator=generator, dtype=D)
    norm.running_var.data = torch.rand(3, generator=generator, dtype=D) + 0.1
    return norm.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("kind", "shape"), NORMS)
def test_batch_norm_with_frozen_statistics_passes_relevance_unchanged(kind, shape, affine):
    norm, x = trained(kind(3, affine=affine, dtype=D)), torch.randn(shape, dtype=D)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    output, r, found = twin_relevance(norm, x)
    assert torch.equal(output, norm(x))
    assert torch.equal(found, r)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_batch_norm_takes_the_epsilon_rule_where_asked_for():
    norm, x = trained(nn.BatchNorm2d(3, dtype=D)), torch.randn(2, 3, 4, 4, dtype=D)
    composite = lrp3d.Composite(layers={nn.BatchNorm2d: Epsilon(1e-9)})
    output, r, found = twin_relevance(norm, x, composite=composite)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, 3, 1, 1)
    close(found, (x * scale / (output + 1e-9 * output.sign()) * r).detach(), 1e-7)


def test_batch_norm_without_statistics_is_refused():
    norm = nn.BatchNorm3d(3, track_running_stats=False)
    with pytest.raises(lrp3d.UnsupportedOperation, match="running"):
        twin_relevance(norm, torch.rand(2, 3, 2, 2, 2))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Flatten(), (2, 12)), (nn.Flatten(2), (2, 3, 4)), (nn.Unflatten(1, (3, 1)), (2, 3, 1, 2, 2))],
)
def test_rearranging_layers_rearrange_relevance(layer, shape):
    x = torch.randn(2, 3, 2, 2, dtype=D)
    output, r, found = twin_relevance(layer, x)
    assert output.shape == shape
    assert torch.equal(found, r.reshape(x.shape))


REARRANGING = [
    nn.PixelShuffle(2),
    nn.PixelUnshuffle(2),
    nn.ChannelShuffle(2),
    nn.ZeroPad2d(1),
    nn.ReflectionPad2d(1),
]
REARRANGING += [nn.ReplicationPad2d((1, 0, 2, 0)), nn.CircularPad2d(2), nn.ConstantPad2d(1, 3.0)]


@pytest.mark.parametrize("layer", REARRANGING, ids=str)
def test_shuffles_and_paddings_hand_relevance_to_where_the_values_came_from(layer):
    x = torch.randn(2, 4, 4, 4, dtype=D)
    output, r, found = twin_relevance(layer, x)
    assert torch.equal(output, layer(x))
    moves = reference.jacobian(lambda x: layer(x) - layer(torch.zeros_like(x)), x.shape[1:])
    close(found, (r.flatten(1) @ moves).reshape(x.shape))


# ------------------------------------------------------------------------------------------- gates


class Squeeze(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.down, self.up, self.gate = nn.Conv3d(3, 2, 1, dtype=D), nn.Conv3d(2, 3, 1, dtype=D), gate

    def forward(self, x):
        scale = self.gate(self.up(F.relu(self.down(F.adaptive_avg_pool3d(x, 1)))))
        return scale * x


@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Hardsigmoid(), nn.ReLU()], ids=str)
def test_squeeze_and_excitation_is_a_gate_and_relevance_follows_the_signal(gate):
    model, x = Squeeze(gate), torch.randn(2, 3, 2, 2, 2, dtype=D)
    output, r, found = twin_relevance(model, x)
    assert torch.equal(output, model(x))
    assert torch.equal(found, r)


# ------------------------------------------------------------- subclasses, parametrized layers, sharing


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


UNKNOWN = [
    nn.LayerNorm(4),
    nn.GroupNorm(1, 2),
    nn.InstanceNorm1d(2),
    nn.Softmax(1),
    nn.LogSoftmax(1),
    nn.Bilinear(4, 4, 2),
]
UNKNOWN += [nn.LPPool1d(2, 2), nn.LocalResponseNorm(2), nn.Softmin(1), nn.CosineSimilarity()]


@pytest.mark.parametrize("layer", UNKNOWN, ids=str)
def test_layers_without_a_rule_are_refused_and_never_passed_over(layer):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x, x) if isinstance(layer, (nn.Bilinear, nn.CosineSimilarity)) else self.layer(x)

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
