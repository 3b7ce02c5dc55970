"""Conservation is a number that no loss of relevance can pass, contrast or not."""

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lrp3d
from lrp3d.explanation.wording import conservation_words
from lrp3d.rules import Rule, ZPlus
from lrp3d.steps.step import Step

CLIP = torch.rand(2, 3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Lossy(Rule):
    """Keeps a share of what comes in, whatever its sign."""

    kept: float

    def shares(self, x, w, bias):
        return [share._replace(coefficient=self.kept * share.coefficient) for share in ZPlus().shares(x, w, bias)]


class Frames(nn.Module):
    """Two convolutions, and a classifier of every frame."""

    def __init__(self, classes=3, averages=True, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.averages = averages
        self.first, self.second = nn.Conv3d(3, 4, 3, padding=1), nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0))
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x)))).mean((3, 4)).transpose(1, 2)
        return self.fc(x).mean(1) if self.averages else self.fc(x.mean(1))


def net(**options):
    return Frames(**options).double().eval()


def losing(kept):
    return lrp3d.Composite(names={"first": Lossy(kept), "second": Lossy(kept)})


@pytest.mark.parametrize("averages", [True, False], ids=["averages frame logits", "pools first"])
@pytest.mark.parametrize("temporal", [True, False])
@settings(max_examples=5, deadline=None)
@given(kept=st.floats(0.1, 1.5))
def test_a_rule_that_loses_the_same_share_on_both_sides_of_the_contrast_is_noticed(averages, temporal, kept):
    found = lrp3d.explain(net(averages=averages), CLIP, composite=losing(kept), temporal=temporal)
    torch.testing.assert_close(found.conservation, torch.full((2,), abs(1 - kept**2), dtype=torch.float64))


@pytest.mark.parametrize("options", [{}, {"temporal": False}, {"target": 1}, {"target": [0, 2]}])
@pytest.mark.parametrize("averages", [True, False])
def test_the_rules_of_the_paper_lose_nothing_on_either_side(averages, options):
    assert lrp3d.explain(net(averages=averages), CLIP, **options).conservation.max() < 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_a_lone_logit_of_either_sign_is_judged_as_others_are(seed):
    model = net(classes=1, seed=seed)
    assert lrp3d.explain(model, CLIP).conservation.max() < 1e-12
    lossy = lrp3d.explain(model, CLIP, composite=losing(0.5)).conservation
    torch.testing.assert_close(lossy, torch.full((2,), 0.75, dtype=torch.float64))


def test_without_a_classifier_there_is_one_side_only():
    pool = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten()).double().eval()
    assert lrp3d.explain(pool, CLIP).conservation.max() < 1e-12


def test_a_classifier_that_sees_the_clip_is_judged_too():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(CLIP[0].numel(), 3)).double().eval()
    assert lrp3d.explain(flat, CLIP, temporal=False).conservation.max() < 1e-12
    lossy = lrp3d.Composite(classifier=Lossy(0.5))
    found = lrp3d.explain(flat, CLIP, temporal=False, composite=lossy).conservation
    torch.testing.assert_close(found, torch.full((2,), 0.5, dtype=torch.float64))


def test_a_person_is_told_whether_relevance_was_conserved():
    said = repr(lrp3d.explain(net().float(), CLIP.float(), composite=losing(0.5)))
    assert "conserved     [no (off by 75 %), no (off by 75 %)]" in said
    expected = ["yes (3e-8)", "yes (9e-4)", "no (off by 20 %)", "no (off by 4100 %)"]
    assert [conservation_words(error) for error in (3e-8, 9e-4, 0.2, 41.0)] == expected


class KeepsPart(Step):
    """A step of a user's own that hands on three quarters."""

    def relevance(self, r):
        return [0.75 * r]


def test_what_a_step_of_ones_own_absorbs_is_in_the_ledger():
    class Absorbing(Frames):
        def forward(self, x):
            return super().forward(torch.special.i0e(x))

    @lrp3d.register_operation(torch.special.i0e)
    def i0e(x):
        return lrp3d.operations.attach(KeepsPart(), torch.special.i0e(x), [x])

    found = lrp3d.explain(Absorbing().double().eval(), CLIP, 0, contrastive=False)
    absorbed = sum(entry.absorbed for entry in found.ledger)
    torch.testing.assert_close(found.relevance.sum() + absorbed, found.logits[:, 0].sum())
    assert [entry.layer for entry in found.ledger if abs(entry.absorbed) > 1e-9] == ["special_i0e"]


class Residual(Frames):
    """The second convolution beside a shortcut."""

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.fc(torch.relu(x + self.second(x)).mean((3, 4)).transpose(1, 2)).mean(1)


COMPOSITES = ["paper", "epsilon", "epsilon_plus", "alpha_beta", losing(0.5)]


@pytest.mark.parametrize("composite", COMPOSITES, ids=[*COMPOSITES[:-1], "losing"])
@pytest.mark.parametrize("contrastive", [True, False])
def test_what_a_rule_cannot_absorb_needs_not_be_added_up(contrastive, composite):
    """The ledger says the same where every layer is added up."""
    torch.manual_seed(1)
    model = Residual().double().eval()

    def ledger():
        return lrp3d.explain(model, CLIP, composite=composite, contrastive=contrastive, chunk_size=2).ledger

    found = ledger()
    with lrp3d.kernels.plain():
        added_up = ledger()
    assert [entry[:2] for entry in found] == [entry[:2] for entry in added_up]
    for one, other in zip(found, added_up, strict=True):
        torch.testing.assert_close(torch.tensor(one[2:]), torch.tensor(other[2:]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("plain", [True, False])
def test_a_kernel_that_loses_relevance_is_noticed_and_plain_kernels_say_where(monkeypatch, plain):
    def adjoint(r, w, *arguments):
        return original(r, w, *arguments) * (0.9 if w.shape[2:] == (3, 1, 1) else 1.0)

    original = lrp3d.kernels.adjoint
    monkeypatch.setattr("lrp3d.compute.kernels.adjoint", adjoint)
    with lrp3d.kernels.plain() if plain else nullcontext():
        found = lrp3d.explain(net(), CLIP, contrastive=False)
    torch.testing.assert_close(found.conservation, torch.full((2,), 0.1, dtype=torch.float64))
    absorbed = {entry.layer: entry.absorbed / entry.relevance_in for entry in found.ledger}
    assert absorbed == pytest.approx({name: 0.1 * (plain and name == "second") for name in absorbed}, abs=1e-9)
