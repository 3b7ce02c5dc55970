"""The times at which the frames of a video file are shown, known from its packets alone."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

UNKNOWN = -(2**63)  # a stamp that the file does not state, as in FFmpeg


@dataclass
class Timeline:
    """The times at which the frames of a stream are shown, known from its packets without decoding."""

    stamps: np.ndarray
    """int64, one for each frame, in the order of presentation, in units of ``unit``; `UNKNOWN` if not stated."""
    sizes: np.ndarray
    """The size of each frame in bytes, in the same order."""
    keys: np.ndarray
    """Stamps of the key frames, at which decoding can start."""
    unit: Fraction
    reliable: bool
    """Whether a frame can be recognised by its stamp."""
    packets: int
    """The number of packets of this stream, including those that are never shown."""
    end: float | None
    """The end of the last packet of any stream in seconds; None if unknown."""
    broken: bool
    """Whether the last packet is incomplete, or an error ended the reading."""
    damaged: int = 0
    """The number of packets before the last that the container knows to be damaged: MPEG-TS counts its pieces."""

    def __len__(self) -> int:
        return len(self.stamps)

    def time(self, index: int) -> float:
        """The time of a frame in seconds, NaN if unknown."""
        stamp = int(self.stamps[index])
        return math.nan if stamp == UNKNOWN else float(stamp * self.unit)

    def rate(self) -> float | None:
        """The frames per second from the first one to the last, on average; None where times are not all stated."""
        if len(self) < 2 or (self.stamps == UNKNOWN).any() or self.stamps[-1] <= self.stamps[0]:
            return None
        return float((len(self) - 1) / ((int(self.stamps[-1]) - int(self.stamps[0])) * self.unit))

    def spacing(self) -> tuple[float, float, float | None]:
        """The usual and the longest distance between two frames, and the end of the last frame if known, in seconds."""
        if len(self) < 2 or (self.stamps == UNKNOWN).any():
            return 0.0, 0.0, None
        gaps, unit = np.diff(self.stamps), float(self.unit)
        usual = float(np.median(gaps)) * unit
        return usual, float(gaps.max()) * unit, int(self.stamps[-1]) * unit + usual

    def holes(self) -> list[tuple[float, float]]:
        """The seconds between which pictures are missing, for a stream whose pictures come at regular times."""
        usual, _, end = self.spacing()
        if end is None or not usual:
            return []
        unit = float(self.unit)
        gaps = np.diff(self.stamps) * unit
        is_hole = gaps > 2.5 * usual  # a camera may drop a single picture
        # Slide shows and screen recordings have a picture when something happens, so that a gap means nothing there.
        if is_hole.mean() > 0.1 or (abs(gaps[~is_hole] - usual) > 0.5 * usual + unit).mean() > 0.1:
            return []
        return [
            (float(self.stamps[index]) * unit, float(self.stamps[index + 1]) * unit) for index in is_hole.nonzero()[0]
        ]


def timeline_of(av: Any, stream: Any) -> Timeline:
    """The timeline of an open stream, which is read to its end; only three numbers are kept of each packet."""
    stamps, sizes, keys = array("q"), array("q"), array("q")
    count, end, broken, damaged = 0, -math.inf, False, 0
    for packet in _until_it_breaks_off(av, stream.container.demux()):
        if packet is None:
            broken = True
            continue
        if not packet.size:
            continue
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        count += 1
        damaged += broken
        broken = packet.is_corrupt
        if packet.is_discard:
            continue
        stamps.append(UNKNOWN if packet.pts is None else packet.pts)
        sizes.append(packet.size)
        if packet.is_keyframe and packet.pts is not None:
            keys.append(packet.pts)
    display_stamps, weights = np.array(stamps, np.int64), np.array(sizes, np.int64)
    complete = bool((display_stamps != UNKNOWN).all())
    if complete:
        order = np.argsort(display_stamps, kind="stable")
        display_stamps, weights = display_stamps[order], weights[order]
    # AVI stores only the order of decoding, so that stamps are a guess if there are B-frames.
    guessed = "avi" in stream.container.format.name and getattr(stream.codec_context, "has_b_frames", True)
    distinct = complete and bool((np.diff(display_stamps) > 0).all())
    return Timeline(
        stamps=display_stamps,
        sizes=weights,
        keys=np.sort(np.array(keys, np.int64)),
        unit=stream.time_base or Fraction(1),
        reliable=distinct and not guessed and bool(keys),
        packets=count,
        end=end if math.isfinite(end) else None,
        broken=broken,
        damaged=damaged,
    )


def _until_it_breaks_off(av: Any, packets: Iterator[Any]) -> Iterator[Any | None]:
    """The packets, and None after the last one if an error ends them."""
    while True:
        try:
            packet = next(packets)
        # PyAV raises an IndexError after the last packet if streams have appeared on the way.
        except (StopIteration, IndexError):
            return
        except (av.error.FFmpegError, OSError):
            yield None
            return
        yield packet


def packets(av: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, up to where the file breaks off."""
    entries = _until_it_breaks_off(av, stream.container.demux(stream))
    return (packet for packet in entries if packet is not None)


def is_still(sizes: np.ndarray, index: int, fps: float) -> bool:
    """Whether half a second around a frame takes next to no data, in a video that otherwise moves.

    A decoder cannot see damage that was there when the video was encoded. It shows in a picture that stands still until
    the recording recovered.
    """
    half = max(2, round(min(fps / 4, len(sizes))))
    places = np.arange(index - half, index + half + 1).clip(0, len(sizes) - 1)
    return bool(np.median(sizes[places]) < 0.02 * np.median(sizes))
