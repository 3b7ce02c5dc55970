"""Frame logits where constants weigh the frames, or mask some of them, however a forward writes it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d

FRAMES = 6
D = torch.float64
CLIP = torch.rand(2, 3, FRAMES, 4, 4, dtype=D, generator=torch.Generator().manual_seed(4))
WEIGHTS = torch.tensor([0.1, 0.4, 0.3, 0.05, 0.1, 0.05], dtype=D)
SHOWN = torch.tensor([True, True, False, True, True, False])
HIDDEN = torch.tensor([2, 5])


class Pooled(nn.Module):
    """Features (b, c, t) of frames and their neighbours, a pool over time, and a classifier."""

    def __init__(self, pool):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.fc = nn.Conv3d(3, 5, (3, 1, 1), padding=(1, 0, 0)), nn.Linear(5, 4)
        self.weights, self.over_time = nn.Parameter(WEIGHTS.clone()), nn.Linear(FRAMES, 1, bias=False)
        self.pool = pool
        self.double().eval()
        self.over_time.weight.data = WEIGHTS[None].clone()

    def forward(self, clip):
        return self.fc(self.pool(self, self.stem(clip).relu().mean((3, 4))))


def assigned(net, x):
    x = x.clone()
    x[:, :, ~SHOWN] = 0
    return x.sum(2) / SHOWN.sum()


WEIGHTED = {
    "products": lambda net, x: (x * WEIGHTS).sum(2),
    "products with a parameter": lambda net, x: (x * net.weights).sum(2),
    "einsum": lambda net, x: torch.einsum("bct,t->bc", x, WEIGHTS),
    "einsum with a parameter": lambda net, x: torch.einsum("bct,t->bc", x, net.weights),
    "einsum, weights first": lambda net, x: torch.einsum("t,bct->bc", WEIGHTS, x),
    "a vector": lambda net, x: x @ WEIGHTS,
    "a matrix": lambda net, x: (x @ WEIGHTS[:, None])[..., 0],
    "a matrix on the left": lambda net, x: (WEIGHTS[None] @ x.mT)[:, 0],
    "bmm": lambda net, x: torch.bmm(x, WEIGHTS[None, :, None].expand(len(x), -1, -1))[..., 0],
    "F.linear": lambda net, x: F.linear(x, WEIGHTS[None])[..., 0],
    "nn.Linear": lambda net, x: net.over_time(x)[..., 0],
    "tensordot": lambda net, x: torch.tensordot(x, WEIGHTS, ([2], [0])),
}
MASKED = {
    "products": lambda net, x: (x * SHOWN).sum(2) / SHOWN.sum(),
    "where": lambda net, x: torch.where(SHOWN, x, 0.0).sum(2) / SHOWN.sum(),
    "masked_fill": lambda net, x: x.masked_fill(~SHOWN, 0).sum(2) / SHOWN.sum(),
    "masked_fill_": lambda net, x: x.clone().masked_fill_(~SHOWN, 0).sum(2) / SHOWN.sum(),
    "an assignment": assigned,
    "index_fill": lambda net, x: x.index_fill(2, HIDDEN, 0.0).sum(2) / SHOWN.sum(),
    "tokens": lambda net, x: x.mT.masked_fill(~SHOWN[:, None], 0).sum(1) / SHOWN.sum(),
}
POOLS = {"weighted": WEIGHTED, "masked": MASKED}


@pytest.mark.parametrize("composite", ["paper", "epsilon", "attnlrp"])
@pytest.mark.parametrize("pools", POOLS)
def test_rows_are_the_same_however_the_pool_is_written(pools, composite):
    wanted = None
    for spelling, pool in POOLS[pools].items():
        found = lrp3d.explain(Pooled(pool), CLIP, 1, composite=composite)
        wanted = wanted or found
        for what in ("frame_logits", "matrix", "relevance"):
            ours, theirs = getattr(found, what), getattr(wanted, what)
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8, msg=f"{what} of {spelling}")


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_row_is_what_its_frame_adds_times_the_number_of_frames(name):
    model = Pooled(WEIGHTED[name])
    features = model.stem(CLIP).relu().mean((3, 4))
    wanted = torch.stack([model.fc(FRAMES * WEIGHTS[i] * features[:, :, i])[:, 1] for i in range(FRAMES)], 1)
    torch.testing.assert_close(lrp3d.frame_logits(model, CLIP, 1), wanted)


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_frame_has_a_row_without_relevance(name):
    found = lrp3d.explain(Pooled(MASKED[name]), CLIP, 1)
    assert torch.equal(found.matrix.sum(2) != 0, SHOWN.expand(2, -1))


def test_frames_may_be_masked_in_each_clip_by_itself():
    shown = torch.tensor([[True, True, True, True, False, False], [True, True, True, True, True, False]])

    def pool(net, x):
        return x.masked_fill(~shown[:, None], 0).sum(2) / shown.sum(1, keepdim=True)

    found = lrp3d.explain(Pooled(pool), CLIP, 1)
    assert torch.equal(found.matrix.sum(2) != 0, shown)


def test_a_single_output_of_channels_is_a_layer():
    """Scores of frames, each made of the channels of its features."""

    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.score = nn.Conv3d(3, 5, 1), nn.Linear(5, 1)

        def forward(self, clip):
            return self.score(self.stem(clip).relu().mean((3, 4)).mT).mean(1)

    rows = {row.name: row for row in lrp3d.inspect(Scores().double().eval(), CLIP)}
    assert "Contrastive" in str(rows["score"].rule)
    assert "linear.weighed" not in rows
