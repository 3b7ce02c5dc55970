"""A band leaves out nothing but zeros; reused memory is never memory in use; less precision is asked for and booked."""

import copy
import os
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.compute import bands, buffers, kernels
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


# ----------------------------------------------------------------------------------------------------- buffers


def _large(value):
    tensor = buffers.empty((600, 600), torch.zeros(1))
    return tensor.fill_(value)


def test_memory_is_used_again_only_when_no_view_of_it_is_left():
    with buffers.reused():
        first = _large(1.0)
        place, view = first.data_ptr(), first[10:20]
        del first
        second = _large(2.0)
        assert second.data_ptr() != place
        assert bool((view == 1).all())
        del view
        assert _large(3.0).data_ptr() == place
        assert bool((second == 2).all())
    assert bool((second == 2).all())  # what is kept outlives the block


def test_memory_is_not_kept_after_the_outermost_block():
    with buffers.reused(), buffers.reused():
        _large(1.0)
        assert buffers._current.get().blocks
    assert buffers._current.get() is None


def test_freed_memory_is_returned_to_the_system_while_a_pool_grows_and_never_when_it_is_used_again(monkeypatch):
    returned = []
    monkeypatch.setattr(buffers, "_trim", returned.append)
    memory = buffers.Memory()
    values = buffers.GROWTH // 4 // 2  # of 4 bytes, half of what a pool may grow by
    for grows in (True, False):
        returned.clear()
        with buffers.reused(memory):
            first = buffers.empty((values,), torch.zeros(1))
            assert not returned
            second = buffers.empty((values,), torch.zeros(1))
            assert returned == [0] * grows
            assert first.data_ptr() != second.data_ptr()
            del first, second


def test_a_twins_memory_is_used_again_by_the_next_run_and_does_not_grow():
    memory = buffers.Memory()
    places, kept = [], []
    for sizes in ((600, 900), (600, 900), (600,)):
        with buffers.reused(memory):
            tensors = [buffers.empty((size, 600), torch.zeros(1)) for size in sizes]
            places.append([tensor.data_ptr() for tensor in tensors])
            del tensors
        (pool,) = memory._idle
        kept.append(sum(len(blocks) for blocks in pool.blocks.values()))
        assert not pool.derived
    assert places[0] == places[1]
    assert kept == [2, 2, 1]  # a smaller clip lets go of what it did not need


def test_runs_at_the_same_time_do_not_share_memory():
    memory = buffers.Memory()
    with buffers.reused(memory):
        one = _large(1.0)

        def other():
            with buffers.reused(memory):
                return _large(2.0)

        another = threading.Thread(target=lambda: found.append(other()))
        found = []
        another.start()
        another.join()
        assert bool((one == 1).all())
        assert bool((found[0] == 2).all())


def test_a_copied_twin_has_memory_of_its_own():
    memory = buffers.Memory()
    with buffers.reused(memory):
        _large(1.0)
    assert not copy.deepcopy(memory)._idle
    assert not pickle.loads(pickle.dumps(memory))._idle


def test_an_explanation_stays_as_it_is_when_the_twin_explains_another_clip():
    torch.manual_seed(0)
    twin = lrp3d.convert(lrp3d.models.i3d_resnet(18, num_classes=4, width=16).eval())
    clips = torch.rand(2, 1, 3, 8, 112, 112)
    first = lrp3d.explain(twin, clips[0], 0)
    before = first.relevance.clone()
    lrp3d.explain(twin, clips[1], 1)
    assert torch.equal(first.relevance, before)


def test_what_is_made_of_a_weight_is_made_once():
    made = []
    weight = torch.ones(2)
    with buffers.reused():
        for _ in range(2):
            buffers.derived("double", [weight], lambda: made.append(1) or weight * 2)
        buffers.derived("double", [weight.clone()], lambda: made.append(1) or weight * 2)
    assert len(made) == 2


# ---------------------------------------------------------------------------------------- precision and tolerance


@pytest.fixture(scope="module")
def explained():
    torch.manual_seed(0)
    model = lrp3d.models.tam_resnet(18, num_classes=6, frames=16, width=16).eval()
    clip = torch.rand(1, 3, 16, 48, 48)
    return model, clip, lrp3d.explain(model, clip, 0, input_range=(0.0, 1.0))


def test_on_a_cpu_lower_precision_changes_nothing(explained):
    model, clip, exact = explained
    high = lrp3d.explain(model, clip, 0, input_range=(0.0, 1.0), precision="high")
    torch.testing.assert_close(high.matrix, exact.matrix, rtol=0, atol=0)


def test_medium_precision_is_refused_with_what_to_use_instead(explained):
    model, clip, _ = explained
    with pytest.raises(
        ValueError, match=r'"medium" no longer exists: .* in bfloat16 .* use "highest", or "high" \(TF32, on a GPU\)'
    ):
        lrp3d.explain(model, clip, 0, precision="medium")


GPU_PRECISION = """
import os, sys
import torch
from lrp3d.compute.precision import _settings, matmul_precision
def state():
    return [getattr(holder, name) for holder, name, *_ in _settings(torch.device("cuda"))]
def check(before):
    exec(before)
    outside = state()
    for precision in ("highest", "high"):
        with matmul_precision(precision, torch.device("cuda")):
            print(precision, *{str(value) for value in state()}, end=" ")
        assert state() == outside
    try:
        with matmul_precision("high", torch.device("cuda")):
            raise KeyError
    except KeyError:
        assert state() == outside
    print(flush=True)
for before in sys.argv[1:]:
    child = os.fork()  # torch forbids to set by the old names what was set by the new ones
    if not child:
        check(before)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_gpu_rounds_as_asked_inside_and_as_before_outside():
    before = ["pass", "torch.backends.cuda.matmul.allow_tf32 = True", "torch.set_float32_matmul_precision('high')"]
    if hasattr(torch.backends.cudnn, "conv"):  # else torch has one switch for all convolutions
        before.append("torch.backends.cuda.matmul.fp32_precision = 'tf32'")
        before.append("torch.backends.cudnn.conv.fp32_precision = 'ieee'")
    ran = subprocess.run([sys.executable, "-c", GPU_PRECISION, *before], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    expected = ("highest ieee high tf32", "highest False high True")
    assert [line.strip() in expected for line in ran.stdout.splitlines()] == [True] * len(before)


CPU_PRECISION = """
import sys
import torch
import lrp3d
from lrp3d.compute.precision import _settings
torch.manual_seed(0)
model = lrp3d.models.tam_resnet(18, num_classes=6, frames=8, width=32).eval()
clip = torch.rand(1, 3, 8, 64, 64)
def found():
    explanation = lrp3d.explain(model, clip, 0, input_range=(0.0, 1.0))
    interventions = lrp3d.intervention_matrix(model, clip, 0)
    return explanation.logits, explanation.matrix, lrp3d.frame_logits(model, clip), interventions
def state():
    return [getattr(holder, name) for holder, name, *_ in _settings(torch.device("cpu"))]
exact = found()
for setting in sys.argv[1:]:
    exec(setting)
    outside = state()
    assert all(one.equal(other) for one, other in zip(found(), exact, strict=True)), setting
    assert state() == outside, setting
"""


@pytest.mark.slow
def test_a_cpu_never_rounds_to_bfloat16_whatever_is_set():
    """Processors that multiply bfloat16 would; on others this cannot fail."""
    settings = ["torch.set_float32_matmul_precision('medium')"]
    if hasattr(torch.backends.mkldnn, "matmul"):  # else torch has one switch for products and convolutions
        settings += [f"torch.backends.mkldnn.{what}.fp32_precision = 'bf16'" for what in ("matmul", "conv")]
    ran = subprocess.run([sys.executable, "-c", CPU_PRECISION, *settings], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


INHERITED = """
import torch
from lrp3d.compute.precision import matmul_precision

backends = torch.backends
backends.fp32_precision = "tf32"
with matmul_precision("highest", torch.device("cpu")):
    assert backends.mkldnn.matmul.fp32_precision == "ieee"
assert backends.mkldnn.matmul.fp32_precision == "tf32"
backends.fp32_precision = "ieee"
assert {backends.mkldnn.matmul.fp32_precision, backends.mkldnn.conv.fp32_precision} == {"ieee"}
"""


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="needs torch 2.9")
def test_a_setting_that_follows_that_of_the_process_goes_on_to_follow_it():
    ran = subprocess.run([sys.executable, "-c", INHERITED], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("tolerance", [1e-4, 1e-2])
def test_what_tolerance_drops_is_little_and_booked(explained, tolerance):
    model, clip, _ = explained
    options = {"input_range": (0.0, 1.0), "contrastive": False}
    whole = lrp3d.explain(model, clip, 0, **options)
    found = lrp3d.explain(model, clip, 0, tolerance=tolerance, **options)
    dropped = sum(entry.absorbed for entry in found.ledger) - sum(entry.absorbed for entry in whole.ledger)
    logit = float(found.logits[0, 0])
    assert float(found.relevance.sum()) + dropped == pytest.approx(float(whole.relevance.sum()), rel=1e-4)
    layers = sum(isinstance(layer, (nn.Conv3d, nn.Linear)) for layer in model.modules())
    assert abs(dropped) <= tolerance * layers * abs(logit)


def test_tolerance_drops_the_outermost_frames_of_what_is_there():
    r = torch.tensor([1e-6, 1e-6, -1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    assert bands.outermost_dropped(r, 1e-4) == Band(2, 2, 4)
    assert bands.outermost_dropped(r, 1e-9) is None
    assert bands.outermost_dropped(torch.cat([r, r.flip(3)]), 1e-4) == Band(2, 1, 4)  # no seed loses its own
    assert bands.outermost_dropped(torch.zeros(1, 1, 1, 5, 1, 1), 0.5) is None


def test_tolerance_counts_the_relevance_of_every_clip_by_itself():
    r = torch.tensor([1e-6, 1e-6, 1.0, 2.0, 1e-6]).reshape(1, 1, 1, 5, 1, 1)
    faint = 1e-6 * r.flip(3)
    assert bands.outermost_dropped(torch.cat([r, faint], 1), 1e-4) == Band(2, 1, 4)
    folded = torch.cat([r, faint], 1).transpose(2, 3).flatten(1, 2)  # (s, b t, c, h, w)
    assert bands.outermost_dropped(folded, 1e-4, clips=2) is None
    assert torch.equal(bands.outermost_zeroed(folded, 1e-4, clips=2), folded)
    assert bands.outermost_dropped(r.transpose(2, 3).flatten(1, 2), 1e-4) == Band(0, 2, 4)


@pytest.mark.parametrize("shape", [(2, 3, 4, 8, 8), (3, 3, 8, 8)], ids=["clips", "images"])
def test_no_clip_is_dropped_because_others_have_more_relevance(shape):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    layers = [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    image = nn.Sequential(convolution, nn.ReLU(), *layers)

    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.image = image

        def forward(self, clip):
            frames = clip.transpose(1, 2).flatten(0, 1)
            return self.image(frames).unflatten(0, (len(clip), -1)).mean(1)

    clips = torch.rand(shape) * torch.logspace(-5, 0, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    model = (Frames() if len(shape) == 5 else image).eval()
    options = {"target": 0, "contrastive": False, "input_range": (0.0, 1.0)}
    for part in (convolution, *layers):
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.zeros_(part.bias)  # so that faint clips have faint features
    exact, found = (lrp3d.explain(model, clips, tolerance=tolerance, **options) for tolerance in (0.0, 0.05))
    torch.testing.assert_close(found.relevance, exact.relevance)
