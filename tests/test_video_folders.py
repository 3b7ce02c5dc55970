"""A folder of images is a video: its frames come in the order of their numbers, and gaps and other images are named."""

import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image
from videos import SMALL, encode, frame_numbers, frames_in, numbered_frames, write_image

import lrp3d
from lrp3d.video import ClipWarning, LostFramesWarning, VideoError, read_clip

pytestmark = pytest.mark.filterwarnings("error::lrp3d.video.LostFramesWarning")  # unless a test expects it


@pytest.fixture
def folder(tmp_path):
    """Twelve frames, numbered from 1."""
    for number, image in enumerate(numbered_frames(12), 1):
        write_image(tmp_path / f"img_{number:05}.jpg", image)
    return tmp_path


@pytest.mark.parametrize("template", ["img_%05d.jpg", "img_{:05}.jpg", "img_{:05d}.jpg", None])
def test_a_folder_of_frames_is_a_video(folder, template):
    (folder / "notes.txt").write_text("not a frame")
    clip = read_clip(folder, 4, template=template, **SMALL)
    assert clip.indices.tolist() == [1, 4, 7, 10]
    assert frame_numbers(clip) == [1, 4, 7, 10]
    assert clip.fps is None
    assert clip.times.isnan().all()
    if template:
        assert torch.equal(read_clip(folder / template, 4, **SMALL).pixels, clip.pixels)


def test_frames_without_leading_zeros_come_in_the_order_of_their_numbers(tmp_path):
    for number, image in enumerate(numbered_frames(12)):
        write_image(tmp_path / f"{number}.png", image)
    assert frame_numbers(read_clip(tmp_path, 12, **SMALL)) == list(range(12))


def test_missing_frames_of_a_folder_are_named(folder):
    (folder / "img_00003.jpg").unlink()
    with pytest.warns(LostFramesWarning, match="has no frame 3:"):
        clip = read_clip(folder, 11, template="img_%05d.jpg", **SMALL)
    assert frame_numbers(clip) == [0, 1, *range(3, 12)]


@pytest.mark.parametrize("content", [b"", b"not an image", "half"])
def test_damaged_images_are_replaced_by_their_neighbours(folder, content):
    broken = folder / "img_00005.jpg"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2] if content == "half" else content)
    with pytest.warns(LostFramesWarning, match="4 by 3"):
        clip = read_clip(folder, 12, **SMALL)
    assert frame_numbers(clip) == [0, 1, 2, 3, 3, *range(5, 12)]


def tiff(path, image):
    """As FFmpeg writes it, with tags that its own decoder calls unknown."""
    codec = av.CodecContext.create("tiff", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "rgb24", Fraction(1, 25)
    packets = codec.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
    path.write_bytes(b"".join(map(bytes, [*packets, *codec.encode(None)])))


def test_tiff_as_ffmpeg_writes_it_is_read_and_a_half_one_is_noticed(tmp_path):
    for number, image in enumerate(numbered_frames(6)):
        tiff(tmp_path / f"img_{number}.tif", np.ascontiguousarray(image))
    assert frame_numbers(read_clip(tmp_path, 6, **SMALL)) == list(range(6))
    broken = tmp_path / "img_4.tif"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    with pytest.warns(LostFramesWarning, match="4 by 3"):
        assert frame_numbers(read_clip(tmp_path, 6, **SMALL)) == [0, 1, 2, 3, 3, 5]


def test_images_of_several_sizes_are_said(folder):
    taller = np.pad(list(numbered_frames(3))[2], ((0, 8), (0, 0), (0, 0)))
    write_image(folder / "img_00003.jpg", taller)
    with pytest.warns(ClipWarning, match="has frames of 2 sizes .* each is resized and cut by itself"):
        clip = read_clip(folder, 12, size=8, short_side=8)
    assert any("2 sizes" in note for note in clip.notes)
    images = [*numbered_frames(2), taller]
    with pytest.warns(ClipWarning, match="the video has frames of 2 sizes"):
        lrp3d.video.sample_clip([Image.fromarray(np.asarray(image)) for image in images], 3, size=8, short_side=8)


def test_folders_without_frames_are_refused(tmp_path):
    with pytest.raises(VideoError, match="no images in"):
        read_clip(tmp_path)
    with pytest.raises(VideoError, match=r"no images frame_%03d\.png in"):
        read_clip(tmp_path, template="frame_%03d.png")
    with pytest.raises(VideoError, match="names no frame number"):
        read_clip(tmp_path, template="frame.png")
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(VideoError, match="decodes"):
        read_clip(tmp_path)


def test_a_percent_in_a_file_name_is_just_a_name(tmp_path):
    image = next(numbered_frames(1))
    write_image(tmp_path / "100%d.png", image)
    encode(tmp_path / "take_%02d.mkv", numbered_frames(10))
    assert torch.equal(read_clip(tmp_path, 1, **SMALL).pixels[0], torch.from_numpy(image))
    assert frame_numbers(read_clip(tmp_path / "take_%02d.mkv", 5, **SMALL)) == [1, 3, 5, 7, 9]


def test_of_several_series_the_frames_are_read_and_the_others_said(tmp_path):
    names = [f"{kind}_{number}.jpg" for kind in ("img", "flow_x", "flow_y") for number in (1, 2)]
    folder = frames_in(tmp_path / "x", *names, "cover.jpg")
    (folder / "._img_1.jpg").write_bytes(b"macOS")
    with pytest.warns(UserWarning, match="5 other images of x are not read"):
        assert read_clip(folder, 2, size=32, short_side=32).num_video_frames == 2


def test_series_that_cannot_be_told_apart_ask_for_a_template(tmp_path):
    folder = frames_in(tmp_path / "x", "left_1.jpg", "right_1.jpg")
    with pytest.raises(VideoError, match=r"several series.*give a template"):
        read_clip(folder, 1)
    with pytest.raises(VideoError, match="several images with the number 1"):
        read_clip(frames_in(tmp_path / "y", "img_1.jpg", "img_001.jpg"), 1)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("f_1.png", "f_2.png", "f_4.png"), "has no frame 3:"),
        (("f_0.png", "f_5.png", "f_10.png"), "in steps of 5"),
        (("f_1700000000000.png", "f_1900000000000.png"), "has no frames 1700000000001 to 1899999999999: their"),
        (("a.png", "b.png"), "have no numbers"),
    ],
)
def test_gaps_in_the_numbers_of_frames_are_said_without_a_template(tmp_path, names, said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clip = read_clip(frames_in(tmp_path / "x", *names), len(names), size=32, short_side=32)
    assert [said in sentence for sentence in clip.lost + clip.notes] == [True]
