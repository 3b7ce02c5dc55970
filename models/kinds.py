"""Recognises files that are not checkpoints by their first bytes, such as the page of a broken link."""

from __future__ import annotations

from pathlib import Path

_HEAD = 4096
_DOWNLOAD = "a link often leads to a page about the file; download the file itself"
_UNPACK = "unpack it, and give the checkpoint that is in it"

# The first bytes of a file, its kind, and what to do about it.
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, which only names the file",
        "get the file itself with git lfs pull",
    ),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a rar archive", _UNPACK),
    (b"\x89HDF", "an HDF5 file, as Keras writes", ""),
    (b"\x93NUMPY", "a numpy array", ""),
    (b"GGUF", "a GGUF file", ""),
    (b"%PDF", "a PDF document", ""),
    (b"\x89PNG", "a picture", ""),
    (b"\xff\xd8\xff", "a picture", ""),
    (b"GIF8", "a picture", ""),
    (b"RIFF", "a video, sound or picture", ""),
    (b"\x1a\x45\xdf\xa3", "a video", ""),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--", b"<body", b"<script")


def foreign_kind(path: Path) -> str | None:
    """The kind of a file that is certainly not a checkpoint, and what to do about it; None if it may be one.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "an empty file: the download may have failed"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:10].lower().startswith(_PAGES):
        return f"a web page: {_DOWNLOAD}"
    for start, what, advice in _STARTS:
        if head.startswith(start):
            return f"{what}: {advice}" if advice else what
    if head[4:8] == b"ftyp":
        return "a video"
    if head[257:262] == b"ustar":
        return f"a tar archive: {_UNPACK}"
    if text[:1] in (b"{", b"[") and _is_text(text):
        return f"a json text: {_DOWNLOAD}"
    return None


def is_text(path: Path) -> bool:
    """Whether a file begins with text."""
    with path.open("rb") as file:
        return _is_text(file.read(_HEAD))


def _is_text(head: bytes) -> bool:
    return bool(head) and all(byte >= 0x20 or byte in b"\t\n\r\f\x1b" for byte in head) and b"\x7f" not in head
