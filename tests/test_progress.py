"""Progress bars say what is being done."""

import time
from collections import OrderedDict
from itertools import count

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.progress import bar, told_of_long_runs
from lrp3d.study.running.progress import Pace


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3, 4))


@pytest.mark.parametrize("label", ["explaining", "checking"])
def test_a_bar_says_what_is_done_and_with_what(capsys, label):
    pytest.importorskip("tqdm", reason="tqdm is not installed: pip install tqdm")
    assert list(bar([1, 2], "clip", True, label)) == [1, 2]
    said = capsys.readouterr().err
    assert said.lstrip("\r").startswith(f"{label}:")
    assert "clip" in said


def test_a_bar_that_is_not_wanted_is_not_shown(capsys):
    assert list(bar([1, 2], "clip", False)) == [1, 2]
    assert capsys.readouterr().err == ""


def test_who_listens_is_told_once_how_long_a_run_without_a_bar_will_take(monkeypatch):
    said, clock = [], count(0, 15)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with told_of_long_runs(said.append):
        assert list(bar(range(100), "chunk", False)) == list(range(100))
        list(bar(range(100), "chunk", False))
        list(bar(range(2), "clip", False, "checking"))
    assert said == [
        "explaining: 1 of 100 chunks took 30 s, so that all of them take about 50 minutes",
        "checking: 1 of 2 clips took 30 s, so that all of them take about 60 s",
    ]
    list(bar(range(100), "chunk", False, "counting"))
    assert len(said) == 2


@pytest.mark.parametrize(("name", "label"), [("", "explaining:"), ("shard 1 of 4", "shard 1 of 4:")])
def test_the_bar_of_a_study_is_labelled_on_a_terminal(monkeypatch, capsys, name, label):
    import sys

    pytest.importorskip("tqdm", reason="tqdm is not installed: pip install tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    pace = Pace(2, name=name)
    pace.step(done=1)
    pace.close()
    assert label in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"motion": True}, {"layers": ["conv"]}, {"where": {"conv": [0]}}], ids=str)
def test_an_explanation_shows_its_chunks_whatever_else_is_asked_for(options, capsys):
    pytest.importorskip("tqdm", reason="tqdm is not installed: pip install tqdm")
    net = nn.Sequential(OrderedDict(conv=nn.Conv3d(1, 2, 1), mean=Mean(), fc=nn.Linear(2, 2))).eval()
    lrp3d.explain(net, torch.rand(1, 1, 4, 4, 4), progress=True, chunk_size=2, **options)
    assert "explaining: 100%" in capsys.readouterr().err
