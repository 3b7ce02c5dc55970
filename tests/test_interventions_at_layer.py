"""Interventions with rows at a layer: what the clip's logit loses if one time step alone sees a changed clip."""

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.metrics.agreement import cosine
from tests.attention_nets import VideoViT
from tests.test_rows_at import FRAMES, LastNorm, TakesTuples, clips, made

FILLED = {"occluder": "blank", "value": 0.5}


class Classified(nn.Module):
    """A network of two parts, of which the upper one sees the clip through the lower one alone."""

    def __init__(self, lower, upper):
        super().__init__()
        self.lower, self.upper = lower, upper

    def forward(self, clip):
        return self.upper(self.lower(clip))


class Folded(nn.Module):
    """Features (b t, c, h, w), with the frames in the batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, clip):
        return torch.relu(self.conv(clip.transpose(1, 2).flatten(0, 1)))


class OfFolded(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        return self.fc(x.mean((2, 3)).unflatten(0, (-1, FRAMES)).amax(1))


class Tokens(nn.Module):
    """A token of every frame (b, t, c)."""

    def __init__(self):
        super().__init__()
        self.mixing = nn.Conv3d(3, 5, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, clip):
        return torch.relu(self.mixing(clip)).mean((3, 4)).transpose(1, 2)


class Recurrent(nn.LSTM):
    """Returns the outputs of all frames, and beside them its last states."""

    def __init__(self):
        super().__init__(5, 5, batch_first=True)


class OfOutputs(nn.Module):
    """Classifies outputs and the last state, which is no part of the time steps."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(10, 4)

    def forward(self, returned):
        outputs, (last, _) = returned
        return self.fc(torch.cat([outputs.amax(1), last[0]], 1))


class Writes(nn.Module):
    """Writes to what it is given, as activations in place do."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x.relu_()
        x += 1
        return self.fc(torch.relu(x.mean((2, 3, 4))))


def conv():
    return nn.Sequential(nn.Conv3d(3, 5, (3, 3, 3), padding=1))


class First(nn.Module):
    def __init__(self, upper):
        super().__init__()
        self.upper = upper

    def forward(self, returned):
        return self.upper(returned[0])


def step(values, i):
    """The part of an output (b, c, t, h, w) or (b, t, c) that belongs to time step i."""
    return values[:, :, i] if values.dim() == 5 else values[:, i]


NETS = {
    "feature maps": lambda: Classified(made(LastNorm).lower, made(LastNorm).upper),
    "a tuple of one": lambda: Classified(TakesTuples(made(LastNorm).lower), First(made(LastNorm).upper)),
    "tokens": lambda: Classified(Tokens(), nn.Sequential(nn.Flatten(), nn.Linear(5 * FRAMES, 4), nn.ReLU())),
    "states beside the outputs": lambda: Classified(nn.Sequential(Tokens(), Recurrent()), OfOutputs()),
    "written to": lambda: Classified(conv(), Writes()),
    "frames in the batch": lambda: Classified(Folded(), OfFolded()),
    "probabilities": lambda: Classified(conv(), nn.Sequential(Writes(), nn.Softmax(1))),
}


def slowly(model, clip, target, occluder_value):
    """By hand: the upper part, on outputs of which one time step is that of a changed clip."""
    logits = model.upper[0] if isinstance(model.upper, nn.Sequential) and len(model.upper) == 2 else model.upper

    def lower(x):
        returned = model.lower(x)
        outputs = returned[0] if isinstance(returned, tuple) else returned
        return outputs, returned

    def upper(outputs, returned):
        outputs = outputs.clone()
        return logits((outputs, *returned[1:]) if isinstance(returned, tuple) else outputs)

    def exchanged(outputs, others, i):
        outputs = outputs.clone()
        if len(outputs) == len(clip):
            step(outputs, i).copy_(step(others, i))
        else:
            outputs.unflatten(0, (len(clip), -1))[:, i] = others.unflatten(0, (len(clip), -1))[:, i]
        return outputs

    with torch.no_grad():
        outputs, returned = lower(clip)
        whole = upper(outputs, returned).gather(1, target[:, None])
        rows = []
        for i in range(FRAMES):
            row = []
            for j in range(FRAMES):
                changed = clip.clone()
                changed[:, :, j] = occluder_value
                without = upper(exchanged(outputs, lower(changed)[0], i), returned).gather(1, target[:, None])
                row.append(FRAMES * (whole - without))
            rows.append(torch.cat(row, 1))
    return torch.stack(rows, 1)


@pytest.mark.parametrize("name", NETS)
def test_entries_are_what_the_logit_loses_if_one_step_sees_the_clip_without_a_frame(name):
    model, clip, target = made(NETS[name]), clips(), torch.tensor([2, 1])
    at = "lower.1" if name == "states beside the outputs" else "lower"
    found = lrp3d.intervention_matrix(model, clip, target, rows_at=at, **FILLED)
    torch.testing.assert_close(found, slowly(model, clip, target, 0.5), rtol=1e-9, atol=1e-12)
    assert bool((found != 0).any())


@pytest.mark.parametrize("name", ["feature maps", "frames in the batch", "probabilities"])
def test_nothing_depends_on_how_many_clips_run_at_once(name):
    model, clip = made(NETS[name]), clips()
    found = [lrp3d.intervention_matrix(model, clip, rows_at="lower", chunk_size=size) for size in (None, 1, 5)]
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found[2], found[0], rtol=1e-9, atol=1e-12)


def test_where_frames_have_logits_rows_at_their_features_are_the_usual_ones():
    torch.manual_seed(0)
    model, clip = lrp3d.models.i3d_resnet(18, num_classes=5, width=8).eval().double(), clips(frames=8, size=16)
    usual = lrp3d.intervention_matrix(model, clip)
    torch.testing.assert_close(lrp3d.intervention_matrix(model, clip, rows_at="features.layer4"), usual)


@pytest.mark.parametrize("module", ["embed", "blocks.0", "blocks.0.mlp"])
def test_rows_have_the_shape_of_those_of_relevance_and_steps_that_see_one_frame_lose_that_frame(module):
    model, clip = made(lambda: VideoViT(head="class token")), clips(frames=4, size=8)
    measured = lrp3d.intervention_matrix(model, clip, rows_at=module)
    assert measured.shape == lrp3d.explain(model, clip, rows_at=module).matrix.shape
    diagonal = measured.diagonal(dim1=1, dim2=2).diag_embed()
    assert torch.allclose(measured, diagonal, atol=1e-12) == (module == "embed")


class TwoFramesAStep(nn.Module):
    """Tubelets of two frames, and the clip's logit of what a ReLU makes of their mean."""

    def __init__(self):
        super().__init__()
        self.embed, self.fc = nn.Conv3d(3, 5, (2, 4, 4), (2, 4, 4)), nn.Linear(5, 4)

    def forward(self, clip):
        return self.fc(torch.relu(self.embed(clip).mean((2, 3, 4))))


def test_the_frames_of_a_step_are_replaced_together():
    model, clip = made(TwoFramesAStep), clips()
    measured = lrp3d.intervention_matrix(model, clip, 1, rows_at="embed")
    assert measured.shape == lrp3d.explain(model, clip, 1, rows_at="embed").matrix.shape == (2, 3, 3)


class Linear(nn.Module):
    """Without biases and activations, everything is lost that a frame has contributed."""

    def __init__(self):
        super().__init__()
        self.lower = nn.Sequential(nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0), bias=False))
        self.lower.append(nn.Conv3d(4, 5, (3, 3, 3), padding=1, bias=False))
        self.weights = nn.Parameter(torch.rand(FRAMES))
        self.fc = nn.Linear(5, 4, bias=False)

    def forward(self, clip):
        return self.fc((self.lower(clip).mean((3, 4)) * self.weights).sum(2))


def test_a_linear_network_loses_by_a_step_what_flows_through_it():
    model, clip = made(Linear), clips()
    rules = lrp3d.Composite(layers={nn.Conv3d: lrp3d.rules.Epsilon(0.0)}, classifier=lrp3d.rules.Epsilon(0.0))
    rules.operations.update(dict.fromkeys((torch.sum, torch.mean), lrp3d.rules.Epsilon(0.0)))
    flows = lrp3d.explain(model, clip, 1, rows_at="lower", composite=rules, contrastive=False).matrix
    lost = lrp3d.intervention_matrix(model, clip, 1, rows_at="lower", occluder="blank")
    torch.testing.assert_close(lost, flows, rtol=1e-6, atol=1e-9)


def test_against_a_class_entries_are_those_of_the_difference():
    model, clip = made(LastNorm), clips()
    one, other = (lrp3d.intervention_matrix(model, clip, k, rows_at="lower") for k in (1, 2))
    torch.testing.assert_close(lrp3d.intervention_matrix(model, clip, 1, against=2, rows_at="lower"), one - other)


@pytest.mark.parametrize("module", ["upper.fc", "upper.norm", "nowhere", "lower.*"])
def test_what_explain_refuses_is_refused_in_the_same_words(module):
    model, clip = made(LastNorm), clips()
    said = []
    for call in (lrp3d.explain, lrp3d.intervention_matrix):
        with pytest.raises((ValueError, TypeError)) as refused:
            call(model, clip, rows_at=module)
        said.append((type(refused.value), str(refused.value)))
    assert said[0] == said[1]


class OnlyWithGradients(LastNorm):
    """Runs a module only where gradients are recorded, and computes the same without it elsewhere."""

    def forward(self, clip):
        if torch.is_grad_enabled():
            return super().forward(clip)
        features = clip
        for part in self.lower:
            features = part(features)
        return self.upper(features)


def test_a_module_that_other_runs_leave_out_is_refused_and_not_taken_for_one_that_loses_nothing():
    with pytest.raises(lrp3d.ModelError, match="rows_at='lower': the module runs only while gradients are recorded"):
        lrp3d.intervention_matrix(made(OnlyWithGradients), clips(), rows_at="lower")


def test_the_model_stays_as_it_is_and_so_does_its_twin():
    model, clip = made(LastNorm), clips()
    twin = lrp3d.convert(model)
    before, hooks = model(clip), [len(m._forward_hooks) for m in model.modules()]
    first = lrp3d.intervention_matrix(twin, clip, rows_at="lower")
    assert torch.equal(twin(clip), before)
    assert torch.equal(model(clip), before)
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    assert torch.equal(lrp3d.intervention_matrix(twin, clip, rows_at="lower"), first)


def test_check_holds_rows_at_a_layer_against_these_interventions():
    model, many = made(LastNorm), clips(3)
    found = lrp3d.check(model, many, 1, rows_at="lower", methods=["LRP", "gradient x input"])
    for number, clip in enumerate(many):
        rows = lrp3d.explain(model, clip[None], 1, rows_at="lower", contrastive=False).matrix
        lost = lrp3d.intervention_matrix(model, clip[None], 1, rows_at="lower", occluder="nearest")
        torch.testing.assert_close(found.values["intervention"]["LRP"][number], cosine(rows, lost)[0])
    assert found.rows_at == found.to_dict()["rows_at"] == "lower"
    assert "rows are the time steps at lower" in str(found)
    assert "beside rows at a layer, gradient x input has a single row" in str(found)
