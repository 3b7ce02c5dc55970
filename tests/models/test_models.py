"""What all models have in common, and what each family promises."""

import doctest
import importlib
import pkgutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from lrp3d.models.blocks import TemporalAggregation, TemporalShift
from lrp3d.models.i3d_original import SamePadding

from lrp3d import models

SMALL = {
    "I3D-ResNet": lambda **o: models.i3d_resnet(18, 5, width=8, **o),
    "I3D-ResNet-50": lambda **o: models.i3d_resnet(50, 5, width=8, **o),
    "I3D-ResNet-ts": lambda **o: models.i3d_resnet(18, 5, True, width=8, **o),
    "I3D-Inception": lambda **o: models.i3d_inception(5, **o),
    "I3D": lambda **o: models.i3d_original(5, **o),
    "TSN": lambda **o: models.tsn_resnet(18, 5, width=8, **o),
    "TSN-Inception": lambda **o: models.tsn_inception(5, **o),
    "TAM2D": lambda **o: models.tam_resnet(18, 5, 16, width=8, **o),
    "TAM2D-b7": lambda **o: models.tam_resnet(50, 5, 16, 7, width=8, **o),
    "TAM2D-ts": lambda **o: models.tam_resnet(18, 5, 16, temporal_stride=True, width=8, **o),
    "TAM2D-Inception": lambda **o: models.tam_inception(5, 16, **o),
    "TSM": lambda **o: models.tsm_resnet(18, 5, 16, width=8, **o),
    "TSM-block": lambda **o: models.tsm_resnet(18, 5, 16, shift="block", width=8, **o),
    "S3D": lambda **o: models.s3d(5, **o),
    "S3D-ResNet": lambda **o: models.s3d_resnet(18, 5, width=8, **o),
    "SlowFast": lambda **o: models.slowfast_resnet50(5, 16, width=8, **o),
}
ROWS = {"I3D-ResNet-ts": 2, "TAM2D-ts": 2, "I3D": 1, "S3D": 15}  # all others have a logit for each frame
all_small = pytest.mark.parametrize("name", SMALL)


def small(name, **options):
    torch.manual_seed(0)
    return SMALL[name](**options).eval()


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@all_small
def test_logits_are_the_mean_of_frame_logits(name):
    model, clip = small(name).double(), noise(2, 3, 16, 32, 32).double()
    with torch.inference_mode():
        logits, frame_logits = model(clip), model.frame_logits(clip)
    assert logits.shape == (2, 5)
    assert frame_logits.shape == (2, ROWS.get(name, 16), 5)
    torch.testing.assert_close(frame_logits.mean(1), logits)


@all_small
def test_input_range_is_black_and_white_after_normalisation(name):
    model = small(name)
    low, high = (torch.tensor(side) for side in model.input_range)
    mean, std = torch.tensor(model.mean), torch.tensor(model.std)
    torch.testing.assert_close(low * std + mean, torch.zeros(3))
    torch.testing.assert_close(high * std + mean, torch.ones(3))


def test_the_original_i3d_sees_pixels_between_minus_one_and_one():
    assert small("I3D").input_range == ((-1.0,) * 3, (1.0,) * 3)


@all_small
def test_a_clip_that_does_not_fit_is_refused_in_one_sentence(name):
    model = small(name)
    with pytest.raises(ValueError, match=r"must be \(b, c, t, h, w\), got shape \(3, 16, 32, 32\)"):
        model(noise(3, 16, 32, 32))
    with pytest.raises(ValueError, match=r"must have 3 channels in axis 1"):
        model(noise(1, 4, 16, 32, 32))


@all_small
def test_models_take_other_channels(name):
    model = small(name, in_channels=2)
    with torch.inference_mode():
        assert model(noise(1, 2, 16, 32, 32)).shape == (1, 5)
    assert len(model.mean) == len(model.std) == len(model.input_range[0]) == 2


def test_wrong_numbers_of_frames_are_refused():
    for name in ("TAM2D", "TAM2D-Inception", "TSM", "SlowFast"):
        with pytest.raises(ValueError, match=r"built for 16 frames.*got.* 8"):
            small(name)(noise(1, 3, 8, 32, 32))
    with pytest.raises(ValueError, match=r"multiple of 8 frames, got 12"):
        small("I3D-ResNet-ts")(noise(1, 3, 12, 32, 32))
    with pytest.raises(ValueError, match=r"at least 9 frames, got 8"):
        small("I3D")(noise(1, 3, 8, 32, 32))
    with pytest.raises(ValueError, match=r"4 frames in the slow pathway, got 8"):
        small("SlowFast")([noise(1, 3, 8, 32, 32), noise(1, 3, 16, 32, 32)])
    with pytest.raises(ValueError, match=r"got 3 tensors"):
        small("SlowFast")([noise(1, 3, 4, 32, 32)] * 3)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: models.i3d_resnet(19, 5), "I3D has depths 18, 34, 50, 101, 152, got 19"),
        (lambda: models.i3d_resnet(18, 0), "num_classes must be at least 1, got 0"),
        (lambda: models.i3d_inception(5, pooling="median"), "'max' or 'avg', got 'median'"),
        (lambda: models.tam_resnet(18, 5, 8, kernel_size=4), "kernel_size must be odd"),
        (lambda: models.tam_resnet(18, 5, 12, temporal_stride=True), "multiple of 8 frames, got 12"),
        (
            lambda: models.tam_resnet(18, 5, 16, output_frames=3),
            "3 output frames cannot be evenly spaced over 16",
        ),
        (lambda: models.tam_resnet(18, 5, 0), "frames must be at least 1"),
        (lambda: models.tsn_resnet(18, 5, output_frames="some"), "a positive number or 'all', got 'some'"),
        (lambda: models.tsm_resnet(18, 5, 8, shift="everything"), "'residual' or 'block'"),
        (lambda: models.slowfast_resnet50(5, frames=30), "multiple of alpha = 4 frames, got 30"),
        (lambda: models.slowfast_resnet50(5, width=12), "multiple of 8"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


# --- Fig. 10: answering from fewer frames


@pytest.mark.parametrize("m", [1, 2, 4, 8, 16, "all"])
def test_output_frames_are_an_evenly_spaced_choice_of_the_same_frame_logits(m):
    clip = noise(1, 3, 16, 32, 32)
    everything, some = small("TAM2D"), small("TAM2D", output_frames=m)
    some.load_state_dict(everything.state_dict())
    rows = 16 if m == "all" else m
    positions = list(some.output_positions(16))
    assert len(positions) == rows
    assert {b - a for a, b in pairwise(positions)} <= {16 // rows}
    with torch.inference_mode():
        torch.testing.assert_close(some.frame_logits(clip), everything.frame_logits(clip)[:, positions])
        torch.testing.assert_close(some(clip), some.frame_logits(clip).mean(1))


# --- who sees whom


def reach(model, clip, frame):
    """Which input frames the logit of one frame depends on."""
    clip = clip.clone().requires_grad_()
    model.frame_logits(clip)[0, frame, 0].backward()
    return [t for t, seen in enumerate(clip.grad[0].abs().amax((0, 2, 3)).tolist()) if seen > 0]


def test_tsn_never_mixes_frames():
    clip = noise(1, 3, 8, 32, 32).double()
    for model in (small("TSN").double(), small("TSN-Inception").double()):
        assert [reach(model, clip, frame) for frame in (0, 4, 7)] == [[0], [4], [7]]


def test_every_temporal_convolution_widens_the_reach_by_its_radius():
    """I3D-R18: 17 convolutions of radius 1; TAM2D-R18: 8; both as wide as their count says."""
    clip = noise(1, 3, 40, 32, 32).double()
    i3d = models.i3d_resnet(18, 5, width=8).eval().double()
    assert reach(i3d, clip, 20) == list(range(3, 38))
    tam = models.tam_resnet(18, 5, 40, width=8).eval().double()
    assert reach(tam, clip, 20) == list(range(12, 29))


def test_tam_is_the_blend_of_neighbours_it_is_defined_as():
    x = noise(2, 3, 6, 4, 5)
    for kernel_size in (3, 5, 7):
        tam = TemporalAggregation(3, kernel_size)
        w = tam.conv.weight.detach()[:, 0, :, 0, 0]
        expected = torch.zeros_like(x)
        for t in range(6):
            for i in range(kernel_size):
                neighbour = t + i - kernel_size // 2
                if 0 <= neighbour < 6:
                    expected[:, :, t] += w[:, i, None, None] * x[:, :, neighbour]
        torch.testing.assert_close(tam(x), expected.relu())


def test_tam_passes_frames_through_where_it_knows_nothing():
    for depthwise in (True, False):
        tam = TemporalAggregation(4, 5, depthwise)
        tam.pass_through()
        x = noise(1, 4, 6, 2, 2).relu()
        assert torch.equal(tam(x), x)


def test_a_shift_is_a_tam_with_weights_zero_and_one():
    x = noise(1, 16, 5, 3, 3).relu()
    tam = TemporalAggregation(16)
    with torch.no_grad():
        tam.conv.weight.zero_()
        for channel, offset in enumerate([2] * 2 + [0] * 2 + [1] * 12):  # ahead, back, stay
            tam.conv.weight[channel, 0, offset] = 1
        assert torch.equal(TemporalShift(16)(x), tam(x))
    assert torch.equal(TemporalShift(16)(x[:, :, :1])[:, :4], torch.zeros(1, 4, 1, 3, 3))


@pytest.mark.parametrize("size", range(7, 15))
def test_same_padding_gives_as_many_outputs_as_strides_fit(size):
    for kernel, stride in ((7, 2), (3, 2), (2, 2)):
        padded = SamePadding((kernel,) * 3, (stride,) * 3)(torch.ones(1, 1, size, size, size))
        assert (padded.shape[2] - kernel) // stride + 1 == -(-size // stride)
        line = padded[0, 0, :, size // 2, size // 2]
        front, back = int(line.argmax()), int(line.flip(0).argmax())
        assert back - front in (0, 1)  # the odd zero goes to the end


def test_slowfast_puts_slow_logits_on_the_fast_clock():
    """Silence the fast half of the classifier: only the slow frames and the bias are left."""
    model = small("SlowFast")
    with torch.no_grad():
        model.fc.weight[:, model.slow_channels :] = 0
        frame_logits = model.frame_logits(noise(1, 3, 16, 32, 32))
    others = [t for t in range(16) if t not in model.slow_indices]
    assert torch.equal(frame_logits[:, others], model.fc.bias.expand(1, len(others), 5))
    assert (frame_logits[:, list(model.slow_indices)] != model.fc.bias).any(2).all()


@all_small
def test_models_run_one_clip_as_they_run_many(name):
    model, clips = small(name).double(), noise(3, 3, 16, 32, 32).double()
    with torch.inference_mode():
        torch.testing.assert_close(model(clips)[1:2], model(clips[1:2]))
        assert model(clips[:0]).shape == (0, 5)


# --- names


PAPER_NAMES = [
    *("I3D-R18-f8", "TAM2D-R18-f16", "TSN-R18-f8", "TSM-R18-f8", "S3D-R18-f8", "I3D-R18"),
    *("I3D-Inception-f16", "TAM2D-Inception-f16", "TSN-Inception-f8", "S3D-f16", "I3D-f64", "I3D"),
    *("SlowFast-R50-8x8", "SlowFast-R50-16x8"),
]


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_models_are_built_by_the_papers_names(name):
    model = models.build(name, num_classes=3)
    assert (model.name, model.num_classes) == (name, 3)
    assert model.frames == {"8x8": 32, "16x8": 64, "f8": 8, "f16": 16, "f64": 64}.get(name.split("-")[-1])


def test_names_take_the_builders_options():
    model = models.build("TAM2D-R18-f16", 5, kernel_size=7, output_frames=4, width=8)
    assert model.arguments["kernel_size"] == 7
    assert model.output_frames == 4


@pytest.mark.parametrize("name", ["I3D-R50-8", "X3D-M", "TAM2D-R18", "SlowFast-R101-8x8", "TSM-Inception-f8", ""])
def test_an_unknown_name_is_answered_with_what_is_known(name):
    with pytest.raises(ValueError, match=r"unknown model.*I3D-R\[18\|34\|50\|101\|152\]-f\[Z\].*SlowFast-R50"):
        models.build(name, 5)
    with pytest.raises(ValueError, match=r"I3D-R18-f8 takes .*width.*, not depth, kernel"):
        models.build("I3D-R18-f8", 5, kernel=3, depth=50)
    with pytest.raises(ValueError, match=r"multiple of 8"):
        models.build("I3D-R18-f12", 5, temporal_stride=True, width=8)


def test_options_of_a_network_are_of_the_kinds_that_its_builder_takes():
    model = models.build("I3D-R18-f4", np.int64(5), width=np.int32(8), dropout=np.float32(0.25))
    assert [type(model.arguments[name]) for name in ("num_classes", "width", "dropout")] == [int, int, float]
    for options, said in (({"width": "abc"}, "width"), ({"width": 8.0}, "width"), ({"width": True}, "width")):
        with pytest.raises(ValueError, match=f"{said} of I3D-R18-f4 must be a whole number, got"):
            models.build("I3D-R18-f4", 5, **options)


@pytest.mark.parametrize("module", [module.name for module in pkgutil.iter_modules(models.__path__)])
def test_examples_in_docstrings_run(module):
    found = importlib.import_module(f"lrp3d.models.{module}")
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name, member in vars(found).items():
        plain = getattr(member, "__wrapped__", member)
        if getattr(plain, "__module__", None) == found.__name__:
            for example in finder.find(plain, name, globs=dict(vars(found))):
                runner.run(example)
    assert runner.failures == 0
