"""What a model returns: which of it are the logits, what their axes mean, and what is held constant on the way."""

import dataclasses
import typing
from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(2, 3, 6, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Classifies every frame; subclasses say what they return."""

    def __init__(self, classes=5, stride=1):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1, stride=(stride, 1, 1)), nn.Linear(4, classes)

    def frames(self, x):
        return self.fc(self.conv(x).relu().mean((3, 4)).transpose(1, 2))

    def forward(self, x):
        return self.give(self.frames(x).mean(1))

    def give(self, logits):
        return logits


def same(a, b):
    torch.testing.assert_close(a.relevance, b.relevance)
    torch.testing.assert_close(a.matrix, b.matrix)
    torch.testing.assert_close(a.frame_logits, b.frame_logits)
    torch.testing.assert_close(a.logits, b.logits)
    assert torch.equal(a.target, b.target)


# ------------------------------------------------------------------------------------------------ picked outputs


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    hidden: typing.Any = None


class Both(OrderedDict):
    """A mapping with attributes, as libraries of transformers have."""

    __getattr__ = OrderedDict.__getitem__


Pair = namedtuple("Pair", ["hidden", "logits"])
RETURNED = {
    "dict": (lambda y: {"loss": None, "logits": y}, "logits"),
    "dict by number": (lambda y: {0: y.exp(), 1: y}, 1),
    "ordered dict": (lambda y: OrderedDict(logits=y, hidden=y * 2), "logits"),
    "mapping with attributes": (lambda y: Both(logits=y), "logits"),
    "tuple": (lambda y: (y, [y, y]), 0),
    "list, from the end": (lambda y: [None, y], -1),
    "named tuple": (lambda y: Pair(None, y), "logits"),
    "named tuple by index": (lambda y: Pair(None, y), 1),
    "dataclass": (lambda y: Answer(y), "logits"),
    "function": (lambda y: {"heads": [y * 2, y]}, lambda out: out["heads"][1]),
    "function that computes": (lambda y: (y * 3, y * 2), lambda out: out[0] - out[1]),
    "function of a tensor": (lambda y: torch.cat([y, y], 1), lambda out: out[:, :5]),
}


def giving(make, **options):
    return type("Gives", (Net,), {"give": staticmethod(make)})(**options).eval()


@pytest.mark.parametrize("name", RETURNED)
def test_logits_are_picked_by_key_index_or_function(name):
    make, output = RETURNED[name]
    model, plain = giving(make), Net().eval()
    if "computes" in name:
        model_, plain_ = model.double(), plain.double()
        found = lrp3d.explain(model_, CLIP.double(), output=output, contrastive=False)
        torch.testing.assert_close(found.logits, plain_(CLIP.double()))
        return
    same(lrp3d.explain(model, CLIP, output=output), lrp3d.explain(plain, CLIP))
    assert not lrp3d.inspect(model, CLIP, output=output).problems
    for measure in (lrp3d.frame_logits, lrp3d.intervention_matrix):
        torch.testing.assert_close(measure(model, CLIP, output=output), measure(plain, CLIP))


@pytest.mark.parametrize("use", [lrp3d.explain, lrp3d.inspect, lrp3d.frame_logits, lrp3d.intervention_matrix])
@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda y: {"loss": 0.5, "logits": y}, r"'loss' \(float\), 'logits' \(2x5\)"),
        (lambda y: (y, y), r"0 \(2x5\), 1 \(2x5\)"),
        (lambda y: Answer(y, y), r"'logits' \(2x5\), 'hidden'"),
    ],
)
def test_several_outputs_are_refused_with_their_names_until_one_is_picked(use, make, named):
    with pytest.raises(ValueError, match=f"{named}.*logits.*output=") as caught:
        use(giving(make), CLIP)
    assert "\n" not in str(caught.value)


@dataclasses.dataclass
class Alone:
    scores: torch.Tensor


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda y: (y,), r"0, the only part of a tuple with 0 (2x5) that the model returns"),
        (lambda y: (y, None), r"0, the only part of a tuple with 0 (2x5), 1 (NoneType) that the model returns"),
        (
            Answer,
            r"'logits', the only part of an Answer with 'logits' (2x5), 'hidden' (NoneType) that the model returns",
        ),
        (lambda y: [y], r"0, the only part of a list with 0 (2x5) that the model returns"),
        (lambda y: {"out": y}, r"'out', the only part of a dict with 'out' (2x5) that the model returns"),
        (Alone, r"'scores', the only part of an Alone with 'scores' (2x5) that the model returns"),
    ],
)
def test_a_lone_tensor_in_a_container_is_taken_as_the_logits_and_about_says_so(make, said):
    model, plain = giving(make), giving(lambda y: y)
    found = lrp3d.explain(model, CLIP)
    same(found, lrp3d.explain(plain, CLIP))
    assert found.about["output"] == said
    assert "output" not in lrp3d.explain(plain, CLIP).about
    assert not lrp3d.inspect(model, CLIP).problems
    for measure in (lrp3d.frame_logits, lrp3d.intervention_matrix):
        torch.testing.assert_close(measure(model, CLIP), measure(plain, CLIP))


@pytest.mark.parametrize(
    ("make", "output", "word"),
    [
        (lambda y: {"logits": y}, "logit", r"no output='logit'.*'logits' \(2x5\)"),
        (lambda y: (y,), 3, r"no output=3.*0 \(2x5\)"),
        (lambda y: (y,), "logits", r"no output='logits'.*0 \(2x5\)"),
        (lambda y: Answer(y), "scores", r"no output='scores'.*'logits'"),
        (lambda y: Answer(y), 0, "no output=0"),
        (lambda y: y, 0, "nothing to choose from"),
        (lambda y: (y, None), 1, "NoneType"),
        (lambda y: (y, y.argmax(1)), 1, "logits"),
    ],
)
def test_an_output_that_is_not_there_is_refused_with_those_that_are(make, output, word):
    with pytest.raises(ValueError, match=word):
        lrp3d.explain(giving(make), CLIP, output=output)


def test_relevance_of_a_twin_with_several_outputs_is_that_of_each():
    model = giving(lambda y: {"one": y, "other": y * 2})
    x = CLIP.clone().requires_grad_()
    given, seed = lrp3d.convert(model)(x), torch.ones(2, 5)
    (found,) = torch.autograd.grad(given["one"], x, seed)
    (expected,) = torch.autograd.grad(lrp3d.convert(Net().eval())(x), x, seed)
    torch.testing.assert_close(found, expected)
    with pytest.raises(lrp3d.UnsupportedOperation, match="softmax"):
        lrp3d.convert(giving(lambda y: {"one": y, "other": y.softmax(1)}))(x)


# -------------------------------------------------------------------------------------------------- frame logits


class PerFrame(Net):
    def forward(self, x):
        return self.frames(x)


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
def test_logits_of_every_frame_are_taken_as_they_are(stride, contrastive):
    model, averaging = PerFrame(stride=stride).eval(), Net(stride=stride).eval()
    found = lrp3d.explain(model, CLIP, [1, 2], contrastive=contrastive)
    same(found, lrp3d.explain(averaging, CLIP, [1, 2], contrastive=contrastive))
    torch.testing.assert_close(found.frame_logits, model(CLIP)[[0, 1], :, [1, 2]])
    torch.testing.assert_close(lrp3d.frame_logits(model, CLIP, [1, 2]), found.frame_logits)
    expected = lrp3d.intervention_matrix(averaging, CLIP, [1, 2])
    torch.testing.assert_close(lrp3d.intervention_matrix(model, CLIP, [1, 2]), expected)
    assert lrp3d.explain(model, CLIP, temporal=False).matrix is None


def test_logits_of_every_frame_are_picked_too():
    class Gives(PerFrame):
        def forward(self, x):
            return {"frames": super().forward(x)}

    same(lrp3d.explain(Gives().eval(), CLIP, output="frames"), lrp3d.explain(Net().eval(), CLIP))


def test_logits_with_an_axis_of_one_are_the_clips():
    class OneRow(Net):
        def forward(self, x):
            return self.fc(self.conv(x).relu().mean((2, 3, 4)))[:, None]

    assert lrp3d.explain(OneRow().eval(), CLIP).matrix.shape == (2, 6, 6)


def test_rows_that_are_no_clips_are_refused():
    class Folded(Net):
        def forward(self, x):
            return self.frames(x).flatten(0, 1)

    with pytest.raises(ValueError, match=r"12 rows of logits for 2 clips.*unflatten"):
        lrp3d.explain(Folded().eval(), CLIP)
    found = lrp3d.explain(Folded().eval(), CLIP, output=lambda y: y.unflatten(0, (2, -1)))
    same(found, lrp3d.explain(Net().eval(), CLIP))


# -------------------------------------------------------------------------------------------------- a lone logit


class Lone(Net):
    """One logit; its bias says on which side of zero."""

    def __init__(self, bias=0.0):
        super().__init__(classes=1)
        self.fc.bias.data.fill_(bias)


class Two(Net):
    """The same as two classes: the logit, and its negative."""

    def __init__(self, lone):
        super().__init__(classes=2)
        weight = torch.cat([-lone.fc.weight, lone.fc.weight]).detach()
        bias = torch.cat([-lone.fc.bias, lone.fc.bias]).detach()
        self.load_state_dict(lone.state_dict() | {"fc.weight": weight, "fc.bias": bias})


@pytest.mark.parametrize("bias", [-2.0, 2.0])
@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("composite", ["paper", "epsilon", "alpha_beta", "epsilon_gamma_box"])
def test_a_lone_logit_is_explained_as_the_class_that_its_sign_says(bias, contrastive, composite):
    lone = Lone(bias).eval().double()
    two, clip, options = Two(lone).eval().double(), CLIP.double(), {"contrastive": contrastive, "composite": composite}
    found, expected = lrp3d.explain(lone, clip, **options), lrp3d.explain(two, clip, **options)
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.frame_logits, expected.frame_logits)
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(found.avg_atr, expected.avg_atr)
    assert torch.isfinite(found.avg_atr).all()
    torch.testing.assert_close(found.frame_logits.mean(1), lone(clip)[:, 0].abs())
    assert torch.equal(found.logits, lone(clip)), "the logits are the model's own"
    assert found.conservation.max() < 1e-9 or composite != "paper"
    assert ("negative in clip(s) [0, 1]" in repr(found)) == (bias < 0)
    for measure in (lrp3d.frame_logits, lrp3d.intervention_matrix):
        torch.testing.assert_close(measure(lone, clip), measure(two, clip))


@pytest.mark.parametrize("contrastive", [True, False])
def test_lone_logits_of_both_signs_are_told_apart(contrastive, tmp_path):
    lone = Lone().eval().double()
    clip = torch.cat([CLIP * 4, CLIP[:1]]).double()
    values = lone(clip).flatten()
    lone.fc.bias.data -= values.detach().quantile(0.4)
    assert (lone(clip) < 0).any()
    assert (lone(clip) > 0).any()
    found = lrp3d.explain(lone, clip, contrastive=contrastive, input_range=(0.0, 4.0))
    expected = lrp3d.explain(Two(lone).eval().double(), clip, contrastive=contrastive, input_range=(0.0, 4.0))
    torch.testing.assert_close(found.relevance, expected.relevance)
    torch.testing.assert_close(found.matrix, expected.matrix)
    assert torch.equal(found.sign < 0, lone(clip)[:, 0] < 0)
    found.save(tmp_path / "lone.safetensors")
    assert torch.equal(lrp3d.Explanation.load(tmp_path / "lone.safetensors").sign, found.sign)


def test_lone_logits_without_an_axis_of_classes_are_told_to_have_one():
    class Flat(Lone):
        def give(self, logits):
            return logits.squeeze(1)

    with pytest.raises(ValueError, match=r"one logit for each clip.*logits\[:, None\]"):
        lrp3d.explain(Flat().eval(), CLIP)
    found = lrp3d.explain(Flat().eval(), CLIP, output=lambda logits: logits[:, None])
    same(found, lrp3d.explain(Lone().eval(), CLIP))


def test_a_lone_logit_may_be_asked_for_as_it_is():
    lone = Lone(-2.0).eval()
    found = lrp3d.explain(lone, CLIP, 0)
    torch.testing.assert_close(found.frame_logits.mean(1), lone(CLIP)[:, 0])
    assert found.sign is None


# ------------------------------------------------------------------------------------------------------ constants


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.fc = nn.Conv3d(3, 4, 1), nn.Linear(4, 5)
        self.branch = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.ReLU())

    def forward(self, x):
        x = self.stem(x).relu()
        return self.fc((x + self.branch(x)).mean((3, 4)).transpose(1, 2)).mean(1)


def test_what_a_module_made_is_held_constant_and_booked():
    model = Branches().eval().double()
    found = lrp3d.explain(model, CLIP.double(), contrastive=False, constants=["branch"])
    chosen = found.logits.gather(1, found.target[:, None]).sum()
    booked = {entry.layer: entry.absorbed for entry in found.ledger}
    assert booked["branch"] > 0
    torch.testing.assert_close(found.relevance.sum() + found.ledger.absorbed, chosen)
    whole = lrp3d.explain(model, CLIP.double(), contrastive=False)
    assert torch.equal(found.logits, whole.logits)
    assert (found.relevance <= whole.relevance + 1e-12).all()
    assert any("held constant" in row.rule for row in lrp3d.inspect(model, CLIP.double(), constants=["branch"]))


class Alike(nn.Module):
    """Of every frame, what is in it and how alike the others are."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.alike, self.fc = nn.Conv3d(3, 4, 3, padding=1), Products(), nn.Linear(4 + 6, 5)

    def forward(self, x):
        x = self.conv(x).relu().mean((3, 4)).transpose(1, 2)
        return self.fc(torch.cat([x, self.alike(x)], 2)).mean(1)


class Products(nn.Module):
    def forward(self, x):
        return x @ x.transpose(1, 2)


def test_a_constant_branch_says_nothing_of_time_where_there_is_another_way():
    model = Alike().eval().double()
    found = lrp3d.explain(model, CLIP.double(), 1, contrastive=False, constants=["alike"])
    torch.testing.assert_close(found.frame_logits.mean(1), found.logits[:, 1])
    booked = {entry.layer: entry.absorbed for entry in found.ledger}
    assert booked["alike"] > 0
    torch.testing.assert_close(found.matrix.sum() / 6 + found.ledger.absorbed, found.logits[:, 1].sum())


def test_what_lies_below_a_constant_needs_no_rule():
    model = Branches().eval()
    model.branch.append(nn.Softmax(1).eval())
    with pytest.raises(lrp3d.UnsupportedOperation):
        lrp3d.explain(model, CLIP)
    assert lrp3d.explain(model, CLIP, constants=["branch.*"]).matrix.shape == (2, 6, 6)


def test_constants_that_no_module_bears_are_refused():
    for use in (lrp3d.explain, lrp3d.inspect):
        with pytest.raises(ValueError, match=r"'brunch'.*fits no module"):
            use(Branches().eval(), CLIP, constants=["brunch", "branch"])


def test_a_clip_that_no_relevance_reaches_is_said():
    with pytest.warns(UserWarning, match="no relevance reaches the clip: everything"):
        nothing = lrp3d.explain(Branches().eval(), CLIP[:1], constants=["*"], temporal=False)
    assert not nothing.relevance.any()


# ------------------------------------------------------------------------------------ axes that are not (b, n, k)


class FramesLast(Net):
    """Returns (b, k, n), as some segmentation models do."""

    def forward(self, x):
        return self.frames(x).transpose(1, 2)


@pytest.mark.parametrize("classes", [4, 6, 9])
@pytest.mark.parametrize(
    "use",
    [lrp3d.explain, lrp3d.intervention_matrix, lrp3d.frame_logits, lambda m, x: lrp3d.explain(m, x, temporal=False)],
    ids=["explain", "interventions", "frame logits", "clip alone"],
)
def test_frame_logits_with_the_frames_last_are_refused_or_turned_round(classes, use):
    model = FramesLast(classes).eval()
    for clip in (CLIP, CLIP[:1]):
        with pytest.raises(ValueError, match=r"has its frames last; pass output=lambda logits: logits\.transpose"):
            use(model, clip)
    turned = lrp3d.explain(model, CLIP, output=lambda logits: logits.transpose(1, 2))
    torch.testing.assert_close(turned.logits, model(CLIP).mean(2))
    assert turned.matrix.shape == (2, 6, 6)


@pytest.mark.parametrize(("classes", "frames"), [(2, 6), (4, 2)])
def test_few_classes_and_frames_are_told_apart_too(classes, frames):
    with pytest.raises(ValueError, match="has its frames last"):
        lrp3d.explain(FramesLast(classes).eval(), CLIP[:, :, :frames])


class FrameLogits(Net):
    """Returns frame logits (b, n, k) as they should be."""

    def forward(self, x):
        return self.frames(x)


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("frames", [2, 6])
def test_frame_logits_of_few_frames_and_classes_are_read_as_they_are(classes, frames):
    found = lrp3d.explain(FrameLogits(classes).eval(), CLIP[:, :, :frames])
    assert found.matrix.shape == (2, frames, frames)
    assert found.logits.shape == (2, classes)


def test_frames_last_are_refused_where_only_the_shape_says_so():
    class Unseen(FramesLast):
        def forward(self, x):
            return super().forward(torch.as_tensor(x.detach().numpy())).detach()

    with pytest.raises(ValueError, match="has its frames last"):
        lrp3d.intervention_matrix(Unseen(4).eval(), CLIP)


# ------------------------------------------------------------------------- columns that are frames, and not classes


# --------------------------------------------------------------------------------------------- advice that is true


@pytest.mark.parametrize("output", [None, lambda logits: logits])
@pytest.mark.parametrize("made", [lambda y: y.argmax(1), lambda y: y > 0, lambda y: y.argmax(1, keepdim=True)])
def test_classes_in_place_of_logits_are_told_by_their_type(made, output):
    of = "what the model returns" if output is None else "what output= picks"
    for use in (lrp3d.explain, lrp3d.inspect, lrp3d.intervention_matrix):
        with pytest.raises(ValueError, match=rf"{of} is torch\.\w+, and logits are floating-point numbers") as refused:
            use(giving(made), CLIP, output=output)
        assert "[:, None]" not in str(refused.value)


class Mean(nn.Module):
    """A classifier of the clip's mean colour."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2, bias=False)
        self.fc.weight.data = torch.tensor([[1.0, 2, 3], [-1, 0, 1]])

    def forward(self, x):
        return self.fc(x.mean((2, 3, 4)))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, r"what speaks for the class equals what speaks against it everywhere \(contrastive=False tells which\)"),
        ({"against": 0}, "or the classes have the same relevance everywhere"),
        ({"contrastive": False, "constants": ["fc"]}, r"held constant \(the ledger says where relevance stays\)"),
    ],
)
def test_a_contrast_that_cancels_is_not_called_a_path_without_relevance(options, why):
    model = Mean().eval()
    if "against" in options:
        model.fc.weight.data[1] = model.fc.weight.data[0]
    clip = torch.arange(1.0, 7).view(1, 3, 2, 1, 1)
    with pytest.warns(UserWarning, match=why):
        nothing = lrp3d.explain(model, clip, 1, temporal=False, **options)
    assert not nothing.relevance.any()
