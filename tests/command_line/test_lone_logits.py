"""Commands with a model of one logit, which has two classes: 1 where it is positive, 0 where it is negative."""

import json
import math

import pytest
from terminal import error

NET = """
import torch
from torch import nn


class Lone(nn.Module):
    def __init__(self, bias):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 4, 3, stride=(1, 4, 4), padding=1), nn.Linear(4, 1)
        nn.init.constant_(self.fc.bias, bias)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3, 4)))


def positive():
    return Lone(5.0).eval()


def negative():
    return Lone(-5.0).eval()
"""


@pytest.fixture
def lone(folder):
    (folder / "networks.py").write_text(NET)
    (folder / "two.txt").write_text("walk\nrun\n")
    return ["--size", 16, "--frames", 4, "--labels", "two.txt"]


@pytest.mark.parametrize(("model", "own"), [("positive", 1), ("negative", 0)])
def test_the_side_on_which_the_logit_is_names_the_class_and_has_the_greater_score(run, clip, lone, model, own):
    code, out, _ = run("explain", clip, "--model", f"networks:{model}", *lone, "--json")
    assert code == 0
    (found,) = json.loads(out)["clips"]
    names = ["walk", "run"]
    assert found["target"]["class"] == own
    assert found["target"]["label"] == names[own]
    assert found["target"]["logit"] > 0
    first, second = found["top"]
    assert (first["class"], second["class"]) == (own, 1 - own)
    assert first["logit"] == -second["logit"] == found["target"]["logit"]
    assert first["score"] == pytest.approx(1 / (1 + math.exp(-first["logit"])))
    assert first["score"] + second["score"] == pytest.approx(1)
    assert (
        f"explained     {names[own]} (class {own}), logit"
        in run("explain", clip, "--model", f"networks:{model}", *lone)[1]
    )


@pytest.mark.parametrize("command", ["explain", "check"])
@pytest.mark.parametrize("target", ["0", "run"])
def test_no_other_side_can_be_asked_for(run, clip, lone, command, target):
    said = error(run, command, clip, "--model", "networks:negative", *lone, "--target", target, code=2)
    assert "the model has one logit, which is explained for the class that its sign says" in said


def test_windows_of_a_whole_video_are_named_by_their_sides(run, clip, lone):
    code, out, _ = run("explain", clip, "--whole", "--model", "networks:negative", *lone)
    assert code == 0
    assert "frames 1 to 6: walk" in out


def test_more_than_two_labels_do_not_fit(run, clip, lone, folder):
    (folder / "three.txt").write_text("a\nb\nc\n")
    said = error(run, "explain", clip, "--model", "networks:positive", *lone[:4], "--labels", "three.txt")
    assert "3 labels do not fit a model of 2 classes" in said
