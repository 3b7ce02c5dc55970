"""Video files: opened, read, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lrp3d.video.decoding import Decoded, decode_by_seeking, decode_from_the_start
from lrp3d.video.pyav import import_av, open_input, to_array
from lrp3d.video.source import Choose, Source, VideoError, first_line, stand_ins
from lrp3d.video.timeline import still_frames, timeline_of


def read_video(path: Path, choose: Choose) -> Source:
    """The chosen frames of a video file, and all that is wrong with them; raises VideoError if there are none."""
    av = import_av()
    with _opened(av, path) as stream:
        fps = stream.average_rate
        announced = stream.frames
        timeline = timeline_of(av, stream)
        if not timeline.stamps:
            raise VideoError(f"{path.name} has a video stream without a single frame")
        asked = choose(len(timeline.stamps))
        found = decode_by_seeking(av, stream, timeline, asked) if timeline.reliable else None
    if found is None:
        with _opened(av, path) as stream:
            found = decode_from_the_start(av, stream, timeline, asked)
    if not found:
        raise VideoError(f"no frame of {path.name} decodes")
    picked = [found[index] for index in asked]
    shown = [decoded.index for decoded in picked]
    lost = stand_ins(asked, shown, path.name)
    if announced > len(timeline.stamps):
        lost.append(f"{path.name} announces {announced} frames and holds {len(timeline.stamps)}")
    still = still_frames(timeline.sizes, float(fps or 25))
    frozen = [index for index in sorted(set(shown)) if still[index]]
    if frozen:
        told = ", ".join(map(str, frozen))
        lost.append(f"the picture of {path.name} stands still around frames {told}, as after damage in a recording")
    damaged = sorted({decoded.index for decoded in picked if decoded.after_damage})
    if damaged:
        lost.append(f"frames {', '.join(map(str, damaged))} of {path.name} follow damaged data and may be wrong")
    times = timeline.times
    return Source(
        images=_arrays(av, picked, path.name),
        indices=shown,
        count=len(timeline.stamps),
        times=[times[index] for index in shown],
        fps=float(fps) if fps else None,
        lost=lost,
    )


def _arrays(av: Any, picked: list[Decoded], name: str) -> list[np.ndarray]:
    try:
        return [to_array(decoded.frame) for decoded in picked]
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(f"the frames of {name} cannot be converted to RGB: {first_line(error)}") from None


@contextmanager
def _opened(av: Any, path: Path) -> Iterator[Any]:
    """The video stream of an open file."""
    try:
        container = open_input(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise VideoError(f"{path.name} cannot be opened as a video: {reason}") from None
    with container:
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoError(f"{path.name} has no video stream (it holds {kinds})")
        if streams[0].codec_context is None:
            raise VideoError(f"{path.name} is in a video format that this build of PyAV cannot decode")
        yield streams[0]


def _is_cover(stream: Any) -> bool:
    """Whether a stream is the picture on a piece of music."""
    return "attached_pic" in str(getattr(stream, "disposition", ""))
