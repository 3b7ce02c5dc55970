"""Networks of public libraries take clips as they are, by name, on the command line and in Python."""

import json
import re
import sys

import numpy as np
import pytest
import stand_ins
import torch

import lrp3d
from lrp3d.commands.command_line import main
from lrp3d.integrations import network
from lrp3d.video import draw_clip


@pytest.fixture
def libraries(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    stand_ins.install(monkeypatch)
    (tmp_path / "tsn.py").write_text(stand_ins.CONFIG)
    np.save("clip.npy", draw_clip(8, 24).numpy())


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


NAMES = {
    "torchvision:clips_18": lambda net, clip: net(clip),
    "torchvision:images_18": lambda net, clip: torch.stack([net(frame) for frame in clip.unbind(2)]).mean(0),
    "timm:images": lambda net, clip: torch.stack([net(frame) for frame in clip.unbind(2)]).mean(0),
    "pytorchvideo:slow_r50": lambda net, clip: net(clip),
    "pytorchvideo:slowfast_r50": lambda net, clip: net([clip[:, :, [0, 7]], clip]),
    "hf:TinyForVideoClassification": lambda net, clip: net.inner(clip),
    "mmaction:tsn.py": lambda net, clip: torch.stack([net.inner(frame) for frame in clip.unbind(2)]).mean(0),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_a_library_says_of_a_clip_what_it_says_in_its_own_layout(libraries, name):
    torch.manual_seed(0)
    made, clip = network(name, num_classes=5), torch.rand(2, 3, 8, 16, 16)
    torch.testing.assert_close(made(clip), NAMES[name](made.network, clip))
    assert made(clip).shape == (2, 5)
    assert not made.training
    explanation = lrp3d.explain(made, clip, contrastive=False)
    assert float(explanation.conservation.max()) < 1e-5
    assert explanation.matrix.shape[1] == (2 if "slowfast" in name else 8)  # which is explained by slow frames


@pytest.mark.parametrize("name", ["torchvision:clips_18", "timm:images", "mmaction:tsn.py"])
def test_what_a_library_says_of_its_input_is_known(libraries, name):
    made = network(name)
    assert (made.size, made.mean, made.std) == (16, pytest.approx(stand_ins.MEAN), pytest.approx(stand_ins.STD))
    assert made.short_side == 20
    assert made.frames == {"torchvision:clips_18": 16, "timm:images": None, "mmaction:tsn.py": 4}[name]
    assert made.frames_apart == (2 if name == "torchvision:clips_18" else None)  # others see every frame alone


def test_frames_that_follow_one_another_in_training_are_known(libraries, capsys, tmp_path):
    assert network("pytorchvideo:slow_r50").frames_apart == 8
    dense = stand_ins.CONFIG.replace("clip_len=1, num_clips=4", "clip_len=4, frame_interval=3, num_clips=10")
    (tmp_path / "dense.py").write_text(dense)
    assert network("mmaction:dense.py").frames_apart == 3
    note = "the library's weights learned from frames that follow one another, 2 apart"
    model = ("explain", "clip.npy", "--model", "torchvision:clips_18")
    torch.save(stand_ins.clips().state_dict(), "w.pt")
    assert note in run(capsys, *model, "--weights", "w.pt")[1]
    assert note not in run(capsys, *model)[1]  # random weights learned from none
    assert note not in run(capsys, *model, "--weights", "w.pt", "--sampling", "dense", "--stride", 2)[1]


def test_on_the_command_line_frames_and_size_are_the_networks_and_weights_are_said_to_be_random(libraries, capsys):
    code, out, _ = run(capsys, "explain", "clip.npy", "--model", "torchvision:clips_18", "--json")
    said = json.loads(out)
    assert code == 0
    assert said["weights"].startswith("random weights (seed 0)")
    with pytest.warns(lrp3d.video.ClipWarning):  # 8 frames are repeated
        clip = lrp3d.video.read_clip("clip.npy", 16, size=16, short_side=20, mean=stand_ins.MEAN, std=stand_ins.STD)
    assert "torchvision resizes frames to 26 x 20 pixels whatever their proportions, which are kept here" in out
    torch.manual_seed(0)
    expected = network("torchvision:clips_18")(clip.tensor)[0]
    assert said["clips"][0]["target"]["logit"] == pytest.approx(expected.max().item(), rel=1e-5)


def test_checkpoints_of_the_library_fit_and_bring_the_names_of_its_classes(libraries, capsys):
    source = stand_ins.clips()
    torch.save(source.state_dict(), "w.pt")
    model = ("explain", "clip.npy", "--model", "torchvision:clips_18")
    code, out, _ = run(capsys, *model, "--weights", "w.pt", "--target", "b")
    assert code == 0
    assert "weights of w.pt" in out
    assert "explained     b (class 1)" in out
    code, out, err = run(capsys, *model, "--option", "num_classes=4", "--weights", "w.pt")
    assert (code, out) == (1, "")
    assert "w.pt does not fit" in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchvision:clip_18", "torchvision has no network 'clip_18'; did you mean clips_18?"),
        ("torchvision:cli", "torchvision has no network 'cli'; there is clips_18"),
        ("timm:image", "timm has no network 'image'; did you mean images?"),
        ("pytorchvideo:slow_r5", "pytorchvideo has no network 'slow_r5'; did you mean slow_r50?"),
        ("hf:TinyForVideo", "transformers has no network 'TinyForVideo'"),
        ("mmaction:tsm.py", "mmaction:tsm.py is not a file"),
        ("torchvison:clips_18", "torchvison:clips_18 cannot be imported: No module named 'torchvison'; did you mean"),
    ],
)
def test_a_name_that_nobody_knows_is_answered_in_one_line(libraries, capsys, name, said):
    code, out, err = run(capsys, "explain", "clip.npy", "--model", name)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["torchvision:r3d_18", "pytorchvideo:slow_r50", "timm:resnet18", "hf:A", "mmaction:c"])
def test_a_library_that_is_not_installed_is_named_with_the_command_that_installs_it(
    libraries, capsys, monkeypatch, name
):
    package = lrp3d.integrations.SOURCES[name.partition(":")[0]]
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run(capsys, "explain", "clip.npy", "--model", name)
    assert (code, out) == (1, "")
    assert f"{name} needs {package}, which is not installed: " in err
    assert re.search(rf"pip install (--python \S+ )?{package}", err)
    assert err.count("\n") == 1


def test_arguments_that_a_builder_does_not_take_are_refused(libraries):
    for name in ("torchvision:clips_18", "timm:images", "pytorchvideo:slow_r50", "hf:TinyForVideoClassification"):
        with pytest.raises(ValueError, match=f"{name} is not built with width"):
            network(name, width=3)


@pytest.mark.parametrize("name", ["mine", "io"])  # the latter is the name of a module that is there already
def test_ones_own_file_is_a_model_too(libraries, capsys, tmp_path, name):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f"{name}.py").write_text("from stand_ins import clips\n")
    code, out, _ = run(capsys, "explain", "clip.npy", "--model", f"deep/{name}.py:clips", "--size", 16)
    assert code == 0
    assert f"weights as deep/{name}.py:clips makes them" in out
    code, _, err = run(capsys, "explain", "clip.npy", "--model", "deep/other.py:clips")
    assert code == 2
    assert "there is no file deep/other.py" in err
    (tmp_path / "deep" / "broken.py").write_text("def make(:\n")
    code, _, err = run(capsys, "explain", "clip.npy", "--model", "deep/broken.py:make")
    assert code == 1
    assert "--model deep/broken.py:make fails where it is imported: SyntaxError: invalid syntax" in err


@pytest.mark.parametrize("where", ["import", "factory"])
def test_a_file_that_ends_the_program_is_said_to(libraries, capsys, tmp_path, where):
    ends = "import sys\nsys.exit(3)\n" if where == "import" else "import sys\ndef make():\n    sys.exit(3)\n"
    (tmp_path / "script.py").write_text(ends)
    code, _, err = run(capsys, "explain", "clip.npy", "--model", "script.py:make")
    assert code == 1
    assert "--model script.py:make ends the program (SystemExit: 3) instead of making a model" in err


REAL = {
    "torchvision:resnet18": ("torchvision", {}),
    "timm:resnet18": ("timm", {}),
    "hf:VideoMAEForVideoClassification": (
        "transformers",
        {"num_frames": 4, "image_size": 32, "num_hidden_layers": 1, "hidden_size": 48, "num_attention_heads": 4},
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_libraries_build_what_is_asked_for(name):
    package, options = REAL[name]
    try:
        pytest.importorskip(package)
    except RuntimeError as error:  # built for another torch
        pytest.skip(str(error))
    made = network(name, num_classes=5, **options)
    explanation = lrp3d.explain(made, torch.rand(1, 3, 4, 32, 32), temporal=False)
    assert explanation.logits.shape == (1, 5)
    assert float(explanation.conservation.max()) < 1e-4


def test_a_saved_folder_of_transformers_brings_its_weights_and_normalisation(tmp_path):
    transformers = pytest.importorskip("transformers")
    small = {"num_frames": 4, "image_size": 32, "num_hidden_layers": 1, "hidden_size": 48, "num_attention_heads": 4}
    saved = transformers.VideoMAEForVideoClassification(transformers.VideoMAEConfig(**small)).eval()
    saved.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}')
    made, clip = network(f"hf:{tmp_path}"), torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(made(clip), saved(clip.transpose(1, 2)).logits)
    assert made.weights == f"weights of {tmp_path}"
    assert made.mean == (0.1, 0.2, 0.3)
    assert network(f"hf:{tmp_path / 'config.json'}").weights == ""
    with pytest.raises(ValueError, match="says all about its network"):
        network(f"hf:{tmp_path}", num_classes=4)
