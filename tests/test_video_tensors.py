"""Clips from tensors: files of pixels, resizing, cropping, normalising, and the clip that is drawn."""

import pickle

import numpy as np
import pytest
import torch
from videos import SMALL, save

from lrp3d.video import VideoError, draw_clip, prepare_clip, read_clip

pytestmark = pytest.mark.filterwarnings("error::lrp3d.video.LostFramesWarning")  # unless a test expects it


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".safetensors"])
@pytest.mark.parametrize("floats", [False, True])
def test_tensor_files_are_videos(tmp_path, suffix, floats):
    pixels = draw_clip(20, 16)
    path = save(tmp_path / f"clip{suffix}", pixels / 255 if floats else pixels)
    clip = read_clip(path, 5, **SMALL)
    assert clip.indices.tolist() == [2, 6, 10, 14, 18]
    assert torch.equal(clip.pixels, pixels[clip.indices])


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), r"\(4, 3, 8, 8\), and frames are \(t, h, w, 3\)"),
        (torch.zeros(0, 8, 8, 3, dtype=torch.uint8), "t >= 1"),
        (torch.full((4, 8, 8, 3), -1.0), "not normalised yet"),
        (torch.full((4, 8, 8, 3), torch.nan), "not normalised yet"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.int64), "not normalised yet"),
    ],
)
def test_tensors_that_are_no_frames_are_refused(tmp_path, frames, said):
    with pytest.raises(VideoError, match=said):
        read_clip(save(tmp_path / "clip.npy", frames), 2, **SMALL)


@pytest.mark.parametrize(
    ("frames", "advice"),
    [
        (np.zeros((3, 4, 8, 8), np.uint8), r"move axis 0 to the end, as numpy\.moveaxis\(array, 0, -1\) does$"),
        (np.zeros((4, 3, 8, 8), np.uint8), "move axis 1 to the end"),
        (np.zeros((1, 4, 8, 8, 3), np.uint8), "leave out the batch axis"),
        (np.zeros((4, 8, 8, 4), np.uint8), "leave out the fourth channel"),
        (np.zeros((4, 8, 8), np.uint8), "give grey frames three equal channels"),
        (np.zeros((8, 8, 3), np.uint8), "it is one image"),
        (np.full((4, 8, 8, 3), 200.0), "from 200 to 200: .*; divide them by 255, or save them as uint8$"),
        (np.full((4, 8, 8, 3), -1.0), "save them as they are before a mean is subtracted$"),
        (np.full((4, 8, 8, 3), np.nan), "some values are no finite numbers$"),
        (np.full((4, 8, 8, 3), 200), "holds int64 from 200 to 200: .*; save them as uint8$"),
        (np.ones((4, 8, 8, 3), bool), "multiply them by 255"),
        (np.ones((4, 8, 8, 3), complex), "holds complex128: pixels are uint8"),
        (np.full((4, 8, 8, 3), "a"), "holds <U1: pixels are uint8"),
        (np.full((4, 8, 8, 3), None), r"holds objects of Python, and a clip is one array of RGB frames \(t, h, w, 3\)"),
    ],
)
def test_an_array_of_another_form_is_refused_with_what_to_do(tmp_path, frames, advice):
    np.save(tmp_path / "clip.npy", frames, allow_pickle=True)
    with pytest.raises(VideoError, match=advice):
        read_clip(tmp_path / "clip.npy", 2, **SMALL)


def test_an_array_that_breaks_off_says_so(tmp_path):
    np.save(tmp_path / "clip.npy", draw_clip(4, 12).numpy())
    (tmp_path / "clip.npy").write_bytes((tmp_path / "clip.npy").read_bytes()[:1000])
    with pytest.raises(VideoError, match=r"breaks off: uint8 \(4, 12, 12, 3\) takes [\d,]+ bytes, and .* has 1,000$"):
        read_clip(tmp_path / "clip.npy", 2, **SMALL)


def test_files_of_other_kinds_are_refused_with_what_to_save_instead(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    (tmp_path / "broken.npz").write_text("hello")
    (tmp_path / "frames.h5").write_bytes(b"HDF")
    save_alone = (
        r"and these are not read: save the frames alone, with numpy\.save as \.npy, .*; they are RGB frames \(t,"
    )
    kinds = {
        "two.npz": r"a \.npz file of 2 arrays \(a, b\)",
        "broken.npz": "a damaged .npz file",
        "frames.h5": "a .h5 file",
    }
    for name, kind in kinds.items():
        with pytest.raises(VideoError, match=f"{name} is {kind}, {save_alone}"):
            read_clip(tmp_path / name)
    torch.save({}, tmp_path / "none.pt")
    with pytest.raises(VideoError, match=r"none\.pt holds no tensors, and a clip is one; save the frames alone, RGB"):
        read_clip(tmp_path / "none.pt")


@pytest.mark.parametrize(("name", "is_list"), [("list.jsonl", True), ("notes.md", False), ("clip.mp4", False)])
def test_a_text_is_no_video_and_says_so(tmp_path, name, is_list):
    (tmp_path / name).write_text('{"video": "é.mp4"}\n' * 1000, encoding="utf-8")
    with pytest.raises(VideoError, match="cannot be opened as a video: it is a text, and a video is") as refusal:
        read_clip(tmp_path / name)
    assert ("lrp3d study run explains the videos of a list" in str(refusal.value)) == is_list


def test_tensor_files_run_no_code(tmp_path):
    for name in ("clip.pt", "clip.npy", "clip.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(print, protocol=2))
        with pytest.raises(VideoError, match="cannot be read as a tensor") as refusal:
            read_clip(tmp_path / name)
        assert "allow" not in str(refusal.value)  # nobody is advised to unpickle it
    torch.save({"a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "two.pt")
    with pytest.raises(VideoError, match="holds 2 tensors, and a clip is one: a, b"):
        read_clip(tmp_path / "two.pt")


def test_the_shorter_side_is_resized_and_the_centre_is_cut():
    pixels = torch.zeros(1, 40, 120, 3, dtype=torch.uint8)
    pixels[:, :, 40:80] = 255
    clip = prepare_clip(pixels, short_side=20, size=20)
    assert clip.pixels.shape == (1, 20, 20, 3)
    assert clip.pixels[:, :, 1:-1].min() == 255
    assert prepare_clip(pixels, short_side=20).pixels.shape == (1, 20, 60, 3)
    assert prepare_clip(pixels.transpose(1, 2), short_side=20).pixels.shape == (1, 60, 20, 3)


def test_resizing_averages_instead_of_skipping_pixels():
    stripes = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    small = prepare_clip(stripes, short_side=16).pixels[:, :, 2:-2].int()
    assert (small - 128).abs().max() <= 2


def test_normalisation_is_what_the_model_states():
    pixels = torch.full((2, 4, 4, 3), 51, dtype=torch.uint8)
    clip = prepare_clip(pixels, mean=(0.2, 0.0, 0.1), std=(1.0, 0.1, 0.5))
    assert clip.tensor.shape == (1, 3, 2, 4, 4)
    torch.testing.assert_close(clip.tensor[0, :, 0, 0, 0], torch.tensor([0.0, 2.0, 0.2]))


def test_every_frame_keeps_its_place_and_its_pixels():
    pixels = draw_clip(5, 12)
    clip = prepare_clip(pixels, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), fps=10)
    assert torch.equal((clip.tensor[0] * 255).round().byte().permute(1, 2, 3, 0), pixels)
    assert clip.times.tolist() == [number / 10 for number in range(5)]  # in double precision


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"sampling": "random"}, ValueError, "sampling"),
        ({"frames": 0}, ValueError, "frames"),
        ({"stride": 0}, ValueError, "stride"),
        ({"size": 0}, ValueError, "size"),
        ({"size": 300}, ValueError, "300"),
        ({"size": 64, "short_side": None}, VideoError, "12 x 12 pixels, less than the 64"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, error, said):
    path = save(tmp_path / "clip.npy", draw_clip(4, 12))
    with pytest.raises(error, match=said):
        read_clip(path, **{"frames": 2, **options})


@pytest.mark.parametrize("pixels", [torch.zeros(2, 4, 4, 3), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)])
def test_pixels_are_bytes_with_channels_last(pixels):
    with pytest.raises(VideoError, match="uint8"):
        prepare_clip(pixels)


def test_a_drawn_clip_is_the_same_on_every_call_and_moves():
    clip = draw_clip(8, 40, seed=3)
    assert clip.dtype == torch.uint8
    assert clip.shape == (8, 40, 40, 3)
    assert torch.equal(clip, draw_clip(8, 40, seed=3))
    assert not torch.equal(clip, draw_clip(8, 40, seed=4))
    assert (clip[1:].int() - clip[:-1].int()).abs().amax((1, 2, 3)).min() > 50
    with pytest.raises(ValueError, match="size"):
        draw_clip(8, 0)
