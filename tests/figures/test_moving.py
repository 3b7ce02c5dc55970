"""Moving pictures hold every frame, and leave no file where they fail."""

import sys

import av
import numpy as np
import pytest
import torch
from PIL import Image
from drawn import noise

from lrp3d.figures import (
    animation,
    moving,
)


def test_a_gif_holds_every_frame_at_its_speed(pixels, tmp_path):
    path = animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif", fps=5)
    with Image.open(path) as image:
        assert image.n_frames == 8
        assert image.info["duration"] == 200
        assert image.size[1] >= 160
    assert [file.name for file in tmp_path.iterdir()] == ["clip.gif"]


@pytest.mark.parametrize(("height", "width"), [(24, 32), (33, 47)])
def test_an_mp4_shows_the_clip_beside_its_relevance(tmp_path, height, width):
    clip = torch.full((6, height, width, 3), 200, dtype=torch.uint8)
    path = animation(clip, torch.zeros(6, height, width), tmp_path / "clip.mp4", min_height=1)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 6
    assert abs(int(frames[0][5, 5, 0]) - 200) < 8
    assert abs(int(frames[0][5, -5, 0]) - 110) < 8


def test_captions_of_a_narrow_clip_are_folded_not_cut(tmp_path):
    clip, caption = torch.zeros(2, 160, 100, 3, dtype=torch.uint8), "frame 1, 0.00 s, logit above the other's by 0.021"
    sizes, ink = [], []
    for name, said in (("short", "frame 1"), ("long", caption)):
        path = animation(clip, torch.zeros(2, 160, 100), tmp_path / f"{name}.gif", captions=[said, "frame 2"])
        with Image.open(path) as image:
            sizes.append(image.size)
            ink.append((np.asarray(image.convert("L"))[160:] < 128).any(0).nonzero()[0].max())
    assert sizes[0][1] < sizes[1][1]
    assert ink[1] < sizes[1][0] - 1


def test_a_failed_animation_leaves_no_file(pixels, tmp_path, monkeypatch):
    def interrupted(frames, fps):
        raise KeyboardInterrupt

    monkeypatch.setattr(moving, "_gif", interrupted)
    with pytest.raises(KeyboardInterrupt):
        animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif")
    assert list(tmp_path.iterdir()) == []


def test_mp4_asks_for_pyav_by_name(pixels, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r'pip install .*"av>=12"'):
        animation(pixels, noise(8, 24, 32), tmp_path / "clip.mp4")


def test_a_moving_picture_marks_the_frame_on_its_curve(pixels, tmp_path):
    curve = torch.ones(8)
    path = animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif", captions=list("abcdefgh"), curve=curve)
    with Image.open(path) as image:
        places = []
        for number in range(8):
            image.seek(number)
            last = np.asarray(image.convert("RGB")).astype(int)[-2]
            orange = (last[:, 0] - last[:, 2]) > 100
            places.append(np.flatnonzero(orange).mean() / len(last))
    np.testing.assert_allclose(places, (np.arange(8) + 0.5) / 8, atol=0.02)
    with pytest.raises(ValueError, match="one entry for each of 8 frames"):
        animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif", curve=curve[:3])
