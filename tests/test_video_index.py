"""Indices that claim more frames than a file can hold are refused before memory is made for them."""

import struct

import pytest
from videos import SMALL, encode, numbered_frames

from lrp3d.video import VideoError, read_clip

NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def boxes(content):
    """The boxes of a part of an MP4 file: kind and body."""
    while content:
        length, kind = struct.unpack(">I4s", content[:8])
        yield kind, content[8:length]
        content = content[length:]


def edited(content, changed):
    """The same boxes, with other bodies for some kinds."""
    out = b""
    for kind, body in boxes(content):
        body = edited(body, changed) if kind in NESTED else changed.get(kind, body)
        out += struct.pack(">I4s", 8 + len(body), kind) + body
    return out


@pytest.fixture
def video(tmp_path):
    return encode(tmp_path / "clip.mp4", numbered_frames(10))


@pytest.mark.parametrize("count", [10**6, 2**32 - 1])
def test_a_table_of_sizes_cannot_claim_more_frames_than_bytes(video, count):
    content = video.read_bytes()
    video.write_bytes(edited(content, {b"stsz": struct.pack(">III", 0, 1, count)}))
    with pytest.raises(VideoError, match=rf"clip\.mp4 claims {count:,} frames in {len(content) - 40:,} bytes"):
        read_clip(video, 2, **SMALL)


def test_a_fragment_without_data_cannot_claim_frames(video):
    run = struct.pack(">I4sII", 16, b"trun", 0, 10**8)
    part = struct.pack(">I4s", 8 + len(run), b"traf") + run
    video.write_bytes(video.read_bytes() + struct.pack(">I4s", 8 + len(part), b"moof") + part)
    with pytest.raises(VideoError, match="claims 100,000,000 frames"):
        read_clip(video, 2, **SMALL)


def test_a_list_of_edits_cannot_repeat_frames_beyond_memory(video):
    video.write_bytes(edited(video.read_bytes(), {b"elst": struct.pack(">II", 0, 10**7) + bytes(12)}))
    with pytest.raises(VideoError, match="claims 10,000,000 edits of 10 frames"):
        read_clip(video, 2, **SMALL)


def test_honest_files_are_read(video):
    content = video.read_bytes()
    assert edited(content, {}) == content
    assert read_clip(video, 10, **SMALL).lost == ()
