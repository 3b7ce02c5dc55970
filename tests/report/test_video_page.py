"""The page of a whole video in a real browser: by keyboard, in both schemes and on paper."""

import numpy as np
import pytest
import torch
from shown_report import DESKTOP, PHONE, RIGHT, TAB, faults, sticking_out

import lrp3d
from lrp3d.video import draw_clip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    torch.manual_seed(0)
    model = lrp3d.models.i3d_resnet(18, num_classes=3, width=4).eval()
    np.save(folder / "long.npy", draw_clip(10, 24, seed=1).numpy())
    found = lrp3d.explain_video(model, folder / "long.npy", frames=4, size=24, short_side=24)
    (folder / "timeline.html").write_text(found.page(["a", "b", "c"]), encoding="utf-8")
    return folder / "timeline.html"


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_it_can_be_read_on_phones_and_desktops_in_both_schemes(opened, written, width, scheme):
    window = opened(written, width, scheme)
    assert faults(window) == []
    assert window.run("return document.documentElement.scrollWidth") == width
    assert sticking_out(window) == []
    paper = window.run("return getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(245, 247, 249)", "dark": "rgb(15, 19, 24)"}[scheme]


def test_time_is_moved_through_by_the_keyboard_alone(opened, written):
    window = opened(written)
    window.click("h1")
    window.press(TAB)
    assert window.run("return document.activeElement.id") == "tracks"
    window.run("show(2)")
    window.press(RIGHT)
    assert window.text("#said").startswith("Frame 3 ")


def test_it_is_printed_on_white_paper(opened, written):
    window = opened(written, scheme="dark", media="print")
    assert window.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_tracks_below_zero_begin_at_zero_as_those_above_do(opened, tmp_path):
    torch.manual_seed(0)
    model = lrp3d.models.i3d_resnet(18, num_classes=3, width=4).eval()
    with torch.no_grad():
        model.fc.weight.abs_().neg_()
        model.fc.bias.fill_(-1.0)
    np.save(tmp_path / "long.npy", draw_clip(10, 24, seed=1).numpy())
    found = lrp3d.explain_video(model, tmp_path / "long.npy", 0, frames=4, size=24, short_side=24)
    assert bool((found.frame_logits < 0).all())
    (tmp_path / "timeline.html").write_text(found.page(["a", "b", "c"]), encoding="utf-8")
    window = opened(tmp_path / "timeline.html")
    assert window.text("#logits-scale").endswith(" to 0")
    assert "(average size: 1)" in window.text("#said")
