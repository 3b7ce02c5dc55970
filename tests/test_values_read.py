"""What a forward computes from values that left torch is a constant and has no relevance: this is said."""

import warnings

import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(1, 3, 4, 6, 6, generator=torch.Generator().manual_seed(2))
READS = {
    "tolist": lambda x: torch.tensor(x.tolist()),
    "item": lambda x: torch.tensor([v.item() for v in x.flatten()]).view(x.shape),
    "numpy": lambda x: torch.as_tensor(x.detach().numpy()),
    "float": lambda x: torch.tensor([float(v) for v in x.flatten()]).view(x.shape),
}


class Net(nn.Module):
    """Adds to its features what `read` makes of them."""

    def __init__(self, read):
        super().__init__()
        self.conv, self.fc, self.read = nn.Conv3d(3, 4, 3), nn.Linear(4, 2), read

    def forward(self, x):
        features = self.conv(x).relu().mean((2, 3, 4))
        return self.fc(features + self.read(features))


@pytest.mark.parametrize("name", READS)
def test_a_branch_that_leaves_torch_is_told(name):
    with pytest.warns(UserWarning, match=rf"reads values of features .* the forward \({name}\)") as caught:
        found = lrp3d.explain(Net(READS[name]).eval(), CLIP, 0)
    assert caught[0].filename == __file__
    assert f"({name})" in found.about["read out"]
    assert "read out" in str(found)


def test_a_forward_that_only_looks_at_its_features_is_explained_without_a_word():
    def look(x):
        assert x.shape[0] == 1
        assert (x >= 0).all()
        return f"{x}" and x * 0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "read out" not in lrp3d.explain(Net(look).eval(), CLIP, 0).about
