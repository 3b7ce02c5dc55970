"""Every fast kernel is the plain one, up to rounding; and the plain one can be forced."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.compute import along_axis, kernels, matmul, time_tiles, windows
from lrp3d.compute.bands import Band
from lrp3d.compute.geometry import Geometry
from lrp3d.compute.maps import Convolution


@st.composite
def convolutions(draw):
    axes = draw(st.integers(1, 3))
    kind = draw(
        st.sampled_from(
            ["pointwise", "depthwise", "dense", "wide", "in tiles", "in time", "stem", "grouped", "transposed"]
        )
    )
    groups = draw(st.integers(1, 3)) if kind in ("depthwise", "grouped", "transposed") else 1
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    if kind in ("wide", "in tiles"):
        inputs = draw(st.integers(8, 9))
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    stride = [draw(st.sampled_from([1, 1, 2, 3])) for _ in range(axes)]
    padding = [draw(st.integers(0, 2)) for _ in range(axes)]
    dilation = [draw(st.integers(1, 2)) for _ in range(axes)]
    if kind == "stem":
        kernel = [draw(st.integers(1, 7)) for _ in range(axes)]
        padding, dilation = [draw(st.integers(0, k)) for k in kernel], [1] * axes
    if kind == "pointwise":
        kernel, padding = [1] * axes, [0] * axes
    if kind == "in time":
        kernel = [draw(st.integers(2, 4)), *[1] * (axes - 1)]
        padding = [draw(st.integers(0, 4)), *[0] * (axes - 1)]
        stride = [draw(st.sampled_from([1, 1, 2])), *[1] * (axes - 1)]
    if kind == "in tiles":
        axes, kernel, stride = 3, [3, *(draw(st.integers(1, 3)) for _ in range(2))], [1, 1, 1]
        padding = [draw(st.integers(0, 2)), *(draw(st.integers(0, k)) for k in kernel[1:])]
        dilation = [1, *(draw(st.integers(1, 2)) for _ in range(2))]
    if kind == "depthwise":
        inputs = outputs = groups = draw(st.integers(1, 4))
        axis = draw(st.integers(0, axes - 1))
        long, others = draw(st.integers(2, 7)), draw(st.sampled_from([1, 3]))
        kernel = [long if i == axis else others for i in range(axes)]
        padding = [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)]
        stride = [1] * axes
    transposed = kind == "transposed"
    shape = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
    size = [draw(st.integers(1, 5)) + d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    geometry = Geometry(*map(tuple, (kernel, stride, padding, dilation)), groups, transposed, (0,) * axes)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    x = torch.randn(draw(st.integers(0, 2)), inputs, *size, generator=generator, dtype=torch.float64)
    w = torch.randn(*shape, *kernel, generator=generator, dtype=torch.float64)
    return x, w, geometry


@pytest.fixture(autouse=True)
def small_products_count():
    """Products of any size take the place of torch's own kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(along_axis, "LEAST_PER_TAP", 0)
        patch.setattr(time_tiles, "WORTHWHILE", 0)
        yield


@given(convolutions())
def test_fast_kernels_equal_the_plain_ones(drawn):
    x, w, geometry = drawn
    with kernels.plain():
        try:
            expected = kernels.convolve(x, w, geometry)
        except RuntimeError:  # a transposed convolution may have no output at all
            return
    found = kernels.convolve(x, w, geometry)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    r = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with kernels.plain():
        expected = kernels.adjoint(r, w, geometry, x.shape)
    found = kernels.adjoint(r, w, geometry, x.shape)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(convolutions())
def test_weights_side_by_side_equal_one_after_the_other(drawn):
    x, w, geometry = drawn
    if not kernels.joins(geometry):
        return
    xs, ws = [x, -x, x**2], [w.clamp(min=0), w.clamp(max=0), w]
    expected = sum(kernels.convolve(a, v, geometry) for a, v in zip(xs, ws, strict=True))
    torch.testing.assert_close(kernels.joint_convolve(xs, ws, geometry), expected, rtol=1e-9, atol=1e-9)
    r = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for found, v in zip(Convolution(geometry).adjoints(r[None], ws, x.shape), ws, strict=True):
        torch.testing.assert_close(found[0], kernels.adjoint(r, v, geometry, x.shape), rtol=1e-9, atol=1e-9)


@given(convolutions())
def test_the_adjoint_is_the_transpose(drawn):
    """<f(x), r> = <x, f^T(r)>."""
    x, w, geometry = drawn
    try:
        out = kernels.convolve(x, w, geometry)
    except RuntimeError:
        return
    r = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    back = kernels.adjoint(r, w, geometry, x.shape)
    torch.testing.assert_close((out * r).sum(), (x * back).sum(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.Conv3d(4, 6, 1), "pointwise.adjoint"),
        (nn.Conv3d(4, 6, 1, stride=2), "pointwise.adjoint"),
        (nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), groups=4), "along_axis.depthwise_sum"),
        (nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0)), "along_axis.dense_sum"),
        (nn.Conv3d(4, 4, 3, padding=1, groups=4), "flipped.convolve"),
        (nn.Conv3d(8, 4, (1, 3, 3), padding=(0, 1, 1)), "flipped.convolve"),
        (nn.Conv3d(8, 4, (3, 3, 3), padding=1), "time_tiles.convolve"),
        (nn.Conv3d(8, 4, (3, 3, 3), padding=1, dilation=(2, 1, 1)), "few_frames.adjoint"),
        (nn.Conv3d(16, 4, 3, stride=(1, 2, 2), padding=1), "phases.one_by_one"),
        (nn.Conv3d(8, 8, 3, stride=2, padding=1, groups=8), "phases.one_by_one"),
        (nn.Conv3d(4, 8, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3)), "phases.at_once"),
    ],
)
def test_each_shape_takes_its_kernel_unless_the_plain_one_is_forced(layer, name, monkeypatch):
    called = []
    monkeypatch.setattr(
        f"lrp3d.compute.{name}", lambda *args, **kwargs: called.append(name) or torch.zeros(1, 4, *[1] * 3)
    )
    numbers = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    geometry = Geometry(*numbers, layer.groups, False, layer.output_padding)
    frames = 5 if name == "few_frames.adjoint" else 7
    x = torch.randn(1, layer.in_channels, frames, 7, 7)
    r = layer(x).detach()
    w = layer.weight.detach()
    with kernels.plain():
        kernels.adjoint(r, w, geometry, x.shape)
    assert not called
    kernels.adjoint(r, w, geometry, x.shape)
    assert called == [name]


@pytest.mark.parametrize("frames", range(1, 14))
@pytest.mark.parametrize("padding", [0, 1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_tiles_of_any_number_of_frames_equal_one_tap_after_the_other(frames, padding, batch):
    if frames + 2 * padding < 3:
        return
    generator = torch.Generator().manual_seed(frames)
    w = torch.randn(4, 3, 3, 3, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(batch, 3, frames, 7, 8, generator=generator, dtype=torch.float64)
    geometry = Geometry((3, 3, 2), (1, 2, 1), (padding, 2, 1), (1, 1, 2), 1, False, (0, 0, 0))
    expected = torch.nn.functional.conv3d(x, w, None, geometry.stride, geometry.padding, geometry.dilation)
    found = time_tiles.convolve(x, time_tiles.kernels_at_points(w), geometry)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_tiles_take_half_of_the_products_of_long_clips():
    assert [time_tiles.products(length) for length in (1, 4, 5, 8, 12, 16)] == [6, 6, 12, 12, 18, 24]


@pytest.mark.parametrize("sign", ["positive", "mixed"])
def test_tiles_round_little_in_float32(sign):
    """In units of the last place of the sum of all magnitudes; a direct sum has a few of these as well."""
    generator = torch.Generator().manual_seed(0)
    r = torch.randn(1, 64, 8, 9, 9, generator=generator)
    r = r.abs() if sign == "positive" else r
    w = torch.rand(64, 64, 3, 3, 3, generator=generator)
    expected = torch.nn.functional.conv3d(r.double(), w.double(), None, 1, 1)
    magnitude = torch.nn.functional.conv3d(r.abs().double(), w.double(), None, 1, 1)
    found = time_tiles.convolve(r, time_tiles.kernels_at_points(w), Geometry.dense((3, 3, 3), (1, 1, 1)))
    assert (found - expected).abs().max() < 16 * torch.finfo(torch.float32).eps * magnitude.max()


@given(convolutions(), st.data())
def test_a_window_of_the_outputs_is_carried_back_like_all_of_them(drawn, data):
    x, w, geometry = drawn
    if geometry.transposed or not x.numel() or x.dim() < 5:
        return
    with kernels.plain():
        try:
            output = kernels.convolve(x, w, geometry)
        except RuntimeError:
            return
    frames = output.shape[2]
    start = data.draw(st.integers(0, frames - 1))
    stop = data.draw(st.integers(start + 1, frames))
    r = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    r[:, :, :start] = r[:, :, stop:] = 0
    with kernels.plain():
        expected = kernels.adjoint(r, w, geometry, x.shape)
    first, last = windows.inputs_seen(x.shape[2], start, stop, geometry, 0)
    shape = (*x.shape[:2], last - first, *x.shape[3:])
    found = windows.adjoint(r[:, :, start:stop], w, geometry, shape, 0, start, x.shape[2])
    torch.testing.assert_close(found, expected[:, :, first:last], rtol=1e-9, atol=1e-9)
    assert not expected[:, :, :first].any()
    assert not expected[:, :, last:].any()


@given(convolutions(), st.integers(1, 3), st.sampled_from([1, 2**17]))
def test_scaling_and_carrying_back_in_one_go_equals_one_after_the_other(drawn, seeds, block):
    x, w, geometry = drawn
    if not len(x):
        return
    try:
        output = kernels.convolve(x, w, geometry)
    except RuntimeError:
        return
    generator = torch.Generator().manual_seed(4)
    r = torch.randn(seeds, *output.shape, dtype=torch.float64, generator=generator)
    scale = torch.randn(output.shape, dtype=torch.float64, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lrp3d.compute.along_axis.BLOCK", block)
        found = Convolution(geometry).scaled_adjoint(r, scale, w, x.shape)
    if found is not None:
        torch.testing.assert_close(found, Convolution(geometry).adjoint(r * scale, w, x.shape), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("taps", [3, 5])
def test_depthwise_convolutions_along_time_scale_in_one_go_in_a_band_as_well(taps):
    geometry = Geometry.dense((taps, 1, 1), (taps // 2, 0, 0), groups=4)
    w = torch.randn(4, 1, taps, 1, 1, dtype=torch.float64)
    r, scale = torch.randn(2, 1, 4, 3, 5, 5, dtype=torch.float64), torch.randn(1, 4, 3, 5, 5, dtype=torch.float64)
    map, below = Convolution(geometry).restrict(Band(2, 4, 7), torch.Size([1, 4, 9, 5, 5]))
    shape = below.shape(torch.Size([1, 4, 9, 5, 5]))
    found = map.scaled_adjoint(r, scale, w, shape)
    assert found is not None
    torch.testing.assert_close(found, map.adjoint(r * scale, w, shape), rtol=1e-9, atol=1e-9)


@given(
    taps=st.integers(2, 5),
    dilation=st.integers(1, 3),
    padding=st.integers(0, 6),
    frames=st.integers(1, 9),
    seeds=st.integers(1, 2),
    scaled=st.booleans(),
)
def test_a_product_with_a_banded_matrix_equals_one_tap_after_the_other(taps, dilation, padding, frames, seeds, scaled):
    length = frames + 2 * padding - dilation * (taps - 1)
    if length < 1:
        return
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(seeds * 2, 3, frames, 4, 4, dtype=torch.float64, generator=generator)
    w = torch.randn(3, 1, taps, 1, 1, dtype=torch.float64, generator=generator)
    scale = torch.randn(2, 3, frames, 4, 4, dtype=torch.float64, generator=generator) if scaled else None
    shifts = [dilation * tap - padding for tap in range(taps)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(along_axis, "BLOCK", 1)
        found = along_axis.depthwise_sum(x, w, 0, shifts, length, scale)
        patch.setattr(along_axis, "FRAMES", 0)
        expected = along_axis.depthwise_sum(x, w, 0, shifts, length, scale)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    whole = x if scale is None else (x.unflatten(0, (-1, 2)) * scale).flatten(0, 1)
    plain = torch.conv3d(whole, w, None, 1, (padding, 0, 0), (dilation, 1, 1), 3)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=1e-12)


def test_large_convolutions_of_a_model_are_faster_and_small_ones_the_same_bit_by_bit(monkeypatch):
    """Only the order of the additions differs, so the logits are the model's up to rounding."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 8, 1), nn.ReLU(), nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0), groups=8))
    model = nn.Sequential(model, nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
    clip = torch.rand(2, 3, 8, 9, 9)
    assert lrp3d.explain(model, clip).logits.equal(model(clip).detach())
    monkeypatch.setattr(matmul, "WORTHWHILE_FORWARD", 0)
    ran = []
    convolve = kernels.convolve
    monkeypatch.setattr(kernels, "convolve", lambda *given: ran.append(given[1].shape) or convolve(*given))
    record = lrp3d.convert(model).record((clip,))
    torch.testing.assert_close(record.output.detach(), model(clip).detach(), rtol=1e-5, atol=1e-6)
    assert len(ran) == 2, "both convolutions of the model, before any relevance was asked for"


def test_a_model_that_casts_for_itself_keeps_its_own_convolutions(monkeypatch):
    class Casting(nn.Sequential):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x).float()

    torch.manual_seed(0)
    model, clip = Casting(nn.Conv3d(3, 8, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval(), torch.rand(1, 3, 8, 9, 9)
    monkeypatch.setattr(matmul, "WORTHWHILE_FORWARD", 0)
    assert lrp3d.explain(model, clip).logits.equal(model(clip).detach())


@pytest.mark.parametrize("seed", range(4))
def test_denominators_that_may_be_near_zero_are_rounded_as_the_models_own_values(seed):
    """Values and denominators that differ by rounding would leave much of their quotient to it."""
    torch.manual_seed(seed)
    layers = [nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0)), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    clip = torch.rand(2, 3, 6, 16, 16)
    found = lrp3d.explain(model, clip, 0, composite="epsilon", temporal=False).relevance
    exact = lrp3d.explain(model.double(), clip.double(), 0, composite="epsilon", temporal=False).relevance
    assert (found - exact).abs().max() < 5e-5 * exact.abs().max()
