"""Reads from the index of MP4 and MOV files how many frames it claims, before anything allocates memory for them.

A number in a header takes four bytes, but FFmpeg allocates an entry for each of the frames that it claims. Every frame
takes at least a byte, so that no correct index claims more frames than the file has bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from lrp3d.video.source import VideoError

_HOLDING_OTHERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf"}
_COUNT_AT = {b"stsz": 8, b"stz2": 8, b"trun": 4, b"elst": 4}
"""The position of the number of frames, or of edits, in a box, in bytes after its header."""
_ALWAYS = 1_000_000  # entries of a list of edits whose memory does not matter
_DEEPEST = 12


def refuse_claims(file: BinaryIO, name: str) -> None:
    """Refuse an index that claims more frames than there can be.

    Raises:
        VideoError: the index claims too many frames; the message says how many.
    """
    size = file.seek(0, 2)
    frames = edits = 0
    for kind, count in _claims(file, 0, size, 0):
        if kind == b"elst":
            edits = max(edits, count)
        else:
            frames = max(frames, count)
    file.seek(0)
    if frames > size:
        raise VideoError(f"{name} claims {frames:,} frames in {size:,} bytes: its index is damaged")
    if frames * edits > max(size, _ALWAYS):
        raise VideoError(f"{name} claims {edits:,} edits of {frames:,} frames in {size:,} bytes: its index is damaged")


def _claims(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[tuple[bytes, int]]:
    """The kind of each box that counts something, and its count."""
    while end - start >= 8:
        file.seek(start)
        head = file.read(16)
        length, kind, body = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), 16
        if length == 0:  # up to the end
            length = end - start
        if length < body:
            return
        if kind in _HOLDING_OTHERS and depth < _DEEPEST:
            yield from _claims(file, start + body, min(start + length, end), depth + 1)
        elif kind in _COUNT_AT:
            file.seek(start + body + _COUNT_AT[kind])
            yield kind, int.from_bytes(file.read(4), "big")
        start += length
