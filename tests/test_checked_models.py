"""`check` takes the models that `explain` takes, whatever they return."""

import math

import pytest
import torch
from torch import nn
from checked_nets import Additive, frame_clips

import lrp3d


@pytest.mark.slow
def test_networks_that_make_pathways_of_their_clip_are_checked_as_others_are():
    model = lrp3d.models.slowfast_resnet50(num_classes=3, frames=4, alpha=2, width=8).eval()
    found = lrp3d.check(model, torch.rand(1, 3, 4, 32, 32), shapley_values=False, methods=["LRP", "random"])
    for measure in ("gain (freeze)", "intervention"):
        for method in ("LRP", "random"):
            assert math.isfinite(found.score(measure, method).mean)


class Lone(nn.Module):
    """One logit of two classes: the sum over frames of what is bright in them, or its negative."""

    def __init__(self, sign):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))
        self.fc = nn.Linear(4, 1, bias=False)
        with torch.no_grad():
            for part in (self.conv.weight, self.conv.bias, self.fc.weight):
                part.copy_(torch.rand(part.shape, generator=torch.Generator().manual_seed(part.numel())))
            self.fc.weight.mul_(sign)

    def frame_logits(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((3, 4)).transpose(1, 2))

    def forward(self, x):
        return self.frame_logits(x).mean(1)


def test_a_lone_logit_is_checked_for_the_class_that_it_speaks_for_whatever_its_sign():
    clips = torch.rand(3, 3, 5, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    clips = clips * torch.rand(3, 1, 5, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    positive, negative = (lrp3d.check(Lone(sign).double().eval(), clips) for sign in (1.0, -1.0))
    assert positive.score("gain (freeze)", "LRP").mean > 0
    torch.testing.assert_close(negative.lead, positive.lead)
    for measure in ("gain (freeze)", "gain (neighbours)", "intervention", "shapley", "random classifier"):
        for method, values in positive.values[measure].items():
            torch.testing.assert_close(negative.values[measure][method], values, equal_nan=True)


class FramesLast(Additive):
    """Returns its frame logits with the frames last, (b, k, n), and has no method that returns them otherwise."""

    frame_logits = None

    def forward(self, x):
        return Additive.frame_logits(self, x).transpose(1, 2)


class Named(FramesLast):
    """Returns frame logits among other things."""

    def forward(self, x):
        return {"logits": super().forward(x).transpose(1, 2), "features": x}


@pytest.mark.parametrize(("kind", "output"), [(FramesLast, lambda x: x.transpose(1, 2)), (Named, "logits")])
def test_gradient_times_input_is_that_of_the_logits_which_output_names(kind, output):
    options = {"methods": ["gradient x input"], "shapley_values": False}
    expected = lrp3d.check(Additive().double().eval(), frame_clips(), **options)
    found = lrp3d.check(kind().double().eval(), frame_clips(), output=output, **options)
    assert found.methods == expected.methods
    for measure in ("gain (freeze)", "intervention"):
        values = expected.values[measure]["gradient x input"]
        torch.testing.assert_close(found.values[measure]["gradient x input"], values)


class Probabilities(Additive):
    """The same network with three classes, which returns their probabilities, not their logits."""

    frame_logits = None

    def __init__(self, squash=True):
        super().__init__()
        self.fc = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[3.0, 1.0, 2.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0]]))
        self.squash = nn.Softmax(-1) if squash else nn.Identity()

    def forward(self, x):
        return self.squash(self.fc(x.mean((3, 4)).mean(2)))


def test_of_a_network_that_ends_in_a_softmax_the_logits_are_checked_as_explain_explains_them():
    options = {"methods": ["LRP"], "shapley_values": True}
    expected = lrp3d.check(Probabilities(squash=False).double().eval(), frame_clips(2, 3), **options)
    found = lrp3d.check(Probabilities().double().eval(), frame_clips(2, 3), **options)
    torch.testing.assert_close(found.lead, expected.lead)
    for measure in ("gain (freeze)", "intervention", "shapley"):
        torch.testing.assert_close(found.values[measure]["LRP"], expected.values[measure]["LRP"])


def test_gradient_times_input_of_probabilities_is_left_out_and_said():
    with pytest.warns(UserWarning, match=r"gradient x input is left out: .* 'squash' \(softmax\)"):
        found = lrp3d.check(Probabilities().double().eval(), frame_clips(1, 3), shapley_values=False)
    assert found.methods == ["CLRP", "LRP", "random", "intervention"]


class Halved(Additive):
    """Answers from pairs of frames."""

    def frame_logits(self, x):
        return super().frame_logits(nn.functional.avg_pool3d(x, (2, 1, 1)))


def test_shapley_values_of_blocks_of_frames_are_called_exact_where_there_are_few_blocks():
    for t, exact in ((10, True), (18, False)):
        found = lrp3d.check(Halved().double().eval(), frame_clips(1, t), 0, methods=["LRP"])
        assert found.exact_shapley is exact
        assert ("exact Shapley values" in str(found)) is exact


class FirstOnly(nn.Module):
    """Answers for the first clip that it is given, whatever else it is given."""

    def __init__(self):
        super().__init__()
        self.net = Additive()

    def forward(self, x):
        return self.net(x[:1])


def test_a_model_that_answers_for_one_clip_is_named_as_explain_names_it():
    clips = frame_clips(3).float()
    said = "the model returned 1 rows of logits for {} clips; if the first axis"
    with pytest.raises(ValueError, match=said.format(3)):
        lrp3d.explain(FirstOnly(), clips)
    with pytest.raises(ValueError, match=said.format(r"\d+")):
        lrp3d.intervention_matrix(FirstOnly(), clips[:1], chunk_size=5)
    with pytest.raises(ValueError, match=said.format(r"\d+")):
        lrp3d.check(FirstOnly(), clips)
