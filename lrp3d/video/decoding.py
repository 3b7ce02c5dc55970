"""The frames of a video file that were asked for, decoding as little as possible."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lrp3d.video.timeline import Timeline, packets


@dataclass
class Decoded:
    """A frame that decoded, its number, and whether damage precedes it since the last key frame."""

    index: int
    frame: Any
    after_damage: bool


def decode_by_seeking(av: Any, stream: Any, timeline: Timeline, asked: list[int]) -> dict[int, Decoded] | None:
    """The frames asked for, each from the key frame before it; None if any is lost or out of order."""
    found: dict[int, Decoded] = {}
    frames: Iterator[tuple[Any, bool]] = iter(())
    position: float = -math.inf
    for index in sorted(set(asked)):
        stamp = timeline.stamps[index]
        assert stamp is not None  # A reliable timeline knows them all.
        key = timeline.keys[max(0, bisect_right(timeline.keys, stamp) - 1)]
        if key > position:
            try:
                stream.container.seek(key, stream=stream)
            except av.error.FFmpegError:
                return None
            frames, position = decoded_frames(av, stream), -math.inf
        hit = _frame_at(frames, position, stamp)
        if hit is None:
            return None
        found[index], position = Decoded(index, *hit), stamp
    return found


def _frame_at(frames: Iterator[tuple[Any, bool]], position: float, stamp: int) -> tuple[Any, bool] | None:
    """Decode on from ``position`` to the frame of this stamp; None if it does not come, or not in order."""
    for frame, damaged in frames:
        if frame is None:
            continue
        if frame.pts is None or frame.pts <= position:
            return None
        position = frame.pts
        if position >= stamp:
            return (frame, damaged) if position == stamp else None
    return None


def decode_from_the_start(av: Any, stream: Any, timeline: Timeline, asked: list[int]) -> dict[int, Decoded]:
    """For each frame asked for the nearest that decodes; the earlier of two. Empty if none does."""
    nearest: dict[int, Decoded] = {}
    last = len(timeline.stamps) - 1
    for count, (frame, damaged) in enumerate(decoded_frames(av, stream)):
        if frame is None:
            continue
        index = count
        if timeline.reliable and frame.pts is not None:
            index = bisect_left(timeline.stamps, frame.pts)
        decoded = Decoded(min(index, last), frame, damaged)
        for wanted in asked:
            if wanted not in nearest or abs(decoded.index - wanted) < abs(nearest[wanted].index - wanted):
                nearest[wanted] = decoded
        if decoded.index >= max(asked):
            break
    return nearest


def decoded_frames(av: Any, stream: Any) -> Iterator[tuple[Any | None, bool]]:
    """The frames in the order of presentation, and whether damage precedes each since the last key frame.

    A frame that is lost is None. Frames that refer to it do decode, with wrong pixels where they copy from
    it.
    """
    damaged = False
    for packet in packets(av, stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damaged = True
            yield None, damaged
            continue
        for frame in frames:
            damaged = frame.is_corrupt or (damaged and not frame.key_frame)
            yield (None if frame.is_corrupt else frame), damaged
