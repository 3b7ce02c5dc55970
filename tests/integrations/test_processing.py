"""How the settings of a library for pixels become those of the reader of videos, and what is said of the rest."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lrp3d.commands.command_line import main
from lrp3d.integrations.processing import of_mmaction, of_timm, of_torchvision, of_transformers
from lrp3d.video import draw_clip

HALF = (0.5,) * 3


def test_timm_states_the_share_of_the_image_that_is_cut_out():
    config = {"input_size": (3, 224, 224), "crop_pct": 0.95, "interpolation": "bicubic", "mean": HALF, "std": HALF}
    found = of_timm(config)
    assert (found.size, found.short_side, found.mean, found.std) == (224, 235, HALF, HALF)
    assert found.notes == ("timm resizes images by bicubic interpolation, and frames are resized bilinearly here",)
    assert "to a square whatever their proportions" in of_timm({**config, "crop_mode": "squash"}).notes[1]


@pytest.mark.parametrize(("sides", "short_side", "notes"), [([256], 256, 0), ([128, 171], 128, 1), (None, None, 0)])
def test_torchvision_resizes_by_one_side_or_by_both(sides, short_side, notes):
    found = of_torchvision(SimpleNamespace(crop_size=[112, 112], resize_size=sides, mean=HALF, std=HALF))
    assert (found.size, found.short_side, len(found.notes)) == (112, short_side, notes)


def test_mmaction_states_both_in_its_pipeline_and_statistics_of_pixels_up_to_255():
    crop = {"type": "CenterCrop", "crop_size": 224}
    found = of_mmaction([{"type": "Resize", "scale": (-1, 256)}, crop], {"mean": [127.5] * 3, "std": [51] * 3})
    assert (found.size, found.short_side, found.mean, found.std, found.notes) == (224, 256, HALF, (0.2,) * 3, ())
    squashed = of_mmaction([{"type": "Resize", "scale": (224, 224), "keep_ratio": False}], {})
    assert squashed.short_side == 224
    assert squashed.notes == (
        "mmaction resizes frames to 224 x 224 pixels whatever their proportions, which are kept here",
    )


@pytest.mark.parametrize(
    ("config", "short_side", "mean", "std"),
    [
        ({}, None, None, None),
        ({"size": {"shortest_edge": 256}, "image_mean": [0.4] * 3, "image_std": [0.2] * 3}, 256, 0.4, 0.2),
        ({"size": {"height": 224, "width": 224}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, 224, 0.5, 0.5),
        ({"size": 224, "do_normalize": False}, 224, 0.0, 1.0),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "do_normalize": False}, 256, 0.0, 1.0),
        ({"do_resize": False, "do_rescale": False, "do_normalize": False}, None, 0.0, 1 / 255),
        # ViViT maps pixels to -1 to 1 and normalises these.
        ({"rescale_factor": 1 / 127.5, "offset": True, "image_mean": HALF, "image_std": HALF}, None, 0.75, 0.25),
    ],
)
def test_transformers_states_steps_that_are_one_normalisation(config, short_side, mean, std):
    found = of_transformers(config, 224)
    assert found.short_side == short_side
    assert found.mean == (None if mean is None else pytest.approx((mean,) * 3))
    assert found.std == (None if std is None else pytest.approx((std,) * 3, abs=1e-8))


class Images(nn.Module):
    """A network of clips that carries timm's settings, as one built on a network of timm may."""

    pretrained_cfg = {"input_size": (3, 16, 16), "crop_pct": 0.8, "mean": HALF, "std": HALF}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, clip):
        return self.fc(clip.mean((3, 4)).transpose(1, 2)).mean(1)


def logits_of(capsys, *options):
    assert main(["explain", "clip.npy", "--model", "test_processing:make", "--frames", "4", "--json", *options]) == 0
    said = json.loads(capsys.readouterr().out)["clips"][0]
    return said["target"]["logit"], " ".join(said["notes"])


@pytest.fixture
def in_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    np.save("clip.npy", draw_clip(8, 60).numpy())


def make():
    torch.manual_seed(0)
    return Images()


def test_ones_own_model_that_carries_settings_of_timm_is_read_by_these(in_folder, capsys, monkeypatch):
    logit, notes = logits_of(capsys)
    assert "mean, std and size are those of the model's pretrained_cfg" in notes
    assert "states no" not in notes
    monkeypatch.delattr(Images, "pretrained_cfg")
    for name, value in {"mean": HALF, "std": HALF, "size": 16, "short_side": 20}.items():
        monkeypatch.setattr(Images, name, value, raising=False)
    assert logits_of(capsys) == (logit, "")


def test_what_a_model_does_not_state_is_said_with_what_changes_it(in_folder, capsys, monkeypatch):
    monkeypatch.delattr(Images, "pretrained_cfg")
    _, notes = logits_of(capsys, "--size", "16")
    assert "no mean and std: ImageNet's are used (give it attributes of these names)" in notes
    assert "that of videos is resized to 18 pixels before squares of 16 are cut (--short-side takes others)" in notes
    chosen, notes = logits_of(capsys, "--size", "16", "--short-side", "40")
    assert "shorter side" not in notes
    monkeypatch.setattr(Images, "short_side", 40, raising=False)
    assert logits_of(capsys, "--size", "16")[0] == chosen
    assert main(["explain", "clip.npy", "--model", "test_processing:make", "--size", "16", "--short-side", "8"]) == 2
    assert "--short-side 8: no square of 16 pixels can be cut out of it; see --size" in capsys.readouterr().err
