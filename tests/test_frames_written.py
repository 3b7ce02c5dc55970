"""Frame logits of models written in other ways: time as the first axis, maxima inside frames, context of all frames."""

import pytest
import torch
from temporal_reference import VideoNet, clips, make
from torch import nn

import lrp3d


class Written(VideoNet):
    """`rows` are the logits (b, t, k) of all frames, `head` their mean, in the model's own way."""

    def build(self, width, classes):
        self.norm, self.lstm = nn.LayerNorm(width), nn.LSTM(width, width)
        self.squeeze = nn.Sequential(nn.Conv3d(width, 2, 1), nn.ReLU(), nn.Conv3d(2, width, 1))

    def head(self, x):
        return self.rows(x).mean(1)


class LogitsTimeFirst(Written):
    def rows(self, x):
        return self.fc(x.mean((3, 4)).transpose(1, 2))

    def head(self, x):
        return self.fc(x.mean((3, 4)).permute(2, 0, 1)).mean(0)


class FeaturesTimeFirst(LogitsTimeFirst):
    def head(self, x):
        return self.fc(x.mean((3, 4)).permute(2, 0, 1).mean(dim=0))


class SumTimeFirst(LogitsTimeFirst):
    def head(self, x):
        return self.fc(x.mean((3, 4)).permute(2, 0, 1)).sum(0) / x.shape[2]


class StatesTimeFirst(Written):
    """A recurrent layer as torch makes it by default."""

    def rows(self, x):
        return self.fc(self.lstm(x.mean((3, 4)).permute(2, 0, 1))[0]).transpose(0, 1)

    def head(self, x):
        return self.fc(self.lstm(x.mean((3, 4)).permute(2, 0, 1))[0]).mean(0)


class MaximumOverTokens(Written):
    """The largest of all places of a frame, channels last."""

    def rows(self, x):
        return self.fc(x.flatten(3).permute(0, 2, 3, 1).max(2)[0])


class Maxout(Written):
    """The largest of several linear functions of each frame."""

    def rows(self, x):
        x = self.norm(x.mean((3, 4)).transpose(1, 2))
        return self.fc(torch.stack([x, -x, 2 * x], -1).amax(-1))


class Context(Written):
    """What a small network makes of the mean of the clip is added to every frame (GCNet)."""

    def rows(self, x):
        return self.fc((x + self.squeeze(x.mean((2, 3, 4), keepdim=True))).mean((3, 4)).transpose(1, 2))


class PooledContext(Context):
    def head(self, x):
        return self.fc((x + self.squeeze(x.mean((2, 3, 4), keepdim=True))).mean((2, 3, 4)))


class Offset(LogitsTimeFirst):
    """A number is added behind the mean."""

    def rows(self, x):
        return super().rows(x) + 0.75

    def head(self, x):
        return self.fc(x.mean((2, 3, 4))) + 0.75


class EinsteinSum(Written):
    rows = LogitsTimeFirst.rows

    def head(self, x):
        return self.fc(torch.einsum("bcthw->bc", x) / x[0, 0].numel())


class EinsteinSumOfLogits(EinsteinSum):
    def head(self, x):
        return torch.einsum("tbk->bk", self.fc(x.mean((3, 4)).permute(2, 0, 1))) / x.shape[2]


class ProductWithAColumn(EinsteinSum):
    """Every value of a channel is multiplied by the same weight, and all are added up."""

    def head(self, x):
        n = x[0, 0].numel()
        return self.fc((x.flatten(2) @ x.new_full((n, 1), 1 / n)).squeeze(2))


class ProductWithAVector(EinsteinSum):
    def head(self, x):
        return self.fc(x.mean((3, 4)) @ x.new_full((x.shape[2],), 1 / x.shape[2]))


class ProductOfARow(EinsteinSum):
    def head(self, x):
        row = x.new_full((1, x.shape[2]), 1 / x.shape[2])
        return (row @ self.fc(x.mean((3, 4)).transpose(1, 2))).squeeze(1)


class Causal(Written):
    """Convolutions over time that pad both ends and cut off the last steps (TCN, Bai et al. 2018, arXiv:1803.01271)."""

    def build(self, width, classes):
        self.first = nn.Conv1d(width, width, 2, padding=1)
        self.second = nn.Conv1d(width, width, 2, padding=2, dilation=2)

    def rows(self, x):
        x = self.first(x.mean((3, 4)))[:, :, :-1].relu()
        return self.fc(self.second(x)[:, :, :-2].relu().transpose(1, 2))


class ClassTokens(Written):
    """An image transformer with a class token on every frame (CLIP4Clip with mean pooling, arXiv:2104.08860)."""

    def build(self, width, classes):
        self.token = nn.Parameter(torch.rand(1, 1, width))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 8, batch_first=True) for _ in range(2))
        self.over_time = nn.TransformerEncoderLayer(width, 2, 8, batch_first=True, norm_first=True)

    def tokens(self, x):
        patches = x.permute(0, 2, 3, 4, 1).flatten(2, 3).flatten(0, 1)  # (b t, h w, c)
        y = torch.cat([self.token.expand(len(patches), -1, -1), patches], 1)
        for block in self.blocks:
            y = block(y)
        return y[:, 0].unflatten(0, (len(x), -1))

    def rows(self, x):
        return self.fc(self.tokens(x))


class ClassTokensOverTime(ClassTokens):
    """A second transformer over the class tokens of all frames (ViViT's factorised encoder, arXiv:2103.15691)."""

    def rows(self, x):
        return self.fc(self.over_time(self.tokens(x)))


NETS = [
    ClassTokens,
    ClassTokensOverTime,
    Causal,
    EinsteinSum,
    EinsteinSumOfLogits,
    ProductWithAColumn,
    ProductWithAVector,
    ProductOfARow,
    LogitsTimeFirst,
    FeaturesTimeFirst,
    SumTimeFirst,
    StatesTimeFirst,
    MaximumOverTokens,
    Maxout,
    Context,
    PooledContext,
    Offset,
]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("batch", [1, 2, 6])
def test_frame_logits_are_found_however_the_mean_over_time_is_written(net, batch):
    model, clip = make(net), clips(batch, 6, 4)
    target = [i % 4 for i in range(batch)]
    wanted = model.rows(model.trunk(clip))[range(batch), :, target]
    for contrastive in (False, True):
        found = lrp3d.explain(model, clip, target, contrastive=contrastive)
        assert found.matrix.shape == (batch, 6, 6)
        torch.testing.assert_close(found.frame_logits, wanted.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found.matrix.sum(2), found.frame_logits, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.frame_logits.mean(1), model(clip).detach()[range(batch), target])


def test_time_first_is_time_second_in_another_order():
    """Maps and matrices are the same, of classes with logits of either sign."""
    first, second = make(LogitsTimeFirst), make(LogitsTimeFirst)
    second.head = lambda x: second.rows(x).mean(1)
    clip = clips(6, 6, 4)
    found, wanted = lrp3d.explain(first, clip, 2), lrp3d.explain(second, clip, 2)
    torch.testing.assert_close(found.matrix, wanted.matrix)
    torch.testing.assert_close(found.relevance, wanted.relevance)


def test_a_matrix_of_causal_convolutions_has_the_clips_frames_as_columns_and_no_later_frame_counts():
    explanation = lrp3d.explain(make(Causal), clips(1, 6, 4), contrastive=False)
    assert explanation.positions is None
    assert explanation.unit == "frames"
    later = explanation.matrix[0].triu(3)  # the trunk sees two frames ahead
    assert later.abs().max() == 0
    assert lrp3d.intervention_matrix(make(Causal), clips(1, 6, 4)).shape == (1, 6, 6)
    strided = lrp3d.explain(make(Causal, stride=2), clips(1, 12, 4), contrastive=False)
    assert strided.matrix.shape == (1, 6, 6)


def test_a_model_that_answers_from_some_of_the_steps_that_its_padding_made_is_refused():
    """Which frame each of them stands for is not known."""

    class SomeSteps(Written):
        def build(self, width, classes):
            self.conv = nn.Conv1d(width, width, 3)

        def head(self, x):
            x = nn.functional.pad(x.mean((3, 4)), (2, 2))
            return self.fc(self.conv(x).relu()[:, :, ::2].mean(2))

    with pytest.raises(lrp3d.NoFrameLogits, match="more steps of time than the clip has frames"):
        lrp3d.explain(make(SomeSteps), clips(1, 6, 4))


class TwoQueries(Written):
    """Frames weighted by two softmaxes over time; `test_frames_queries` has those that are pools."""

    def head(self, x):
        x = x.mean((3, 4)).transpose(1, 2)
        return self.fc((self.fc(x)[..., :2].softmax(1).transpose(1, 2) @ x).amax(1))


class SmoothMaximum(Written):
    def head(self, x):
        return self.fc(x.mean((3, 4)).transpose(1, 2)).logsumexp(1) - 1.5


class LastState(Written):
    def head(self, x):
        return self.fc(self.norm(self.lstm(x.mean((3, 4)).permute(2, 0, 1))[0][-1]))


@pytest.mark.parametrize(
    ("net", "operation"), [(TwoQueries, "amax"), (SmoothMaximum, "logsumexp"), (LastState, "norm.*layer_norm")]
)
def test_the_reason_of_a_refusal_names_what_is_not_linear_and_claims_no_average_over_time(net, operation):
    said = f"finds no average over time between .*{operation}.*, which is not linear, and the logits"
    with pytest.raises(lrp3d.NoFrameLogits, match=said) as refused:
        lrp3d.explain(make(net), clips())
    assert "comes from all time steps" not in str(refused.value)


class SumOfUnlikeFrames(Written):
    """Frames are added one by one, but not all as they are, and places are averaged afterwards."""

    def head(self, x):
        unlike = [frame if i % 2 else frame * 1.5 for i, frame in enumerate(x.unbind(2))]
        return self.fc(sum(unlike).mean((2, 3)) / x.shape[2])


class LastOfASum(Written):
    """The last of a cumulative sum is the sum over time."""

    def head(self, x):
        return self.fc(x.mean((3, 4)).cumsum(2)[..., -1] / x.shape[2])


class OtherClips(Written):
    """The mean logits of all clips of the batch are taken off."""

    def head(self, x):
        logits = self.fc(x.mean((2, 3, 4)))
        return logits - logits.mean(0, keepdim=True)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (
            SumOfUnlikeFrames,
            "'mean' averages 4 entries that all come from the same time steps, so that none of them is a frame",
        ),
        (LastOfASum, "or the average is written in a way that lrp3d does not know; it knows mean, sum"),
        (OtherClips, r"between 'sub' \(sub\), which takes off a mean, and the logits"),
    ],
)
def test_a_mean_over_time_that_is_not_known_is_refused_for_a_reason_that_is_true(net, reason):
    with pytest.raises(lrp3d.NoFrameLogits, match=reason):
        lrp3d.explain(make(net), clips(2, 6, 4))


class Mixer(VideoNet):
    """An MLP-Mixer over frames, whose layers over tokens are linear, or convolutions with tokens as channels."""

    def build(self, width, classes):
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Conv1d(8, 12, 1), nn.Conv1d(12, 8, 1)

    def over_tokens(self, x):
        return self.down(torch.relu(self.up(self.norm(x))))

    def head(self, x):
        x = x.mean((3, 4)).transpose(1, 2)  # (b, t, c)
        return self.fc((x + self.over_tokens(x)).mean(1))


class LinearMixer(Mixer):
    def over_tokens(self, x):
        x = nn.functional.linear(self.norm(x).transpose(1, 2), self.up.weight[:, :, 0], self.up.bias)
        x = nn.functional.linear(torch.relu(x), self.down.weight[:, :, 0], self.down.bias)
        return x.transpose(1, 2)


class MeanOfFeatures(Mixer):
    """Tokens become the features of the classifier, and features, as many as frames, are averaged."""

    def build(self, width, classes):
        super().build(8, classes)
        self.over, self.fc = nn.Conv1d(8, width, 1), nn.Linear(width, classes)
        self.wide = nn.Conv3d(width, 8, 1)

    def head(self, x):
        return self.fc(self.over(self.wide(x).mean((3, 4)).transpose(1, 2)).mean(2))


def test_tokens_are_mixed_by_convolutions_as_by_linear_layers():
    clip = clips()
    found, wanted = (lrp3d.explain(make(net), clip, 0, contrastive=False) for net in (Mixer, LinearMixer))
    for name in ("relevance", "frame_logits", "matrix"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-9, atol=1e-12)


def test_features_where_a_convolution_has_its_time_are_no_frames():
    with pytest.raises(lrp3d.NoFrameLogits, match="comes from all time steps"):
        lrp3d.explain(make(MeanOfFeatures), clips())


@pytest.mark.parametrize("equation", ["bcthw->bc", "bcthw->cb", "bcthw->htb", "bcthw->wthcb", "bcthw->", "...w"])
def test_an_einstein_sum_of_one_tensor_shares_as_a_sum_over_axes_does(equation):
    class OfOne(nn.Module):
        def __init__(self, written):
            super().__init__()
            self.conv, self.written = nn.Conv3d(3, 2, 1), written

        def forward(self, x):
            return self.written(self.conv(x).relu()).flatten().unsqueeze(0)[:, :3]

    x = torch.rand(1, 3, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, wanted = (
        torch.manual_seed(1) and OfOne(sums).double().eval()
        for sums in (lambda y: torch.einsum(equation, y), lambda y: _summed_over(y, equation))
    )
    torch.testing.assert_close(found(x), wanted(x))
    for contrastive in (False, True):
        found_relevance, wanted_relevance = (
            lrp3d.explain(net, x, 0, temporal=False, contrastive=contrastive).relevance for net in (found, wanted)
        )
        torch.testing.assert_close(found_relevance, wanted_relevance)


def _summed_over(y, equation):
    """The same with `sum` and `permute`."""
    kept = {"...w": "bcthw"}.get(equation, equation.partition("->")[2])
    axes = [i for i, letter in enumerate("bcthw") if letter not in kept]
    left = [letter for letter in "bcthw" if letter in kept]
    return (y.sum(axes) if axes else y).permute([left.index(letter) for letter in kept])
