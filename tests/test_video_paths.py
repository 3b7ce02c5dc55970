"""A path is a path: no name becomes a protocol, and what is opened leads nowhere else."""

import errno
import os
import shutil
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from videos import SMALL, encode, frame_numbers, numbered_frames

import lrp3d
from lrp3d.commands.model_options import ModelChoice
from lrp3d.commands.one_clip import read
from lrp3d.study.listing.lists import Item
from lrp3d.study.running.reader import Reader
from lrp3d.video import LostFramesWarning, VideoError, read_clip

PROTOCOLS = [
    "./file:x.mp4",
    "concat:x.mp4|x.mp4",
    "pipe:0",
    "-",
    "subfile,,start,0,end,99,,:x.mp4",
    "data:video/mp4;base64,AAAA",
    "cache:x.mp4",
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "x.mp4", numbered_frames(10), b_frames=0)
    return tmp_path


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_name_that_is_a_protocol_elsewhere_is_a_file_that_is_not_there(here, name):
    with pytest.raises(VideoError, match=r"^there is no file or folder [^;]*$"):
        read_clip(name.partition(";")[0])


@pytest.mark.parametrize("name", ["file:y.mp4", "concat:x.mp4|x.mp4", "pipe:0", "-", "img%03d.png", "data:x"])
@pytest.mark.skipif(os.name == "nt", reason="such names exist elsewhere only")
def test_a_file_of_such_a_name_is_that_file(here, name):
    shutil.copy(here / "x.mp4", here / name)
    encode(here / "y.mp4", numbered_frames(3))
    assert frame_numbers(read_clip(name, 5, **SMALL)) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("name", ["http://host/x.mp4", "http:/host/x.mp4", "https://host/x.mp4", "file:///x.mp4"])
def test_urls_are_refused_with_what_to_do(here, name):
    with pytest.raises(VideoError, match=r"no file or folder .*x\.mp4; URLs are not read: download it"):
        read_clip(name)
    with pytest.raises(VideoError, match="URLs are not read: download it and list the file"):
        Reader(here)(Item(0, name))


def test_the_command_line_refuses_urls_too(here):
    with pytest.raises(VideoError, match=r"http://host/x\.mp4; URLs are not read"):
        read(
            "http://host/x.mp4",
            ModelChoice(torch.nn.Identity(), "", "", False, True, (), 2, 32, 32, (0.5,) * 3, (0.5,) * 3),
        )


REFERENCES = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nx.ts\n#EXT-X-ENDLIST\n",
    "list.mp4": "\n#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nx.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile x.mp4\n",
    "list.mpd": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("name", REFERENCES)
def test_what_names_other_files_or_hosts_is_not_followed(here, name):
    encode(here / "x.ts", numbered_frames(10))
    (here / name).write_text(REFERENCES[name])
    with pytest.raises(VideoError, match="what it names is not followed; give the videos themselves"):
        read_clip(name)


def test_the_bytes_of_a_playlist_find_no_protocol_even_if_its_kind_is_not_known(here, monkeypatch):
    encode(here / "x.ts", numbered_frames(10))
    (here / "list.m3u8").write_text(REFERENCES["list.m3u8"])
    monkeypatch.setattr("lrp3d.video.pyav.refuse_playlist", lambda file, name: None)
    with pytest.raises(VideoError):
        read_clip("list.m3u8")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_never_ends_is_refused_at_once(here):
    os.mkfifo("pipe.mp4")
    os.mkfifo("pipe.pt")
    for name in ("pipe.mp4", "pipe.pt"):
        with pytest.raises(VideoError, match="is a pipe, and a video is a regular file or a folder"):
            read_clip(name)
    with pytest.raises(VideoError, match="is a device"):
        read_clip("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp4")
        with pytest.raises(VideoError, match="is a socket"):
            read_clip("socket.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_no_frame_of_a_folder(here):
    (here / "frames" / "1.jpg").mkdir(parents=True)
    os.mkfifo(here / "frames" / "2.jpg")
    with pytest.raises(VideoError, match=r"no images? in"):
        read_clip("frames")


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 5000, "x.mp4/y.mp4", "x.mp4/img_%05d.jpg"])
def test_names_that_no_file_can_have_are_errors_of_one_line(here, name):
    with pytest.raises(VideoError):
        read_clip(name)


@pytest.mark.skipif(os.name == "nt", reason="such names exist elsewhere only")
def test_what_is_said_of_a_file_is_one_line_whatever_its_name(here):
    name = "a\nb\x1b[1m.mp4"
    shutil.copy(here / "x.mp4", here / name)
    with pytest.warns(LostFramesWarning, match=r"^a\\nb\\x1b\[1m\.mp4 has 10 frames and 20 were asked for"):
        (lost,) = read_clip(name, 20, **SMALL).lost
    assert lost.startswith(r"a\nb\x1b[1m.mp4 has")
    (here / name).write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"^a\\nb\\x1b\[1m\.mp4 cannot be opened as a video: [^\n]*$"):
        read_clip(name)


def test_an_empty_path_is_no_folder_and_the_current_folder_has_a_name(here, monkeypatch):
    with pytest.raises(VideoError, match="this one is empty"):
        read_clip("")
    folder = Path("frames")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(VideoError, match=r"there are no images in .*frames$"):
        read_clip(".")


def test_a_disk_that_fails_is_an_error_of_the_video(here, monkeypatch):
    def failing(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("lrp3d.video.clip.read_video", failing)
    with pytest.raises(VideoError, match=r"^x\.mp4 cannot be read: Input/output error$"):
        read_clip("x.mp4")


@pytest.mark.parametrize("given", [None, torch.zeros(1, 3, 4, 8, 8), 7])
def test_what_is_no_path_is_told_what_a_path_is(given):
    said = r"path must be the path of a video, got an? \w+; for a tensor use lrp3d\.explain"
    for call in (lambda: read_clip(given, frames=4), lambda: lrp3d.explain_video(torch.nn.Identity(), given)):
        with pytest.raises(TypeError, match=said):
            call()


def test_a_file_with_the_name_of_pyav_is_named(tmp_path, monkeypatch):
    module = ModuleType("av")
    module.__file__ = "here/av.py"
    monkeypatch.setitem(sys.modules, "av", module)
    (tmp_path / "a.mp4").write_bytes(b"\0")
    with pytest.raises(ImportError, match=r"needs PyAV, and here/av\.py is imported in its place: rename it"):
        read_clip(tmp_path / "a.mp4")
