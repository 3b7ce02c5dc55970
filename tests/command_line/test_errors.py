"""What cannot be: wrong usage and failures end in one line, and nothing is lost."""

import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from terminal import SMALL, error
from torch import nn

import lrp3d
from lrp3d.commands import command_line
from lrp3d.commands.command_line import main
from lrp3d.commands.terminal import one_line
from lrp3d.models.making import RUN


STUDY = ["study", "run", "--list", ".", *SMALL]
TRAIN = ["train", "--list", ".", *SMALL, "--out", "o"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explian"], "did you mean explain\\?"),
        (["inspect", "--modle", "I3D-R18-f4"], "did you mean --model\\?"),
        (["inspect", "--model", "TAM3D-R18-f8"], "did you mean TAM2D-R18-f8\\?"),
        (["inspect", "--model", "TAM5-R18-f8-match-d4"], r"load_pretrained\('TAM5-R18-f8-match-d4'\), or lrp3d demo"),
        (["explain", "clip.npy", *SMALL, "--composite", "papper"], "did you mean paper\\?"),
        (["open", "nowhere"], "nowhere is not a folder"),
        (["explode"], "invalid choice"),
        (["explain"], "the following arguments are required: VIDEO"),
        (["explain", "clip.npy"], "say which model"),
        (["explain", "clip.npy", "--model", "I3D-R51-f8"], "I3D has depths|unknown model|depths"),
        (["explain", "clip.npy", "--model", "ViT-B"], "unknown model 'ViT-B'; known are"),
        (["explain", "clip.npy", "--model", "TAM2D-R18-f4", "--frames", "8"], "was built for 4 frames"),
        (["explain", "clip.npy", *SMALL, "--out", "clip.npy"], "clip.npy is not a folder"),
        (["inspect", "--model", "networks.py"], r"is a file: say which function, .* --model networks\.py:NAME"),
        ([*STUDY, "--out", "clip.npy"], "--out clip.npy cannot be made: clip.npy is not a folder"),
        ([*STUDY, "--out", "o", "--root", "nowhere"], "--root nowhere: there is no such folder"),
        ([*STUDY, "--out", "o", "--root", "clip.npy"], "--root clip.npy: this is no folder"),
        ([*STUDY, "--out", "o", "--classes", "nope"], "--classes nope: there is no such file, .* are mini-kinetics"),
        (["explain", "clip.npy", *SMALL, "--frames", "0"], "'0' is not a whole number from 1 on"),
        (["explain", "clip.npy", *SMALL, "--sigma", "1.5"], "'1.5' is not a share above 0, up to 1"),
        (["explain", "clip.npy", *SMALL, "--sigma", "nan"], "'nan' is not a share"),
        (["explain", "clip.npy", *SMALL, "--composite", "magic"], "no composite 'magic'; the presets are paper"),
        (["explain", "clip.npy", *SMALL, "--device", "abacus"], "cannot be used: torch knows no .* give auto or cpu"),
        (["explain", "clip.npy", *SMALL, "--device", "meta"], "--device meta cannot be used: it holds no numbers"),
        (["explain", "clip.npy", *SMALL, "--device", "xla"], "--device xla cannot be used: this torch was not built"),
        (["explain", "clip.npy", *SMALL, "--option", "width"], "'width' is not KEY=VALUE"),
        (["explain", "clip.npy", *SMALL, "--option", "width=abc"], "width of I3D-R18-f4 must be a whole .* got 'abc'"),
        (["explain", "clip.npy", *SMALL, "--option", "width=1.5"], "width of I3D-R18-f4 must be a whole .* got 1.5"),
        (["inspect", *SMALL, "--option", "dropout=no"], "dropout of I3D-R18-f4 must be a number, got 'no'"),
        (["inspect", *SMALL, "--option", "temporal_stride=2"], "temporal_stride of I3D-R18-f4 must be true or false"),
        (["inspect", *SMALL, "--layout", "bcthx"], "argument --layout: layout names the axes b c t h w once each"),
        (["explain", "clip.npy", *SMALL, "--option", "wodth=3"], "not wodth"),
        (["explain", "clip.npy", "--weights", "w.safetensors", "--option", "width=3"], "--option goes with --model"),
        (["explain", "clip.npy", *SMALL, "--out", "clip.npy/out"], "--out clip.npy/out cannot be made"),
        (["explain", "clip.npy", "--model", "networks:missing"], "cannot be imported: .* has no attribute 'missing'"),
        (["explain", "clip.npy", "--model", "networks:Net", "--composite", "magic"], "there is no composite 'magic'"),
        (["explain", "clip.npy", "--model", "nowhere:net"], "cannot be imported: No module named 'nowhere'"),
        (["explain", "clip.npy", "--model", "networks:number"], "is of type int, neither a module nor a function"),
        (
            ["explain", "clip.npy", "--model", "networks:nothing"],
            "made something of type NoneType, not a torch",
        ),
        (["convert-checkpoint", "in.pth", "out.pth", "--model", "I3D-R18-f4"], "OUT is a .safetensors file"),
        (["convert-checkpoint", "in.pth", "out.safetensors"], "required: --model"),
        (
            ["check", "clip.npy", *SMALL, "--out", "no/numbers.json"],
            "no/numbers.json cannot be made: there is no folder no",
        ),
        (
            ["prototypes", "clip.npy", *SMALL, "--layer", "fc", "--out", "."],
            "argument --out: a file is written here, and . is a folder",
        ),
        (["explain", "clip.npy", "--out", ""], "argument --out: the path is empty"),
        (["explain", "clip.npy", *SMALL, "--floor", "--against", "1"], "leave it out, or leave out --against"),
        (
            ["explain", "clip.npy", *SMALL, "--out", "o", "--compare", "--against", "1"],
            "--compare is with other classes by itself: leave it out, or leave out --against",
        ),
        (["explain", "clip.npy", *SMALL, "--floor", "--where", "a=1"], "--floor needs all channels: leave it out"),
        (["explain", "clip.npy", *SMALL, "--motion", "--where", "a=1"], "--motion needs all channels: leave it out"),
        (["study", "merge", ""], "argument OUT: the path is empty"),
        (["explain", "clip.npy", *SMALL, "--theme", "dark"], "--theme is for the pictures: say where .* --out DIR"),
        (
            ["explain", "clip.npy", *SMALL, "--whole", "--stride", "5"],
            "--stride 5 leaves frames out between windows of 4",
        ),
        (["explain", "clip.npy", *SMALL, "--stride", "2"], "add --sampling dense, or --whole, .* or leave it out"),
        (["check", "clip.npy", *SMALL, "--stride", "2"], "in dense sampling: add --sampling dense, or leave it out"),
        ([*STUDY, "--out", "o", "--stride", "2"], "--stride is the distance between frames in dense sampling"),
        ([*STUDY, "--out", "o", "--windows", "2,9"], "--windows 9: .* have 4 frames: give numbers from 1 to 4"),
        ([*STUDY, "--out", "o", "--workers", "-1"], "'-1' is not a whole number from 0 on"),
        ([*STUDY, "--out", "o", "--timeout", "soon"], "'soon' is not a number above 0"),
        ([*TRAIN, "--stride", "2"], "--stride is the distance between frames in dense sampling"),
        ([*TRAIN, "--root", "nowhere"], "--root nowhere: there is no such folder"),
        ([*TRAIN, "--lr", "-1"], "argument --lr: '-1' is not a number above 0"),
        ([*TRAIN, "--lr", "nan"], "argument --lr: 'nan' is not a number above 0"),
        ([*TRAIN, "--weight-decay", "-1"], "'-1' is not a number from 0 on"),
        ([*TRAIN, "--seed", "-3"], "'-3' is not a whole number from 0 on"),
        ([*TRAIN, "--warmup", "7", "--epochs", "2"], "--warmup 7 is longer than the training, which has --epochs 2"),
        ([*TRAIN, "--inflate", "mean"], "--inflate says how --weights become 3D"),
        ([*TRAIN, "--device", "cpu", "--precision", "mixed"], "--precision mixed needs a GPU"),
        (
            ["train", "--list", ".", *SMALL, "--out", "clip.npy"],
            "--out clip.npy cannot be made: clip.npy is not a folder",
        ),
        (["check", "clip.npy", *SMALL, "--root", "."], "--root says where the videos of --list lie"),
        (["check", "--list", ".", *SMALL, "--root", "nowhere"], "--root nowhere: there is no such folder"),
        (
            ["prototypes", "clip.npy", *SMALL, "--layer", "fc", "--channel", "-1"],
            "'-1' is not a whole number from 0 on",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(run, clip, networks, arguments, said):
    assert re.search(said, error(run, *arguments, code=2))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no folder here allows what it then refuses")
def test_a_folder_that_cannot_be_made_is_refused_before_a_clip_is_explained(run, clip):
    said = error(run, "explain", clip, *SMALL, "--out", "/proc/x", code=2)
    assert said.startswith("lrp3d: --out /proc/x cannot be made: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "networks:Raising"], "clip.npy: .*boom"),
        (["--model", "networks:Nan"], "clip.npy: the model's logits contain NaN"),
        (["--model", "networks:Normed"], "clip.npy: 1 operation of this model cannot be explained: logcumsumexp"),
        (["--model", "networks:broken"], "networks:broken failed with OSError: no such file: w.pt"),
        ([*SMALL, "--labels", "missing.json"], "missing.json: No such file"),
        ([*SMALL, "--labels", "clip.npy"], "clip.npy is no text"),
        ([*SMALL, "--labels", "."], "Is a directory"),
        ([*SMALL, "--weights", "missing.pth"], "no checkpoint at missing.pth"),
        ([*SMALL, "--weights", "clip.npy"], "clip.npy is not a complete checkpoint: it is a numpy array"),
        ([*SMALL, "--weights", "empty.safetensors"], "empty.safetensors is not a complete safetensors file"),
        (
            ["--weights", "bare.safetensors"],
            "bare.safetensors does not say how to make its model: name it",
        ),
        (
            ["--weights", "training.pt"],
            r"training.pt is the state of a training, .*: take model\.safetensors, .*; or name it with --model$",
        ),
    ],
)
def test_what_fails_ends_with_1_and_one_line(run, clip, networks, folder, arguments, said):
    (folder / "empty.safetensors").touch()
    save_file({"x": torch.zeros(1)}, folder / "bare.safetensors")
    torch.save({key: {"x": torch.zeros(1)} for key in RUN}, folder / "training.pt")
    assert re.search(said, error(run, "explain", clip, "--size", 16, *arguments))


def test_a_program_of_torch_jit_is_refused_with_what_to_name_instead(run, clip, networks, folder):
    with (folder / "networks.py").open("a") as file:
        file.write("\n\nscripted = torch.jit.trace(Net(), torch.rand(1, 3, 4, 16, 16))\n")
    given = ["explain", clip, "--model", "networks:scripted", "--size", 16, "--frames", 4]
    code, _, said = run(*given)  # after torch's own warnings of what is deprecated
    assert code == 1
    assert said.endswith("a TorchScript program; pass the module that it was made from\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty.mp4", "empty.mp4 is an empty file (0 bytes)"),
        ("text.mp4", "text.mp4 cannot be opened as a video"),
        ("empty", "there are no images in empty"),
        ("empty.npy", "empty.npy is an empty file (0 bytes)"),
        ("small/img_%05d.jpg", "there is no file or folder small"),
        (".", "there are no images in "),
        ("", "lrp3d: a video is a path, and this one is empty"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(run, folder, name, said):
    (folder / "empty.mp4").touch()
    (folder / "empty.npy").touch()
    (folder / "text.mp4").write_text("no video at all " * 99)
    (folder / "empty").mkdir()
    assert said in error(run, "explain", name, *SMALL)


def test_more_frames_than_memory_holds_are_refused_in_one_line(run, clip):
    said = error(run, "explain", clip, *SMALL, "--frames", 10**9)
    assert re.search(r"clip.npy: 1000000000 frames of 32 x 32 pixels take 37,\d+ GiB to read", said)


def test_a_model_that_runs_out_of_memory_is_told_in_one_line(run, clip, networks):
    with Path("networks.py").open("a") as file:
        file.write("\n\nclass Greedy(Net):\n    def forward(self, clip):\n        return torch.empty(2**50)\n")
        file.write("\n\nclass Crowded(Net):\n    def forward(self, clip):\n")
        file.write("        raise RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED')\n")
    for model in ("Greedy", "Crowded"):
        said = error(run, "explain", clip, "--model", f"networks:{model}", "--size", 16)
        assert said == "lrp3d: clip.npy: out of memory: ask for fewer --frames or a smaller --size\n"


def test_a_model_without_frame_logits_is_explained_as_a_whole(run, clip, networks):
    code, out, _ = run("explain", clip, "--model", "networks:PooledFirst", "--size", 16)
    assert code == 0
    assert "conserved" in out
    assert "ATR" not in out
    assert re.search(r"note +\S.*frame", out)


def test_a_template_without_a_number_is_refused_before_a_study_begins(run, folder):
    (folder / "list.txt").write_text("frames 0\n")
    command = ["study", "run", "--list", "list.txt", "--root", ".", *SMALL, "--out", "records"]
    said = error(run, *command, "--template", "foo", code=2)
    assert said == "lrp3d: --template foo names no frame number: it is like img_%05d.jpg or img_{:05}.jpg\n"
    assert not (folder / "records").exists()


def test_classes_beyond_those_of_the_model_are_named_with_their_clip(run, clip, networks, folder):
    (folder / "list.txt").write_text("clip.npy 7\n")
    command = ["study", "run", "--list", "list.txt", "--root", ".", "--model", "networks:Net", "--out", "records"]
    said = error(run, *command, code=2)
    assert "classes up to 7 (of clip.npy), and the model 3 classes, from 0 to 2: give" in said
    assert "--list-labels and --labels" in said


def test_wrong_usage_makes_no_folder(run, clip, folder):
    error(run, "explain", clip, *SMALL, "--target", "400", "--out", "new/out", code=2)
    assert not (folder / "new").exists()


def test_a_trace_is_there_for_those_who_ask(clip, networks, monkeypatch):
    monkeypatch.setenv("LRP3D_TRACEBACK", "1")
    with pytest.raises(lrp3d.ModelError, match="KeyError: 'boom'"):
        main(["explain", clip, "--model", "networks:Raising", "--size", "16"])


TORCH_SAYS = "An attempt was made to start\n    before this one was ready.\n\n    To fix this, read a page of docs."


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_of_what_others_say_in_several_lines_the_whole_first_sentence_is_said(kind):
    assert one_line(kind(TORCH_SAYS)).endswith("An attempt was made to start before this one was ready.")
    listed = lrp3d.UnsupportedOperation(["sort: has no rule", "exp: has no rule"])
    assert one_line(listed) == "2 operations of this model cannot be explained: sort: has no rule; exp: has no rule"


def test_a_warning_of_several_lines_is_said_whole(capsys):
    command_line._warn(UserWarning(TORCH_SAYS.partition("\n\n")[0]))
    assert capsys.readouterr().err == "lrp3d: warning: An attempt was made to start before this one was ready.\n"


def test_what_torch_says_in_a_forward_is_one_line_with_our_advice_behind_it():
    class Breaks(nn.Module):
        def forward(self, x):
            raise RuntimeError("index 7 is\nout of bounds")

    with pytest.raises(lrp3d.errors.ModelError, match=r"index 7 is out of bounds; if the model takes clips with other"):
        lrp3d.explain(Breaks().eval(), torch.rand(1, 3, 4, 8, 8))


def test_what_cannot_be_read_is_named_once(run, folder):
    (folder / "in").mkdir()
    (folder / "in" / "empty.mp4").touch()
    (folder / "in" / "frames").mkdir()
    (folder / "in" / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(folder / "in" / "pipe.mp4")
    names = ["empty.mp4", "frames", "loop.mp4", "pipe.mp4", "missing.mp4", "file:x.mp4", "concat:a|b.mp4"]
    code, _, said = run("explain", *[f"in/{name}" for name in names], *SMALL)
    assert code == 1
    lines = [line for line in said.splitlines() if "warning" not in line]
    assert [line.count(name) for name, line in zip(names, lines, strict=True)] == [1] * len(names)
    assert all(f"in/{name}" in line for name, line in zip(names, lines, strict=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "clip.npy", *SMALL, "--out", "o"], "interrupted"),
        (
            [*STUDY, "--out", "o"],
            "interrupted: started again, the same command goes on with the clips that have no record yet",
        ),
    ],
)
@pytest.mark.usefixtures("clip")
def test_an_interruption_ends_in_one_line(arguments, said, run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(lrp3d, "explain", interrupted)
    monkeypatch.setattr("lrp3d.commands.model_options.build", interrupted)
    ended, _, written = run(*arguments)
    assert (ended, written.splitlines()[-1]) == (130, f"lrp3d: {said}")
