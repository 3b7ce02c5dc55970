"""What a file claims costs nothing, and what it lacks, repeats or squeezes is said."""

import io
import os
import pickle
import re
import struct
import warnings
import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from videos import SMALL, encode, frame_numbers, numbered_frames

from lrp3d.video import ClipWarning, LostFramesWarning, VideoError, pixels, prepare_clip, read_clip, room
from lrp3d.video.pixels import Framing
from lrp3d.video.timeline import Timeline
from lrp3d.video.completeness import announced_size


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("clip.mkv", {}),
        ("clip.webm", {"codec": "libvpx", "deadline": "good", "cpu-used": "5", "threads": "1"}),
        ("clip.avi", {"codec": "mpeg4"}),
        ("clip.flv", {"codec": "flv"}),
    ],
)
def test_a_file_that_was_cut_says_how_many_frames_it_announces(tmp_path, name, how):
    path = cut(encode(tmp_path / name, numbered_frames(48), b_frames=0, **how), 0.75)
    with pytest.warns(LostFramesWarning, match=r"announces (about )?48 frames and holds \d+: it breaks off"):
        clip = read_clip(path, 4, **SMALL)
    assert frame_numbers(clip) == clip.indices.tolist()


@pytest.mark.parametrize(
    ("name", "how"),
    [("clip.gif", {"codec": "gif", "pixels": "rgb8"}), ("clip.mjpeg", {"codec": "mjpeg", "pixels": "yuvj420p"})],
)
def test_pictures_without_checksums_that_break_off_in_the_middle_of_one_say_so(tmp_path, name, how):
    """The part of the last picture that is there decodes, and the rest of it is not the video's."""
    path = encode(tmp_path / name, numbered_frames(24), b_frames=0, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_clip(path, 4, **SMALL)
    with pytest.warns(LostFramesWarning, match="may lack frames at its end: it has no end mark"):
        read_clip(cut(path, 0.77), 4, **SMALL)


@pytest.mark.parametrize("at", [0.3, 0.5, 0.6])
def test_pictures_that_damage_swallowed_leave_a_hole_that_is_said(tmp_path, at):
    """The file has all its bytes: readers of Matroska pass over the rest of a damaged cluster."""
    how = {"codec": "libvpx", "deadline": "good", "cpu-used": "5", "threads": "1"}
    path = encode(tmp_path / "clip.webm", numbered_frames(48), b_frames=0, **how)
    data = bytearray(path.read_bytes())
    start = int(at * len(data))
    data[start : start + 600] = bytes(600)
    path.write_bytes(data)
    with pytest.warns(LostFramesWarning, match=r"no pictures between \d.\d\d and \d.\d\d s, and|announces about 48"):
        clip = read_clip(path, 4, **SMALL)
    assert clip.num_video_frames < 48


def test_pictures_that_come_when_something_happens_have_no_holes():
    def holes(*seconds):
        stamps = np.array(seconds) * 1000
        return Timeline(
            stamps.astype(np.int64), stamps, stamps, Fraction(1, 1000), True, len(stamps), 9.0, False
        ).holes()

    steady = np.arange(0, 2, 0.04)
    assert holes(*steady) == []
    assert holes(*steady[:10], *steady[20:]) == [(0.36, 0.8)]
    assert holes(0, 3, 3.5, 7, 30) == holes(1.0) == holes(0, 1) == []


def test_an_mp4_with_its_index_in_front_says_it_too(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for image in numbered_frames(48):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with pytest.warns(LostFramesWarning) as said:
        read_clip(cut(path, 0.7), 4, **SMALL)
    assert any(re.search(r"announces 48 frames and holds \d+: it breaks off after", str(one.message)) for one in said)


def test_frames_that_an_edit_list_hides_are_not_missing(tmp_path):
    encode(tmp_path / "whole.mkv", numbered_frames(40), b_frames=0)
    with (
        av.open(str(tmp_path / "whole.mkv")) as whole,
        av.open(
            str(tmp_path / "cut.mp4"), "w", options={"avoid_negative_ts": "disabled", "use_editlist": "1"}
        ) as edited,
    ):
        source = whole.streams.video[0]
        add = getattr(edited, "add_stream_from_template", None)
        stream = add(source) if add else edited.add_stream(template=source)
        for packet in whole.demux(source):
            if packet.size:
                shift = int(15 / 25 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                edited.mux(packet)
    clip = read_clip(tmp_path / "cut.mp4", 5, **SMALL)
    assert clip.lost == ()
    assert frame_numbers(clip) == [17, 22, 27, 32, 37]


def test_a_transport_stream_that_was_cut_inside_a_packet_is_said(tmp_path):
    path = encode(tmp_path / "clip.ts", numbered_frames(48), b_frames=0)
    path.write_bytes(path.read_bytes()[: 188 * 60 + 99])
    with pytest.warns(LostFramesWarning, match="may lack frames at its end: it breaks off after"):
        read_clip(path, 4, **SMALL)


def test_a_transport_stream_with_a_gap_inside_is_said_to_be_damaged(tmp_path):
    """A picture that lacks pieces may decode, or the one before it may vanish: the count of the pieces tells."""
    path = encode(tmp_path / "clip.ts", numbered_frames(48), b_frames=0)
    assert read_clip(path, 4, **SMALL).lost == ()
    data = path.read_bytes()
    middle = len(data) // 188 // 2 * 188
    path.write_bytes(data[:middle] + data[middle + 3 * 188 :])
    with pytest.warns(LostFramesWarning, match=r"clip.ts has damage in \d+ of the \d+ packets of its pictures"):
        read_clip(path, 4, **SMALL)


def test_a_windows_media_file_that_was_cut_between_two_packets_is_said(tmp_path):
    whole = tmp_path / "clip.asf"
    encode(whole, numbered_frames(48), codec="wmv2", b_frames=0)
    assert read_clip(whole, 4, **SMALL).lost == ()
    cut(whole, 0.6)
    with pytest.warns(LostFramesWarning, match=r"clip.asf may lack frames at its end: it breaks off after [\d,]+ of"):
        read_clip(whole, 4, **SMALL)


def test_an_index_that_is_missing_is_explained(tmp_path):
    with pytest.raises(
        VideoError, match=r"cannot be opened as a video: .* \(it breaks off after [\d,]+ of [\d,]+ bytes"
    ):
        read_clip(cut(encode(tmp_path / "clip.mp4", numbered_frames(48)), 0.7))


def test_a_last_frame_that_stays_is_no_loss(tmp_path):
    path = encode(tmp_path / "slides.mkv", numbered_frames(6), stamps=[0, 25, 50, 75, 100, 700], b_frames=0)
    assert read_clip(path, 3, **SMALL).lost == ()


@pytest.mark.parametrize(("stride", "reach"), [(3, 22), (9, 64)])
def test_dense_sampling_past_the_end_is_said(tmp_path, stride, reach):
    path = tmp_path / "clip.npy"
    np.save(path, np.stack(list(numbered_frames(20))))
    with pytest.warns(LostFramesWarning, match=f"clip takes {reach}: past the end the last frame repeats$"):
        clip = read_clip(path, 8, "dense", stride=stride, **SMALL)
    assert frame_numbers(clip)[-1] == 19


def stated(path, aspect):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for image in numbered_frames(5, 64, 96):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("aspect", "width"), [(Fraction(4, 3), 128), (Fraction(1, 2), 48), (Fraction(1), 96)])
def test_pixels_that_are_not_square_are_seen_in_the_proportions_the_file_states(tmp_path, aspect, width):
    clip = read_clip(stated(tmp_path / "clip.mp4", aspect), 2, **SMALL)
    assert clip.pixels.shape == (2, 64, width, 3)
    assert clip.lost == ()
    assert read_clip(tmp_path / "clip.mp4", 2, size=None, short_side=32).pixels.shape[1:3] == (
        (32, 32 * width // 64) if width > 64 else (64 * 32 // width, 32)
    )


def test_proportions_that_no_pixel_has_are_taken_as_square_and_said(tmp_path):
    with pytest.warns(ClipWarning, match="pixels 20 : 1: they are taken as square"):
        assert read_clip(stated(tmp_path / "clip.mkv", Fraction(20)), 2, **SMALL).pixels.shape[2] == 96


@pytest.mark.parametrize("shape", [(40, 1), (1, 3000), (57, 91), (64, 64)])
def test_cutting_before_the_last_resize_changes_no_bit(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    whole = Framing(1, None, 36, "clip")(image)
    part = Framing(1, 32, 36, "clip")(image)
    top, left = ((side - 32) // 2 for side in whole.shape[:2])
    assert torch.equal(part, whole[top : top + 32, left : left + 32])


def test_a_line_of_pixels_does_not_become_a_wall():
    line = torch.zeros(1, 1, 65535, 3, dtype=torch.uint8)  # 12 GiB if resized as a whole
    assert prepare_clip(line, size=224, short_side=256).pixels.shape == (1, 224, 224, 3)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi"])  # the second has no stamps to seek by
def test_large_frames_are_let_go_as_soon_as_they_are_small(tmp_path, monkeypatch, name):
    path = encode(tmp_path / name, numbered_frames(40), codec="mpeg4", b_frames=2 * name.endswith("avi"))
    large, alive = [], []
    original = Framing.__call__

    def counted(self, image, *aspect):
        large.append(weakref.ref(image))
        alive.append(sum(reference() is not None for reference in large))
        return original(self, image, *aspect)

    monkeypatch.setattr(Framing, "__call__", counted)
    assert read_clip(path, 30, size=16, short_side=16).pixels.shape == (30, 16, 16, 3)
    assert max(alive) <= 2
    assert len(large) <= 31


def test_a_clip_of_whole_frames_beyond_memory_is_refused_before_it_is_made(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.mkv", numbered_frames(4, 480, 640))
    monkeypatch.setattr(room, "memory_limit", lambda: 40 * 2**20)
    with pytest.raises(VideoError, match=r"4 frames of 640 x 480 pixels take .* ask for fewer frames"):
        read_clip(path, 4, **SMALL)
    assert read_clip(path, 4, size=32, short_side=32).pixels.shape == (4, 32, 32, 3)


def test_a_header_that_claims_more_pixels_than_memory_holds_is_refused(tmp_path, monkeypatch):
    path = encode(tmp_path / "clip.mkv", numbered_frames(4, 480, 640))
    monkeypatch.setattr(room, "memory_limit", lambda: 2**20)
    with pytest.raises(VideoError, match=r"announces frames of 640 x 480 pixels, and this machine has memory for"):
        read_clip(path, 1, size=8, short_side=8)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_only_the_frames_that_are_wanted_of_a_tensor_file_are_touched(tmp_path, suffix, monkeypatch):
    from safetensors.torch import save_file

    frames = torch.stack([torch.full((8, 8, 3), number / 255) for number in range(40)])
    path = tmp_path / f"clip{suffix}"
    save_file({"clip": frames}, path) if suffix == ".safetensors" else torch.save({"clip": frames}, path)
    seen = []
    original = pixels.Framing.__call__
    monkeypatch.setattr(pixels.Framing, "__call__", lambda self, *given: seen.append(1) or original(self, *given))
    assert read_clip(path, 4, **SMALL).pixels[:, 0, 0, 0].tolist() == [5, 15, 25, 35]
    assert len(seen) == 4


def test_a_compressed_tensor_file_is_refused_before_it_is_unpacked(tmp_path):
    import zipfile

    torch.save(torch.zeros(4, 8, 8, 3), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    with pytest.raises(VideoError, match="is compressed"):
        read_clip(tmp_path / "bomb.pt", 2, **SMALL)


def test_a_tensor_file_that_would_have_to_be_unpickled_is_refused_without_advice_to_do_so(tmp_path, recwarn):
    path = tmp_path / "clip.pt"
    torch.save({"clip": torch.zeros(2, 4, 4, 3), "about": Fraction(1, 25)}, path)
    with pytest.raises(
        VideoError, match=r"^clip\.pt cannot be read as a tensor: it is damaged, or holds more than that;"
    ):
        read_clip(path)
    path.write_bytes(pickle.dumps(torch.zeros(2, 4, 4, 3), 0))
    with pytest.raises(VideoError, match=r"^clip\.pt [^\n]*$"):
        read_clip(path)
    assert not recwarn.list


@pytest.mark.parametrize("size", ["01ffffffffffffff", "01fffffffffffffe", "7fff"])
def test_a_header_that_claims_to_be_larger_than_its_file_ends_nothing(size):
    file = io.BytesIO(bytes.fromhex("1A45DFA3" + size) + bytes(40))
    file.seek = lambda *place, seek=file.seek: seek(*place) if place[0] < 2**40 else os.lseek(-1, 0, 0)
    assert announced_size(file) is None


def test_a_rate_of_frames_below_zero_is_read_from_the_times_of_frames(tmp_path):
    path = encode(tmp_path / "clip.flv", numbered_frames(8), codec="flv", b_frames=0)
    data, key = path.read_bytes(), b"framerate\0"
    start = data.index(key) + len(key)
    path.write_bytes(data[:start] + struct.pack(">d", -25) + data[start + 8 :])
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate < 0
    assert read_clip(path, 4, **SMALL).fps == 25
