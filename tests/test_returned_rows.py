"""Logits (b, n, k) that a model returns are rows of frames, or are warned of where all of them come from all frames."""

import warnings

import pytest
import torch
from torch import nn

import lrp3d


class Rows(nn.Module):
    """Logits (b, n, k) of frames, or of something else."""

    def __init__(self, rows):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.queries = nn.Conv3d(3, 6, 3, padding=1), nn.Linear(6, 5), torch.randn(4, 6)
        self.rows = rows

    def forward(self, x):
        return self.rows(self, self.conv(x).relu())


NO_FRAMES = {
    "queries": lambda net, y: net.fc((net.queries @ y.flatten(2)).softmax(-1) @ y.flatten(2).mT),
    "crops": lambda net, y: torch.stack([net.fc(half.mean((2, 3, 4))) for half in y.chunk(2, -1)], 1),
    "columns": lambda net, y: net.fc(y.mean(2).mean(3).mT),
}


@pytest.mark.parametrize("name", NO_FRAMES)
def test_rows_that_all_come_from_all_frames_are_warned_of(name):
    with pytest.warns(UserWarning, match=r"each of the \d rows comes from all frames: if they are queries, crops"):
        lrp3d.explain(Rows(NO_FRAMES[name]).eval(), torch.rand(1, 3, 8, 6, 6))


def test_rows_of_frames_are_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp3d.explain(Rows(lambda net, y: net.fc(y.mean((3, 4)).mT)).eval(), torch.rand(1, 3, 8, 6, 6))
