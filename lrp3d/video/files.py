"""Opens and reads video files, and says what was lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor

from lrp3d.video.completeness import missing_frames
from lrp3d.video.decoding import decode_by_seeking, decode_from_the_start
from lrp3d.video.losses import Losses
from lrp3d.video.pixels import SQUARE, Framing
from lrp3d.video.pyav import import_av, is_turned, limit_pixels, open_container, to_array
from lrp3d.video.room import most_pixels
from lrp3d.video.source import Choose, Source, VideoError, chosen_frames, first_line
from lrp3d.video.timeline import Timeline, is_still, timeline_of

_ODDEST = 16  # the largest ratio of the sides of a pixel, either way: no pixel of a screen or a camera comes near it


CLOSE = 0.02  # rates that differ by less are the same


@dataclass
class Survey:
    """What the packets of one video file say, empty before it is first read: to read on, they are not read again.

    >>> import lrp3d
    >>> survey = lrp3d.video.Survey()  # given to several calls of `lrp3d.video.read_frames` for one file
    >>> survey.path is None, survey.missing
    (True, [])
    """

    path: Path | None = None
    timeline: Timeline | None = None
    missing: list[str] = field(default_factory=list)
    """Sentences about frames that the file should have and has not."""


def read_video(path: Path, choose: Choose, framing: Framing, survey: Survey | None = None) -> Source:
    """The chosen frames of a video file, with sentences about losses; raises VideoError if no frame decodes."""
    av, survey = import_av(), survey or Survey()
    with _opened(path) as stream:
        stated = float(stream.average_rate or 0)
        aspect, notes = _pixel_aspect(stream, path.name)
        if survey.path not in (None, path):
            raise ValueError(f"this survey is of {survey.path}: give a new lrp3d.video.Survey() for {path}")
        if survey.timeline is None:
            timeline = timeline_of(av, stream)
            if not len(timeline):
                raise VideoError(f"{path.name} has a video stream without a single frame")
            survey.missing = missing_frames(path, stream.container, stream, timeline)
            survey.path, survey.timeline = path, timeline
        timeline = survey.timeline
        fps = _rate(stated, timeline)
        chosen_indices = chosen_frames(choose, len(timeline), path.name)

        def keep(frame: Any) -> Tensor:
            try:
                return framing(to_array(frame), 1 / aspect if is_turned(frame) else aspect)
            except (av.error.FFmpegError, MemoryError) as error:
                raise VideoError(f"the frames of {path.name} cannot be converted to RGB: {first_line(error)}") from None

        frames = decode_by_seeking(av, stream, timeline, chosen_indices, keep) if timeline.reliable else None
    if frames is None:
        with _opened(path) as stream:
            frames = decode_from_the_start(av, stream, timeline, chosen_indices, keep)
    if not frames:
        raise VideoError(f"no frame of {path.name} decodes")
    picked = [frames[index] for index in chosen_indices]
    shown = [decoded.index for decoded in picked]
    still = [index for index in sorted(set(shown)) if is_still(timeline.sizes, index, fps or 25.0)]
    damaged = sorted({decoded.index for decoded in picked if decoded.after_damage})
    losses = Losses.of_frames(path.name, chosen_indices, shown, survey.missing)
    return Source(
        images=[decoded.image for decoded in picked],
        indices=shown,
        count=len(timeline),
        times=[timeline.time(index) for index in shown],
        fps=fps,
        losses=replace(losses, still=tuple(still), damaged=tuple(damaged)),
        notes=notes,
    )


def _rate(stated: float, timeline: Timeline) -> float | None:
    """The frames per second on average: as the file states it, unless the times of its frames say otherwise.

    A damaged header may state any rate, and one of a recording at a variable rate the greatest. Of a container that
    rounds times, the stated rate is more exact.
    """
    shown = timeline.rate() if timeline.reliable else None
    if shown is None or abs(stated / shown - 1) < CLOSE:
        return stated if stated > 0 else None
    return shown


def _pixel_aspect(stream: Any, name: str) -> tuple[Fraction, list[str]]:
    """The width of a pixel divided by its height, as the file states it, and a note if that cannot be."""
    aspect = stream.sample_aspect_ratio
    if not aspect or aspect < 0:  # the file does not state it
        return SQUARE, []
    if not 1 / _ODDEST <= aspect <= _ODDEST:
        return SQUARE, [f"{name} states pixels {aspect.numerator} : {aspect.denominator}: they are taken as square"]
    return Fraction(aspect), []


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The video stream of an open file."""
    with open_container(path) as container:
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise VideoError(f"{path.name} has no video stream (it holds {kinds})")
        context = streams[0].codec_context
        if context is None:
            raise VideoError(f"{path.name} is in a video format that this build of PyAV cannot decode")
        if context.width * context.height > most_pixels():
            raise VideoError(
                f"{path.name} announces frames of {context.width} x {context.height} pixels, and this machine has "
                f"memory for {most_pixels():,} pixels at a time"
            )
        limit_pixels(streams[0])
        yield streams[0]


def _is_cover(stream: Any) -> bool:
    """Whether a stream is the cover picture of a piece of music."""
    return "attached_pic" in str(getattr(stream, "disposition", ""))
