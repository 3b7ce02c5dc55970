"""Changed copies and selections only move values: their relevance is that of the same thing written by an index."""

import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.randn(1, 3, 4, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(6).view(1, 6, 1, 1, 1) < 2
FIRST = torch.tensor([0, 1])


def indexed(x, index, value):
    y = x.clone()
    y[index] = value
    return y


SAME = {
    "index_copy": (lambda x: x.index_copy(1, FIRST, x[:, 3:5]), lambda x: torch.cat([x[:, 3:5], x[:, 2:]], 1)),
    "index_fill": (lambda x: x.index_fill(1, FIRST, 0.5), lambda x: indexed(x, (slice(None), FIRST), 0.5)),
    "index_put": (lambda x: x.index_put((FIRST[:1], FIRST[1:]), x[0, 2]), lambda x: indexed(x, (0, 1), x[0, 2])),
    "select_scatter": (lambda x: x.select_scatter(x[:, 4], 1, 0), lambda x: torch.cat([x[:, 4:5], x[:, 1:]], 1)),
    "slice_scatter": (lambda x: x.slice_scatter(x[:, 3:5], 1, 0, 2), lambda x: torch.cat([x[:, 3:5], x[:, 2:]], 1)),
    "masked_scatter": (lambda x: x.masked_scatter(MASK, x[:, 2:4]), lambda x: torch.cat([x[:, 2:4], x[:, 2:]], 1)),
    "masked_select": (
        lambda x: x.masked_select(MASK).view(1, 2, 4, 6, 6).repeat(1, 3, 1, 1, 1),
        lambda x: x[:, :2].repeat(1, 3, 1, 1, 1),
    ),
    "narrow_copy": (lambda x: x.narrow_copy(2, 1, 2), lambda x: x[:, :, 1:3]),
    "tril": (lambda x: x.tril(), lambda x: x * torch.ones(6, 6, dtype=x.dtype).tril()),
    "triu": (lambda x: x.triu(1), lambda x: x * torch.ones(6, 6, dtype=x.dtype).triu(1)),
    "nan_to_num": (lambda x: x.nan_to_num(), lambda x: x),
    "diff": (lambda x: x.diff(dim=2), lambda x: x[:, :, 1:] - x[:, :, :-1]),
}


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.more, self.fc = nn.Conv3d(3, 6, 3, padding=1), nn.Conv3d(6, 6, 1), nn.Linear(6, 5)
        self.function = function
        self.double().eval()

    def forward(self, x):
        return self.fc(self.more(self.function(self.conv(x).relu())).relu().mean((2, 3, 4)))


@pytest.mark.parametrize("composite", ["paper", "epsilon"])
@pytest.mark.parametrize("name", SAME)
def test_the_map_is_that_of_the_same_values_by_an_index(name, composite):
    maps = [
        lrp3d.explain(Net(function), CLIP, 0, composite=composite, contrastive=False, temporal=False)
        for function in SAME[name]
    ]
    torch.testing.assert_close(maps[0].logits, maps[1].logits)
    torch.testing.assert_close(maps[0].relevance, maps[1].relevance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "said"),
    [],
)
def test_what_has_no_rule_says_what_to_do(function, said):
    with pytest.raises(lrp3d.UnsupportedOperation, match=said):
        lrp3d.explain(Net(function), CLIP)


TWICE = torch.tensor([0, 3, 0])
ACCUMULATED = {
    "places once": (
        lambda x: x.index_put((torch.zeros(2, dtype=torch.long), FIRST), x[0, 3:5], accumulate=True),
        lambda x: torch.cat([x[:, :2] + x[:, 3:5], x[:, 2:]], 1),
    ),
    "places twice": (
        lambda x: x.transpose(0, 1).index_put((TWICE,), x[0, 3:, None], accumulate=True).transpose(0, 1),
        lambda x: x.index_add(1, TWICE, x[:, 3:]),
    ),
    "one value for all places": (
        lambda x: x.transpose(0, 1).index_put((TWICE,), x[0, 3], accumulate=True).transpose(0, 1),
        lambda x: x.index_add(1, TWICE, x[:, 3:4].expand(-1, 3, -1, -1, -1)),
    ),
    "in place": (
        lambda x: x.clone().transpose(0, 1).index_put_((TWICE,), x[0, 3:, None], accumulate=True).transpose(0, 1),
        lambda x: x.index_add(1, TWICE, x[:, 3:]),
    ),
    "a constant": (
        lambda x: x.index_put((torch.tensor(0), FIRST), x.new_ones(()), accumulate=True),
        lambda x: torch.cat([x[:, :2] + 1.0, x[:, 2:]], 1),
    ),
}


@pytest.mark.parametrize("name", ACCUMULATED)
def test_values_that_are_accumulated_at_an_index_are_a_sum(name):
    maps = [lrp3d.explain(Net(f), CLIP, 0, contrastive=False, temporal=False) for f in ACCUMULATED[name]]
    torch.testing.assert_close(maps[0].logits, maps[1].logits)
    torch.testing.assert_close(maps[0].relevance, maps[1].relevance, rtol=1e-9, atol=1e-12)
    assert maps[0].conservation.max() < 1e-9
