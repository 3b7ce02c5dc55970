"""Whether a video file is complete, by what its container and its packets tell: bytes, frames and seconds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, BinaryIO

from lrp3d.printed import few
from lrp3d.video.paths import open_regular
from lrp3d.video.timeline import Timeline

_EBML, _SEGMENT = bytes.fromhex("1A45DFA3"), bytes.fromhex("18538067")
_TS, _TS_PACKET = b"\x47", 188  # the first byte of a packet, and its number of bytes
_ASF = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
_ASF_PROPERTIES = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")
_MOST_OF_A_HEADER = 2**16
_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx"}
# Containers whose header states a duration; for others FFmpeg would guess.
_STATING = ("matroska", "mov,", "flv", "asf", "mxf")


def missing_frames(path: Path, container: Any, stream: Any, timeline: Timeline) -> list[str]:
    """Return sentences about frames that the container announces and does not hold, or that damage left out."""
    with open_regular(path) as file:
        cut = truncation(file)
        complete = not cut and announced_size(file) is not None
    holes = _hole_sentences(path.name, timeline)
    if timeline.damaged:
        held = f"{timeline.damaged} of the {timeline.packets} packets"
        holes.append(f"{path.name} has damage in {held} of its pictures: frames there may be missing or wrong")
    announced_frames, prefix = stream.frames, ""
    if complete and not timeline.broken and container.format.name.startswith("mov,"):
        return []  # its index is complete; its edit list may hide frames that its index counts
    ends = _stated_end(container, stream, complete)
    if announced_frames <= timeline.packets and ends is not None and (more := _missing(ends, timeline)):
        announced_frames, prefix = timeline.packets + more, "about "
    why = cut or "it breaks off, or is damaged"
    if announced_frames > timeline.packets:
        return [*holes, f"{path.name} announces {prefix}{announced_frames} frames and holds {timeline.packets}: {why}"]
    if cut or timeline.broken:
        return [*holes, f"{path.name} may lack frames at its end: {why}"]
    return holes


def _hole_sentences(name: str, timeline: Timeline) -> list[str]:
    """The sentence about holes in a video whose pictures otherwise come at regular times, as damage leaves them."""
    holes = timeline.holes()
    if not holes:
        return []
    places = few([f"{start:.2f} and {end:.2f} s" for start, end in holes], 3)
    usual = timeline.spacing()[0]
    return [f"{name} has no pictures between {places}, and elsewhere one each {usual:.3g} s: some may be lost"]


def truncation(file: BinaryIO) -> str:
    """Where a file breaks off, as part of a sentence; empty if it is complete, or if that is unknown."""
    announced, size = announced_size(file), file.seek(0, 2)
    if announced and announced > size:
        return f"it breaks off after {size:,} of {announced:,} bytes"
    return "it has no end mark, and its last picture may be wrong" if _lacks_end_mark(file) else ""


def _lacks_end_mark(file: BinaryIO) -> bool:
    """Whether a GIF or a stream of JPEG pictures ends within a picture, of which the existing part would decode.

    >>> import io
    >>> _lacks_end_mark(io.BytesIO(b"GIF89a...")), _lacks_end_mark(io.BytesIO(b"GIF89a...;\\0"))
    (True, False)
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(6)
    file.seek(max(0, size - 1024))
    tail = file.read(1024).rstrip(b"\0\r\n")
    marks = {b"GIF87a": b";", b"GIF89a": b";", b"\xff\xd8\xff": b"\xff\xd9"}
    return any(head.startswith(begin) and not tail.endswith(end) for begin, end in marks.items())


def _stated_end(container: Any, stream: Any, complete: bool) -> float | None:
    """The second at which the pictures end according to the header; None if it does not say.

    In a file that has all its bytes, other streams may last longer than the pictures: then only the length
    of the pictures' own stream counts.
    """
    own = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)\0*", stream.metadata.get("DURATION", ""))
    if own and container.format.name.startswith("matroska"):
        hours, minutes, seconds = map(float, own.groups())
        return 3600 * hours + 60 * minutes + seconds
    if complete or not container.format.name.startswith(_STATING) or not container.duration:
        return None
    return float((container.start_time or 0) + container.duration) / 1e6


def _missing(stated: float, timeline: Timeline) -> int:
    """The number of frames that fit between the last frame and the second `stated`, the end of the stream."""
    if timeline.end is None:
        return 0
    gap, longest, end = timeline.spacing()
    # The last picture of a slide show may be shown for long: only a gap longer than any frame means missing frames.
    if end is None or stated - timeline.end <= 2 * longest or stated - timeline.end < 0.1:
        return 0
    return round((stated - end) / gap) if gap else 0


def announced_size(file: BinaryIO) -> int | None:
    """The number of bytes that a Matroska, MP4, AVI, ASF (WMV) or MPEG-TS container says it has; None for others.

    >>> import io
    >>> announced_size(io.BytesIO(b"RIFF\\x64\\0\\0\\0AVI "))
    108
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] == _EBML:
        return _end_of_segment(file, size)
    if head[:4] == b"RIFF":
        return _end_of_chunks(file, size)
    if head == _ASF[:12]:
        return _size_in_header(file)
    if head[4:8] in _BOXES:
        return _end_of_boxes(file, size)
    if head[:1] == _TS and size > _TS_PACKET:
        file.seek(_TS_PACKET)
        return -(-size // _TS_PACKET) * _TS_PACKET if file.read(1) == _TS else None
    return None


def _end_of_segment(file: BinaryIO, size: int) -> int | None:
    """The end of the one segment after the header of Matroska and WebM; a live recording does not state its size."""
    file.seek(4)
    header = _ebml_size(file)
    if header is None or header > size:
        return None
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return None
    length = _ebml_size(file)
    return None if length is None else file.tell() + length


def _ebml_size(file: BinaryIO) -> int | None:
    """Reads a number whose leading zero bits say how many bytes it has; if all bits are one, it is unknown (None)."""
    first = (file.read(1) or b"\0")[0]
    if not first:
        return None
    length = 9 - first.bit_length()
    value = int.from_bytes(bytes([first & (0xFF >> length)]) + file.read(length - 1), "big")
    return None if value == (1 << 7 * length) - 1 else value


def _end_of_chunks(file: BinaryIO, size: int) -> int | None:
    """The end of the RIFF chunks of an AVI file, which has several if it is large."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            break
        length = int.from_bytes(head[4:], "little")
        if length in (0, 2**32 - 1):  # written by a program that could not seek back
            return None
        end += 8 + length
        end += end % 2
    return end


def _size_in_header(file: BinaryIO) -> int | None:
    """ASF: among the properties in its header; a broadcast does not know its size."""
    file.seek(0)
    header = file.read(_MOST_OF_A_HEADER)
    start = header.find(_ASF_PROPERTIES)
    if not header.startswith(_ASF) or start < 0 or len(header) < start + 92:
        return None
    size, flags = int.from_bytes(header[start + 40 : start + 48], "little"), header[start + 88]
    return None if flags & 1 else size or None


def _end_of_boxes(file: BinaryIO, size: int) -> int | None:
    """The end of the last box of an MP4 or MOV file."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # the box ends with the file, or is padding
            return None if length or end == 0 else size
        end += length
    return end
