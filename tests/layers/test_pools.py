"""Max pools, average pools and upsampling share as their slow oracles do."""

import itertools

import pytest
import reference
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from twins import D, close, draw_input, generators, per_axis, twin_relevance

import lrp3d
from lrp3d.steps.factor import Factor
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.window_maxima import WindowMaximum
from lrp3d.steps.step import Site, Token

MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
ADAPTIVE_MAX = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}


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
    arriving = LazyRelevance(torch.randn(3, *output.shape, generator=generator, dtype=D), Factor(output))
    maximum = WindowMaximum(x, output, offsets)
    maximum.site = Site("", "max_pool", output.shape, output.dtype, Token(0))
    (found,) = maximum.propagate(arriving)
    with lrp3d.kernels.plain():
        (by_slices,) = maximum.propagate(arriving)
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


@pytest.mark.parametrize("axes", AVG)
def test_average_pools_without_a_batch_axis(axes):
    pool = AVG[axes](3, 2, 1, count_include_pad=False)
    x = draw_input(torch.Generator().manual_seed(axes), 2, *(5, 4, 6)[:axes])
    output, r, found = twin_relevance(pool, x)
    assert torch.equal(output, pool(x))
    close(found, reference.average_relevance(pool, x, r))


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


@pytest.mark.parametrize("layer", [nn.UpsamplingNearest2d(scale_factor=2), nn.UpsamplingBilinear2d(size=5)], ids=str)
def test_old_upsampling_layers(layer):
    x = torch.rand(1, 2, 3, 3, dtype=D)
    output, r, found = twin_relevance(layer, x)
    assert torch.equal(output, layer(x))
    close(found, reference.average_relevance(layer, x, r))


@pytest.mark.parametrize("temporal", [True, False], ids=["clips", "images"])
def test_max_pools_of_channels_last_batches_share_as_others_do(temporal):
    """In float32, where torch's convolutions keep the memory format."""
    axes = 3 if temporal else 2
    conv, pool = (nn.Conv3d, nn.MaxPool3d) if temporal else (nn.Conv2d, nn.MaxPool2d)
    average = nn.AdaptiveAvgPool3d(1) if temporal else nn.AdaptiveAvgPool2d(1)
    torch.manual_seed(0)
    layers = [conv(3, 8, 3, padding=1), nn.ReLU(), pool(2, ceil_mode=True), conv(8, 8, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, average, nn.Flatten(), nn.Linear(8, 4)).eval()
    x = torch.rand(2, 3, *[8] * axes)
    x[:, :, ..., :4] = 0.5  # ties
    wanted = lrp3d.explain(model, x, 0, temporal=False).relevance
    memory_format = torch.channels_last_3d if temporal else torch.channels_last
    found = lrp3d.explain(model, x.to(memory_format=memory_format), 0, temporal=False).relevance
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_the_name_of_a_class_says_nothing_about_the_axes_of_a_pool():
    class Over2d(nn.MaxPool3d):
        pass

    x = torch.rand(1, 2, 4, 6, 6, dtype=D)
    output, r, found = twin_relevance(Over2d(2), x)
    assert torch.equal(output, nn.MaxPool3d(2)(x))
    close(found.sum(), r.sum())
