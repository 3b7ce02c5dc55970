"""Video files: the frames that were asked for are read and only those, and what is no video is refused."""

import sys

import av
import numpy as np
import pytest
import torch
from videos import SMALL, encode, frame_numbers, numbered_frames, save

from lrp3d.sampling import dense_indices, uniform_indices
from lrp3d.video import VideoError, decoding, draw_clip, read_clip

pytestmark = pytest.mark.filterwarnings("error::lrp3d.video.LostFramesWarning")  # unless a test expects it


CODECS = [
    ("clip.mp4", {"codec": "libx264"}),
    ("clip.mkv", {"codec": "libx264", "gop": 60}),
    ("clip.avi", {"codec": "mpeg4", "b_frames": 2}),
    ("clip.avi", {"codec": "mpeg4", "b_frames": 0}),
    ("clip.nut", {"codec": "ffv1", "b_frames": 0}),
    ("clip.webm", {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"}),
]


@pytest.mark.parametrize(("name", "how"), CODECS)
@pytest.mark.parametrize("sampling", ["uniform", "dense"])
def test_the_frames_are_those_that_were_asked_for(tmp_path, name, how, sampling):
    path = encode(tmp_path / name, numbered_frames(60), **how)
    clip = read_clip(path, 8, sampling, stride=3 if sampling == "dense" else 1, **SMALL)
    expected = uniform_indices(60, 8) if sampling == "uniform" else dense_indices(60, 8, 3)
    assert torch.equal(clip.indices, expected)
    assert frame_numbers(clip) == expected.tolist()
    assert clip.num_video_frames == 60
    assert clip.fps == 25
    assert clip.lost == ()


@pytest.mark.parametrize(("name", "how"), CODECS)
def test_seeking_gives_the_same_pixels_as_decoding_everything(tmp_path, name, how):
    path = encode(tmp_path / name, numbered_frames(45), **how)
    with av.open(str(path)) as container:
        everything = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    clip = read_clip(path, 11, **SMALL)
    assert np.array_equal(clip.pixels.numpy(), everything[clip.indices.numpy()])


def test_only_the_frames_needed_are_decoded(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.mp4", numbered_frames(75))
    decoded = []
    original = decoding.decoded_frames

    def counted(*arguments):
        for frame in original(*arguments):
            decoded.append(frame)
            yield frame

    monkeypatch.setattr(decoding, "decoded_frames", counted)
    clip = read_clip(path, 4, "dense", **SMALL)
    assert clip.indices.tolist() == [35, 36, 37, 38]
    assert len(decoded) <= 10


def test_frames_are_counted_whatever_their_rate(tmp_path):
    stamps = [0, 1, 2, 30, 31, 90, 91, 92, 200, 201]
    path = encode(tmp_path / "clip.mkv", numbered_frames(10), stamps=stamps, b_frames=0)
    clip = read_clip(path, 5, **SMALL)
    assert frame_numbers(clip) == [1, 3, 5, 7, 9]
    assert clip.times.tolist() == pytest.approx([stamps[i] / 25 for i in (1, 3, 5, 7, 9)], abs=0.002)
    assert clip.fps == pytest.approx(9 * 25 / 201, abs=0.01), "on average, whatever the header says"


def test_rotation_metadata_is_obeyed(tmp_path):
    """A quarter turn clockwise, as telephones write it: the stored left column is the top row."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :16] = 255
    path = encode(tmp_path / "clip.mp4", [image] * 3)
    identity = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    clockwise = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    data = path.read_bytes()
    track = data.index(b"tkhd")
    path.write_bytes(data[:track] + data[track:].replace(identity, clockwise, 1))
    clip = read_clip(path, 3, **SMALL)
    assert clip.pixels.shape == (3, 64, 32, 3)
    assert clip.pixels[:, :14].min() > 200
    assert clip.pixels[:, 18:].max() < 50


@pytest.mark.parametrize(("height", "width"), [(33, 47), (1, 1), (17, 240)])
def test_odd_sizes_keep_their_colours(tmp_path, height, width):
    image = np.broadcast_to(np.array([200, 100, 50], np.uint8), (height, width, 3)).copy()
    path = encode(tmp_path / "clip.mkv", [image] * 4, codec="ffv1", pixels="bgr0", b_frames=0)
    clip = read_clip(path, 4, **SMALL)
    assert torch.equal(clip.pixels, torch.from_numpy(image).expand(4, -1, -1, -1))


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(VideoError, match=r"sound\.wav has no video stream \(it holds audio\)"):
        read_clip(path)


def test_a_video_without_frames_is_refused(tmp_path):
    with pytest.raises(VideoError, match=r"empty\.avi"):
        read_clip(encode(tmp_path / "empty.avi", [], codec="mpeg4"))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.npy", "clip.pt", "clip.safetensors"])
def test_an_empty_file_is_called_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(VideoError, match=rf"^{name} is an empty file \(0 bytes\)$"):
        read_clip(tmp_path / name)


def test_other_files_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video at all " * 99)
    with pytest.raises(VideoError, match=r"^clip\.mp4 cannot be opened as a video: .*$"):
        read_clip(path)


def test_an_index_that_was_cut_off_is_refused(tmp_path):
    path = encode(tmp_path / "clip.mp4", numbered_frames(20))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match="cannot be opened"):
        read_clip(path)


@pytest.mark.parametrize("name", ["missing.mp4", "missing", "missing/img_%05d.jpg"])
def test_what_is_not_there_is_named(tmp_path, name):
    with pytest.raises(VideoError, match=r"there is no file or folder .*missing"):
        read_clip(tmp_path / name)


def test_pyav_is_asked_for_by_name_only_where_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    with pytest.raises(ImportError, match=r'pip install .*"av>=12"'):
        read_clip(tmp_path / "clip.mp4")
    assert read_clip(save(tmp_path / "clip.npy", draw_clip(4, 12)), 2, **SMALL).lost == ()
