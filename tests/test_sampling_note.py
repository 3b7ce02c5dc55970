"""A network that learned from frames that follow one another is not shown others without a word."""

import json
from argparse import Namespace

import pytest
from safetensors import safe_open

import lrp3d
from lrp3d.commands.command_line import main
from lrp3d.commands.sampling_note import sampling_notes
from lrp3d.models import PUBLISHED, CheckpointError, load_model, save_checkpoint

CLIP = "from all over the video: --sampling dense"


def said(apart, who="the network", **options):
    return " ".join(sampling_notes(apart, Namespace(**{"sampling": "uniform", "stride": None} | options), who))


@pytest.mark.parametrize(
    ("apart", "options", "wanted"),
    [
        (4, {}, "frames that follow one another, 4 apart, and here frames are taken " + CLIP + " --stride 4 takes"),
        (1, {}, "frames that follow one another, and here frames are taken " + CLIP + " takes them as in training"),
        (4, {"sampling": "dense"}, "4 apart, and here they are taken without gaps: --stride 4 takes"),
        (1, {"sampling": "dense", "stride": 3}, "one another, and here they are taken 3 apart: --stride 1 takes"),
        (2, {"whole": True, "every": None, "stride": 8}, "2 apart, and here they are taken without gaps: --every 2"),
    ],
)
def test_other_frames_than_those_of_training_are_noted_with_the_option_that_takes_those(apart, options, wanted):
    assert wanted in said(apart, **options)


@pytest.mark.parametrize(
    ("apart", "options"),
    [
        (None, {}),
        (1, {"sampling": "dense"}),
        (4, {"sampling": "dense", "stride": 4}),
        (2, {"whole": True, "every": 2}),
        (1, {"whole": True, "every": None}),
    ],
)
def test_frames_as_in_training_need_no_note(apart, options):
    assert said(apart, **options) == ""


def test_a_command_that_reads_no_video_says_nothing():
    assert sampling_notes(4, Namespace()) == ()


@pytest.mark.parametrize("apart", [0, -1, 2.5, "2", True])
def test_what_is_no_distance_is_refused(apart):
    with pytest.raises(ValueError, match=r"frames_apart=.*: expected the distance between frames in training"):
        said(apart)


def small():
    return lrp3d.models.build("TSN-R18-f4", num_classes=2, width=4).eval()


def test_the_file_of_a_model_keeps_the_distance(tmp_path):
    model = small()
    save_checkpoint(model, tmp_path / "uniform.safetensors")
    assert load_model(tmp_path / "uniform.safetensors").frames_apart is None
    model.frames_apart = 3
    save_checkpoint(model, tmp_path / "dense.safetensors")
    assert load_model(tmp_path / "dense.safetensors").frames_apart == 3
    made = lrp3d.models.build_for(tmp_path / "dense.safetensors", "TSN-R18-f4", width=4)
    assert made.frames_apart == 3


def test_a_distance_that_cannot_be_is_neither_written_nor_read(tmp_path):
    model = small()
    model.frames_apart = 0
    with pytest.raises(ValueError, match="frames_apart must be None or a whole number from 1 to"):
        save_checkpoint(model, tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()
    model.frames_apart = 2
    save_checkpoint(model, tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        metadata = file.metadata()
    from safetensors.torch import load_file, save_file

    save_file(load_file(tmp_path / "w.safetensors"), tmp_path / "w.safetensors", metadata | {"frames_apart": "-2"})
    with pytest.raises(CheckpointError, match="frames_apart"):
        load_model(tmp_path / "w.safetensors")


def test_weights_of_clips_say_how_far_apart_frames_were_and_those_of_images_do_not():
    for name, published in PUBLISHED.items():
        assert (published.frames_apart is None) == (published.dataset == "ImageNet"), name
    assert PUBLISHED["pytorchvideo-slowfast-r50-8x8"].frames_apart == 2


OWN = """
import lrp3d

def make():
    model = lrp3d.models.build("TSN-R18-f4", num_classes=2, width=4).eval()
    model.frames_apart = 2
    return model
"""


def test_a_model_of_ones_own_states_it_by_an_attribute(tmp_path, capsys):
    import torch

    (tmp_path / "own.py").write_text(OWN)
    torch.save(torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8), tmp_path / "clip.pt")
    arguments = ["explain", str(tmp_path / "clip.pt"), "--model", f"{tmp_path}/own.py:make", "--size", "32", "--json"]
    notes = []
    for more in ([], ["--sampling", "dense", "--stride", "2"]):
        assert main([*arguments, *more]) == 0
        notes.append(json.loads(capsys.readouterr().out)["clips"][0]["notes"])
    without, beside = ([note for note in found if "learned from frames" in note] for found in notes)
    assert len(without) == 1
    assert not beside
