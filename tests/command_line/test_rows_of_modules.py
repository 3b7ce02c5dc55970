"""`--rows-at`: networks without frame logits, whose rows are time steps of a module."""

import json
import re
from pathlib import Path

import pytest
import torch

import lrp3d

NETWORK = """
import torch
from torch import nn

class Last(nn.Module):
    mean, std, frames, size = (0.45,) * 3, (0.225,) * 3, 4, 16

    def __init__(self):
        super().__init__()
        self.lower = nn.Conv3d(3, 6, (3, 4, 4), stride=(1, 4, 4), padding=(1, 0, 0))
        self.norm, self.fc = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, clip):
        return self.fc(self.norm(torch.relu(self.lower(clip)).mean((2, 3, 4))))

def last(num_classes=3):
    torch.manual_seed(0)
    return Last()
"""
MODEL = "--model", "own_networks:last"


@pytest.fixture(autouse=True)
def network(folder):
    Path("own_networks.py").write_text(NETWORK)


def test_the_rows_are_those_of_the_library_and_named(run, clip):
    code, out, err = run("explain", clip, *MODEL, "--rows-at", "lower", "--out", "out")
    assert (code, err) == (0, "")
    assert re.search(r"rows +time steps at the output of lower, through which 100 % of the logit flows", out)
    found = lrp3d.Explanation.load("out/explanation.safetensors")
    namespace = {}
    exec(NETWORK, namespace)
    model = namespace["last"]().eval()
    read = lrp3d.video.read_clip(clip, 4, size=16, short_side=18, mean=model.mean, std=model.std)
    pixels = (0 - 0.45) / 0.225, (1 - 0.45) / 0.225
    own = lrp3d.explain(model, read.tensor, rows_at="lower", input_range=pixels)
    torch.testing.assert_close(found.matrix, own.matrix)
    assert json.loads(Path("out/explanation.json").read_text())["rows_at"] == "lower"
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "Rows are time steps at the output of lower, through which 100 % of the logit flows." in page
    assert "Which frames each frame" not in page


@pytest.mark.slow
def test_the_page_compares_rows_with_interventions_at_the_layer(run, clip):
    code, _, err = run("explain", clip, *MODEL, "--rows-at", "lower", "--out", "out", "--compare", "--no-floor")
    assert (code, err) == (0, "")
    page = Path("out/report.html").read_text(encoding="utf-8")
    views = json.loads(page.partition('id="data">')[2].partition("</script>")[0])["views"]
    assert [view["method"] for view in views[:3]] == ["CLRP", "interventions", "LRP"]


def test_check_holds_rows_at_a_layer_against_interventions(run, listed):
    code, out, err = run("check", *listed, *MODEL, "--rows-at", "lower", "--no-shapley")
    assert (code, err) == (0, "")
    assert "rows are the time steps at lower" in out
    assert re.search(r"\nintervention +0\.\d\d ", out)
    code, _, err = run("check", *listed, *MODEL, "--rows-at", "norm", "--no-shapley")
    assert code != 0
    assert "--rows-at norm: its output has no time steps" in err


def test_without_it_the_note_says_that_there_is_such_an_option(run, clip):
    code, out, _ = run("explain", clip, *MODEL)
    assert code == 0
    said = "; with --rows-at lower there are rows of the 4 time steps there, through which 100 % of the logit flows"
    assert said in out
    assert "ATR " not in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rows-at", "norm"), "--rows-at norm: its output has no time steps"),
        (("--rows-at", "upper"), "'upper' fits no module that ran"),
        (("--rows-at", "lower", "--where", "lower=1"), "--rows-at and --where both choose"),
        (("--rows-at", "lower", "--merge", "average"), "--merge average says how the frame logits"),
        (("--rows-at", "norm", "--whole"), "--rows-at norm: its output has no time steps"),
    ],
)
def test_rows_that_cannot_be_are_refused(run, clip, options, said):
    code, _, err = run("explain", clip, *MODEL, *options)
    assert code in (1, 2)
    assert said in err


def test_a_whole_video_has_rows_at_a_layer(run, clip):
    code, out, _ = run("explain", clip, *MODEL, "--rows-at", "lower", "--whole", "--out", "whole")
    assert code == 0
    assert (
        "rows are time steps at the output of lower, through which 100 % of the logit flows in the first window" in out
    )
    page = Path("whole/timeline.html").read_text(encoding="utf-8")
    assert "for what flows through this frame of the layer" in page
    assert json.loads(Path("whole/video.json").read_text())["about"]["rows at"] == "lower"


def test_a_study_has_rows_at_a_layer_and_says_so(run, listed):
    assert run("study", "run", *listed, *MODEL, "--rows-at", "lower", "--out", "study")[0] == 0
    assert run("study", "merge", "study")[0] == 0
    assert run("study", "report", "study")[0] == 0
    assert json.loads(Path("study/study.json").read_text())["config"]["rows_at"] == "lower"
    assert "rows at lower" in Path("study/report/report.md").read_text(encoding="utf-8")


def test_a_study_of_rows_that_cannot_be_ends_at_once(run, listed):
    code, _, err = run("study", "run", *listed, *MODEL, "--rows-at", "norm", "--out", "study")
    assert code != 0
    assert "--rows-at norm: its output has no time steps" in err
    code, _, err = run("study", "run", *listed, *MODEL, "--rows-at", "lover", "--out", "other")
    assert code != 0
    assert "--rows-at lover: the model has no such module; did you mean lower?" in err
    assert not Path("other").exists()
