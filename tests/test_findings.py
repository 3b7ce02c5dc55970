"""The bench of the paper's findings: its data set, its tests and its page are what they say they are."""

import json
import subprocess
import sys

import pytest
import torch

import lrp3d
from benchmarks.paper import actions
from benchmarks.paper.actions import CLASSES, EVENT, SOURCE, STATIC, TEMPORAL, ActionClips, Actions
from benchmarks.paper.nets import Net, every, quick_aggregation
from benchmarks.paper.statistics import (
    NOT_ASKED,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def plain(monkeypatch):
    """Clips of full contrast and with little noise, in which a colour can be told by a threshold."""
    monkeypatch.setattr(actions, "FAINT", 1.0)
    monkeypatch.setattr(actions, "NOISE", 0.1)


def test_contrast_is_drawn_for_every_clip():
    clips = of_class(Actions("static", 8), "yellow square", 200)
    blueness = clips[:, 2].flatten(1).min(1).values  # noise is even, so that faint squares have more blue
    assert blueness.quantile(0.9) - blueness.quantile(0.1) > 0.1


def of_class(actions: Actions, name: str, count: int) -> torch.Tensor:
    """Clips of one class."""
    place = actions.classes.index(name)
    return actions.clips(range(place, place + count * len(actions.classes), len(actions.classes)))[0]


def red(clips: torch.Tensor) -> torch.Tensor:
    """Whether a frame shows something red, (b, t)."""
    return ((clips[:, 0] > 0.8) & (clips[:, 1] < 0.25) & (clips[:, 2] < 0.25)).flatten(2).sum(-1) > 12


@pytest.mark.parametrize("frames", [8, 16, 32])
def test_an_event_is_in_as_many_sampled_frames_wherever_it_is(plain, frames):
    shown = red(of_class(Actions(frames=frames), "red, pause, green", 20))
    assert shown.sum(-1).tolist() == [EVENT * frames // SOURCE] * 20


@pytest.mark.parametrize("twins", [TEMPORAL[:2], TEMPORAL[2:4], TEMPORAL[4:]])
def test_no_frame_tells_a_temporal_class_from_its_twin_and_their_order_does(plain, twins):
    """Averaged over clips and frames both look the same; change from frame to frame does not."""
    one, other = (of_class(Actions(frames=8), name, 400) for name in twins)
    mean = one.mean((0, 2))
    assert (mean - other.mean((0, 2))).abs().mean() < 0.02
    change = [(clips[:, :, 1:] - clips[:, :, :-1]).clamp(min=0)[:, 0].mean((0, 2, 3)) for clips in (one, other)]
    first = [red(clips).float().argmax(1).float().mean() for clips in (one, other)]
    assert (change[0] - change[1]).abs().max() < 0.1
    assert twins == TEMPORAL[:2] or first[0] < first[1] - 0.5


def test_every_frame_of_a_static_clip_shows_its_class(plain):
    clips, labels = Actions("static", 8).clips(8)
    yellow = clips[labels == STATIC.index("yellow square")]
    assert bool(((yellow[:, 0] > 0.7) & (yellow[:, 1] > 0.65) & (yellow[:, 2] < 0.3)).flatten(2).any(-1).all())


def test_dense_clips_are_consecutive_frames_and_move_half_as_fast(plain):
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


def test_narrow_inception_is_explained():
    clip = torch.rand(1, 3, 8, 16, 16)
    explanation = lrp3d.explain(Net("I3D-Inception-f8").untrained().eval(), clip)
    assert explanation.matrix is not None
    assert explanation.matrix.shape == (1, 8, 8)
    assert explanation.conservation.abs().max() < 1e-4


@pytest.mark.slow
def test_a_network_is_trained_recorded_and_written_on_a_page_that_its_records_give_again(tmp_path):
    def run(program, *options):
        subprocess.run([sys.executable, "-m", f"benchmarks.{program}", *map(str, options)], check=True, timeout=300)

    nets, out = tmp_path / "nets", tmp_path / "out"
    run("findings_nets", "--quick", "--only", "TAM2D-R18-f16-mixed", "--out", nets)
    record = json.loads(next(nets.rglob("record.json")).read_text())
    assert record["steps"] == 2
    assert {len(values) for values in record["clips"].values()} == {10}
    run("findings", "--nets", nets, "--out", out)
    first = (out / "findings.md").read_text()
    run("findings", "--from-records", "--out", out)
    assert (out / "findings.md").read_text() == first
    marks = {one["mark"] for one in json.loads((out / "findings.json").read_text())["findings"]}
    assert marks == {NOT_ASKED}  # a single seed shows nothing
