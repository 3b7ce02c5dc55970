"""Reading: the right frames, only those, and never a silent loss. Every video is encoded on the spot."""

import pickle
import sys
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lrp3d.sampling import dense_indices, uniform_indices
from lrp3d.video import LostFramesWarning, VideoError, decoding, draw_clip, prepare_clip, read_clip

SMALL = {"size": None, "short_side": None}


@pytest.fixture(autouse=True)
def _no_warning_unless_something_is_lost():
    with warnings.catch_warnings():
        warnings.simplefilter("error", LostFramesWarning)
        yield


def frame_numbers(clip):
    """Read the number that `numbered_frames` wrote into each frame."""
    bits = clip.pixels[:, 4, 4::8].float().mean(-1) > 128
    return (bits[:, :6] * 2 ** torch.arange(6)).sum(-1).tolist()


def numbered_frames(count, height=48, width=64):
    """Frames with their number in binary, black and white blocks, over a pattern that moves."""
    pattern = np.random.default_rng(0).integers(60, 200, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    for number in range(count):
        frame = np.roll(pattern, number, 1).astype(np.uint8)
        for bit in range(6):
            frame[:8, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
        yield frame


def encode(path, images, codec="libx264", pixels="yuv420p", gop=10, b_frames=2, stamps=None, **options):
    images = list(images)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = images[0].shape[:2] if images else (48, 64)
        stream.pix_fmt = pixels
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def damage(path, packets):
    """Overwrite the data of some packets, in the order of the file, but not their headers."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    for number in packets:
        start, size = places[number]
        data[start + 4 : start + size] = noise.bytes(size - 4)
    path.write_bytes(data)
    return path


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
    clip = read_clip(path, 8, sampling, stride=3, **SMALL)
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


def test_a_short_video_repeats_its_frames_and_says_so(tmp_path):
    path = encode(tmp_path / "clip.mp4", numbered_frames(3))
    with pytest.warns(LostFramesWarning, match="3 frames and 8 were asked for"):
        clip = read_clip(path, 8, **SMALL)
    assert clip.indices.tolist() == uniform_indices(3, 8).tolist()
    assert len(clip.lost) == 1


def test_lost_frames_are_replaced_by_their_neighbours_and_named(tmp_path):
    path = encode(tmp_path / "clip.mp4", numbered_frames(40), b_frames=0)
    damage(path, [25])
    with pytest.warns(LostFramesWarning):
        clip = read_clip(path, 40, **SMALL)
    assert clip.indices[[24, 25, 26]].tolist() == [24, 24, 26]
    assert "25 by 24" in clip.lost[0]
    assert "26, 27, 28, 29 of clip.mp4 follow damaged data" in clip.lost[1]
    assert frame_numbers(clip)[:25] == list(range(25))
    assert frame_numbers(clip)[30:] == list(range(30, 40))


def test_damage_elsewhere_is_no_concern_of_the_clip(tmp_path):
    path = damage(encode(tmp_path / "clip.mp4", numbered_frames(60), b_frames=0), [45, 46])
    clip = read_clip(path, 8, "dense", **SMALL)
    assert clip.lost == ()
    assert frame_numbers(clip) == list(range(26, 34))


def test_a_frame_that_the_decoder_patches_up_counts_as_lost(tmp_path):
    path = encode(tmp_path / "clip.avi", numbered_frames(40), codec="mpeg4", b_frames=0)
    damage(path, [12])
    with pytest.warns(LostFramesWarning) as said:
        clip = read_clip(path, 40, **SMALL)
    assert "replaced: 12 by 11" in str(said[0].message), clip.lost
    assert "16, 17, 18, 19 of clip.avi follow damaged data" in clip.lost[1], clip.lost
    assert frame_numbers(clip)[20:] == list(range(20, 40))


def test_a_video_without_a_sound_frame_is_refused(tmp_path):
    path = damage(encode(tmp_path / "clip.mp4", numbered_frames(8), b_frames=0), range(8))
    with pytest.raises(VideoError, match=r"no frame of clip\.mp4 decodes"):
        read_clip(path, 4)


def test_a_file_that_breaks_off_gives_what_it_holds(tmp_path):
    path = encode(tmp_path / "clip.avi", numbered_frames(40), codec="mpeg4", b_frames=0)
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[20] + 20])
    with pytest.warns(LostFramesWarning, match="announces 40 frames and holds"):
        clip = read_clip(path, 4, **SMALL)
    assert clip.num_video_frames in (20, 21)
    assert frame_numbers(clip) == clip.indices.tolist()


def test_a_picture_that_stands_still_in_a_moving_video_is_said(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3)).astype(np.uint8)
    noise[25:55] = noise[25]
    path = encode(tmp_path / "clip.mp4", noise, gop=60, b_frames=0)
    with pytest.warns(LostFramesWarning, match="stands still around frames 37, 52"):
        read_clip(path, 4, **SMALL)


def test_a_still_video_is_just_still(tmp_path):
    path = encode(tmp_path / "clip.mp4", [np.full((48, 64, 3), 128, np.uint8)] * 60)
    assert read_clip(path, 4, **SMALL).lost == ()


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


@pytest.mark.parametrize("content", [b"", b"no video at all " * 99])
def test_other_files_are_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
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


def write_image(path, image):
    """JPEG or PNG, with PyAV's own encoders."""
    codec, pixels = ("png", "rgb24") if path.suffix == ".png" else ("mjpeg", "yuvj444p")
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = pixels, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


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


def save(path, frames):
    if path.suffix == ".npy":
        np.save(path, frames.numpy())
    elif path.suffix == ".safetensors":
        save_file({"pixels": frames}, path)
    else:
        torch.save(frames, path)
    return path


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
    assert clip.times.tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


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


def test_pyav_is_asked_for_by_name_only_where_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(ImportError, match=r'pip install .*"av>=12"'):
        read_clip(tmp_path / "clip.mp4")
    assert read_clip(save(tmp_path / "clip.npy", draw_clip(4, 12)), 2, **SMALL).lost == ()


def test_a_drawn_clip_is_the_same_on_every_call_and_moves():
    clip = draw_clip(8, 40, seed=3)
    assert clip.dtype == torch.uint8
    assert clip.shape == (8, 40, 40, 3)
    assert torch.equal(clip, draw_clip(8, 40, seed=3))
    assert not torch.equal(clip, draw_clip(8, 40, seed=4))
    assert (clip[1:].int() - clip[:-1].int()).abs().amax((1, 2, 3)).min() > 50
    with pytest.raises(ValueError, match="size"):
        draw_clip(8, 0)
