"""When the frames of a video file are shown, from its packets alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np


@dataclass
class Timeline:
    """When the frames of a stream are shown, known from its packets alone: nothing is decoded for this."""

    stamps: list[int | None]
    """One for each frame, in the order of presentation, in units of ``unit``."""
    sizes: list[int]
    """How many bytes each frame takes, in the same order."""
    keys: list[int]
    """Those of the key frames, at which decoding can start."""
    unit: Fraction
    reliable: bool
    """Whether a frame can be recognised by its stamp."""

    @property
    def times(self) -> list[float]:
        """Seconds, NaN where nobody knows."""
        return [math.nan if stamp is None else float(stamp * self.unit) for stamp in self.stamps]


def timeline_of(av: Any, stream: Any) -> Timeline:
    """The timeline of an open stream, which is read to its end."""
    shown = [packet for packet in packets(av, stream) if packet.size and not packet.is_discard]
    stamps = [packet.pts for packet in shown]
    known = [stamp for stamp in stamps if stamp is not None]
    # AVI stores the order of decoding only, so that with B-frames the stamps are a guess.
    guessed = "avi" in stream.container.format.name and getattr(stream.codec_context, "has_b_frames", True)
    complete = len(set(known)) == len(stamps)
    keys = sorted(packet.pts for packet in shown if packet.is_keyframe and packet.pts is not None)
    if len(known) == len(stamps):
        shown.sort(key=lambda packet: packet.pts)
    return Timeline(
        stamps=[packet.pts for packet in shown],
        sizes=[packet.size for packet in shown],
        keys=keys,
        unit=stream.time_base,
        reliable=complete and not guessed and bool(keys),
    )


def packets(av: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream, up to where the file breaks off."""
    packets = stream.container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        yield packet


def still_frames(sizes: list[int], fps: float) -> np.ndarray:
    """Where half a second takes next to no data, in a video that otherwise moves: bool (frames,).

    Damage that was encoded with the picture is sound to a decoder. What gives it away is that the recording
    stood still until it recovered.
    """
    half = max(2, round(fps / 4))
    padded = np.pad(np.asarray(sizes), half, mode="edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)
    return around < 0.02 * np.median(sizes)
