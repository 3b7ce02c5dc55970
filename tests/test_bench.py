"""The benches run from end to end on tiny networks, and their measures are what they say."""

import json
import os
import re
from collections import defaultdict
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lrp3d.models import save_checkpoint

from benchmarks import meaning
from benchmarks.planted.columns import atr_columns, place_columns, sanity_columns
from benchmarks.planted.maps import maps_of
from benchmarks.planted.measures import frozen, lag_profile, ranks, relevance_gain, shapley, share, spearman
from benchmarks.planted.spans import MEASURES, agreement, others_mean
from benchmarks.planted.tables import targets
from benchmarks.planted.training_plans import Lineage, chains, every, radius
from benchmarks.train_planted import NAMING, STEPS, NamedClips, train_gap
from lrp3d.planted import Task

pytestmark = pytest.mark.slow

BENCHES = Path(__file__).parent.parent / "benchmarks"
PAGE, SHOTS = meaning.PAGES
RESULTS = BENCHES / "results" / "truth.json"


def run(program: str, *options: object) -> None:
    subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *map(str, options)],
        check=True,
        capture_output=True,
        timeout=300,
    )


@pytest.mark.slow
def test_networks_are_trained_and_held_against_the_truth_by_two_commands(tmp_path):
    run("train_planted", "--quick", "--jobs", 2, "--out", tmp_path / "trained")
    assert len(list((tmp_path / "trained").rglob("model.safetensors"))) == 4  # two gaps for each job
    run("truth", "--quick", "--trained", tmp_path / "drawn", "--maps", tmp_path / "maps", "--out", tmp_path)
    tables = json.loads((tmp_path / "truth.json").read_text())["tables"]
    assert set(tables) == {"I3D-R18, 4 frames"}
    assert "## I3D-R18, 4 frames: Where the relevance lies" in (tmp_path / "truth.md").read_text()
    assert (tmp_path / "truth-atr.png").read_bytes().startswith(b"\x89PNG")


def test_every_lineage_is_in_one_chain_and_a_warm_one_behind_the_one_it_starts_from():
    lineages = every()
    found = chains(lineages[::-1])
    assert sorted(one.name for chain in found for one in chain) == sorted(one.name for one in lineages)
    for chain in found:
        seen = set()
        for one in chain:
            assert one.warm is None or (16, one.warm) in seen
            seen |= {(one.frames, gap) for gap in one.gaps}


def test_a_frame_only_network_has_no_radius_and_kernels_add_up_over_eight_blocks():
    found = {name: radius(name, 64) for name in ("TSN-R18", "TAM3-R18", "TAM5-R18", "I3D-R18")}
    assert found == {"TSN-R18": 0, "TAM3-R18": 8 * 1, "TAM5-R18": 8 * 2, "I3D-R18": 1 + 8 * 2 * 1}


def test_where_features_do_not_come_by_themselves_a_network_first_learns_to_name_what_the_events_show(tmp_path):
    one = Lineage("I3D-R18", "xor", 0, gaps=(1,), frames=4, size=8, named=True)
    clips = NamedClips(one.task(1), 8, (0.5,) * 3, (0.5,) * 3)
    truth = Task("xor", frames=4, size=8).clips(8)
    assert [label for _, label in clips.__getitems__(range(8))] == (2 * truth.bits[:, 0] + truth.bits[:, 1]).tolist()
    assert train_gap(one, 1, None, tmp_path, 1, 1).num_classes == 2
    assert json.loads((one.folder(tmp_path, 1) / "result.json").read_text())["steps"] == NAMING + 1


def test_a_long_lineage_has_one_round_of_as_many_steps_as_it_says(tmp_path):
    one = Lineage("TSN-R18", "flash", 0, gaps=(1,), frames=2, size=8, long=3)
    train_gap(one, 1, None, tmp_path, STEPS, 5)
    assert json.loads((one.folder(tmp_path, 1) / "result.json").read_text())["steps"] == 3


def test_maps_are_made_anew_when_the_weights_are_newer(tmp_path):
    one = Lineage("TSN-R18", "flash", 0, gaps=(1,), frames=2, size=8)
    weights = one.folder(tmp_path, 1) / "model.safetensors"
    weights.parent.mkdir(parents=True)
    save_checkpoint(one.untrained(), weights)
    made = maps_of(one, 1, tmp_path, tmp_path, 2, ["random"], tests=False)
    kept = tmp_path / f"{one.name}-gap1.safetensors"
    later = kept.stat().st_mtime_ns
    assert maps_of(one, 1, tmp_path, tmp_path, 2, ["random"], tests=False).keys() == made.keys()
    assert kept.stat().st_mtime_ns == later
    os.utime(weights, ns=(later + 10**9, later + 10**9))
    assert len(maps_of(one, 1, tmp_path, tmp_path, 3, ["random"], tests=False)["correct"]) == 3


def maps_with(matrix: torch.Tensor, decisive: torch.Tensor, block: int = 1) -> dict[str, torch.Tensor]:
    """Maps as the bench keeps them, of one method: all clips right, all rows alike."""
    clips, rows = matrix.shape[:2]
    maps = {"frame_logits": torch.ones(clips, rows), "correct": torch.ones(clips), "decisive": decisive}
    maps |= {"labels": torch.arange(clips) % 2, "block": torch.tensor(block)}
    return maps | {f"{kind}/LRP": matrix for kind in ("matrix", "untrained", "other logit")}


def planted_maps(gap: int, block: int = 1) -> dict[str, torch.Tensor]:
    """A method that is always right: every row has all of its relevance on the two decisive frames."""
    first = torch.arange(6)
    decisive = torch.zeros(6, 16).bool()
    decisive[first, first] = decisive[first, first + gap] = True
    return maps_with(decisive[:, None].expand(-1, 16, -1).double(), decisive, block)


def test_a_method_that_is_right_has_all_of_its_relevance_on_the_decisive_frames_and_more_than_its_lag_profile():
    found = place_columns({gap: planted_maps(gap) for gap in (1, 8)}, "LRP")
    assert found["share d=1"] == found["share d=8"] == found["share, weaker class"] == 1
    assert found["lift"] > 2


def test_a_method_that_knows_only_lags_has_no_lift_over_its_lag_profile():
    lag = (torch.arange(16) - torch.arange(16)[:, None]).abs()
    maps = planted_maps(4) | {"matrix/LRP": torch.exp(-lag.double()).expand(6, 16, 16)}
    assert place_columns({4: maps}, "LRP")["lift"] == pytest.approx(1, abs=0.05)


def test_atr_grows_with_the_gap_of_relevance_and_blocks_are_counted_in_frames():
    one = atr_columns({gap: planted_maps(gap) for gap in (1, 2, 4, 8)}, "LRP")
    assert one["ρ gaps 97.5%"] == pytest.approx(1)
    assert 0 < one["slope 97.5%"] < 1  # rows far from both events reach to them as well
    two = atr_columns({gap: planted_maps(gap, block=2) for gap in (1, 2, 4, 8)}, "LRP")
    assert two["ATR 80% d=4"] == 2 * one["ATR 80% d=4"]


def test_the_same_map_for_another_logit_and_other_parameters_is_told():
    found = sanity_columns({1: planted_maps(1)}, "LRP")
    assert found == {"ρ with the other logit": pytest.approx(1), "ρ with random parameters": pytest.approx(1)}


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_of_the_span_is_finite_and_the_excess_span_of_a_perfect_map_is_the_truth(measure):
    found = agreement({gap: planted_maps(gap) for gap in (1, 2, 4)}, "LRP", measure)
    assert found["d=1"] == found["d=1"]
    if measure == "excess span":
        assert found["slope"] == pytest.approx(1)
        assert found["error of means"] == pytest.approx(0)


def test_a_target_is_met_by_the_numbers_that_are_there_and_by_nothing_else():
    good = {"ρ gaps 97.5%": (1.0, 0.0), "slope 97.5%": (0.4, 0.1)}
    tables = {"ATR against the true span": {"CLRP": good}, "Where the relevance lies": {"CLRP": {"lift": (1.1, 0.0)}}}
    found = targets(tables)
    assert found["slope of CLRP's ATR at least .3"] == {"found": {"CLRP": 0.4}, "met": True}
    assert not found["lift at least 1.2 (CLRP)"]["met"]
    assert found["lift at least 1.5 (LRP)"] == {"found": {}, "met": False}  # not measured


FINDINGS = RESULTS.with_name("findings.md")
FINDINGS_PAGE = PAGE.with_name("findings.md")


def test_the_page_on_meaning_has_the_numbers_of_the_results_and_no_others():
    page, result = PAGE.read_text(), json.loads(RESULTS.read_text())
    assert meaning.fill(page, result) == page, "run benchmarks/meaning.py"
    assert page.count("<!-- table:") == len(meaning.MARKED.findall(page)) > 5
    others = MOTION_PASSAGE.sub("", meaning.outside(page))
    assert set(re.findall(r"\d*\.\d+", others)) <= {"97.5"}  # the share of a row that ATR holds


def test_the_page_on_shot_boundaries_has_the_numbers_of_its_results_and_no_others():
    page = SHOTS.read_text()
    assert meaning.fill(page, {}) == page, "run benchmarks/meaning.py"
    assert page.count("<!-- table:") == 1
    assert re.findall(r"\d*\.\d+", meaning.outside(page).replace("arXiv:2008.04838", "")) == ["97.5"]
    rows = json.loads(RESULTS.with_name("cuts-cpu.json").read_text())["rows"]
    assert {row["boundary found"] for row in rows if row["method"] != "untrained LRP"} == {1.0}


MOTION_PASSAGE = re.compile(r"^Networks whose frames meet by .*?weighs all frames alike\.$", re.DOTALL | re.MULTILINE)
MOTION_KINDS = RESULTS.parent / "motion_kinds-cpu.json"


def test_the_passage_on_motion_has_numbers_of_its_results_and_no_others():
    rows = json.loads(MOTION_KINDS.read_text())["rows"]
    of_tasks = defaultdict(list)
    for row in rows:
        kind, seed, number = row["network"].rpartition(", seed ")
        of_tasks[kind if seed else number].append([value for name, value in row.items() if name != "network"])
    found = [abs(value) for seeds in of_tasks.values() for values in seeds for value in values]
    found += [abs(sum(values) / len(values)) for seeds in of_tasks.values() for values in zip(*seeds, strict=True)]
    (passage,) = MOTION_PASSAGE.findall(PAGE.read_text())
    numbers = set(re.findall(r"\d*\.\d+", passage))
    assert len(numbers) > 5
    for number in numbers:
        digits = len(number.partition(".")[2])
        assert any(round(value, digits) == float(number) for value in found), number


def test_the_page_on_the_findings_has_numbers_of_the_findings_and_no_others():
    sections = FINDINGS_PAGE.read_text()
    found = [abs(float(number)) for number in re.findall(r"-?\d*\.\d+", FINDINGS.read_text())]
    numbers = set(re.findall(r"\d*\.\d+", sections))
    assert len(numbers) > 5
    for number in numbers:
        digits = len(number.partition(".")[2])
        assert any(round(value, digits) == float(number) for value in found), number


def test_the_results_have_at_least_200_clips_and_three_seeds_of_every_network():
    result = json.loads(RESULTS.read_text())
    for name, clips in result["clips"].items():
        assert clips["pairs"] >= 200, name
        gaps = [values for gap, values in result["networks"][f"{name}, match"].items() if gap.startswith("d=")]
        assert all(len(values) == 3 for values in gaps), name


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
