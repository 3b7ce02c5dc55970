"""The page of a whole video in a real browser: by keyboard, in both schemes and on paper."""

import numpy as np
import pytest
import torch
from shown_report import DESKTOP, PHONE, RIGHT, TAB, faults, sticking_out

import lrp3d
from lrp3d.video import draw_clip
from lrp3d.whole_video.timeline import VideoExplanation


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


@pytest.fixture(scope="module")
def strided(tmp_path_factory):
    """Nine rows, each of two of every other frame of a video, with relevance in two columns, but for the last."""
    frames, step, rows = 18, 2, 9
    band = torch.zeros(rows, 4)
    band[:, 0], band[:, 1], band[8, 0] = 1.0, 3.0, 0.0
    found = VideoExplanation(
        band=band,
        first=torch.arange(rows).clamp(max=rows - 4),
        frame_logits=band.sum(1),
        target=torch.zeros(rows, dtype=torch.long),
        scores=torch.full((rows,), 0.5),
        atr=torch.full((rows,), 2.0).index_fill(0, torch.tensor([8]), 1.0),
        indices=torch.arange(0, 2 * frames, 2),
        times=torch.arange(frames, dtype=torch.double) * 2 / 30,
        thumbnails=torch.zeros(1, 8, 8, 3, dtype=torch.uint8),
        thumbnail_frames=torch.zeros(1, dtype=torch.long),
    )
    assert found.step == step
    path = tmp_path_factory.mktemp("strided") / "timeline.html"
    path.write_text(found.page(["a"], "clip.mp4"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("width", "labels", "every"), [(DESKTOP, "0.00,0.27,0.53,0.80,1.07", 2), (PHONE, "0.00,0.67", 5)]
)
def test_ticks_stand_at_their_rows_and_so_does_the_line(opened, strided, width, labels, every):
    window = opened(strided, width)
    assert window.run("return [...document.querySelectorAll('#axis b')].map((one) => one.textContent).join()") == labels
    window.run(f"show({every})")
    middle = "const b = document.querySelector('{}').getBoundingClientRect(); return b.left + {} * b.width"
    row = window.run(middle.format("#classes", (every + 0.5) / 9))
    for what in ("#axis s:nth-of-type(2)", "#line"):
        assert window.run(middle.format(what, 0.5)) == pytest.approx(row, abs=1)


def test_rows_of_several_frames_are_called_steps(opened, strided):
    window = opened(strided)
    window.run("show(3)")
    assert window.text("#said").startswith("Step 4 (frames 12–14) · 0.40 s · a, 50 % · logit 4 · ATR 2 steps · ")
    window.run("show(8)")
    assert "ATR 1 step ·" in window.text("#said")
    seen = window.run("return document.body.innerText")
    assert "its own step" in seen
    assert "shortest run of steps that contains the step" in seen
    assert "picture at the bottom" not in seen


def test_the_bars_of_a_window_say_which_frames_they_are(opened, strided):
    window = opened(strided)
    numbers = "return [...document.querySelectorAll('#row-numbers b')].map((one) => one.textContent)"
    window.run("show(6)")
    assert window.run(numbers) == ["24–26", "20", "34"]
    assert window.text("#row-numbers .own") == "24–26"
    window.run("show(0)")
    assert window.run(numbers) == ["0–2", "0", "14"]


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
