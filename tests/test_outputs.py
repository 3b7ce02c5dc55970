"""What models return: the logits are picked out of it, and advice on what is no logit is true."""

import dataclasses
import typing
from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import nn
from output_nets import CLIP, Net, same

import lrp3d


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
