"""The benches run from end to end on tiny networks, and their measures are what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHES = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHES))

from measures import frozen, lag_profile, ranks, relevance_gain, shapley, share, spearman  # noqa: E402
from spans import others_mean  # noqa: E402


def run(script: str, *options: object) -> None:
    subprocess.run([sys.executable, BENCHES / script, *map(str, options)], check=True, capture_output=True, timeout=300)


@pytest.mark.slow
def test_networks_are_trained_and_held_against_the_truth_by_two_commands(tmp_path):
    run("train_planted.py", "--quick", "--out", tmp_path / "trained")
    assert len(list((tmp_path / "trained").rglob("model.safetensors"))) == 2
    run("truth.py", "--quick", "--trained", tmp_path / "drawn", "--maps", tmp_path / "maps", "--out", tmp_path)
    tables = json.loads((tmp_path / "truth.json").read_text())["tables"]
    assert set(tables) == {"I3D-R18, 4 frames"}
    assert "## I3D-R18, 4 frames: Where the relevance lies" in (tmp_path / "truth.md").read_text()


def test_shapley_values_of_an_additive_game_are_its_summands_and_always_sum_to_the_whole():
    torch.manual_seed(0)
    worth = torch.rand(2, 5, dtype=torch.double)
    torch.testing.assert_close(shapley(lambda kept: (worth * kept).sum(-1), 2, 5), worth)

    def together(kept: torch.Tensor) -> torch.Tensor:
        return (kept[:, 0] & kept[:, 3]).double()

    torch.testing.assert_close(shapley(together, 1, 5), torch.tensor([[0.5, 0, 0, 0.5, 0]]).double())


def test_the_right_ranking_has_the_greatest_relevance_gain_and_the_reverse_its_negative():
    worth = torch.tensor([[5.0, 1.0, 0.0, 3.0]])

    def value(kept: torch.Tensor) -> torch.Tensor:
        return (worth * kept).sum(-1)

    best = relevance_gain(worth, value)
    assert best > relevance_gain(torch.tensor([[1.0, 5.0, 0.0, 3.0]]), value) > 0
    torch.testing.assert_close(relevance_gain(-worth, value), -best)


def test_frozen_frames_are_the_nearest_that_are_kept():
    clip = torch.arange(5.0).view(1, 1, 5, 1, 1)
    kept = torch.tensor([[False, True, False, True, False]])
    assert frozen(clip, kept).flatten().tolist() == [1, 1, 1, 3, 3]
    assert frozen(clip, torch.zeros_like(kept)).flatten().tolist() == [2] * 5


def test_a_matrix_that_is_its_lag_profile_has_the_share_of_it():
    matrix = torch.exp(-(torch.arange(6) - torch.arange(6)[:, None]).abs().double()).expand(3, 6, 6)
    logits = torch.ones(3, 6)
    decisive = torch.tensor([[1, 0, 0, 1, 0, 0]] * 3).bool()
    profile = lag_profile(matrix / matrix.sum(-1, keepdim=True), logits)
    torch.testing.assert_close(profile.sum(-1), torch.ones(6).double())
    expected = (profile * decisive[0]).sum(-1).mean()
    torch.testing.assert_close(share(matrix, logits, decisive).mean(), expected, rtol=0.02, atol=0)


def test_ranks_share_ties_and_the_mean_of_the_others_leaves_a_clip_out():
    assert ranks(torch.tensor([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0, 2.5, 1]
    assert spearman(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 8, 27])).item() == pytest.approx(1)
    matrices = torch.tensor([1.0, 3.0, 5.0, 100.0]).view(4, 1, 1)
    assert others_mean(matrices, torch.tensor([0, 0, 0, 1])).flatten().tolist() == [4, 3, 2, 0]
