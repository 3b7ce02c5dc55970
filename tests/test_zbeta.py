"""Z-beta: the range of valid inputs, given or found, by clip and by channel."""

import pytest
import reference
import torch
from test_rules import D, grad, of_type, same
from torch import nn

import lrp3d
from lrp3d import rules


def test_zbeta_does_not_lay_channels_along_the_width():
    low, high = torch.tensor([0.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 2.0])
    torch.manual_seed(0)
    model, clip = nn.Sequential(nn.Conv3d(3, 2, 3), nn.Flatten(), nn.Linear(4, 2)).eval(), torch.rand(1, 3, 4, 3, 3)
    by_hand = lrp3d.Composite(first=lrp3d.rules.ZBeta(*(end.reshape(3, 1, 1, 1) for end in (low, high))))
    found = lrp3d.explain(model, clip, 0, composite=by_hand, temporal=False)
    wanted = lrp3d.explain(model, clip, 0, input_range=(low, high), temporal=False)
    torch.testing.assert_close(found.relevance, wanted.relevance)
    with pytest.raises(ValueError, match=r"got shape \(3,\); for one value per channel shape them as \(3, 1, 1, 1\)"):
        lrp3d.explain(model, clip, 0, composite=lrp3d.Composite(first=lrp3d.rules.ZBeta(low, high)), temporal=False)


def test_zbeta_takes_an_end_of_a_single_number_as_that_number():
    layer = nn.Conv2d(2, 3, 2, dtype=D)
    x, r = torch.rand(1, 2, 3, 3, dtype=D), torch.rand(1, 3, 2, 2, dtype=D)
    single = rules.ZBeta(torch.tensor([-1.0], dtype=D), torch.tensor([2.0], dtype=D))
    same(grad(layer, x, r, of_type(layer, single)), grad(layer, x, r, of_type(layer, rules.ZBeta(-1.0, 2.0))))


def test_zbeta_takes_the_extremes_of_each_clip_and_channel():
    conv = nn.Conv3d(2, 3, 2, dtype=D)
    x = torch.randn(2, 2, 3, 3, 3, dtype=D)
    r = torch.rand(2, 3, 2, 2, 2, dtype=D)
    low, high = (end.expand_as(x) for end in (x.amin((2, 3, 4), True), x.amax((2, 3, 4), True)))
    wanted = [
        reference.layer_relevance(
            conv, x[i : i + 1], r[i : i + 1], reference.zbeta(low[i].flatten(), high[i].flatten())
        )
        for i in range(2)
    ]
    same(grad(conv, x, r, "paper"), torch.cat(wanted))


def test_zbeta_takes_a_range_per_channel():
    conv, x = nn.Conv3d(2, 3, 2, dtype=D), torch.rand(1, 2, 3, 3, 3, dtype=D)
    conv.input_range = ([-1.0, -2.0], [1.0, 3.0])
    low = torch.tensor([-1.0, -2.0], dtype=D).repeat_interleave(27)
    high = torch.tensor([1.0, 3.0], dtype=D).repeat_interleave(27)
    r = torch.rand(1, 3, 2, 2, 2, dtype=D)
    same(grad(conv, x, r, "paper"), reference.layer_relevance(conv, x, r, reference.zbeta(low, high)))


class Beside(nn.Module):
    """A convolution that sees the clip and, beside it, channels that the model writes."""

    input_range = (-1.0, 2.0)

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return self.conv(torch.cat([x, torch.full_like(x, 0.7)], 1))


def test_zbeta_gives_nothing_to_what_the_model_writes_beside_the_clip():
    conv, alone = nn.Conv3d(4, 3, 2, dtype=D), nn.Conv3d(2, 3, 2, dtype=D)
    alone.weight.data, alone.bias.data, alone.input_range = conv.weight.data[:, :2], conv.bias.data, Beside.input_range
    x, r = torch.rand(1, 2, 3, 3, 3, dtype=D), torch.rand(1, 3, 2, 2, 2, dtype=D)
    same(grad(Beside(conv), x, r, "paper"), grad(alone, x, r, "paper"))


@pytest.mark.parametrize("given", [{}, {"low": 0.0}, {"high": 1.0}])
def test_zbeta_without_a_range_says_what_to_do(given):
    model = nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Conv1d(2, 1, 1))
    with pytest.raises(ValueError, match=r"ZBeta\(low, high\)"):
        grad(model, torch.rand(1, 1, 3), torch.ones(1, 1, 3), lrp3d.Composite(names={"2": rules.ZBeta(**given)}))
