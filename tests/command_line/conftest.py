"""A folder of one's own, a clip, networks to import, and a way to run commands."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from terminal import NETWORKS

import lrp3d
from lrp3d.commands.command_line import main
from lrp3d.video import draw_clip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of one's own to be in, without the modules of other tests, and an untouched import path afterwards."""
    sys.modules.pop("networks", None)
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


@pytest.fixture
def converted(run, folder):
    """Weights with everything that belongs to them, and the logits they give."""
    model = lrp3d.models.build("TAM2D-R18-f4", num_classes=3, width=4, kernel_size=5).eval()
    torch.save({"state_dict": model.state_dict()}, "source.pth")
    (folder / "names.txt").write_text("juggling\nspinning a top\nmaking a very long cake\n")
    making = ("--model", "TAM2D-R18-f4", "--option", "width=4", "--option", "kernel_size=5", "--labels", "names.txt")
    code, out, _ = run("convert-checkpoint", "source.pth", "tam.safetensors", *making)
    assert code == 0
    assert out.startswith("wrote tam.safetensors: TAM2D-R18-f4, 3 classes, ")
    return model


@pytest.fixture
def listed(folder):
    """A list of three drawn videos of three classes."""
    (folder / "videos").mkdir()
    for seed in range(3):
        np.save(folder / "videos" / f"v{seed}.npy", draw_clip(4, 40, seed=seed).numpy())
    Path("list.csv").write_text("".join(f"v{seed}.npy {seed}\n" for seed in range(3)))
    return ["--list", "list.csv", "--root", "videos"]
