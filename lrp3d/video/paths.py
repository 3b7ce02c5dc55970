"""Paths of videos: what may be opened, and the errors about everything else (a URL, a pipe, a playlist).

FFmpeg takes a name for an address: ``pipe:0``, ``concat:a|b`` and ``http:/host/x`` are protocols, and ``img%03d.png``
is a series of files. Therefore it never gets a name: files are opened here, and FFmpeg gets their bytes.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from lrp3d.printed import with_article
from lrp3d.video.source import VideoError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # pathlib turns two slashes into one
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_PLAYLISTS = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat version": "a list of files to join",
    b"<MPD": "a DASH manifest",
    b"<SmoothStreamingMedia": "a manifest of streams",
    b"v=0": "a session description",
    b"[playlist]": "a playlist",
    b"[Reference]": "a playlist",
    b"RTSPtext": "a reference to a stream",
    b"<asx": "a playlist",
    b"<ASX": "a playlist",
    b"<smil": "a playlist",
    b"!<symlink>": "a link",
}
_HEAD = 1024  # bytes that are searched for the beginning of a playlist


def is_url(path: str | Path) -> bool:
    """Whether a name looks like an address on the network.

    >>> is_url("https://example.org/a.mp4"), is_url("file:x.mp4"), is_url("C:/a.mp4")
    (True, False, False)
    """
    return bool(_URL.match(str(path)))


def require_place(path: str | Path) -> None:
    """Refuse what is neither a regular file nor a folder, in one sentence that says what it is.

    Raises:
        VideoError: there is nothing, it never ends (a pipe, a device), it is an empty file, or it cannot be read.
    """
    try:
        status = os.stat(Path(path))
    except (FileNotFoundError, NotADirectoryError):
        advice = "; URLs are not read: download it and give the file" if is_url(path) else ""
        raise VideoError(f"there is no file or folder {path}{advice}") from None
    except (
        OSError,
        ValueError,
    ) as error:  # the name is too long or has a zero byte, links form a loop, or permission is missing
        raise VideoError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISDIR(status.st_mode):
        _require_regular(status, Path(path).name)


def check_path(path: object) -> None:
    """Raises TypeError for anything but a path, such as the frames of a video that are in memory."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"path must be the path of a video, got {with_article(type(path).__name__)}; for a tensor use lrp3d.explain"
        )


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, unbuffered; never waits.

    Raises:
        VideoError: the file does not exist, cannot be read, is not a regular file, or is empty.
    """
    try:
        # O_NONBLOCK: opening does not wait if a pipe has taken the file's place meanwhile.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise VideoError(f"{path.name} cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    try:
        _require_regular(os.fstat(descriptor), path.name)
    except VideoError:
        os.close(descriptor)
        raise
    return open(descriptor, "rb", buffering=0)


def _require_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise VideoError(f"{name} is {kind}, and a video is a regular file or a folder of images")
    if not status.st_size:  # decoders would call it invalid data, and the cause is a download or a copy that failed
        raise VideoError(f"{name} is an empty file (0 bytes)")


def refuse_playlist(file: BinaryIO, name: str) -> None:
    """Refuse a playlist, which names other files or hosts: a path stands for one file only.

    Raises:
        VideoError: the file is a playlist; the message says of which kind.
    """
    file.seek(0)
    head = file.read(_HEAD).lstrip(b"\xef\xbb\xbf \t\r\n")
    file.seek(0)
    for mark, kind in _PLAYLISTS.items():
        if head.startswith(mark) or (mark.startswith(b"<") and head.startswith(b"<?xml") and mark in head):
            raise VideoError(f"{name} is {kind}: what it names is not followed; give the videos themselves")
