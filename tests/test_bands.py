"""A band leaves out nothing but zeros, wherever it is cut, carried or widened."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.compute import bands, kernels
from lrp3d.compute.bands import Band
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Convolution
from lrp3d.compute.matrix_products import FullyConnected

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@st.composite
def windows(draw):
    """A convolution of any kind over clips, and a band of its output."""
    kind = draw(st.sampled_from(["dense", "pointwise", "depthwise", "grouped"]))
    channels = 2 * draw(st.integers(1, 2))
    groups = {"depthwise": channels, "grouped": 2}.get(kind, 1)
    kernel = (1, 1, 1) if kind == "pointwise" else (draw(st.integers(1, 5)), draw(st.integers(1, 2)), 1)
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 2)), 1)
    padding = (0, 0, 0) if kind == "pointwise" else (draw(st.integers(0, 5)), draw(st.integers(0, 1)), 0)
    dilation = (draw(st.integers(1, 2)), 1, 1)
    frames = draw(st.integers(1, 12))
    geometry = Geometry(kernel, stride, padding, dilation, groups, False, (0, 0, 0))
    x = torch.zeros(draw(st.integers(1, 2)), channels, frames, 3, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    w = torch.randn(channels, channels // groups, *kernel, generator=generator, dtype=torch.float64)
    if frames + 2 * padding[0] < dilation[0] * (kernel[0] - 1) + 1:
        return None
    length = kernels.convolve(x, w, geometry).shape[2]
    start = draw(st.integers(0, length - 1))
    return geometry, x.shape, w, Band(2, start, draw(st.integers(start + 1, length))), generator


@given(windows(), st.integers(1, 2))
def test_a_convolution_carries_a_band_as_it_carries_the_whole(drawn, seeds):
    if drawn is None:
        return
    geometry, shape, w, band, generator = drawn
    output = kernels.convolve(torch.zeros(shape, dtype=w.dtype), w, geometry).shape
    part = torch.randn(seeds, *band.shape(output), generator=generator, dtype=w.dtype)
    whole = band.widened(part, bands.whole_axis(2, output[2]))
    with kernels.plain():
        expected = Convolution(geometry).adjoint(whole, w, shape)
    inner, there = Convolution(geometry).restrict(band, shape)
    found = inner.adjoint(part, w, there.shape(shape))
    torch.testing.assert_close(there.widened(found, bands.whole_axis(2, shape[2])), expected, **CLOSE)
    both = inner.adjoints(part, [w, w.abs()], there.shape(shape))
    torch.testing.assert_close(both[0], found, **CLOSE)
    torch.testing.assert_close(both[1], inner.adjoint(part, w.abs(), there.shape(shape)), **CLOSE)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_outputs_that_see_nothing_but_padding_carry_their_band_into_the_clip(stride):
    geometry = Geometry((1, 1, 1), (stride, 1, 1), (3, 0, 0), (1, 1, 1), 1, False, (0, 0, 0))
    x, w = torch.zeros(1, 2, 2, 3, 2, dtype=torch.float64), torch.ones(2, 2, 1, 1, 1, dtype=torch.float64)
    length = kernels.convolve(x, w, geometry).shape[2]
    for start in range(length):
        inner, there = Convolution(geometry).restrict(Band(2, start, length), x.shape)
        part = torch.ones(1, 1, 2, length - start, 3, 2, dtype=torch.float64)
        whole = Band(2, start, length).widened(part, bands.whole_axis(2, length))
        found = there.widened(inner.adjoint(part, w, there.shape(x.shape)), bands.whole_axis(2, 2))
        torch.testing.assert_close(found, Convolution(geometry).adjoint(whole, w, x.shape), **CLOSE)


class Deep(nn.Module):
    """Everything a band meets on its way: residuals, gates, pools, a shift, a dead channel, torch's own nodes."""

    def __init__(self, stride=1):
        super().__init__()
        self.stem = nn.Conv3d(3, 4, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.first = nn.Conv3d(4, 4, 3, (stride, 1, 1), 1)
        self.depthwise = nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), groups=4, bias=False)
        self.wide = nn.Conv3d(4, 6, (5, 1, 1), padding=(2, 0, 0))
        self.narrow = nn.Conv3d(6, 4, 1, bias=False)
        self.norm = nn.BatchNorm3d(4)
        self.pool = nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0))
        self.head = nn.Linear(4, 5)
        with torch.no_grad():
            self.depthwise.weight[0] = 0

    def forward(self, x):
        x = self.first(self.stem(x).relu()).relu()
        x = x + self.norm(self.narrow(self.wide(self.depthwise(x)).relu()))
        x = x.relu() * x.mean((2, 3, 4), keepdim=True).sigmoid()
        x = torch.cat([x[:, :2].roll(1, 2), x[:, 2:]], 1)
        x = self.narrow(self.wide(x).relu()).relu() + self.pool(x)
        return self.head(x.mean((3, 4)).transpose(1, 2)).mean(1)


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("composite", ["paper", "epsilon", "alpha_beta", "epsilon_gamma_box"])
@pytest.mark.parametrize(("frames", "stride", "chunk"), [(20, 1, 1), (20, 1, 3), (16, 2, 1), (7, 1, 7)])
def test_bands_and_fast_kernels_change_nothing(frames, stride, chunk, composite, contrastive):
    torch.manual_seed(3)
    model = Deep(stride).double().eval()
    model.norm.running_mean.normal_()
    clip = torch.rand(2, 3, frames, 9, 9, dtype=torch.float64)
    options = {"composite": composite, "contrastive": contrastive, "chunk_size": chunk, "input_range": (0.0, 1.0)}
    with kernels.plain():
        expected = lrp3d.explain(model, clip, [1, 2], **options)
    found = lrp3d.explain(model, clip, [1, 2], **options)
    torch.testing.assert_close(found.matrix, expected.matrix, **CLOSE)
    torch.testing.assert_close(found.relevance, expected.relevance, **CLOSE)
    for mine, theirs in zip(found.ledger, expected.ledger, strict=True):
        assert mine.relevance_in == pytest.approx(theirs.relevance_in, abs=1e-9)
        assert mine.relevance_out == pytest.approx(theirs.relevance_out, abs=1e-9)


def test_a_single_frame_is_never_made_dense_by_convolutions(monkeypatch):
    """What a net with a field of three frames computes for one of 40 is three frames, at every layer."""
    seen = []
    original = kernels.adjoint
    monkeypatch.setattr(kernels, "adjoint", lambda r, *a: seen.append(r.shape[2]) or original(r, *a))
    body = [nn.Conv3d(3, 8, (1, 3, 3)), nn.ReLU(), nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0)), nn.ReLU()]
    model = nn.Sequential(*body, nn.Conv3d(8, 4, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
    lrp3d.explain(model, torch.rand(1, 3, 40, 8, 8), 0, chunk_size=1, contrastive=False)
    assert max(seen) <= 3


@given(st.sampled_from([(1, 1, 2, 7, 1, 2), (2, 7, 1, 1, 2)]), st.integers(0, 8), st.integers(0, 10_000))
def test_a_band_is_from_the_first_to_the_last_value_wherever_in_a_frame_these_are(shape, count, seed):
    generator = torch.Generator().manual_seed(seed)
    r = torch.zeros(shape)
    r.view(-1)[torch.randint(r.numel(), (count,), generator=generator)] = -1
    axis = 3 if len(shape) == 6 else 1
    frames = (r != 0).movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist() or [0]
    band = Band(axis - 1, frames[0], frames[-1] + 1)
    assert bands.nonzero_band(r) == (None if (band.start, band.stop) == (0, 7) else band)


@given(st.integers(32, 40), st.integers(0, 6), st.integers(0, 10_000))
def test_outputs_without_relevance_are_skipped_only_where_all_rows_lack_it(size, count, seed):
    generator = torch.Generator().manual_seed(seed)
    layer, r = (
        torch.randn(size, 5, generator=generator, dtype=torch.float64),
        torch.zeros(2, 3, size, dtype=torch.float64),
    )
    r.view(-1)[torch.randint(r.numel(), (count,), generator=generator)] = 1
    found = FullyConnected().adjoint(r, layer, torch.Size((3, 5)))
    torch.testing.assert_close(found, r @ layer, **CLOSE)


def test_between_rearrangements_relevance_is_not_cut_and_filled_up_again(monkeypatch):
    class Attention(nn.MultiheadAttention):
        def forward(self, x):  # queries, keys and values are one tensor, of which the values alone have relevance
            return super().forward(x, x, x, need_weights=False)[0].mean(1)

    widened = []
    monkeypatch.setattr(
        Band, "widened", lambda self, r, outer, own=Band.widened: widened.append(self) or own(self, r, outer)
    )
    model = nn.Sequential(Attention(8, 2, batch_first=True), nn.Linear(8, 2)).eval()
    lrp3d.explain(model, torch.randn(1, 6, 8), 0, temporal=False)
    assert not widened


def test_the_band_of_a_chunk_holds_all_its_seeds():
    r = torch.zeros(2, 1, 3, 9, 2, 2)
    r[0, :, :, 2] = 1
    r[1, :, :, 5] = -1
    assert bands.nonzero_band(r) == Band(2, 2, 6)
    assert bands.nonzero_band(torch.ones(1, 1, 3, 9, 2, 2)) is None
    assert bands.nonzero_band(torch.full((1, 1, 1, 2, 1, 1), torch.nan)) is None  # nothing is hidden
    folded = torch.zeros(1, 6, 3, 2, 2)
    folded[:, 4] = 1
    assert bands.nonzero_band(folded) == Band(0, 4, 5)
