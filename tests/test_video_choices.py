"""What is asked of a video is checked at once: which frames, how they are numbered, cut and normalised."""

import re

import numpy as np
import pytest
import torch
from videos import SMALL, encode, numbered_frames, save, write_image

from lrp3d import study
from lrp3d.sampling import dense_indices, uniform_indices
from lrp3d.video import VideoError, draw_clip, prepare_clip, read_clip, read_frames, sample_clip

PIXELS = draw_clip(10, 48)


@pytest.fixture(params=["clip.npy", "clip.pt", "clip.safetensors", "clip.mp4", "folder"])
def source(request, tmp_path):
    path = tmp_path / request.param
    if request.param == "clip.mp4":
        return encode(path, numbered_frames(10))
    if request.param != "folder":
        return save(path, PIXELS)
    path.mkdir()
    for number, frame in enumerate(PIXELS):
        write_image(path / f"img_{number:05}.png", frame.numpy())
    return path


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([-1], "has frames 0 to 9, and frame -1 is asked for"),
        ([0, 12], "has frames 0 to 9, and frame 12 is asked for"),
        ([], "has frames 0 to 9, and none is asked for"),
        ([1.5], "frames have whole numbers, and frame 1.5 is asked for"),
    ],
)
def test_frames_that_a_video_does_not_have_are_refused_by_number(source, chosen, message):
    with pytest.raises(VideoError, match=re.escape(message)):
        read_frames(source, lambda count: chosen, **SMALL)


def test_frames_are_chosen_by_whole_numbers_of_any_kind(source):
    clip = read_frames(source, lambda count: np.array([2, 9]), **SMALL)
    assert clip.indices.tolist() == [2, 9]
    assert clip.indices.dtype == torch.int64


def test_a_template_is_refused_where_there_is_no_folder(source):
    if not source.is_dir():
        with pytest.raises(ValueError, match=r"template is for folders of images, and clip\.\w+ is a file"):
            read_clip(source, 2, template="img_%05d.jpg", **SMALL)


def test_a_second_template_beside_the_one_in_the_path_is_refused(tmp_path):
    for number, frame in enumerate(PIXELS):
        write_image(tmp_path / f"img_{number:05}.png", frame.numpy())
    path = tmp_path / "img_%05d.png"
    assert torch.equal(read_clip(path, 2, template="img_%05d.png", **SMALL).pixels, read_clip(path, 2, **SMALL).pixels)
    with pytest.raises(ValueError, match=r"the path ends in the template img_%05d\.png, and template='x_%d\.png'"):
        read_clip(path, 2, template="x_%d.png", **SMALL)


@pytest.mark.parametrize("fps", [-5, float("nan"), float("inf")])
def test_frames_per_second_are_a_positive_number(fps):
    with pytest.raises(ValueError, match=f"fps is a positive number, not {fps}"):
        prepare_clip(PIXELS, fps=fps)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": (0, 0)}, "mean is one number or one per channel (3), not (0, 0)"),
        ({"std": (1, 1, 1, 1)}, "std is one number or one per channel (3), not (1, 1, 1, 1)"),
        ({"mean": "imagenet"}, "mean is one number or one per channel (3), not 'imagenet'"),
        ({"mean": ()}, "mean is one number or one per channel (3), not ()"),
        ({"std": (1, 0, 1)}, "std is not 0, which pixels are divided by, but it is (1, 0, 1)"),
    ],
)
def test_mean_and_standard_deviation_are_one_number_or_one_per_channel(tmp_path, given, message):
    path = save(tmp_path / "clip.npy", PIXELS)
    for call in (
        lambda: read_clip(path, 2, **SMALL, **given),
        lambda: read_frames(path, lambda count: [0], **SMALL, **given),
        lambda: sample_clip(PIXELS, 2, **SMALL, **given),
        lambda: prepare_clip(PIXELS, **given),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


def test_one_number_normalises_all_channels():
    same = prepare_clip(PIXELS, mean=(0.5,) * 3, std=(0.25,) * 3).tensor
    for mean, std in ((0.5, 0.25), ((0.5,), (0.25,)), (np.full(3, 0.5), torch.tensor(0.25))):
        assert torch.equal(prepare_clip(PIXELS, mean=mean, std=std).tensor, same)


@pytest.mark.parametrize("place", [(0,), (0, 0.5, 1), (0.5, 2)])
def test_a_place_is_two_numbers_from_0_to_1(tmp_path, place):
    with pytest.raises(ValueError, match=re.escape(f"place is two numbers from 0 to 1, not {place}")):
        read_clip(save(tmp_path / "clip.npy", PIXELS), 2, size=16, short_side=16, place=place)


def test_a_stride_is_refused_where_it_would_change_nothing():
    with pytest.raises(ValueError, match=r'in dense sampling, .* give sampling="dense", or leave the stride out'):
        read_clip("clip.mp4", 4, stride=3)
    with pytest.raises(ValueError, match="stride=3 is the distance"):
        study.Reader("videos", frames=4, stride=3)


@pytest.mark.parametrize("shape", [(40, 60, 3), (1, 30, 3), (30, 1, 3), (1, 1, 3)])
def test_a_frame_may_be_a_single_pixel(tmp_path, shape):
    np.save(tmp_path / "clip.npy", np.full((4, *shape), 51, np.uint8))
    clip = read_clip(tmp_path / "clip.npy", 4, size=1, short_side=1)
    assert clip.pixels.shape == (4, 1, 1, 3)
    assert clip.pixels.unique().tolist() == [51]


def test_frames_and_strides_are_whole_numbers():
    for call, name, number in (
        (lambda: dense_indices(100, 4, stride=1.5), "stride", 1.5),
        (lambda: dense_indices(100, 4.0), "frames", 4.0),
        (lambda: uniform_indices(10.5, 4), "num_video_frames", 10.5),
        (lambda: sample_clip(PIXELS, frames=2.0, **SMALL), "frames", 2.0),
        (lambda: sample_clip(PIXELS, frames=2, size=16.5, short_side=None), "size", 16.5),
    ):
        with pytest.raises(TypeError, match=f"{name} must be a whole number of at least 1, got {number}"):
            call()
    assert dense_indices(np.int64(100), torch.tensor(4), stride=np.int32(2)).tolist() == [46, 48, 50, 52]
