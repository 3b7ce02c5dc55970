"""Frames are found in a time that grows with the number of operations, not with that of the paths through them."""

import torch
from torch import nn

import lrp3d
from lrp3d.steps import spread_down

MERGES = 20


class Merging(nn.Module):
    """Parts of the channels are taken apart and put together again and again, as patches of a Swin are."""

    def __init__(self, merges):
        super().__init__()
        self.merges = merges
        self.stem, self.classifier = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        for _ in range(self.merges):
            x = torch.cat([x[:, 0::2], x[:, 1::2]], 1)
        return self.classifier(x.mean((2, 3, 4)))


def test_every_edge_is_visited_once_for_every_frame(monkeypatch):
    visited = []
    in_equal_parts = spread_down._in_equal_parts
    monkeypatch.setattr(
        spread_down, "_in_equal_parts", lambda node, *args: (visited.append(node), in_equal_parts(node, *args))[1]
    )
    frames = 4
    x = torch.randn(1, 3, frames, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(0)
    model = Merging(MERGES).eval().double()
    found = lrp3d.explain(model, x, 1)
    assert 3 * MERGES < len(visited) / frames < 6 * MERGES, "two slices and one sum or concatenation for each merge"

    plain = Merging(0).eval().double()
    plain.load_state_dict(model.state_dict())
    # 20 merges of four channels put every channel where it was.
    torch.testing.assert_close(found.matrix, lrp3d.explain(plain, x, 1).matrix)
