"""What is done to the clip before the first layer keeps it a clip, with its range."""

import pytest
import reference
import torch
import torch.nn.functional as F
from forwards import D, Net, X, close, twin_relevance
from torch import nn

import lrp3d
from lrp3d.rules import Flat

MEAN, STD = (
    torch.tensor([0.4, 0.5, 0.6], dtype=D).view(3, 1, 1, 1),
    torch.tensor([0.2, 0.3, -0.4], dtype=D).view(3, 1, 1, 1),
)
NORMALISATIONS = {
    "(x - mean) / std": lambda x: (x - MEAN) / STD,
    "in place": lambda x: x.clone().sub_(MEAN).div_(STD),
    "operator in place": lambda x: _normalise_in_place(x * 1.0),
    "x * scale + shift": lambda x: x * (1 / STD) + (-MEAN / STD),
    "written as an affine map": lambda x: (-MEAN / STD) + x / STD,
    "batch norm": lambda x: F.batch_norm(x, MEAN.flatten(), STD.flatten() ** 2, STD.sign().flatten(), None, eps=0.0),
    "after a permutation": lambda x: ((x.permute(0, 2, 3, 4, 1) - MEAN.flatten()) / STD.flatten()).permute(
        0, 4, 1, 2, 3
    ),
    "dropped out, cloned": lambda x: F.dropout(((x - MEAN) / STD).contiguous(), 0.5, False).clone(),
    "as Einstein sums": lambda x: torch.einsum("bcthw,c->bcthw", x - MEAN, 1 / STD.flatten()),
    "within bounds": lambda x: (x.clamp(0, 1) - MEAN) / STD,
    "within one bound": lambda x: (torch.clamp(x, min=0.0) - MEAN) / STD,
    "per frame": lambda x: torch.stack([(frame - MEAN[:, 0]) / STD[:, 0] for frame in x.unbind(2)], 2),
}


def _normalise_in_place(x):
    x -= MEAN
    x /= STD
    return x


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_normalisation_inside_the_model_keeps_the_range_of_the_clip(name):
    torch.manual_seed(0)
    normalise, conv = NORMALISATIONS[name], nn.Conv3d(3, 2, 2, dtype=D)
    x, r = torch.rand(2, 3, 3, 3, 3, dtype=D), torch.rand(2, 2, 2, 2, 2, dtype=D)
    ends = [((torch.full_like(x, end) - MEAN) / STD)[0].flatten() for end in (0.0, 1.0)]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    wanted = reference.layer_relevance(conv, (x - MEAN) / STD, r, reference.zbeta(low, high))
    model = Net(lambda self, x: self.conv(normalise(x)), conv=conv)
    model.input_range = (0.0, 1.0)
    close(twin_relevance(model, x, r, "paper")[2], wanted)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clip_that_is_centred_keeps_its_range(sign):
    conv = nn.Conv3d(3, 2, 2, dtype=D)
    x, r = torch.rand(1, 3, 3, 3, 3, dtype=D), torch.rand(1, 2, 2, 2, 2, dtype=D)
    mean = x.mean((2, 3, 4), keepdim=True)
    ends = [(sign * (end - mean)).expand_as(x)[0].flatten() for end in (0.0, 1.0)]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    wanted = reference.layer_relevance(conv, sign * (x - mean), r, reference.zbeta(low, high))

    def centred(self, x):
        mean = x.mean((2, 3, 4), keepdim=True)
        return self.conv(x - mean if sign > 0 else mean - x)

    model = Net(centred, conv=conv)
    model.input_range = (0.0, 1.0)
    close(twin_relevance(model, x, r, "paper")[2], wanted)


def test_after_an_activation_it_is_no_clip_any_more():
    conv, x = nn.Conv3d(4, 2, 2, dtype=D), X
    _, r, found = twin_relevance(Net(lambda self, x: self.conv(F.relu(x)), conv=conv), x, None, "paper")
    close(found, reference.layer_relevance(conv, x.relu(), r, reference.zplus))


def test_two_layers_that_see_the_clip_are_both_first():
    torch.manual_seed(0)
    a, b = nn.Conv3d(4, 2, 1, dtype=D), nn.Conv3d(4, 2, 1, dtype=D)
    model = Net(lambda self, x: torch.cat([self.a(x), self.b(x.flip(2))], 1), a=a, b=b)
    composite = lrp3d.Composite(first=Flat())
    _, r, found = twin_relevance(model, X, None, composite)
    wanted = reference.layer_relevance(a, X, r[:, :2], reference.flat)
    close(found, wanted + reference.layer_relevance(b, X.flip(2), r[:, 2:], reference.flat).flip(2))


def test_bounds_bound_the_range():
    conv = nn.Conv3d(3, 2, 2, dtype=D)
    x, r = torch.rand(2, 3, 3, 3, 3, dtype=D), torch.rand(2, 2, 2, 2, 2, dtype=D)
    model = Net(lambda self, x: self.conv(x.clamp(0.2, 0.7)), conv=conv)
    model.input_range = (0.0, 1.0)
    ends = [torch.full_like(x, end)[0].flatten() for end in (0.2, 0.7)]
    close(
        twin_relevance(model, x, r, "paper")[2],
        reference.layer_relevance(conv, x.clamp(0.2, 0.7), r, reference.zbeta(*ends)),
    )
