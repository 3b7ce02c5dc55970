"""The command line as people and scripts meet it: what it prints, what it writes, how it ends."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import lrp3d
from lrp3d.command_line import main
from lrp3d.commands.explain import _folders
from lrp3d.video import draw_clip

SMALL = ["--model", "I3D-R18-f4", "--option", "width=4", "--size", "32"]
RANDOM = "random weights (seed 0)"
NETWORKS = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self, classes=3):
            super().__init__()
            self.conv = nn.Conv3d(3, 4, 3, padding=1)
            self.fc = nn.Linear(4, classes)

        def forward(self, clip):
            return self.fc(torch.relu(self.conv(clip)).mean((3, 4)).transpose(1, 2)).mean(1)


    class Raising(Net):
        def forward(self, clip):
            raise KeyError("boom")


    class Nan(Net):
        def forward(self, clip):
            return super().forward(clip) * float("nan")


    class Normed(Net):
        def forward(self, clip):
            return self.fc(nn.functional.layer_norm(self.conv(clip).mean((2, 3, 4)), (4,)))


    class PooledFirst(Net):
        def forward(self, clip):
            return self.fc(torch.relu(self.conv(clip).mean((2, 3, 4))))


    ready, number = Net(2), 3


    def broken():
        raise OSError("no such file: w.pt")


    def nothing():
        return None
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of one's own to be in, and an untouched import path afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("networks", None)


@pytest.fixture
def clip(folder):
    """A video that needs nothing to be read."""
    np.save(folder / "clip.npy", draw_clip(6, 40).numpy())
    return "clip.npy"


@pytest.fixture
def networks(folder):
    (folder / "networks.py").write_text(textwrap.dedent(NETWORKS))


@pytest.fixture
def run(capsys):
    """Run a command; returns its exit code, stdout and stderr. Nothing may end in a traceback."""

    def running(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return running


def in_a_process(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "lrp3d", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def error(run, *arguments, code=1):
    """The one line in which a command says what is wrong."""
    ended, out, err = run(*arguments)
    assert (ended, out) == (code, ""), err
    assert err.count("\n") == 1, err
    assert err.startswith("lrp3d")
    return err


# What is printed


def test_a_video_is_explained_on_the_terminal(run, clip):
    code, out, err = run("explain", clip, *SMALL)
    assert (code, err) == (0, "")
    assert out.startswith("clip.npy: I3D-R18-f4, 4 frames, explained in ")
    assert RANDOM in out
    assert re.search(r"top classes +\d+\.\d %  class \d+, logit", out)
    assert re.search(r"explained +class \d+, logit [-\d.]+; contrastive LRP, composite paper", out)
    assert re.search(r"ATR +average \d\.\d\d, maximum \d of 4 frames \(sigma 97\.5 %\)", out)
    assert re.search(r"conservation +\d\.\de-\d\d relative error", out)


def test_the_numbers_are_those_of_the_library(run, clip):
    _, out, _ = run("explain", clip, *SMALL, "--target", 7, "--json")
    found = json.loads(out)["clips"][0]
    torch.manual_seed(0)
    model = lrp3d.models.build("I3D-R18-f4", num_classes=400, width=4).eval()
    read = lrp3d.video.read_clip(clip, 4, size=32, short_side=37, mean=model.mean, std=model.std)
    expected = lrp3d.explain(model, read.tensor, 7)
    assert found["target"] == {"class": 7, "label": "class 7", "logit": expected.logits[0, 7].item()}
    torch.testing.assert_close(torch.tensor(found["matrix"]), expected.matrix[0])
    assert found["atr"] == expected.atr[0].tolist()
    assert found["max_atr"] == expected.max_atr.item()
    assert found["frames"] == read.indices.tolist()


def no_constant(name):
    raise AssertionError(f"{name} is no json")


def test_json_is_all_that_is_on_stdout_and_has_no_nan(run, clip):
    code, out, err = run("explain", clip, *SMALL, "--json", "--sigma", "0.9")
    said = json.loads(out, parse_constant=no_constant)
    assert (code, err) == (0, "")
    assert said["model"] == "I3D-R18-f4"
    assert said["weights"].startswith(RANDOM)
    assert said["weights_given"] is False
    assert said["sigma"] == 0.9
    assert said["clips"][0]["times"] == [None] * 4  # a tensor file does not say when
    assert len(said["clips"][0]["windows"]) == 4


def test_rows_without_relevance_have_no_atr_and_no_nan(run, clip, networks):
    """A blank network: every logit is 0, and no frame adds anything."""
    with Path("networks.py").open("a") as file:
        file.write("\n\ndef blank():\n    net = Net()\n    nn.init.zeros_(net.fc.weight)\n")
        file.write("    nn.init.zeros_(net.fc.bias)\n    return net\n")
    model = ["--model", "networks:blank", "--size", 16, "--frames", 4]
    code, out, _ = run("explain", clip, *model, "--json")
    found = json.loads(out, parse_constant=no_constant)["clips"][0]
    assert code == 0
    assert (found["atr"], found["avg_atr"], found["max_atr"]) == ([None] * 4, None, None)
    assert "ATR           average none, maximum none of 4 frames" in run("explain", clip, *model)[1]


def test_one_failure_does_not_stop_the_rest(run, clip):
    code, out, err = run("explain", "missing.mp4", clip, *SMALL, "--json")
    assert code == 1
    assert err == "lrp3d: missing.mp4: there is no file or folder missing.mp4\n"
    failed, found = json.loads(out)["clips"]
    assert failed == {"video": "missing.mp4", "error": "there is no file or folder missing.mp4"}
    assert found["video"] == clip
    assert "matrix" in found


def test_plain_lrp_and_other_rules_are_said(run, clip):
    _, out, _ = run("explain", clip, *SMALL, "--plain", "--composite", "epsilon_plus")
    assert "plain LRP, composite epsilon_plus" in out
    contrastive, plain = (json.loads(run("explain", clip, *SMALL, "--json", *how)[1]) for how in ((), ("--plain",)))
    assert (contrastive["contrastive"], plain["contrastive"]) == (True, False)
    assert contrastive["clips"][0]["matrix"] != plain["clips"][0]["matrix"]


def test_a_smaller_share_of_relevance_takes_no_more_frames(run, clip):
    shares = (0.5, 0.9, 1.0)
    found = [json.loads(run("explain", clip, *SMALL, "--json", "--sigma", s)[1])["clips"][0]["atr"] for s in shares]
    assert all(few <= more for few, more in zip(found[0], found[1], strict=True))
    assert sum(found[0]) < sum(found[2])


def test_frames_that_follow_one_another_can_be_asked_for(run, clip):
    _, out, _ = run("explain", clip, *SMALL, "--sampling", "dense", "--json")
    assert json.loads(out)["clips"][0]["frames"] == [1, 2, 3, 4]


def test_what_is_lost_of_a_video_is_said(run, folder, clip):
    code, out, _ = run("explain", clip, *SMALL, "--frames", 8)
    assert code == 0
    assert "clip.npy has 6 frames and 8 were asked for: frames repeat" in out


def test_one_frame_has_no_matrix_and_that_is_said(run, folder):
    np.save(folder / "one.npy", draw_clip(1, 40).numpy())
    code, out, _ = run("explain", "one.npy", *SMALL, "--frames", 1)
    assert code == 0
    assert "a clip of one frame has no temporal relevance" in out
    assert "ATR" not in out.replace("no temporal", "")


# Which model, which weights, which class


@pytest.mark.parametrize("path", ["networks:Net", "networks:ready"])
def test_ones_own_model_is_found_in_the_current_folder(run, clip, networks, path):
    code, out, _ = run("explain", clip, "--model", path, "--size", 16)
    assert code == 0
    assert f"clip.npy: {path}, 8 frames" in out
    assert f"weights as {path} makes them with seed 0: random, unless it loads some" in out
    assert "the model states no mean and std: ImageNet's are used" in out


def test_ones_own_model_takes_options_and_weights(run, clip, networks, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    model = importlib.import_module("networks").Net(5)
    torch.save({"state_dict": {f"module.{name}": value for name, value in model.state_dict().items()}}, "w.pt")
    arguments = ["explain", clip, "--model", "networks:Net", "--size", 16, "--frames", 6, "--weights", "w.pt", "--json"]
    code, out, _ = run(*arguments, "--option", "classes=5")
    assert code == 0
    said = json.loads(out)
    assert said["weights"] == "weights of w.pt"
    read = lrp3d.video.read_clip(clip, 6, size=16, short_side=18)
    logits = model.eval()(read.tensor)[0]
    assert said["clips"][0]["target"]["logit"] == pytest.approx(logits.max().item(), rel=1e-5)
    wrong = error(run, *arguments)
    assert "w.pt does not fit Net: shape: fc.weight (3, 4), in the file (5, 4)" in wrong


@pytest.fixture
def converted(run, folder):
    """Weights with everything that belongs to them, and the logits they give."""
    model = lrp3d.models.build("TAM2D-R18-f4", num_classes=3, width=4, kernel_size=5).eval()
    torch.save({"state_dict": model.state_dict()}, "source.pth")
    (folder / "names.txt").write_text("juggling\nspinning a top\nmaking a very long cake\n")
    code, out, _ = run(
        "convert-checkpoint", "source.pth", "tam.safetensors", "--model", "TAM2D-R18-f4", "--option", "width=4",
        "--option", "kernel_size=5", "--labels", "names.txt",
    )  # fmt: skip
    assert code == 0
    assert out.startswith("wrote tam.safetensors: TAM2D-R18-f4, 3 classes, ")
    return model


def test_converted_weights_know_their_model_and_its_classes(run, clip, converted):
    code, out, _ = run("explain", clip, "--weights", "tam.safetensors", "--size", 32)
    assert code == 0
    assert "clip.npy: TAM2D-R18-f4, 4 frames" in out
    assert "weights of tam.safetensors" in out
    assert RANDOM not in out
    assert "juggling (class 0)" in out
    named = json.loads(run("explain", clip, "--weights", "tam.safetensors", "--size", 32, "--json")[1])
    read = lrp3d.video.read_clip(clip, 4, size=32, short_side=37, mean=converted.mean, std=converted.std)
    assert named["clips"][0]["target"]["logit"] == pytest.approx(converted(read.tensor).max().item(), rel=1e-5)
    also = run("explain", clip, "--weights", "tam.safetensors", "--size", 32, "--json", "--model", "TAM2D-R18-f4")
    assert json.loads(also[1])["clips"][0]["target"] == named["clips"][0]["target"]


def test_weights_of_a_name_bring_their_number_of_classes(run, clip, converted):
    arguments = ["--model", "TAM2D-R18-f4", "--option", "width=4", "--option", "kernel_size=5", "--size", 32]
    code, out, _ = run("explain", clip, *arguments, "--weights", "source.pth", "--target", 2)
    assert code == 0
    assert "explained     class 2" in out


def test_weights_that_do_not_fit_are_refused_before_any_video(run, clip, converted):
    said = error(run, "explain", clip, "--model", "I3D-R18-f4", "--weights", "source.pth")
    assert said.startswith("lrp3d: source.pth: 109 things do not match")
    assert said.endswith("and 106 more\n")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "juggling\nspinning a top\ncake"),
        ("l.json", '{"juggling": 0, "spinning a top": "1", "cake": 2}'),
        ("l.json", '{"0": "juggling", "1": "\\"spinning a top\\"", "2": "cake"}'),
        ("l.json", '["juggling", "spinning a top", "cake"]'),
    ],
)
@pytest.mark.parametrize("target", ["spinning a top", '"Spinning_a_Top"', "1"])
def test_labels_come_in_every_usual_form_and_targets_by_name_or_number(
    run, clip, networks, folder, name, content, target
):
    (folder / name).write_text(content)
    model = ["--model", "networks:Net", "--size", 16, "--frames", 2]
    code, out, _ = run("explain", clip, *model, "--labels", name, "--target", target)
    assert code == 0
    assert "explained     spinning a top (class 1)" in out


def test_a_class_that_nobody_knows_is_answered_with_the_nearest(run, clip, folder):
    (folder / "l.txt").write_text("juggling\nspinning a top\n")
    said = error(run, "explain", clip, *SMALL, "--labels", "l.txt", "--target", "spining a top", code=2)
    assert said == "lrp3d: no class is named 'spining a top'; near are 'spinning a top'\n"
    assert "give --labels, or an index" in error(run, "explain", clip, *SMALL, "--target", "juggling", code=2)
    assert "classes go from 0 to 399" in error(run, "explain", clip, *SMALL, "--target", "400", code=2)
    assert "classes go from 0" in error(run, "explain", clip, *SMALL, "--target", "-1", code=2)


def test_labels_of_another_model_are_noticed(run, clip, networks, folder):
    (folder / "two.txt").write_text("a\nb\n")
    (folder / "four.txt").write_text("a\nb\nc\nd\n")
    model = ["--model", "networks:Net", "--size", 16, "--frames", 2]
    assert "the labels name 2 of 3 classes" in run("explain", clip, *model, "--labels", "two.txt")[1]
    assert "4 labels do not fit a model of 3 classes" in error(run, "explain", clip, *model, "--labels", "four.txt")


# What cannot be


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["explode"], "invalid choice"),
        (["explain"], "the following arguments are required: VIDEO"),
        (["explain", "clip.npy"], "say which model"),
        (["explain", "clip.npy", "--model", "I3D-R51-f8"], "I3D has depths|unknown model|depths"),
        (["explain", "clip.npy", "--model", "ViT-B"], "unknown model 'ViT-B'; known are"),
        (["explain", "clip.npy", "--model", "TAM2D-R18-f4", "--frames", "8"], "was built for 4 frames"),
        (["explain", "clip.npy", *SMALL, "--frames", "0"], "'0' is no whole number from 1 on"),
        (["explain", "clip.npy", *SMALL, "--sigma", "1.5"], "'1.5' is no share above 0, up to 1"),
        (["explain", "clip.npy", *SMALL, "--sigma", "nan"], "'nan' is no share"),
        (["explain", "clip.npy", *SMALL, "--composite", "magic"], "invalid choice: 'magic'"),
        (["explain", "clip.npy", *SMALL, "--device", "abacus"], "--device abacus cannot be used"),
        (["explain", "clip.npy", *SMALL, "--option", "width"], "'width' is not KEY=VALUE"),
        (["explain", "clip.npy", *SMALL, "--option", "wodth=3"], "not wodth"),
        (["explain", "clip.npy", "--weights", "w.safetensors", "--option", "width=3"], "--option goes with --model"),
        (["explain", "clip.npy", *SMALL, "--out", "clip.npy/out"], "--out clip.npy/out cannot be made"),
        (["explain", "clip.npy", "--model", "networks:missing"], "cannot be imported: .* has no attribute 'missing'"),
        (["explain", "clip.npy", "--model", "nowhere:net"], "cannot be imported: No module named 'nowhere'"),
        (["explain", "clip.npy", "--model", "networks:number"], "is of type int, neither a module nor a function"),
        (
            ["explain", "clip.npy", "--model", "networks:nothing"],
            "made something of type NoneType, not a torch",
        ),
        (["convert-checkpoint", "in.pth", "out.pth", "--model", "I3D-R18-f4"], "OUT is a .safetensors file"),
        (["convert-checkpoint", "in.pth", "out.safetensors"], "required: --model"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(run, clip, networks, arguments, said):
    assert re.search(said, error(run, *arguments, code=2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "networks:Raising"], "clip.npy: .*boom"),
        (["--model", "networks:Nan"], "clip.npy: the model's logits contain NaN"),
        (["--model", "networks:Normed"], "clip.npy: 1 operation of this model cannot be explained: layer_norm"),
        (["--model", "networks:broken"], "networks:broken failed with OSError: no such file: w.pt"),
        ([*SMALL, "--labels", "missing.json"], "missing.json: No such file"),
        ([*SMALL, "--labels", "clip.npy"], "clip.npy is no text"),
        ([*SMALL, "--labels", "."], "Is a directory"),
        ([*SMALL, "--weights", "missing.pth"], "no checkpoint at missing.pth"),
        ([*SMALL, "--weights", "clip.npy"], "clip.npy is not a complete checkpoint|clip.npy holds more than tensors"),
        ([*SMALL, "--weights", "empty.safetensors"], "empty.safetensors is not a complete safetensors file"),
        (["--weights", "bare.safetensors"], "bare.safetensors does not say how to make its model"),
    ],
)
def test_what_fails_ends_with_1_and_one_line(run, clip, networks, folder, arguments, said):
    (folder / "empty.safetensors").touch()
    save_file({"x": torch.zeros(1)}, folder / "bare.safetensors")
    assert re.search(said, error(run, "explain", clip, "--size", 16, *arguments))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty.mp4", "empty.mp4 cannot be opened as a video"),
        ("text.mp4", "text.mp4 cannot be opened as a video"),
        ("empty", "there are no images in empty"),
        ("empty.npy", "empty.npy cannot be read as a tensor"),
        ("small/img_%05d.jpg", "there is no file or folder small"),
        ("", "there are no images in ."),
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
    said = error(run, "explain", clip, "--model", "networks:Greedy", "--size", 16)
    assert said == "lrp3d: clip.npy: out of memory: ask for fewer --frames or a smaller --size\n"


def test_a_model_without_frame_logits_is_explained_as_a_whole(run, clip, networks):
    code, out, _ = run("explain", clip, "--model", "networks:PooledFirst", "--size", 16)
    assert code == 0
    assert "conservation" in out
    assert "ATR" not in out
    assert re.search(r"note +\S.*frame", out)


def test_wrong_usage_makes_no_folder(run, clip, folder):
    error(run, "explain", clip, *SMALL, "--target", "400", "--out", "new/out", code=2)
    assert not (folder / "new").exists()


def test_a_trace_is_there_for_those_who_ask(clip, networks, monkeypatch):
    monkeypatch.setenv("LRP3D_TRACEBACK", "1")
    with pytest.raises(Exception, match="boom"):
        main(["explain", clip, "--model", "networks:Raising", "--size", "16"])


# What is written


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a run over two videos of one name, and what it printed."""
    folder = tmp_path_factory.mktemp("written")
    for place in ("a", "b"):
        (folder / place).mkdir()
        np.save(folder / place / "clip.npy", draw_clip(6, 40, seed=ord(place)).numpy())
    videos = [str(folder / place / "clip.npy") for place in ("a", "b")]
    main(["explain", *videos, *SMALL, "--target", "3", "--out", str(folder / "out")])
    return folder / "out"


FILES = {
    "explanation.safetensors", "explanation.json", "relevance.png", "matrix.png", "atr.png", "report.html",
}  # fmt: skip


def test_every_video_gets_a_folder_of_its_own_with_everything(written):
    assert {folder.name for folder in written.iterdir()} == {"clip", "clip-2"}
    for folder in written.iterdir():
        assert {file.name for file in folder.iterdir()} == FILES
        assert all(file.stat().st_mode & 0o044 == 0o044 & ~umask() for file in folder.iterdir())


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_saved_explanation_loads_back_bit_for_bit(written):
    torch.manual_seed(0)
    model = lrp3d.models.build("I3D-R18-f4", num_classes=400, width=4).eval()
    read = lrp3d.video.read_clip(
        written.parent / "a" / "clip.npy", 4, size=32, short_side=37, mean=model.mean, std=model.std
    )
    expected = lrp3d.explain(model, read.tensor, 3)
    found = lrp3d.Explanation.load(written / "clip" / "explanation.safetensors")
    for name, tensor in expected._tensors():
        assert torch.equal(dict(found._tensors())[name], tensor), name
    assert found.ledger == expected.ledger


def test_the_pictures_are_pictures_and_differ_between_videos(written):
    for name in ("relevance.png", "matrix.png", "atr.png"):
        first, second = (Image.open(written / folder / name).convert("RGB") for folder in ("clip", "clip-2"))
        assert min(first.size) > 300
        assert first.tobytes() != second.tobytes()


def test_random_weights_are_said_in_everything_that_is_written(written):
    folder = written / "clip"
    assert RANDOM.capitalize() in (folder / "report.html").read_text()
    assert json.loads((folder / "explanation.json").read_text())["weights"].startswith(RANDOM)
    assert lrp3d.Explanation.load(folder / "explanation.safetensors").about["weights"].startswith(RANDOM)
    for name in ("relevance.png", "matrix.png", "atr.png"):
        assert Image.open(folder / name).text["Comment"].startswith(RANDOM)


def test_a_saved_explanation_says_what_it_explains(written):
    about = lrp3d.Explanation.load(written / "clip-2" / "explanation.safetensors").about
    assert about["model"] == "I3D-R18-f4"
    assert about["video"].endswith("clip.npy")
    assert about["composite"] == "paper"


def test_results_of_several_videos_are_named_after_them_and_stay_below_the_folder():
    for place in ("a", "b"):
        Path(place).mkdir()
        Path(place, "clip.mp4").touch()
    videos = ["a/clip.mp4", "b/clip.mp4", "frames/img_%05d.jpg", "..", "."]
    here = Path.cwd()
    assert _folders(videos, Path("out")) == [
        Path("out") / name for name in ("clip", "clip-2", "frames", here.parent.stem, here.stem)
    ]


def test_a_single_video_is_written_into_the_folder_itself_and_again_over_itself(run, clip, folder):
    for _ in range(2):
        code, out, _ = run("explain", clip, *SMALL, "--frames", 2, "--out", "new/out")
        assert code == 0
        assert {Path(line.split()[-1]).name for line in out.splitlines() if "wrote" in line} == FILES
        assert {file.name for file in (folder / "new" / "out").iterdir()} == FILES


def test_a_model_without_a_matrix_still_gets_its_pictures(run, clip, networks, folder):
    code, _, _ = run("explain", clip, "--model", "networks:PooledFirst", "--size", 16, "--frames", 4, "--out", "out")
    assert code == 0
    assert {file.name for file in (folder / "out").iterdir()} == FILES - {"matrix.png", "atr.png"}


def test_what_a_failure_interrupts_is_not_half_there(run, clip, folder, monkeypatch):
    def half(figure, path, **how):
        Path(path).write_bytes(b"half a picture")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    code, _, err = run("explain", clip, *SMALL, "--frames", 2, "--out", "out")
    assert code == 1
    assert "No space left on device" in err
    assert {file.name for file in (folder / "out").iterdir()} == {"explanation.safetensors", "explanation.json"}


def test_ctrl_c_leaves_no_half_written_file(clip, folder):
    """Interrupted in the middle of a picture, after half of it was written."""
    (folder / "slow.py").write_text(
        textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from matplotlib.figure import Figure
        from networks import Net

        def savefig(figure, path, **how):
            Path(path).write_bytes(b"half a picture")
            print("HALF", flush=True)
            time.sleep(60)

        Figure.savefig = savefig
    """)
    )
    (folder / "networks.py").write_text(textwrap.dedent(NETWORKS))
    process = in_a_process("explain", clip, "--model", "slow:Net", "--size", 16, "--frames", 2, "--out", "out")
    for line in process.stdout:
        if line == "HALF\n":
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "lrp3d: interrupted\n")
    assert {file.name for file in (folder / "out").iterdir()} == {"explanation.safetensors", "explanation.json"}


def test_a_reader_who_wants_no_more_is_no_error(clip):
    process = in_a_process("explain", *[clip] * 3, *SMALL, "--frames", 2)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 0


# The other commands


def test_the_demo_needs_nothing_at_all_and_shows_the_truth(run, folder):
    code, out, err = run("demo")
    assert (code, err) == (0, "")
    assert "the answer is known: the truth is 'different', and frames 8 and 12 alone decide it" in out
    assert "explained     different" in out
    assert {file.name for file in (folder / "out" / "demo").iterdir()} == FILES


def test_the_demo_takes_a_model_of_the_paper(run, folder):
    code, out, err = run("demo", "--model", "I3D-R18-f4", "--option", "width=4", "--size", 32)
    assert (code, err) == (0, "")
    assert "a drawn clip: I3D-R18-f4, 4 frames" in out
    assert RANDOM in out
    assert {file.name for file in (folder / "out" / "demo").iterdir()} == FILES


def test_inspect_lists_every_operation_and_what_stands_in_the_way(run, networks):
    code, out, _ = run("inspect", *SMALL)
    assert code == 0
    assert re.search(r"^features\.conv1 .*ZBeta", out, re.MULTILINE)
    assert "UNSUPPORTED" not in out
    code, out, _ = run("inspect", "--model", "networks:Normed", "--size", 16)
    assert code == 1
    assert "UNSUPPORTED" in out
    assert "Cannot be explained:" in out


def test_a_failed_conversion_writes_nothing(run, folder):
    torch.save({"layer9.weight": torch.zeros(1)}, "wrong.pth")
    error(run, "convert-checkpoint", "wrong.pth", "out.safetensors", "--model", "I3D-R18-f4")
    error(run, "convert-checkpoint", "missing.pth", "out.safetensors", "--model", "I3D-R18-f4")
    assert [file.name for file in folder.iterdir()] == ["wrong.pth"]


def test_a_pickle_is_read_only_where_it_is_trusted(run, folder):
    import argparse

    model = lrp3d.models.build("I3D-R18-f4", num_classes=2, width=4)
    torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(lr=0.1)}, "ibm.pth")
    arguments = ["convert-checkpoint", "ibm.pth", "ibm.safetensors", "--model", "I3D-R18-f4", "--option", "width=4"]
    said = error(run, *arguments)
    assert "lrp3d convert-checkpoint IN OUT --model NAME --trust-pickle" in said
    code, _, err = run(*arguments, "--trust-pickle")
    assert code == 0
    assert err.startswith("lrp3d: warning: unpickling ibm.pth")
    assert torch.equal(lrp3d.models.load_model("ibm.safetensors").fc.weight, model.fc.weight)


@pytest.mark.parametrize("command", ["explain", "demo", "inspect", "convert-checkpoint"])
def test_every_command_has_help_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: lrp3d {command} " in " ".join(out.split())


def test_the_help_of_all_lists_the_commands_and_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    for word in ("explain", "demo", "inspect", "convert-checkpoint", "Exit codes: 0", "LRP3D_TRACEBACK"):
        assert word in out
    assert run("--version")[1] == f"lrp3d {lrp3d.__version__}\n"


def test_it_is_also_a_module():
    process = in_a_process("explain")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "lrp3d explain: the following arguments are required: VIDEO (see lrp3d explain --help)\n"


# What is not installed


def test_pictures_without_matplotlib_are_refused_before_anything_is_done(run, clip, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = error(run, "explain", clip, *SMALL, "--out", "out")
    assert said == 'lrp3d: pictures and report need matplotlib: pip install "lrp3d[plot]"\n'
    assert not (folder / "out").exists()
    assert run("explain", clip, *SMALL)[0] == 0


def test_videos_without_pyav_name_the_extra(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (folder / "clip.mp4").touch()
    said = error(run, "explain", "clip.mp4", *SMALL)
    assert said == 'lrp3d: clip.mp4: reading videos and images needs PyAV: pip install "lrp3d[video]"\n'


def test_no_bar_is_drawn_where_nobody_looks(run, clip):
    """stderr is no terminal here."""
    assert run("explain", clip, *SMALL)[2] == ""
