"""Models that take their clips with other axes: `--layout` says which, and what is written has those of the clip."""

import json

import pytest
import torch

import lrp3d

FOLDING = """
import torch
from torch import nn

class Folding(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, {classes})

    def forward(self, x):
        return self.fc(self.conv(x.flatten(0, 1)).relu().mean((2, 3))).unflatten(0, x.shape[:2]).mean(1)
"""


@pytest.fixture
def folding(folder):
    (folder / "networks.py").write_text(FOLDING.format(classes=5))


def test_a_model_in_another_layout_is_explained(run, clip, folding, folder):
    model = ("--model", "networks:Folding", "--frames", 6, "--size", 32)
    code, _, err = run("explain", clip, *model)
    assert code == 1
    assert "--layout" in err or "layout=" in err
    code, out, err = run("explain", clip, *model, "--layout", "btchw", "--json", "--out", "out")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["layout"] == "btchw"
    assert torch.tensor(told["clips"][0]["matrix"]).shape == (6, 6)
    written = lrp3d.Explanation.load(folder / "out" / "explanation.safetensors")
    assert written.relevance.shape == (1, 3, 6, 32, 32)
    assert written.layout == "bcthw"
    torch.testing.assert_close(written.relevance.sum((1, 3, 4)), written.frame_relevance)
    assert run("inspect", *model, "--layout", "btchw")[0] == 0


def test_a_layout_that_is_none_is_answered_in_a_sentence(run, clip, folding):
    code, _, err = run("explain", clip, "--model", "networks:Folding", "--layout", "bcthx")
    assert code == 2
    assert "b c t h w" in err


def test_a_lone_logit_is_said_to_be_one(run, clip, folder):
    (folder / "networks.py").write_text(FOLDING.format(classes=1))
    code, out, _ = run("explain", clip, "--model", "networks:Folding", "--layout", "btchw", "--frames", 6, "--json")
    one = json.loads(out)["clips"][0]
    assert code == 0
    assert 0 < one["top"][0]["score"] < 1
    assert one["target"]["logit"] >= 0
    assert (one["target"]["class"] == 0) == any("speaks against it" in note for note in one["notes"])
