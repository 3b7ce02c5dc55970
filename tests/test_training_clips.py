"""Training on lists: what is drawn at random, and processes that share a batch."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from studies import encode

from lrp3d import Explanation, models, study, video
from lrp3d.commands.command_line import main

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        encode(folder / f"{number}.mp4", frames=20, size=40, seed=number)
    (folder / "broken.mp4").write_bytes(b"nothing")
    (folder / "train.txt").write_text("\n".join(f"{number}.mp4 {number % 2}" for number in range(4)))
    return folder


def clips_of(videos, **options):
    reader = study.Reader(str(videos), frames=4, size=24, short_side=28, sampling=options.pop("sampling", "uniform"))
    items = study.read_list(videos / "train.txt").items
    return study.TrainingClips(items, reader, MEAN, STD, **{"short_sides": (28, 36), **options})


def test_evaluation_sees_the_clip_that_a_study_sees(videos):
    clip, label = clips_of(videos, train=False, flip=True)[1]
    expected = video.read_clip(videos / "1.mp4", 4, size=24, short_side=28, mean=MEAN, std=STD)
    assert torch.equal(clip, expected.tensor[0])
    assert label == 1


@pytest.mark.parametrize("sampling", ["uniform", "dense"])
def test_a_training_clip_is_some_square_of_some_frames_at_some_size(videos, sampling):
    """Each is found among all that the paper allows, and the draws differ."""
    torch.manual_seed(0)
    clips = clips_of(videos, sampling=sampling, short_sides=(28, 30))
    whole = {
        side: video.read_clip(videos / "0.mp4", 20, size=None, short_side=side, mean=MEAN, std=STD).tensor[0]
        for side in (28, 29, 30)
    }
    found = set()
    for _ in range(12):
        clip, _ = clips[0]
        assert clip.shape == (3, 4, 24, 24)
        found.add(place_of(clip, whole, sampling))
    assert None not in found
    assert len(found) > 6
    assert len({side for side, *_ in found}) == 3


def place_of(clip, whole, sampling):
    """Side, frames and corner of a clip; None if it is nowhere."""
    for side, frames in whole.items():
        for down in range(side - 24 + 1):
            for across in range(side - 24 + 1):
                cut = frames[:, :, down : down + 24, across : across + 24]
                same = [[torch.equal(clip[:, i], cut[:, j]) for j in range(20)] for i in range(4)]
                if all(map(any, same)):
                    numbers = tuple(row.index(True) for row in same)
                    if sampling == "uniform":
                        assert all(5 * i <= number < 5 * i + 5 for i, number in enumerate(numbers))
                    else:
                        assert numbers == tuple(range(numbers[0], numbers[0] + 4))
                    return side, numbers, down, across
    return None


def test_half_of_the_clips_are_mirrored_if_asked_for(videos):
    def drawn(flip):
        torch.manual_seed(3)
        clips = clips_of(videos, flip=flip)
        return [clips[0][0] for _ in range(12)]

    plain, mirrored = drawn(False), drawn(True)
    same = [torch.equal(a, b) for a, b in zip(plain, mirrored, strict=True)]
    turned = [torch.equal(a, b.flip(-1)) for a, b in zip(plain, mirrored, strict=True)]
    assert all(s != t for s, t in zip(same, turned, strict=True))
    assert 2 < sum(turned) < 10


def test_a_broken_clip_is_named_and_the_next_stands_in(videos):
    clips = clips_of(videos)
    items = (study.Item(0, "broken.mp4", 0), study.Item(1, "1.mp4", 1))
    clips = study.TrainingClips(items, clips.reader, MEAN, STD, (28, 36))
    with pytest.warns(UserWarning, match=r"broken\.mp4.*the next clip stands in for it"):
        assert clips[0][1] == 1
    none = study.TrainingClips(items[:1], clips.reader, MEAN, STD, (28, 36))
    with (
        pytest.warns(UserWarning, match="stands in"),
        pytest.raises(video.VideoError, match="no clip of the list can be read"),
    ):
        none[0]


def test_what_cannot_be_trained_on_is_refused(videos):
    clips = clips_of(videos)
    with pytest.raises(ValueError, match="shorter side is drawn between 20 and 36"):
        study.TrainingClips(clips.items, clips.reader, MEAN, STD, (20, 36))
    with pytest.raises(ValueError, match="does not say the class of x"):
        study.TrainingClips((study.Item(0, "x"),), clips.reader, MEAN, STD, (28, 36))


# The command


def words(videos, out, *more):
    return [
        "train",
        "--list",
        str(videos / "train.txt"),
        "--validation",
        str(videos / "train.txt"),
        "--model",
        "TAM2D-R18-f4",
        "--option",
        "width=8",
        "--size",
        "24",
        "--short-side",
        "28-36",
        "--epochs",
        "2",
        "--batch",
        "2",
        "--lr",
        "0.01",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--out",
        str(out),
        *more,
    ]


def test_a_list_is_trained_on_and_the_weights_explain(tmp_path, videos, capsys):
    assert main(words(videos, tmp_path / "run")) == 0
    said = capsys.readouterr().out
    assert "4 clips of 2 classes, mirrored at random" in said
    assert "epoch 2: loss" in said
    trained = str(tmp_path / "run/model.safetensors")
    assert main(["explain", str(videos / "0.mp4"), "--weights", trained, "--device", "cpu"]) == 0
    model = models.load_model(trained)
    assert (model.size, model.short_side) == (24, 28)


def test_a_model_that_was_trained_on_consecutive_frames_says_so_wherever_it_is_explained(tmp_path, videos, capsys):
    assert main(words(videos, tmp_path / "run", "--sampling", "dense", "--stride", "2")) == 0
    said = "note          the network learned from frames that follow one another, 2 apart"
    explain = ["explain", str(videos / "0.mp4"), "--weights", str(tmp_path / "run/model.safetensors")]
    assert main(explain) == 0
    assert said in capsys.readouterr().out
    assert main([*explain, "--sampling", "dense", "--stride", "2"]) == 0
    assert said not in capsys.readouterr().out


def test_a_trained_model_is_explained_at_the_size_at_which_it_was_validated(tmp_path, videos):
    model = models.build("TAM2D-R18-f4", num_classes=2, width=4)
    model.size, model.short_side = 24, 36  # in proportion to the paper it would be 27
    models.save_checkpoint(model, tmp_path / "w.safetensors")
    explain = ["explain", str(videos / "0.mp4"), "--weights", str(tmp_path / "w.safetensors"), "--out"]
    for number, (asked, size, short_side) in enumerate([((), 24, 36), (("--size", "32"), 32, 48)]):
        assert main([*explain, str(tmp_path / str(number)), *asked]) == 0
        shown = Explanation.load(tmp_path / str(number) / "explanation.safetensors")
        clip = video.read_clip(videos / "0.mp4", 4, size=size, short_side=short_side, mean=model.mean, std=model.std)
        assert shown.logits.equal(models.load_model(tmp_path / "w.safetensors")(clip.tensor).detach())


def test_a_study_of_trained_weights_knows_how_their_model_was_built(tmp_path, videos):
    model = models.build("TAM2D-R18-f8", num_classes=3, width=8, kernel_size=5, output_frames=2)
    models.save_checkpoint(model, tmp_path / "model.safetensors")
    words = ["study", "run", "--list", str(videos / "train.txt"), "--weights", str(tmp_path / "model.safetensors")]
    assert main([*words, "--size", "32", "--limit", "1", "--workers", "0", "--out", str(tmp_path / "out")]) == 0
    options = study.load_study(tmp_path / "out").config["options"]
    assert options == {"width": 8, "kernel_size": 5, "output_frames": 2}


def test_weights_of_images_are_inflated_and_the_classifier_is_new(tmp_path, videos, capsys):
    from lrp3d import models

    torch.manual_seed(0)
    images = {
        name.removeprefix("features."): value.squeeze(2) if value.dim() == 5 else value  # as torchvision names them
        for name, value in models.tsn_resnet(18, 7, width=8).state_dict().items()
    }
    torch.save(images, tmp_path / "image.pt")
    arguments = words(
        videos, tmp_path / "run", "--weights", str(tmp_path / "image.pt"), "--epochs", "1", "--lr", "1e-9"
    )
    arguments[arguments.index("TAM2D-R18-f4")] = "I3D-R18-f4"
    code = main(arguments)
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "repeated along time" in said.out


@pytest.mark.slow
def test_two_processes_train_one_model_the_same_twice_and_leave_a_finished_run_as_it_is(tmp_path, videos):
    def torchrun(out, *more):
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
        command += [
            "--rdzv-backend",
            "c10d",
            "--rdzv-endpoint",
            "localhost:0",
            "-m",
            "lrp3d",
            *words(videos, out, *more),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = torchrun(tmp_path / "whole")
    assert said.count("4 clips of 2 classes") == 1  # one process speaks
    torchrun(tmp_path / "again")
    whole, again = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "again"))
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    torchrun(tmp_path / "whole")  # both read what is there, and have nothing left to do
    after = load_file(tmp_path / "whole/model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in whole.items())
    alone = tmp_path / "alone"
    assert main(words(videos, alone)) == 0
    assert any(not torch.equal(value, whole[name]) for name, value in load_file(alone / "model.safetensors").items())


@pytest.mark.parametrize(
    ("listed", "kind", "said"),
    [
        (7, video.ClipWarning, "the list says that x has 7 frames, and the folder has 6: it is read as it is"),
        (1200, video.LostFramesWarning, "the list says that x has 1,200 frames, and the folder has 6: some may be"),
    ],
)
def test_what_was_lost_or_decided_of_a_training_clip_is_said(tmp_path, listed, kind, said):
    (tmp_path / "x").mkdir()
    for number, frame in enumerate(video.draw_clip(6, 24), 1):
        Image.fromarray(frame.numpy()).save(tmp_path / "x" / f"img_{number:05d}.png")
    (tmp_path / "train.txt").write_text(f"x {listed} 1")
    with pytest.warns(kind, match=said):
        clip, label = clips_of(tmp_path)[0]
    assert (tuple(clip.shape), label) == ((3, 4, 24, 24), 1)
