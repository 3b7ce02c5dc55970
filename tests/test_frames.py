"""Frame logits: every video model that has exact ones is understood, any other refused with its reason."""

import einops
import pytest
import temporal_reference as reference
import torch
from temporal_reference import (
    CLASSIFIED,
    POOLED,
    SomeFeatures,
    SomeFrames,
    TwoPathways,
    VideoNet,
    clips,
    make,
)
from torch import nn

import lrp3d
from lrp3d.propagation import frame_logits

EVERY = pytest.mark.parametrize("net", CLASSIFIED + POOLED)


def agree(model, clip, target, rows):
    explanation = lrp3d.explain(model, clip, target)
    expected = reference.frame_logits(model, clip, explanation.target.tolist(), rows)
    torch.testing.assert_close(explanation.frame_logits, expected, rtol=1e-9, atol=1e-12)
    logits = model(clip).gather(1, explanation.target[:, None]).squeeze(1)
    torch.testing.assert_close(explanation.frame_logits.mean(1), logits, rtol=1e-9, atol=1e-12)
    return explanation


@EVERY
def test_frame_logits_are_those_of_the_frames_features(net):
    explanation = agree(make(net), clips(3), [0, 3, 1], 8)
    assert explanation.positions is None


@EVERY
def test_negative_frame_logits_stay_negative(net):
    model, clip = make(net), clips(1)
    worst = int(model(clip).argmin())
    assert (agree(model, clip, worst, 8).frame_logits < 0).any()


@EVERY
def test_frame_logits_need_no_relevance(net):
    model, clip = make(net), clips()
    assert torch.equal(lrp3d.frame_logits(model, clip, 2), lrp3d.explain(model, clip, 2).frame_logits)


def test_frame_logits_may_cancel_to_a_logit_of_nearly_nothing():
    model, clip = make(reference.AdaptivePool).float(), clips(1).float()
    with torch.no_grad():
        model.fc.weight *= 100
        model.fc.bias -= model(clip)[0]
    found = lrp3d.frame_logits(model, clip, 0)
    rounding = (found.mean() - model(clip)[0, 0]).abs()
    assert rounding > 1e-4 * model(clip)[0, 0].abs(), "more than is forgiven where nothing cancels"


@EVERY
def test_temporal_stride_leaves_one_logit_for_a_block_of_frames(net):
    if issubclass(net, reference.Folded):
        pytest.skip("no stride in time")
    explanation = agree(make(net, stride=2), clips(), [0, 1], 4)
    assert explanation.matrix.shape == (2, 4, 4)


@pytest.mark.parametrize("net", [SomeFrames, SomeFeatures])
def test_a_model_that_answers_from_some_frames_has_their_rows_and_all_columns(net):
    explanation = agree(make(net), clips(), [0, 1], 2)
    assert explanation.positions == [2, 6]
    assert explanation.matrix.shape == (2, 2, 8)
    assert explanation.atr.shape == (2, 2)


def test_slow_logits_stand_at_the_slow_frames_of_the_fast_clock():
    model, fast = make(TwoPathways), clips(2, 8)
    pathways = [clips(2, 2, seed=3), fast]
    explanation = lrp3d.explain(model, pathways, [1, 2])
    on_fast_clock = reference.frame_logits(model, pathways, [1, 2], 8)
    torch.testing.assert_close(explanation.frame_logits, on_fast_clock.unflatten(1, (2, 4)).sum(2))
    assert explanation.matrix.shape == (2, 2, 2)


def test_frame_logits_of_pathways_average_to_the_clips_logit_if_asked_to():
    model, pathways = make(TwoPathways), [clips(2, 2, seed=3), clips(2, 8)]
    model.merge = "average"
    explanation = lrp3d.explain(model, pathways, [1, 2], merge="average")
    on_fast_clock = reference.frame_logits(model, pathways, [1, 2], 8)
    torch.testing.assert_close(explanation.frame_logits, on_fast_clock.unflatten(1, (2, 4)).mean(2))
    logits = model(pathways)[torch.arange(2), torch.tensor([1, 2])]
    torch.testing.assert_close(explanation.frame_logits.mean(1), logits)


def test_frame_logits_that_cancel_are_still_themselves():
    """The clip's logit is zero, those of its frames are not."""
    model, clip = make(reference.LinearPerFrame), clips(1)
    shift = model(clip)[0, 0].item()
    model.fc.bias.data[0] -= shift
    agree(model, clip, 0, 8)
    with torch.no_grad():
        model.fc.weight.zero_()
        model.fc.bias.zero_()
    assert torch.equal(lrp3d.explain(model, clip, 0).frame_logits, torch.zeros(1, 8, dtype=torch.float64))


def test_frame_logits_do_not_depend_on_the_rule_of_the_average():
    model, clip = make(reference.LinearPerFrame), clips(1)
    worst = int(model(clip).argmin())
    composite = lrp3d.Composite(operations={torch.mean: lrp3d.rules.ZPlus()})
    found = lrp3d.explain(model, clip, worst, composite=composite).frame_logits
    torch.testing.assert_close(found, reference.frame_logits(model, clip, [worst], 8))


# --------------------------------------------------------------------------------------------- other layouts


class Laid(nn.Module):
    """A model that takes its clips in another layout."""

    def __init__(self, model, layout, **sizes):
        super().__init__()
        self.model, self.layout, self.sizes = model, layout, sizes

    def forward(self, clip):
        pattern = self.layout if " " in self.layout else " ".join(self.layout)
        return self.model(einops.rearrange(clip, f"{pattern} -> b c t h w", **self.sizes))


@pytest.mark.parametrize(
    ("layout", "sizes"), [("btchw", {}), ("b (t c) h w", {"c": 3}), ("(b t) c h w", {"t": 8}), ("tbchw", {})]
)
@pytest.mark.parametrize("net", [reference.Folded, reference.AdaptivePool])
def test_the_layout_of_the_clip_changes_nothing(net, layout, sizes):
    model, clip = make(net), clips()
    expected = lrp3d.explain(model, clip, [0, 1], input_range=(-4, 4))
    pattern = layout if " " in layout else " ".join(layout)
    laid = einops.rearrange(clip, f"b c t h w -> {pattern}")
    found = lrp3d.explain(Laid(model, layout, **sizes).eval(), laid, [0, 1], layout=layout, input_range=(-4, 4))
    torch.testing.assert_close(found.frame_logits, expected.frame_logits)
    torch.testing.assert_close(found.matrix, expected.matrix)
    back = einops.rearrange(found.relevance, f"{pattern} -> b c t h w", **({"b": 2} | sizes))
    torch.testing.assert_close(back, expected.relevance)


class Fused(nn.Module):
    """The logits of two networks, or of two views of the clip, each of which averages those of its frames."""

    def __init__(self, first, second, view=lambda clip: clip):
        super().__init__()
        self.first, self.second, self.view = first, second, view

    def forward(self, clip):
        return 0.4 * self.first(clip) + 0.6 * self.second(self.view(clip))


def test_rows_of_several_averages_of_frame_logits_are_those_of_their_sum():
    parts, clip = [make(reference.Folded, seed=seed) for seed in (0, 1)], clips()
    found = lrp3d.explain(Fused(*parts, lambda clip: clip.flip(-1)).eval(), clip, [0, 1])
    views = zip(parts, (clip, clip.flip(-1)), strict=True)
    first, second = (reference.frame_logits(part, view, [0, 1], 8) for part, view in views)
    wanted = 0.4 * first + 0.6 * second
    torch.testing.assert_close(found.frame_logits, wanted)
    torch.testing.assert_close(found.matrix.sum(2), wanted)


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_network_fused_with_itself_is_explained_as_it_is(target, contrastive):
    model, clip = make(reference.Folded), clips()
    found, wanted = (
        lrp3d.explain(net, clip, target, contrastive=contrastive) for net in (Fused(model, model).eval(), model)
    )
    for name in ("relevance", "frame_logits", "matrix"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-6, atol=1e-9)


# -------------------------------------------------------------------------------------------------- refusals


class ReluAfterPool(VideoNet):
    def build(self, width, classes):
        self.hidden = nn.Linear(width, width)

    def head(self, x):
        return self.fc(torch.relu(self.hidden(x.mean((2, 3, 4)))))


class MeanOfWhatIsPooled(VideoNet):
    """As in X3D: features are pooled, then comes an activation; the logits have axes of one place to average over."""

    def build(self, width, classes):
        self.hidden = nn.Linear(width, width)

    def head(self, x):
        x = torch.relu(self.hidden(nn.functional.adaptive_avg_pool3d(x, 1).permute(0, 2, 3, 4, 1)))
        return self.fc(x).mean((1, 2, 3))


class MaxOverFrames(VideoNet):
    def head(self, x):
        return self.fc(x.mean((3, 4)).transpose(1, 2)).amax(1)


class TimeInTheClassifier(VideoNet):
    def build(self, width, classes):
        self.fc = nn.Linear(8 * width, classes)

    def head(self, x):
        return self.fc(x.mean((3, 4)).flatten(1))


class TimeAndSpaceInOneAxis(VideoNet):
    def head(self, x):
        return self.fc(x.flatten(2).mean(2))


class WeightedFrames(VideoNet):
    def head(self, x):
        logits = self.fc(x.mean((3, 4)).transpose(1, 2))
        return (logits * torch.arange(1.0, 9.0).to(logits)[:, None]).sum(1)


class BesideThePool(VideoNet):
    """Some features are pooled over time, some are those of the first frame alone."""

    def head(self, x):
        return self.fc(x.mean((2, 3, 4)) + x[:, :, 0].mean((2, 3)))


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (ReluAfterPool, "relu.*not linear"),
        (MeanOfWhatIsPooled, "relu.*not linear"),
        (MaxOverFrames, "amax"),
        (TimeInTheClassifier, "never averages over time|not linear"),
        (BesideThePool, ""),
    ],
)
def test_models_without_exact_frame_logits_are_refused_with_the_reason(net, reason):
    model, clip = make(net), clips(size=4)
    with pytest.raises(lrp3d.NoFrameLogits, match=f"(?s){reason}.*temporal=False"):
        lrp3d.explain(model, clip)
    with pytest.raises(lrp3d.NoFrameLogits):
        lrp3d.frame_logits(model, clip)
    assert lrp3d.explain(model, clip, temporal=False).matrix is None


@pytest.mark.parametrize(("size", "stride"), [(4, 1), (2, 4)])
def test_time_and_space_in_one_axis_are_told_apart(size, stride):
    """As many features of every frame: two frames of 2 x 2 features are not eight frames."""

    class ApartAsTheyAre(VideoNet):
        def head(self, x):
            return self.fc(x.mean((2, 3, 4)))

    model, plain = make(TimeAndSpaceInOneAxis, stride=stride), make(ApartAsTheyAre, stride=stride)
    plain.load_state_dict(model.state_dict())
    clip = clips(size=size)
    found, wanted = lrp3d.explain(model, clip, 0), lrp3d.explain(plain, clip, 0)
    torch.testing.assert_close(found.frame_logits, wanted.frame_logits)
    torch.testing.assert_close(found.matrix, wanted.matrix)


def test_a_weighted_mean_of_frames_is_a_mean_of_weighted_frame_logits():
    model, clip = make(WeightedFrames), clips(1)
    explanation = lrp3d.explain(model, clip, 0)
    expected = reference.frame_logits(model, clip, [0], 8) * torch.arange(1.0, 9.0) * 8
    torch.testing.assert_close(explanation.frame_logits, expected)


@pytest.mark.parametrize("layout", ["bcthw", "btchw", "(b t) c h w", "b (t c) h w"])
def test_one_frame_is_no_video(layout):
    model = make(reference.AdaptivePool)
    clip = einops.rearrange(clips(2, 1), f"b c t h w -> {layout if ' ' in layout else ' '.join(layout)}")
    sizes = {"t": 1} if layout == "(b t) c h w" else {"c": 3} if " " in layout else {}
    laid = Laid(model, layout, **sizes).eval()
    with pytest.raises(ValueError, match="at least 2 frames"):
        lrp3d.explain(laid, clip, layout=layout)
    assert lrp3d.explain(laid, clip, layout=layout, temporal=False).matrix is None


def test_strides_that_use_up_the_clip_are_named():
    with pytest.raises(lrp3d.NoFrameLogits, match="more frames"):
        lrp3d.explain(make(reference.AdaptivePool, stride=4), clips(t=4))


def test_images_have_no_temporal_relevance():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    images = torch.rand(2, 3, 6, 6)
    assert lrp3d.explain(model, images).matrix is None
    with pytest.raises(ValueError, match="frame logits need clips"):
        lrp3d.frame_logits(model, images)


@pytest.mark.parametrize("measure", [lrp3d.explain, lrp3d.frame_logits, lrp3d.intervention_matrix])
def test_targets_are_one_class_or_one_per_clip(measure):
    model, clip = make(reference.AdaptivePool), clips()
    with pytest.raises(ValueError, match=r"one per clip \(2\)"):
        measure(model, clip, [0, 1, 2])
    with pytest.raises(ValueError, match="from 0 to 3"):
        measure(model, clip, 4)
    with pytest.raises(TypeError, match="whole number"):
        measure(model, clip, 0.5)


class BesideAllFrames(VideoNet):
    """To the features of every frame something is added that was taken from all of them."""

    def head(self, x):
        x = x.mean((3, 4)).transpose(1, 2)
        return self.fc(x + type(self).all_frames(x)).mean(1)


ALL_FRAMES = {
    "maximum": lambda x: x.amax(1, keepdim=True),
    "smooth maximum": lambda x: x.logsumexp(1, keepdim=True),
    "mean": lambda x: x.mean(1, keepdim=True),
    "attention": lambda x: (x @ x.mT).softmax(-1) @ x,
}


@pytest.mark.parametrize("name", ALL_FRAMES)
def test_what_all_frames_say_together_may_be_added_to_each(name):
    """It tells no frame from another, and the way around it does."""
    net = type("Beside", (BesideAllFrames,), {"all_frames": staticmethod(ALL_FRAMES[name])})
    model, clip = make(net), clips()
    found = lrp3d.explain(model, clip, [0, 1], contrastive=False)
    features = model.trunk(clip).mean((3, 4)).transpose(1, 2)
    rows = model.fc(features + ALL_FRAMES[name](features))
    torch.testing.assert_close(found.frame_logits, rows[[0, 1], :, [0, 1]], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.matrix.sum(2), found.frame_logits, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("attention", "'matmul_1' weighs all frames for each of 8 results that belong to frames as well"),
        ("maximum", "each of the values that 'mean_1' averages comes from all time"),
    ],
)
def test_frames_that_were_mixed_before_they_are_averaged_are_the_reason_of_a_refusal(name, reason):
    class Alone(VideoNet):
        def head(self, x):
            x = x.mean((3, 4)).transpose(1, 2)
            return self.fc(ALL_FRAMES[name](x).expand_as(x)).mean(1)

    with pytest.raises(lrp3d.NoFrameLogits, match=reason):
        lrp3d.explain(make(Alone), clips())


@pytest.mark.parametrize("net", [reference.LinearPerFrame, reference.AdaptivePool, TwoPathways])
def test_frame_logits_whose_mean_is_not_the_logit_are_refused(net, monkeypatch):
    """Whatever the graph looks like: the mean is compared with the logit of the clip at hand."""
    model = make(net)
    clip = [clips(2, 2, seed=3), clips(2, 8)] if net is TwoPathways else clips()
    replayed = frame_logits._replay

    def off(*arguments, **options):
        return replayed(*arguments, **options) * factor

    monkeypatch.setattr(frame_logits, "_replay", off)
    factor = 1 + 1e-7
    lrp3d.explain(model, clip, [0, 1])
    factor = 1 + 1e-3
    with pytest.raises(lrp3d.NoFrameLogits, match=r"the mean of the frame logits, .* is not the logit"):
        lrp3d.explain(model, clip, [0, 1])
