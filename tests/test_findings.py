"""The bench of the paper's findings: its data set is what it says, and it runs from end to end."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.paper.actions import CLASSES, EVENT, SOURCE, STATIC, TEMPORAL, ActionClips, Actions
from benchmarks.paper.factors import by_seed
from benchmarks.paper.nets import Net, every, quick_aggregation
from benchmarks.paper.page import Section, page
from benchmarks.paper.verdicts import NOT_HERE, NOT_REPRODUCED, REPRODUCED, Comparison, no_correlation, seeds
from lrp3d.study import pearson

pytestmark = pytest.mark.slow


def of_class(actions: Actions, name: str, count: int) -> torch.Tensor:
    """Clips of one class."""
    place = actions.classes.index(name)
    return actions.clips(range(place, place + count * len(actions.classes), len(actions.classes)))[0]


def red(clips: torch.Tensor) -> torch.Tensor:
    """Whether a frame shows something red, (b, t)."""
    return ((clips[:, 0] > 0.8) & (clips[:, 1] < 0.25) & (clips[:, 2] < 0.25)).flatten(2).sum(-1) > 12


@pytest.mark.parametrize("frames", [8, 16, 32])
def test_an_event_is_in_as_many_sampled_frames_wherever_it_is(frames):
    shown = red(of_class(Actions(frames=frames), "red, pause, green", 20))
    assert shown.sum(-1).tolist() == [EVENT * frames // SOURCE] * 20


@pytest.mark.parametrize("twins", [TEMPORAL[:2], TEMPORAL[2:4], TEMPORAL[4:]])
def test_no_frame_tells_a_temporal_class_from_its_twin_and_their_order_does(twins):
    """Averaged over clips and frames both look the same; change from frame to frame does not."""
    one, other = (of_class(Actions(frames=8), name, 400) for name in twins)
    mean = one.mean((0, 2))
    assert (mean - other.mean((0, 2))).abs().mean() < 0.02
    change = [(clips[:, :, 1:] - clips[:, :, :-1]).clamp(min=0)[:, 0].mean((0, 2, 3)) for clips in (one, other)]
    first = [red(clips).float().argmax(1).float().mean() for clips in (one, other)]
    assert (change[0] - change[1]).abs().max() < 0.1
    assert twins == TEMPORAL[:2] or first[0] < first[1] - 0.5


def test_every_frame_of_a_static_clip_shows_its_class():
    clips, labels = Actions("static", 8).clips(8)
    yellow = clips[labels == STATIC.index("yellow square")]
    assert bool(((yellow[:, 0] > 0.7) & (yellow[:, 1] > 0.65) & (yellow[:, 2] < 0.3)).flatten(2).any(-1).all())


def test_dense_clips_are_consecutive_frames_and_move_half_as_fast():
    even, dense = (of_class(Actions("temporal", 16, dense=d), "moves right", 30) for d in (False, True))
    moved = [(clips[:, :, 1:] - clips[:, :, :-1]).abs().amax((1, 3, 4)) > 0.4 for clips in (even, dense)]
    assert moved[0].double().mean() > 1.5 * moved[1].double().mean()


def test_clips_depend_on_seed_and_number_alone():
    whole, few = (ActionClips(Actions(frames=8), 40, (0.5,) * 3, (0.5,) * 3, seed=3) for _ in range(2))
    assert torch.equal(whole.__getitems__([4, 17])[1][0], few[17][0])
    assert len(CLASSES) == len(Actions().classes)


def test_convolutions_along_time_are_the_same_in_two_dimensions():
    model = Net("TAM2D-R18-f8", kernel=5).untrained().eval()
    clip = torch.rand(2, 3, 8, 16, 16)
    with torch.no_grad():
        expected = model(clip)
        with quick_aggregation(model):
            torch.testing.assert_close(model(clip), expected)
        assert not any("forward" in vars(module) for module in model.modules())


def test_networks_have_names_of_their_own():
    names = [net.name for net in every()]
    assert len(set(names)) == len(names)


def test_a_page_counts_its_findings_and_says_what_was_missing():
    section = Section("Table 9", "an example", "It is so.")
    section.find("it is so", {"": Comparison(1.0, 0.5)}, "1 > 0", "yes it is", "no it is not")
    section.find("it is so twice", {"": Comparison(-1.0, 0.5)}, "1 < 2", "yes it is", "no it is not")
    section.find("it is so elsewhere", {}, "", "", "")
    text = page([section], ["Made by hand."], "findings")
    assert "3 findings: 1 reproduced, 1 not reproduced, 1 not testable here." in text
    assert "| Table 9 | it is so twice | not reproduced | 1 < 2 | no it is not |" in text


SURE, UNSURE, AGAINST, LONE = seeds([1.0, 1.2]), seeds([3.0, -2.0]), seeds([-1.0, -1.2]), seeds([5.0])


@pytest.mark.parametrize(
    ("compared", "expected"),
    [
        ([SURE], REPRODUCED),
        ([SURE, UNSURE, LONE], REPRODUCED),
        ([SURE, UNSURE, UNSURE], NOT_HERE),
        ([SURE, AGAINST], NOT_REPRODUCED),
        ([UNSURE, LONE], NOT_HERE),
        ([no_correlation(0.5, pearson([1, 2, 3, 4], [2, 1, 4, 3]))], NOT_HERE),
        ([no_correlation(0.5, pearson(range(200), [i % 2 for i in range(200)]))], REPRODUCED),
        ([no_correlation(0.5, pearson(range(9), [0, 1, 2, 3, 4, 5, 6, 8, 7]))], NOT_REPRODUCED),
    ],
)
def test_only_what_exceeds_the_noise_marks_a_finding(compared, expected):
    section = Section("Table 9", "an example", "It is so.")
    section.find("it is so", dict(zip("abc", compared, strict=False)), "numbers", "yes", "no")
    assert section.findings[0].result == expected


def test_differences_of_poorly_trained_networks_count_for_nothing():
    section = Section("Table 9", "an example", "It is so.")
    for trained, expected in ((True, REPRODUCED), (False, NOT_HERE)):
        section.find("it is so", by_seed({"R50": [-1.0, -1.2]}, sign=-1, trained=trained), "numbers", "yes", "no")
        assert section.findings[-1].result == expected


def test_a_comparison_that_speaks_against_the_paper_is_named():
    section = Section("Table 9", "an example", "It is so.")
    section.find("it is so", {"small": SURE, "large": AGAINST}, "numbers", "yes", "no")
    assert section.findings[0].numbers == "numbers (1 of 2 comparisons count for it, against it: large)"


@pytest.mark.slow
def test_networks_are_trained_and_every_finding_is_marked_by_two_commands(tmp_path):
    def run(program, *options):
        subprocess.run([sys.executable, "-m", f"benchmarks.{program}", *map(str, options)], check=True, timeout=300)

    nets = tmp_path / "nets"
    run("findings_nets", "--quick", "--only", "I3D-R18-f8-mixed", "--out", nets)
    assert json.loads(next(nets.rglob("result.json")).read_text())["steps"] == 2
    run("findings", "--quick", "--nets", nets, "--kept", tmp_path / "kept", "--out", tmp_path)
    found = json.loads((tmp_path / "findings.json").read_text())["findings"]
    numbers = " ".join(dict.fromkeys(one["paper"] for one in found))
    assert all(f"Table {table}" in numbers for table in (1, 2, 3, 4, 5, 6, 7))
    assert all(
        f"Fig. {figure}" in numbers for figure in ("2", "3", "4a", "4b", "5a", 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    )
    assert {one["result"] for one in found} == {NOT_HERE}  # a single seed, hardly trained, shows nothing
    assert (tmp_path / "findings" / "table1.csv").exists()
