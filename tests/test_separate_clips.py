"""Clips of a batch are explained apart from one another, and never changed."""

import warnings

import einops
import pytest
import torch
from torch import nn

import lrp3d

CLIPS = torch.rand(3, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Logits of features that `mix` mixes among clips."""

    def __init__(self, mix=lambda features: features):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.mix = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 3), mix

    def forward(self, x):
        return self.fc(self.mix(self.conv(x).relu().mean((2, 3, 4))))


MIXED = {
    "reversed": lambda f: f + 5 * f.flip(0),
    "rolled": lambda f: f + f.roll(1, 0),
    "centred": lambda f: f - f.mean(0, keepdim=True) / 2,
}


@pytest.mark.parametrize("mix", MIXED.values(), ids=MIXED)
def test_logits_that_depend_on_other_clips_are_told(mix):
    model = Net(mix).eval()
    with pytest.warns(UserWarning, match="depend on the other clips of its batch .* one clip at a time") as caught:
        lrp3d.explain(model, CLIPS, 0, temporal=False)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp3d.explain(model, CLIPS[:1], 0, temporal=False)  # alone, it is right


def test_clips_that_are_apart_are_explained_without_a_word():
    model = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = lrp3d.explain(model, CLIPS, 0)
        folded = lrp3d.explain(Folded().eval(), CLIPS.transpose(1, 2).flatten(0, 1), 0, layout="(b t) c h w")
    alone = [lrp3d.explain(model, clip[None], 0).matrix for clip in CLIPS]
    torch.testing.assert_close(together.matrix, torch.cat(alone), rtol=1e-4, atol=1e-6)
    assert folded.matrix.shape == (3, 4, 4)


class InLayout(nn.Module):
    """Takes clips in another layout, of four frames each."""

    def __init__(self, network, layout):
        super().__init__()
        self.network, self.layout = network, layout

    def forward(self, x):
        return self.network(einops.rearrange(x, f"{self.layout} -> b c t h w", t=4))


@pytest.mark.parametrize("layout", ["b t c h w", "t b c h w", "(b t) c h w", "(t b) c h w"])
def test_clips_are_told_apart_by_their_layout(layout):
    given = einops.rearrange(CLIPS, f"b c t h w -> {layout}")
    options = {"temporal": False, "layout": layout, "input_range": (0.0, 1.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp3d.explain(InLayout(Net(), layout).eval(), given, 0, **options)
    with pytest.warns(UserWarning, match="depend on the other clips of its batch"):
        lrp3d.explain(InLayout(Net(MIXED["rolled"]), layout).eval(), given, 0, **options)


class Folded(nn.Module):
    """Takes the frames of all clips, four for each, in the axis of the batch."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)).unflatten(0, (-1, 4)).mean(1))


class InPlace(Net):
    """Normalises its input in place."""

    def forward(self, x):
        torch.rand(1)  # what is drawn changes nothing
        x -= 0.5
        return super().forward(x)


@pytest.mark.parametrize("training", [False, True])
def test_a_forward_that_changes_its_input_never_changes_the_callers_clip(training):
    model = InPlace().eval()
    model.training = training  # of the wrapper alone, which does no harm
    clip = CLIPS[:2].clone()
    found = lrp3d.explain(model, clip, 0)
    lrp3d.inspect(model, clip)
    lrp3d.intervention_matrix(model, clip)
    assert torch.equal(clip, CLIPS[:2])
    wanted = lrp3d.explain(Net().eval(), clip - 0.5, 0, input_range=(-0.5, 0.5))
    torch.testing.assert_close(found.logits, wanted.logits)


def test_a_model_that_returns_nan_is_not_taken_for_one_in_training_mode():
    model = Net(lambda features: features / 0 * 0).eval()
    model.training = True
    with pytest.raises(ValueError, match="NaN"):
        lrp3d.explain(model, CLIPS[:1], 0)


@pytest.mark.parametrize(
    ("clips", "given"), [([CLIPS], "a list of one clip"), ((CLIPS, CLIPS), "a tuple of 2 pathways")]
)
def test_a_list_for_a_model_that_takes_one_clip_is_refused_with_advice(clips, given):
    with pytest.raises(ValueError, match=f"the clip came as {given}, .* pass the clip itself"):
        lrp3d.explain(Net().eval(), clips, 0)


@pytest.mark.parametrize("clips", [CLIPS, CLIPS[:1]], ids=["several", "one"])
def test_a_handler_that_computes_something_else_is_told(clips):
    class Doubles(nn.Module):
        def forward(self, x):
            return 2 * x

    lrp3d.register_layer(Doubles, lambda layer, x: 3 * x)
    with pytest.warns(UserWarning, match="the model's own forward returns other logits than the ones that") as caught:
        lrp3d.explain(Net(Doubles()).eval(), clips, 0)
    assert caught[0].filename == __file__
    lrp3d.register_layer(Doubles, lambda layer, x: x + x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp3d.explain(Net(Doubles()).eval(), clips, 0)
