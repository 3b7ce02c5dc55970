"""A folder of training belongs to one command: what the run depends on is the same when it goes on."""

from pathlib import Path

import pytest
from terminal import SMALL

import lrp3d


@pytest.fixture
def command(listed):
    """A training on three drawn videos of three classes."""
    Path("other.txt").write_text("".join(f"v{seed}.npy {2 - seed}\n" for seed in range(3)))
    for name, names in (("names.txt", "archery\nbowling\nyoga\n"), ("turned.txt", "yoga\nbowling\narchery\n")):
        Path(name).write_text(names)
    return {
        **dict(zip(listed[::2], listed[1::2], strict=True)),
        "--labels": "names.txt",
        "--epochs": 1,
        "--batch": 2,
        "--workers": 0,
        "--out": "run",
    }


def words(options):
    return ["train", *SMALL, *(word for pair in options.items() for word in pair)]


def test_a_finished_run_is_not_taken_for_that_of_another_command(run, command):
    assert run(*words(command))[0] == 0
    trained = Path("run/model.safetensors").read_bytes()
    for changed, named in (
        ({"--list": "other.txt"}, "list 3 clips"),
        ({"--labels": "turned.txt"}, "classes"),
        ({"--validation": "list.csv"}, "validation list None there"),
        ({"--limit": 2}, "list 3 clips"),
        ({"--flip": "no"}, "mirrored True there and False here"),
        ({"--short-side": "34-40"}, "shorter sides"),
        ({"--sampling": "dense"}, "sampling uniform there and dense here"),
        ({"--weights": "run/model.safetensors"}, "initial weights"),
    ):
        ended, _, said = run(*words(command | changed))
        assert ended == 1
        assert "another recipe, model or data" in said
        assert named in said
        assert Path("run/model.safetensors").read_bytes() == trained
    assert lrp3d.models.load_model("run/model.safetensors").classes == ("archery", "bowling", "yoga")


def test_the_same_command_goes_on_wherever_its_clips_lie_now(run, command):
    assert run(*words(command))[0] == 0
    Path("videos").rename("moved")
    assert run(*words(command | {"--root": "moved"}))[0] == 0


def test_who_interrupts_a_training_is_told_that_it_goes_on(run, command, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(lrp3d.models, "train", interrupted)
    ended, _, said = run(*words(command))
    assert ended == 130
    assert said == "lrp3d: interrupted: started again, the same command goes on after the last whole epoch\n"
