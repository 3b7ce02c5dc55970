"""Which model, which weights, which class."""

import argparse
import importlib
import json
import re
import subprocess
import sys

import pytest
import torch
from terminal import RANDOM, SMALL, error

import lrp3d
from lrp3d.commands.devices import device_of_process


@pytest.mark.parametrize("path", ["networks:Net", "networks:ready"])
def test_ones_own_model_is_found_in_the_current_folder(run, clip, networks, path):
    code, out, _ = run("explain", clip, "--model", path, "--size", 16)
    assert code == 0
    assert f"clip.npy: {path}, 8 frames" in out
    assert f"weights as {path} makes them with seed 0: random, unless it loads some" in out
    assert "the model states no mean and std: ImageNet's are used" in out


def test_a_file_beside_ones_own_model_does_not_hide_a_library(run, clip, networks, folder):
    (folder / "nets").mkdir()
    (folder / "networks.py").rename(folder / "nets/networks.py")
    (folder / "nets/helpers.py").write_text("from networks import Net\n")
    code, _, _ = run("explain", clip, "--model", "nets/helpers.py:Net", "--size", 16, "--frames", 4)
    assert code == 0
    assert sys.path[-1] == str(folder / "nets")
    assert sys.path[0] != sys.path[-1]


@pytest.mark.parametrize("name", ["at_import", "when_made"])
@pytest.mark.filterwarnings("ignore:BuiltinImporter")
def test_code_that_unpickles_a_module_of_another_program_says_what_to_save_instead(run, clip, folder, name):
    saves = "import torch\nclass Net(torch.nn.Linear): pass\ntorch.save(Net(2, 1), 'whole.pth')"
    subprocess.run([sys.executable, "-c", saves], cwd=folder, check=True)
    load = "torch.load('whole.pth', weights_only=False)"
    (folder / "at_import.py").write_text(f"import torch\nnet = {load}\n")
    (folder / "when_made.py").write_text(f"import torch\ndef net(): return {load}\n")
    said = error(run, "explain", clip, "--model", f"{name}.py:net", code=2)
    assert f"--model {name}.py:net unpickles a file, which fails: it is a whole module, pickled with its class" in said
    assert "torch.save(model.state_dict(), PATH)" in said


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
    assert "w.pt does not fit Net; make the model as it was made for the file, with --option" in wrong
    assert "shape: fc.weight (3, 4), in the file (5, 4)" in wrong


def test_the_module_of_ones_own_model_may_name_a_composite(run, clip, networks, folder, monkeypatch):
    monkeypatch.setattr(lrp3d.composites.named, "REGISTERED", {})
    with (folder / "networks.py").open("a") as file:
        file.write("import lrp3d\n")
        file.write("flat = lrp3d.Composite(layers={nn.Conv3d: lrp3d.rules.Flat()})\n")
        file.write('lrp3d.register_composite("flat", flat)\n')
    own = ["--model", "networks:Net", "--size", 16, "--composite", "flat"]
    code, out, _ = run("explain", clip, *own)
    assert code == 0
    assert "contrastive LRP, composite flat" in out
    code, out, _ = run("inspect", *own)
    assert code == 0
    assert re.search(r"conv +convolution .* Flat\(\)", out)


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


@pytest.mark.parametrize("command", ["check", "prototypes", "explain --whole", "study run"])
def test_every_command_notices_labels_of_another_model(run, clip, networks, folder, command):
    (folder / "two.txt").write_text("a\nb\n")
    (folder / "four.txt").write_text("a\nb\nc\nd\n")
    (folder / "list.txt").write_text("clip.npy 0\n")
    videos = ["--list", "list.txt", "--root", ".", "--out", "records"] if command == "study run" else [clip]
    more = {"prototypes": ["--layer", "conv"], "check": ["--no-shapley"]}.get(command, [])
    given = [*command.split(), *videos, "--model", "networks:Net", "--size", 16, "--frames", 2, *more]
    assert "4 labels do not fit a model of 3 classes" in error(run, *given, "--labels", "four.txt")
    _, out, err = run(*given, "--labels", "two.txt")
    assert "the labels name 2 of 3 classes" in out + err


def test_a_number_of_frames_that_is_guessed_is_said(run, clip, networks):
    own = ["explain", clip, "--model", "networks:Net", "--size", 16]
    guessed = "the model states no number of frames: clips of 8 are taken (--frames takes others)"
    assert guessed in run(*own)[1]
    assert guessed not in run(*own, "--frames", 4)[1]
    assert guessed not in run("explain", clip, *SMALL)[1]


def test_a_size_that_is_guessed_is_said(run, clip, networks, folder):
    own = ["explain", clip, "--model", "networks:Net", "--frames", 2]
    guessed = "the model states no size of frames: 224 pixels are taken (--size takes others)"
    assert guessed in run(*own)[1]
    assert guessed not in run(*own, "--size", 16)[1]
    (folder / "sized.py").write_text("from networks import Net\n\nclass Sized(Net):\n    size = 16\n")
    assert guessed not in run("explain", clip, "--model", "sized:Sized", "--frames", 2, "--out", "out")[1]
    assert lrp3d.Explanation.load("out/explanation.safetensors").relevance.shape[-1] == 16


@pytest.mark.parametrize("model", [(), ("--model", "TAM2D-R18-f4", "--option", "width=4")])
def test_weights_that_say_a_size_are_explained_in_it(run, clip, model):
    trained = lrp3d.models.build("TAM2D-R18-f4", num_classes=3, width=4)
    trained.size = 24
    lrp3d.models.save_checkpoint(trained, "w.safetensors")
    assert lrp3d.models.load_model("w.safetensors").size == 24
    for size, asked in ((24, ()), (32, ("--size", 32))):
        assert run("explain", clip, "--weights", "w.safetensors", *model, *asked, "--out", "out")[0] == 0
        assert lrp3d.Explanation.load("out/explanation.safetensors").relevance.shape[-1] == size


def test_labels_that_contradict_the_weights_or_the_model_are_told(run, clip, folder, networks):
    model = lrp3d.models.build("I3D-R18-f4", num_classes=3, width=4)
    model.classes = ("archery", "bowling", "yoga")
    lrp3d.models.save_checkpoint(model, "w.safetensors")
    (folder / "same.txt").write_text("archery\nbowling\nyoga\n")
    (folder / "turned.txt").write_text("yoga\nbowling\narchery\n")
    command = ["explain", clip, "--weights", "w.safetensors", "--size", 32]
    assert "--labels" not in run(*command, "--labels", "same.txt")[1]
    code, out, _ = run(*command, "--labels", "turned.txt")
    assert code == 0
    assert "the weights call class 0 'archery' and --labels 'yoga': the names of --labels are used" in out
    (folder / "own.py").write_text("from networks import Net\n\nclass Own(Net):\n    classes = ['a', 'b', 'c']\n")
    own = ["explain", clip, "--model", "own:Own", "--frames", 2, "--size", 16]
    assert "the model calls class 0 'a' and --labels 'yoga'" in run(*own, "--labels", "turned.txt")[1]
    assert "--labels" not in run(*own)[1]


def test_which_weights_were_taken_is_on_the_terminal_and_in_json(run, clip, networks, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    state = importlib.import_module("networks").Net().state_dict()
    torch.save({"state_dict": state, "model_ema": state}, "w.pt")
    arguments = ["explain", clip, "--model", "networks:Net", "--size", 16, "--frames", 2, "--weights", "w.pt"]
    said = "the checkpoint holds 2 sets of weights that fit: 'state_dict' is taken, not 'model_ema'"
    assert said in run(*arguments)[1]
    assert said in json.loads(run(*arguments, "--json")[1])["clips"][0]["notes"]


def test_the_advice_to_convert_works_for_ones_own_model(run, clip, networks, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    model = importlib.import_module("networks").Net(5)
    torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(lr=1)}, "w.pt")
    own = ["--model", "networks:Net", "--option", "classes=5"]
    explain = ["explain", clip, *own, "--size", 16, "--frames", 2, "--weights"]
    said = error(run, *explain, "w.pt")
    assert "(argparse.Namespace)" in said
    assert "convert-checkpoint IN OUT --model NAME --trust-pickle" in said
    code, out, _ = run("convert-checkpoint", "w.pt", "w.safetensors", *own, "--trust-pickle")
    assert code == 0
    assert "use it with --model networks:Net --option classes=5 --weights w.safetensors" in out
    assert run(*explain, "w.safetensors")[0] == 0
    assert "which is networks:Net" in error(run, "explain", clip, "--weights", "w.safetensors")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("frames = -3", "the model states frames=-3, which no clip can have"),
        ("short_side = 12", "the model states short_side=12, out of which no frame of 16 pixels can be cut"),
        ("size, short_side = 8, 7.5", "the model states short_side=7.5, out of which no frame of 8 pixels"),
        ("mean, std = (0, 0, 0), (0, 1, 1)", "std must be above 0"),
        ("mean, std = (0, 0), (1, 1, 1)", "mean has 2 values and std 3"),
    ],
)
def test_what_ones_own_model_states_must_be_possible(run, clip, networks, folder, line, what):
    with (folder / "networks.py").open("a") as file:
        file.write(f"\n\nclass Odd(Net):\n    {line}\n")
    assert what in error(run, "explain", clip, "--model", "networks:Odd", "--size", 16)


def test_an_untrained_model_has_as_many_classes_as_asked_for(run, clip, folder, converted):
    code, out, _ = run("explain", clip, *SMALL, "--option", "num_classes=3", "--json")
    assert code == 0
    assert len(json.loads(out)["clips"][0]["top"]) == 3
    assert "num_classes must be" in run("explain", clip, *SMALL, "--option", "num_classes=0")[2]
    (folder / "names.txt").write_text("a\nb\nc\nd\n")
    more = error(run, "explain", clip, *SMALL, "--option", "num_classes=3", "--labels", "names.txt")
    assert "4 labels do not fit a model of 3 classes" in more
    given = ["--model", "TAM2D-R18-f4", "--weights", "tam.safetensors", "--option", "num_classes=77"]
    assert "num_classes=77 was asked for, and the checkpoint has" in error(run, "explain", clip, *given)


@pytest.mark.parametrize("name", [None, "auto", "cuda"])
def test_processes_of_one_machine_share_out_its_gpus_unless_one_is_named(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of_process(name, rank) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert device_of_process("cuda:1", 0) == "cuda:1"
    assert device_of_process("cpu", 1) == "cpu"


def test_a_file_of_another_model_is_named(run, clip):
    model = lrp3d.models.build("TAM2D-R18-f4", num_classes=3, width=8)
    lrp3d.models.save_checkpoint(model, "w.safetensors")
    said = error(run, "explain", clip, "--model", "I3D-R18-f8", "--weights", "w.safetensors")
    assert "the file says that its model is TAM2D-R18-f4: leave --model out to have that one" in said


def test_a_seed_that_torch_does_not_take_is_refused(run, listed):
    code, _, said = run("train", *listed, *SMALL, "--out", "run", "--seed", 10**22)
    assert code == 2
    assert "is no seed: give a whole number from 0 to 2^63 - 1" in said
