"""The intervention matrix is frames replaced one by one, in the same rows and columns as relevance."""

import pytest
import temporal_reference as reference
import torch
from temporal_reference import CLASSIFIED, POOLED, SomeFeatures, TwoPathways, clips, make
from torch import nn

import lrp3d
from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr

EVERY = pytest.mark.parametrize("net", CLASSIFIED + POOLED)
TARGET = [0, 3]


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def substitute(clip, j, occluder):
    """What stands in for frame j (b, c, h, w), by hand."""
    last = clip.shape[2] - 1
    before, behind = (j - 1, j + 1) if 0 < j < last else (1, 1) if j == 0 else (last - 1, last - 1)
    return {
        "neighbours": (clip[:, :, before] + clip[:, :, behind]) / 2,
        "nearest": clip[:, :, before],
        "mean": clip.mean(2),
        "blank": torch.zeros_like(clip[:, :, j]),
    }[occluder]


@pytest.mark.parametrize("occluder", ["neighbours", "nearest", "mean", "blank"])
@pytest.mark.parametrize("net", [reference.Folded, reference.AdaptivePool])
def test_every_column_is_what_frame_logits_lose_with_that_frame(net, occluder):
    model, clip = make(net), clips(t=5)
    found = lrp3d.intervention_matrix(model, clip, TARGET, occluder=occluder)
    before = reference.frame_logits(model, clip, TARGET, 5)
    for j in range(5):
        replaced = clip.clone()
        replaced[:, :, j] = substitute(clip, j, occluder)
        same(found[:, :, j], before - reference.frame_logits(model, replaced, TARGET, 5))


@EVERY
def test_whatever_is_explained_can_be_measured_in_the_same_shape(net):
    model, clip = make(net), clips()
    found = lrp3d.intervention_matrix(model, clip, TARGET)
    assert found.shape == lrp3d.explain(model, clip, TARGET).matrix.shape
    assert found.diagonal(dim1=1, dim2=2).abs().min() > 0


def test_with_temporal_stride_the_frames_of_a_block_are_replaced_together():
    model, clip = make(reference.AdaptivePool, stride=2), clips(t=8)
    found = lrp3d.intervention_matrix(model, clip, TARGET)
    before = reference.frame_logits(model, clip, TARGET, 4)
    for j, (first, last) in enumerate([(2, 2), (1, 4), (3, 6), (5, 5)]):  # the frames around each block
        replaced = clip.clone()
        replaced[:, :, 2 * j : 2 * j + 2] = ((clip[:, :, first] + clip[:, :, last]) / 2).unsqueeze(2)
        same(found[:, :, j], before - reference.frame_logits(model, replaced, TARGET, 4))


def test_the_nearest_frame_is_the_nearest_that_stays():
    model, clip = make(reference.AdaptivePool, stride=2), clips(t=8)
    found = lrp3d.intervention_matrix(model, clip, TARGET, occluder="nearest")
    before = reference.frame_logits(model, clip, TARGET, 4)
    for j, (first, second) in enumerate([(2, 2), (1, 4), (3, 6), (5, 5)]):
        replaced = clip.clone()
        replaced[:, :, 2 * j], replaced[:, :, 2 * j + 1] = clip[:, :, first], clip[:, :, second]
        same(found[:, :, j], before - reference.frame_logits(model, replaced, TARGET, 4))


def test_a_model_that_answers_from_some_frames_is_measured_at_every_frame():
    model, clip = make(SomeFeatures), clips(t=8)
    found = lrp3d.intervention_matrix(model, clip, TARGET, occluder="blank")
    assert found.shape == (2, 2, 8)
    before = reference.frame_logits(model, clip, TARGET, 2)
    for j in range(8):
        replaced = clip.clone()
        replaced[:, :, j] = 0
        same(found[:, :, j], before - reference.frame_logits(model, replaced, TARGET, 2))


@pytest.mark.parametrize("merge", ["paper", "average"])
def test_a_frame_is_replaced_in_every_pathway(merge):
    """Slow frames 0 and 7 of the fast clock lie in its first and its last half."""
    model, (slow, fast) = make(TwoPathways), (clips(t=2, seed=3), clips(t=8))
    model.merge = merge
    found = lrp3d.intervention_matrix(model, [slow, fast], TARGET, occluder="nearest", merge=merge)
    before = reference.frame_logits(model, [slow, fast], TARGET, 8)
    for j, frames, nearest in ((0, slice(0, 4), 4), (1, slice(4, 8), 3)):
        other_slow, other_fast = slow.clone(), fast.clone()
        other_slow[:, :, j] = slow[:, :, 1 - j]
        other_fast[:, :, frames] = fast[:, :, nearest : nearest + 1]
        after = reference.frame_logits(model, [other_slow, other_fast], TARGET, 8)
        in_blocks = (before - after).unflatten(1, (2, 4)).sum(2)
        same(found[:, :, j], in_blocks if merge == "paper" else in_blocks / 4)


@pytest.mark.parametrize("net", [reference.Folded, reference.AdaptivePool])
def test_nothing_depends_on_how_many_clips_go_through_at_once(net):
    model, clip = make(net), clips()
    expected = lrp3d.intervention_matrix(model, clip, TARGET)
    for chunk_size in (1, 3, 100):
        same(lrp3d.intervention_matrix(model, clip, TARGET, chunk_size=chunk_size), expected)
    for b, k in enumerate(TARGET):
        same(lrp3d.intervention_matrix(model, clip[b : b + 1], k)[0], expected[b])


class FramesFirst(nn.Module):
    """Folds frames into the batch before clips: only of a single clip it is known which row belongs to which frame."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1, dtype=torch.double), nn.Linear(4, 5, dtype=torch.double)

    def forward(self, x):
        frames = self.fc(torch.relu(self.conv(x.permute(2, 0, 1, 3, 4).flatten(0, 1))).mean((2, 3)))
        return frames.unflatten(0, (x.shape[2], len(x))).mean(0)


def test_clips_that_have_frame_logits_alone_only_are_measured_one_by_one():
    torch.manual_seed(0)
    model, clip = FramesFirst().eval(), clips(b=1)
    expected = lrp3d.explain(model, clip, 3).frame_logits
    for chunk_size in (None, 1, 2):
        found = lrp3d.intervention_matrix(model, clip, 3, chunk_size=chunk_size)
        assert found.shape == (1, clip.shape[2], clip.shape[2])
        same(found, found.diagonal(dim1=1, dim2=2).diag_embed())
        alone = lrp3d.frame_logits(model, substitute(clip, 2, "neighbours").unsqueeze(2).expand_as(clip), 3)[:, 2]
        same(found[:, 2, 2], expected[:, 2] - alone)


@pytest.mark.parametrize(("layout", "axes"), [("btchw", (0, 2, 1, 3, 4)), ("tbchw", (2, 0, 1, 3, 4))])
def test_the_layout_of_the_clip_changes_nothing(layout, axes):
    model, clip = make(reference.AdaptivePool), clips()

    class Laid(nn.Module):
        def forward(self, x):
            return model(x.permute(*(axes.index(i) for i in range(5))))

    found = lrp3d.intervention_matrix(Laid().eval(), clip.permute(axes), TARGET, layout=layout)
    same(found, lrp3d.intervention_matrix(model, clip, TARGET))


class Sum(nn.Module):
    """Linear in the clip: frame logit i is a sum over all frames."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0), bias=False)

    def forward(self, clip):
        return self.mix(clip).mean((2, 3, 4))


def test_blank_frames_take_away_what_a_linear_model_got_from_them():
    model, clip = make(Sum), clips()
    found = lrp3d.intervention_matrix(model, clip, TARGET, occluder="blank")
    same(found.sum(2), lrp3d.frame_logits(model, clip, TARGET))
    epsilon = lrp3d.explain(model, clip, TARGET, contrastive=False, composite="epsilon").matrix
    torch.testing.assert_close(found, epsilon, rtol=1e-5, atol=1e-6)  # up to epsilon itself


def test_a_frame_that_speaks_for_the_class_has_a_positive_column():
    model, clip = make(Sum), clips(1).abs()
    with torch.no_grad():
        model.mix.weight.abs_()
    assert (lrp3d.intervention_matrix(model, clip, 0, occluder="blank")[0].diagonal() > 0).all()
    with torch.no_grad():
        model.mix.weight.neg_()
    assert (lrp3d.intervention_matrix(model, clip, 0, occluder="blank")[0].diagonal() < 0).all()


def test_a_blank_frame_has_a_colour():
    model, clip = make(reference.AdaptivePool), clips()
    clip[:, :, 2] = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)[:, None, None]
    found = lrp3d.intervention_matrix(model, clip, TARGET, occluder="blank", value=[0.1, 0.2, 0.3])
    assert found[:, :, 2].abs().max() < 1e-15  # logits of another number of clips at once may be rounded otherwise
    assert torch.all(found[:, 3, 3] != 0)


@pytest.mark.parametrize("occluder", ["neighbours", "nearest", "mean"])
def test_no_frame_of_a_still_clip_is_missed(occluder):
    model, clip = make(reference.LinearPerFrame), clips(t=1).expand(-1, -1, 8, -1, -1)
    found = lrp3d.intervention_matrix(model, clip, TARGET, occluder=occluder)
    same(found, torch.zeros_like(found))


def test_the_atr_functions_take_it_as_they_take_relevance():
    model, clip = make(reference.AdaptivePool), clips()
    found = lrp3d.intervention_matrix(model, clip, TARGET, occluder="blank")
    atr = frame_atr(found)
    assert atr.shape == (2, 8)
    assert ((atr >= 1) & (atr <= 5)).all()  # two kernels of three
    assert (avg_atr(atr, lrp3d.frame_logits(model, clip, TARGET)) <= max_atr(atr)).all()


# ------------------------------------------------------------------------------ the model's own frame logits


class WithFrameLogits(reference.LinearPerFrame):
    """Counts how it is asked."""

    asked = 0

    def frame_logits(self, clip):
        WithFrameLogits.asked += 1
        return self.fc(self.trunk(clip).mean((3, 4)).transpose(1, 2))


class WithWrongFrameLogits(reference.LinearPerFrame):
    def frame_logits(self, clip):
        return self.fc(self.trunk(clip).mean((3, 4)).transpose(1, 2)).flip(1)


class WithFrameLogitsOfPairs(reference.LinearPerFrame):
    def frame_logits(self, clip):
        return self.fc(self.trunk(clip).mean((3, 4)).transpose(1, 2)).unflatten(1, (-1, 2)).mean(2)


def test_a_models_own_frame_logits_are_used_where_they_are_the_graphs():
    expected = lrp3d.intervention_matrix(make(reference.LinearPerFrame), clips(), TARGET)
    before = WithFrameLogits.asked
    same(lrp3d.intervention_matrix(make(WithFrameLogits), clips(), TARGET, chunk_size=4), expected)
    assert WithFrameLogits.asked - before == 1 + 16 // 4
    for others in (WithWrongFrameLogits, WithFrameLogitsOfPairs):
        same(lrp3d.intervention_matrix(make(others), clips(), TARGET), expected)


def test_the_model_and_the_clip_come_back_untouched():
    model, clip = make(reference.Folded), clips()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kept = clip.clone()
    lrp3d.intervention_matrix(model, clip, TARGET)
    assert torch.equal(clip, kept)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not lrp3d.intervention_matrix(model, clip.requires_grad_(), TARGET).requires_grad


def test_it_does_not_matter_in_which_mode_it_is_called():
    model, clip = make(reference.AdaptivePool), clips()
    expected = lrp3d.intervention_matrix(model, clip, TARGET)
    with torch.no_grad():
        same(lrp3d.intervention_matrix(model, clip, TARGET), expected)
    with torch.inference_mode():
        same(lrp3d.intervention_matrix(model, clip.clone(), TARGET).clone(), expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"occluder": "noise"},
            "occluder must be one of 'neighbours', 'nearest', 'mean', 'blank', got 'noise'",
        ),
        *(
            ({"occluder": occluder, "value": [1.0, 2.0]}, r"one per channel \(3\), got 2")
            for occluder in ("neighbours", "nearest", "mean", "blank")
        ),
        *(
            (
                {"occluder": occluder, "value": value},
                r"value must be one number or one per channel \(3\), and finite, got",
            )
            for occluder in ("neighbours", "blank")
            for value in (float("nan"), [0.0, float("inf"), 1.0])
        ),
        ({"value": "a"}, r"value must be one number or one per channel \(3\), got 'a'"),
        ({"chunk_size": 0}, "chunk_size must be a whole number of at least 1, got 0"),
        ({"layout": "bcth"}, "layout names the axes"),
        ({"layout": "b (c t h w"}, "layout names the axes"),
        ({"layout": "b c t) h w"}, "layout names the axes"),
        ({"layout": "b ((c t) h) w"}, "layout names the axes"),
    ],
)
def test_what_makes_no_sense_is_refused(options, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        lrp3d.intervention_matrix(make(reference.AdaptivePool), clips(), **options)


def test_refusals_are_those_of_explain():
    model = make(reference.AdaptivePool)
    with pytest.raises(ValueError, match="at least 2 frames, the clip has 1; give a longer clip"):
        lrp3d.intervention_matrix(model, clips(t=1))
    with pytest.raises(ValueError, match="training mode"):
        lrp3d.intervention_matrix(make(reference.AdaptivePool).train(), clips())
    dropped = make(reference.Dropped)
    dropped.dropout.train()
    with pytest.raises(ValueError, match=r"training mode \(dropout\); call model.eval\(\) first$"):
        lrp3d.intervention_matrix(dropped, clips())
    with pytest.raises(TypeError, match=r"clip must be a torch\.Tensor"):
        lrp3d.intervention_matrix(model, "clip")


# ---------------------------------------------------------------------------------- models that are only run


class Recurrent(nn.Module):
    """A network of every frame, an LSTM over them; subclasses say what it answers from."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.lstm, self.fc = nn.Conv3d(3, 4, (1, 3, 3)), nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, x):
        return self.answer(self.lstm(self.conv(x).relu().mean((3, 4)).transpose(1, 2))[0])

    def answer(self, x):
        return self.fc(x[:, -1])


class RecurrentMean(Recurrent):
    def answer(self, x):
        return self.fc(x).mean(1)


class RecurrentRows(Recurrent):
    def answer(self, x):
        return self.fc(x)


class Attention(Recurrent):
    def __init__(self):
        super().__init__()
        self.attention, self.fc = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 5)

    def forward(self, x):
        x = self.conv(x).relu().mean((3, 4)).transpose(1, 2)
        return self.fc(self.attention(x, x, x)[0].amax(1)).softmax(1)


class TakesGradients(Recurrent):
    def answer(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.fc(x).sum(), x)
        return self.fc((x * gradient).mean(1))


class Scripted(Recurrent):
    def __init__(self):
        super().__init__()
        self.scripted = torch.jit.script(nn.Sequential(nn.Linear(6, 6), nn.Tanh()).eval())

    def answer(self, x):
        return self.fc(self.scripted(x)[:, -1])


RUNNING = pytest.mark.parametrize("net", [Recurrent, RecurrentMean, RecurrentRows, Attention, TakesGradients, Scripted])


@RUNNING
def test_any_model_that_runs_is_measured(net):
    model, clip = net().eval(), torch.rand(2, 3, 5, 8, 8)
    before = torch.get_rng_state()
    matrix = lrp3d.intervention_matrix(model, clip, [1, 2], occluder="blank")
    assert torch.equal(torch.get_rng_state(), before)
    rows = net in (RecurrentMean, RecurrentRows)
    assert matrix.shape == (2, 5 if rows else 1, 5)
    logits = model(clip).detach()
    for j in range(5):
        replaced = clip.clone()
        replaced[:, :, j] = 0
        lost = logits - model(replaced).detach()
        lost = lost if lost.dim() == 2 else lost.mean(1)
        torch.testing.assert_close(matrix.mean(1)[:, j], lost[[0, 1], [1, 2]], rtol=1e-4, atol=1e-6)
    if not rows:
        with pytest.raises((lrp3d.UnsupportedOperation, lrp3d.NoFrameLogits), match="intervention_matrix"):
            lrp3d.explain(model, clip)


@pytest.mark.parametrize("net", [RecurrentMean, RecurrentRows])
def test_a_recurrent_head_knows_no_frame_before_it_came(net):
    matrix = lrp3d.intervention_matrix(net().eval(), torch.rand(1, 3, 5, 8, 8), 1, occluder="blank")[0]
    assert matrix.triu(1).abs().max() < 1e-6
    assert (matrix.diagonal().abs() > 1e-6).all()


def test_a_refusal_of_the_matrix_names_what_measures_it_and_that_does():
    class OverFrames(Recurrent):
        def forward(self, x):
            return nn.functional.linear(self.conv(x).relu().mean((3, 4)).amax(2), self.fc.weight[:, :4])

    model, clip = OverFrames().eval(), torch.rand(1, 3, 5, 8, 8)
    with pytest.raises(lrp3d.NoFrameLogits, match="intervention_matrix"):
        lrp3d.explain(model, clip)
    assert lrp3d.intervention_matrix(model, clip).shape == (1, 1, 5)


def test_a_measured_model_is_left_as_it_was():
    class Counts(Recurrent):
        def __init__(self):
            super().__init__()
            self.seen = torch.zeros(1)
            self.register_buffer("calls", torch.zeros(1))

        def answer(self, x):
            self.seen += 1
            self.calls.add_(1)
            return super().answer(x)

    model = Counts().eval()
    lrp3d.intervention_matrix(model, torch.rand(1, 3, 5, 8, 8))
    assert (model.seen.item(), model.calls.item()) == (0, 0)


class TakesGradients(nn.Module):
    """Weighs its input by gradients that it takes itself."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5))

    def forward(self, x):
        y = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((self.weight.sum() * y**2).sum(), y)
        return torch.stack([gradient.mean((1, 2, 3, 4))] * 5, 1)


class Constant(nn.Module):
    def forward(self, x):
        return torch.ones(len(x), 5)


class OutsideOfTorch(nn.Module):
    def forward(self, x):
        return torch.as_tensor(x.detach().numpy().mean((2, 3, 4)))


@pytest.mark.parametrize(("make", "share"), [(TakesGradients, 10.0), (Constant, 0.0), (OutsideOfTorch, 1.0)])
def test_models_of_which_torch_sees_nothing_are_measured_too(make, share):
    clip = torch.rand(2, 3, 5, 4, 4)
    found = lrp3d.intervention_matrix(make().eval(), clip, 0, occluder="blank")
    of_frames = clip.mean((1, 3, 4)) if make is TakesGradients else clip[:, 0].mean((2, 3))
    torch.testing.assert_close(found, share * of_frames[:, None] / 5)
