"""Decodes the requested frames of a video file, as few others as possible, and keeps only those requested."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from lrp3d.video.timeline import Timeline, packets

Keep = Callable[[Any], Tensor]
"""Makes the frame of the clip from a decoded frame, which is as large as the video."""


@dataclass
class Decoded:
    """A decoded frame of the clip, its number, and whether there was damage since the last key frame."""

    index: int
    image: Tensor
    after_damage: bool


def decode_by_seeking(
    av: Any, stream: Any, timeline: Timeline, indices: list[int], keep: Keep
) -> dict[int, Decoded] | None:
    """The requested frames, each decoded from the key frame before it; None if any is lost or out of order."""
    decoded: dict[int, Decoded] = {}
    frames: Iterator[tuple[Any, bool]] = iter(())
    position: float = -math.inf
    for index in sorted(set(indices)):
        stamp = int(timeline.stamps[index])
        key = int(timeline.keys[max(0, int(np.searchsorted(timeline.keys, stamp, "right")) - 1)])
        if key > position:
            try:
                stream.container.seek(key, stream=stream)
            except (av.error.FFmpegError, OSError):
                return None
            frames, position = decoded_frames(av, stream), -math.inf
        hit = _frame_at(frames, position, stamp)
        if hit is None:
            return None
        frame, after_damage = hit
        decoded[index], position = Decoded(index, keep(frame), after_damage), stamp
    return decoded


def _frame_at(frames: Iterator[tuple[Any, bool]], position: float, stamp: int) -> tuple[Any, bool] | None:
    """Decodes from ``position`` up to the frame with this stamp; None if it does not come, or not in order."""
    for frame, damaged in frames:
        if frame is None:
            continue
        if frame.pts is None or frame.pts <= position:
            return None
        position = frame.pts
        if position >= stamp:
            return (frame, damaged) if position == stamp else None
    return None


@dataclass(eq=False)
class _Candidate:
    """A frame that may be the nearest to some requested ones; its image is kept once that is certain."""

    index: int
    frame: Any
    after_damage: bool
    decoded: Decoded | None = None

    def keep_image(self, keep: Keep) -> None:
        """Makes the small image of the clip, and releases the large frame."""
        if self.decoded is None:
            self.decoded = Decoded(self.index, keep(self.frame), self.after_damage)
            self.frame = None


def decode_from_the_start(
    av: Any, stream: Any, timeline: Timeline, indices: list[int], keep: Keep
) -> dict[int, Decoded]:
    """For each requested frame, the nearest one that decodes (the earlier of two); empty if none decodes."""
    nearest: dict[int, _Candidate] = {}
    wanted, last = sorted(set(indices)), len(timeline) - 1
    for count, (frame, damaged) in enumerate(decoded_frames(av, stream)):
        if frame is None:
            continue
        index = count
        if timeline.reliable and frame.pts is not None:
            index = int(np.searchsorted(timeline.stamps, frame.pts))
        candidate = _Candidate(min(index, last), frame, damaged)
        for number in wanted:
            if number not in nearest or abs(candidate.index - number) < abs(nearest[number].index - number):
                nearest[number] = candidate
        # Requested frames up to here have found their nearest frame; later ones share the last decoded one for now.
        for number in wanted:
            if number <= candidate.index:
                nearest[number].keep_image(keep)
        if candidate.index >= wanted[-1]:
            break
    for best in nearest.values():
        best.keep_image(keep)
    return {number: best.decoded for number, best in nearest.items() if best.decoded is not None}


def decoded_frames(av: Any, stream: Any) -> Iterator[tuple[Any | None, bool]]:
    """The frames in the order of presentation, and whether damage precedes each since the last key frame.

    A lost frame is None. Frames that refer to it still decode, with wrong pixels where they copy from it.
    """
    damaged = False
    for packet in packets(av, stream):
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, OSError):
            damaged = True
            yield None, damaged
            continue
        for frame in frames:
            damaged = frame.is_corrupt or (damaged and not frame.key_frame)
            yield (None if frame.is_corrupt else frame), damaged
