"""Of several videos some are missing or broken: `check` and `prototypes` go on without them, and say so."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from terminal import SMALL, TINY, error

import lrp3d
from lrp3d.commands import one_clip

COMMANDS = {
    "check": ["check", *TINY, "--option", "classes=5", "--no-shapley"],
    "prototypes": ["prototypes", *SMALL, "--layer", "features.layer4"],
}


@pytest.fixture(params=COMMANDS)
def command(request, networks):
    return COMMANDS[request.param]


@pytest.fixture
def with_holes(listed):
    """Five videos, of which the second is empty and the fourth is not there, in classes 0 to 4."""
    Path("videos/empty.mp4").touch()
    names = ("v0.npy", "empty.mp4", "v1.npy", "missing.mp4", "v2.npy")
    Path("list.csv").write_text("".join(f"{name} {label}\n" for label, name in enumerate(names)))
    return listed


SAID = [
    "lrp3d: videos/empty.mp4 is an empty file (0 bytes)",
    "lrp3d: there is no file or folder videos/missing.mp4",
]


def test_one_line_is_said_of_each_and_the_page_has_it_too(run, command, with_holes):
    code, out, err = run(*command, *with_holes, "--out", "page.html")
    assert (code, err.splitlines()) == (1, SAID)
    assert "note: 2 of 5 videos could not be read and are left out" in out
    page = Path("page.html").read_text()
    assert "2 of 5 videos could not be read and are left out" in page
    assert all(line.removeprefix("lrp3d: ") in page for line in SAID)


def test_the_results_are_those_of_the_others_alone_each_with_its_own_class(run, command, with_holes):
    code, out, _ = run(*command, *with_holes, "--target", "label", "--json")
    assert code == 1
    found = json.loads(out)
    assert [entry["video"] for entry in found["failed"]] == ["videos/empty.mp4", "videos/missing.mp4"]
    assert [entry["error"] for entry in found["failed"]] == [line.removeprefix("lrp3d: ") for line in SAID]
    assert found["videos"] == [f"videos/v{number}.npy" for number in range(3)]
    Path("list.csv").write_text("v0.npy 0\nv1.npy 2\nv2.npy 4\n")
    sys.modules.pop("networks", None)  # as in a process of its own: importing it draws random weights
    code, out, err = run(*command, *with_holes, "--target", "label", "--json")
    assert (code, err) == (0, "")
    alone = json.loads(out)
    del found["failed"], found["notes"], alone["failed"], alone["notes"]
    assert found == alone


def test_videos_are_given_one_by_one_as_well(run, command, listed):
    code, _, err = run(*command, "videos/v0.npy", "list.csv", "nowhere.mp4", "videos/v1.npy")
    assert code == 1
    said = ["list.csv cannot be opened as a video", "there is no file or folder nowhere.mp4"]
    assert all(words in line for words, line in zip(said, err.splitlines(), strict=True))
    assert "--root" not in err


def test_without_any_that_can_be_read_nothing_is_written(run, command, folder):
    code, out, err = run(*command, "a.mp4", "b.mp4", "--out", "page.html")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "lrp3d: none of the 2 videos could be read"
    assert not (folder / "page.html").exists()
    assert error(run, *command, "a.mp4") == "lrp3d: there is no file or folder a.mp4\n"


def test_a_list_whose_videos_lie_elsewhere_is_answered_with_root(run, command, with_holes):
    err = run(*command, *with_holes[:2])[2]
    assert err.splitlines()[-1].endswith("list.csv names no file in .; say with --root where they lie")


def test_where_an_error_comes_from_is_shown_to_those_who_ask(run, with_holes):
    with pytest.raises(lrp3d.video.VideoError, match="empty file"):
        run(*COMMANDS["prototypes"], *with_holes, "-v")


def test_more_videos_than_are_taken_are_told(run, listed):
    command, videos = COMMANDS["prototypes"], [f"videos/v{number}.npy" for number in range(3)]
    assert "3 videos are given, and the first 2 taken: see --clips" in run(*command, *videos, "--clips", 2)[1]
    assert "see --clips" not in run(*command, *videos)[1]


def test_prototypes_holds_a_few_clips_at_a_time(run, with_holes, monkeypatch):
    """No more than a batch is read before it is explained."""
    order = []
    module = importlib.import_module("lrp3d.prototypes")
    read, explain = one_clip.read, module.explain
    monkeypatch.setattr(one_clip, "read", lambda *given: order.append("read") or read(*given))
    noted = lambda *given, **options: order.append("explain") or explain(*given, **options)  # noqa: E731
    monkeypatch.setattr(module, "explain", noted)
    Path("list.csv").write_text("".join(f"v{number % 3}.npy {number}\n" for number in range(9)))
    assert run(*COMMANDS["prototypes"], *with_holes, "--target", "label")[0] == 0
    assert order == [*["read"] * 4, "explain", *["read"] * 4, "explain", "read", "explain"]


def test_targets_are_asked_for_as_the_clips_are_read():
    model = lrp3d.models.i3d_resnet(18, num_classes=3, width=4).eval()
    clips = torch.rand(5, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    asked = {"layer": "features.layer4", "batch_size": 2}
    lazy = lrp3d.prototypes(model, iter(clips), targets=iter([0, 1, 2, 0, 1]), **asked)
    assert torch.equal(lazy.of_clips, lrp3d.prototypes(model, clips, targets=[0, 1, 2, 0, 1], **asked).of_clips)
    with pytest.raises(ValueError, match=r"more clips than targets \(3\)"):
        lrp3d.prototypes(model, clips, targets=iter([0, 1, 2]), **asked)
    with pytest.raises(ValueError, match=r"more targets \(6\) than clips \(5\)"):
        lrp3d.prototypes(model, clips, targets=iter([0, 1, 2, 0, 1, 2]), **asked)


def test_a_class_that_the_model_lacks_is_named_with_its_clip(run, clip, networks):
    Path("list.txt").write_text("clip.npy 7\n")
    said = error(run, "check", "--list", "list.txt", "--target", "label", *TINY, code=2)
    assert "the list says class 7 of clip.npy, and the model has classes 0 to 2" in said
