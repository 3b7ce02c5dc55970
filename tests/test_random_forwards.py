"""A forward that draws random numbers is noticed, refused without a seed, and explained with one."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d

CLIP = torch.rand(1, 3, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, between=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.between = [between]
        self.conv, self.fc = nn.Conv3d(3, 6, 3, padding=1), nn.Linear(6, 5)

    def forward(self, clip):
        return self.fc(self.between[0](self.conv(clip).relu().mean((3, 4)).transpose(1, 2)).mean(1))


class ConstantOutput(Net):
    """Draws from a generator of its own."""

    def __init__(self):
        super().__init__(lambda x: x * (torch.rand(6, generator=self.generator) < 0.5))
        self.generator = torch.Generator()


@pytest.fixture(autouse=True)
def _always_the_same_draws():
    torch.manual_seed(1), np.random.seed(1), random.seed(1)


DRAWS = {
    "dropout": lambda x: F.dropout(x, 0.5),
    "channel dropout": lambda x: F.dropout1d(x, 0.5),
    "frames by torch": lambda x: x[:, torch.randperm(4)[:2]],
    "frames by numpy": lambda x: x[:, np.sort(np.random.choice(4, 2, replace=False))],
    "frames by Python": lambda x: x[:, random.sample(range(4), 2)],
    "noise": lambda x: x + 0.1 * torch.randn_like(x),
}


def ready(net):
    return net.double().eval()


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_refused_without_a_seed_and_reproducible_with_one(name):
    model = ready(Net(DRAWS[name]))
    with pytest.raises(lrp3d.UnsupportedOperation, match="seed="):
        lrp3d.explain(model, CLIP)
    assert any("seed=" in problem for problem in lrp3d.inspect(model, CLIP).problems)
    assert not lrp3d.inspect(model, CLIP, seed=3).problems
    found, again, *others = (lrp3d.explain(model, CLIP, 0, temporal=False, seed=seed) for seed in (3, 3, 4, 5, 6, 7))
    assert found.relevance.equal(again.relevance)
    assert not all(found.relevance.equal(other.relevance) for other in others)
    assert found.about["seed"].startswith("3,")
    assert found.conservation.max() < 1e-9


def test_with_a_seed_it_is_the_network_with_what_was_drawn():
    found = lrp3d.explain(ready(Net(DRAWS["dropout"])), CLIP, 0, seed=3)
    torch.manual_seed(3)
    factor = F.dropout(torch.ones(1, 6, 4, dtype=torch.float64).transpose(1, 2), 0.5)
    expected = lrp3d.explain(ready(Net(lambda x: x * factor)), CLIP, 0)
    assert found.logits.equal(expected.logits)
    assert found.matrix.equal(expected.matrix)


def test_dropout_after_the_pool_drops_the_same_in_every_frame():
    class After(Net):
        def forward(self, clip):
            return self.fc(F.dropout(self.conv(clip).relu().mean((2, 3, 4)), 0.5))

    explanation = lrp3d.explain(ready(After()), CLIP, 0, seed=3)
    torch.testing.assert_close(explanation.frame_logits.mean(1), explanation.logits[:, 0])


def test_dropout_left_in_training_mode_may_be_explained_with_a_seed():
    model = ready(Net())
    model.between = nn.ModuleList([nn.Dropout(0.5)]).train()
    with pytest.raises(ValueError, match="training mode"):
        lrp3d.explain(model, CLIP)
    assert lrp3d.explain(model, CLIP, 0, seed=3).matrix.shape == (1, 4, 4)


def test_a_generator_of_the_models_own_is_noticed():
    with pytest.raises(lrp3d.UnsupportedOperation, match="differs"):
        lrp3d.explain(ready(ConstantOutput()), CLIP)


def test_draws_that_change_nothing_are_no_matter():
    def draws(x):
        torch.rand(2), np.random.rand(2), random.random()
        return x

    found, expected = (lrp3d.explain(ready(Net(between)), CLIP) for between in (draws, lambda x: x))
    assert found.matrix.equal(expected.matrix)
    assert not found.about


class Counting(Net):
    runs = 0

    def forward(self, clip):
        Counting.runs += 1
        return super().forward(clip)


def test_who_draws_nothing_runs_once_and_for_the_first_clip_of_a_twin_once_more():
    """Its own forward says whether the logits that were recorded are those of the model."""
    twin = lrp3d.convert(ready(Counting()))
    for runs in (2, 3, 4):
        lrp3d.explain(twin, CLIP)
        assert Counting.runs == runs


def test_dropout_inside_a_gate_is_noticed():
    with pytest.raises(lrp3d.UnsupportedOperation, match="differs"):
        lrp3d.explain(ready(Net(lambda x: x * torch.sigmoid(F.dropout(x * 1, 0.5)))), CLIP)


def test_nothing_is_measured_where_every_run_differs():
    with pytest.raises(ValueError, match="differs from run to run"):
        lrp3d.intervention_matrix(ready(Net(DRAWS["noise"])), CLIP)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3", 2**63])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        lrp3d.explain(ready(Net()), CLIP, seed=seed)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout3d])
def test_a_layer_draws_what_torch_draws_with_that_seed(kind):
    model = nn.Sequential(
        nn.Conv3d(3, 8, 3), nn.ReLU(), kind(0.5), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    model = ready(model)
    model[2].train()
    found = lrp3d.explain(model, CLIP, 0, seed=7, temporal=False)
    torch.manual_seed(7)
    torch.testing.assert_close(found.logits, model(CLIP).detach())
