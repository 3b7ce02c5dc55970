"""When the frames of a video file are shown, from its packets alone."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

UNKNOWN = -(2**63)  # a stamp that the file does not say, as in FFmpeg


@dataclass
class Timeline:
    """When the frames of a stream are shown, known from its packets alone: nothing is decoded for this."""

    stamps: np.ndarray
    """int64, one for each frame, in the order of presentation, in units of ``unit``; `UNKNOWN` where nobody knows."""
    sizes: np.ndarray
    """How many bytes each frame takes, in the same order."""
    keys: np.ndarray
    """Stamps of the key frames, at which decoding can start."""
    unit: Fraction
    reliable: bool
    """Whether a frame can be recognised by its stamp."""
    packets: int
    """How many the file holds of this stream, those included that are never shown."""
    end: float | None
    """When the last packet of any stream ends, in seconds; None where nobody knows."""
    broken: bool
    """Whether the last packet is there in part only, or an error ended the reading."""
    damaged: int = 0
    """How many packets before the last the container knows to be damaged: MPEG-TS counts its pieces."""

    def __len__(self) -> int:
        return len(self.stamps)

    def time(self, index: int) -> float:
        """Seconds, NaN where nobody knows."""
        stamp = int(self.stamps[index])
        return math.nan if stamp == UNKNOWN else float(stamp * self.unit)

    def spacing(self) -> tuple[float, float, float | None]:
        """Usual and longest distance of two frames, and the end of the last if stamps are known, in seconds."""
        if len(self) < 2 or (self.stamps == UNKNOWN).any():
            return 0.0, 0.0, None
        gaps, unit = np.diff(self.stamps), float(self.unit)
        usual = float(np.median(gaps)) * unit
        return usual, float(gaps.max()) * unit, int(self.stamps[-1]) * unit + usual

    def holes(self) -> list[tuple[float, float]]:
        """Seconds between which a picture or more is missing, of a stream whose pictures come at regular times."""
        usual, _, end = self.spacing()
        if end is None or not usual:
            return []
        unit = float(self.unit)
        gaps = np.diff(self.stamps) * unit
        wide = gaps > 2.5 * usual  # cameras drop single pictures
        # Slide shows and recordings of a screen have pictures when something happens: there a gap says nothing.
        if wide.mean() > 0.1 or (abs(gaps[~wide] - usual) > 0.5 * usual + unit).mean() > 0.1:
            return []
        return [(float(self.stamps[index]) * unit, float(self.stamps[index + 1]) * unit) for index in wide.nonzero()[0]]


def timeline_of(av: Any, stream: Any) -> Timeline:
    """The timeline of an open stream, which is read to its end; of each packet three numbers are kept, no data."""
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
    shown, weights = np.array(stamps, np.int64), np.array(sizes, np.int64)
    complete = bool((shown != UNKNOWN).all())
    if complete:
        order = np.argsort(shown, kind="stable")
        shown, weights = shown[order], weights[order]
    # AVI stores the order of decoding only, so that with B-frames the stamps are a guess.
    guessed = "avi" in stream.container.format.name and getattr(stream.codec_context, "has_b_frames", True)
    distinct = complete and bool((np.diff(shown) > 0).all())
    return Timeline(
        stamps=shown,
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
    """The packets; None after the last if they end in an error."""
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):  # PyAV's, behind the last packet, where streams came up on the way
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

    Damage that was encoded with the picture is sound to a decoder. What gives it away is that the recording
    stood still until it recovered.
    """
    half = max(2, round(min(fps / 4, len(sizes))))
    places = np.arange(index - half, index + half + 1).clip(0, len(sizes) - 1)
    return bool(np.median(sizes[places]) < 0.02 * np.median(sizes))
