"""What the table of public networks calls working, and what it calls wrong."""

import copy
import csv
import sys

import pytest
import torch
from benchmarks import zoo
from benchmarks.public import judging
from torch import nn

import lrp3d


class TwoRates(nn.Module):
    """Every second frame, and all frames, which weigh more in the paper's frame logits than in the clip's."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast, self.fc = nn.Conv3d(3, 4, 1), nn.Conv3d(3, 4, 1), nn.Linear(8, 3)

    def forward(self, clip):
        pathways = self.slow(clip[:, :, ::2]).relu(), self.fast(clip).relu()
        return self.fc(torch.cat([x.mean((2, 3, 4)) for x in pathways], 1))


@pytest.fixture(scope="module")
def judged():
    torch.manual_seed(0)
    model, clip = TwoRates().eval(), torch.rand(1, 3, 8, 4, 4)
    with torch.no_grad():
        return model, clip, model(clip), lrp3d.explain(model, clip, contrastive=False), lrp3d.explain(model, clip)


def test_pathways_of_two_rates_are_not_wrong(judged):
    *_, logits, plain, _ = judged
    assert abs(float(plain.frame_logits.mean() - logits.max())) > 1e-2
    assert judging._wrong(*judged) == []


class Kept(nn.Module):
    """A stream: what it says depends on the clip before."""

    def __init__(self):
        super().__init__()
        self.fc, self.before = nn.Linear(3, 2), torch.ones(1, 3)

    def forward(self, clip):
        now = clip.mean((2, 3, 4))
        said, self.before = self.fc(now + self.before), now
        return said


def test_a_stream_is_judged_from_where_it_stands():
    clip = torch.rand(1, 3, 2, 4, 4)
    assert judging._explained(Kept().eval(), clip)["verdict"] == "works"


@pytest.mark.parametrize(
    ("field", "change", "verdict"),
    [
        ("matrix", lambda x: x * 1.1, "rows are not frame logits"),
        ("conservation", lambda x: x + 1, "relevance is not conserved"),
        ("logits", lambda x: x + 1, "outputs differ"),
    ],
)
def test_what_does_not_hold_is_called_wrong(judged, field, change, verdict):
    model, clip, logits, plain, contrastive = judged
    broken = copy.copy(plain)
    setattr(broken, field, change(getattr(plain, field)))
    assert verdict in judging._wrong(model, clip, logits, broken, contrastive)


def test_frame_logits_that_average_to_the_logit_in_no_merge_are_wrong(judged, monkeypatch):
    model, clip, logits, plain, contrastive = judged
    explain = lrp3d.explain

    def broken(*args, **options):
        found = copy.copy(explain(*args, **options))
        found.frame_logits = found.frame_logits * 1.1
        return found

    monkeypatch.setattr(judging.lrp3d, "explain", broken)
    assert "frame logits do not average to the logit" in judging._wrong(model, clip, logits, plain, contrastive)


def test_a_refused_operation_is_named_with_its_reason():
    model = nn.Sequential(nn.Conv3d(3, 2, 1), nn.Flatten(), nn.Linear(24, 2), nn.Dropout(0.5)).eval()
    model[0].register_forward_hook(lambda module, args, out: out.logcumsumexp(2))
    row = judging._explained(model, torch.rand(1, 3, 3, 2, 2))
    assert row["verdict"] == "refused"
    assert row["because"].startswith("logcumsumexp: has no relevance rule")


def test_what_needs_a_package_is_not_in_the_table_and_what_an_error_ended_runs_again(tmp_path, monkeypatch, capsys):
    said = {"one.fails": "error", "one.works": "works", "one.needs": zoo.LEFT_OUT}
    ran = []

    def judged(name, seconds, gigabytes):
        ran.append(name)
        return dict.fromkeys(zoo.COLUMNS, "") | {"network": name, "verdict": said[name]}

    monkeypatch.setattr(zoo, "names", lambda: list(said))
    monkeypatch.setattr(zoo, "_in_a_process", judged)
    monkeypatch.setattr(zoo, "IMPORTED", ())
    monkeypatch.setattr(sys, "argv", ["zoo", "--out", str(tmp_path)])
    for _ in range(2):
        zoo.main()
    assert ran == ["one.fails", "one.works", "one.needs", "one.fails", "one.needs"]
    assert "one.needs left out" in capsys.readouterr().out
    with (tmp_path / "zoo.csv").open(newline="") as file:
        assert [row["network"] for row in csv.DictReader(file)] == ["one.fails", "one.works"]
