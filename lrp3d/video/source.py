"""What every kind of video source yields, and the errors and warnings about sources."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from lrp3d.printed import printable
from lrp3d.video.losses import Losses


class VideoError(ValueError):
    """A source from which no clip can be read; the message says why in one sentence on one line.

    >>> import lrp3d
    >>> try:
    ...     lrp3d.video.read_clip("missing.mp4")
    ... except lrp3d.video.VideoError as error:
    ...     print(error)
    there is no file or folder missing.mp4
    """

    def __init__(self, sentence: str):
        super().__init__(printable(sentence))


class ClipWarning(UserWarning):
    """A clip was read, and the user may want to know of a decision that was made; see `Clip.notes`.

    `LostFramesWarning` is one of its kind, so that a filter for this one holds for both.

    >>> import lrp3d
    >>> issubclass(lrp3d.video.LostFramesWarning, lrp3d.video.ClipWarning)
    True
    """


class LostFramesWarning(ClipWarning):
    """A clip was read, but some of the requested frames are missing or damaged; see `Clip.lost`.

    `warnings.simplefilter("error", lrp3d.video.LostFramesWarning)` makes an error of it.

    >>> import tempfile, warnings, numpy as np, lrp3d
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     np.save(f"{folder}/short.npy", lrp3d.video.draw_clip(frames=3, size=32).numpy())
    ...     clip = lrp3d.video.read_clip(f"{folder}/short.npy", frames=4, short_side=32, size=32)
    >>> [warning.category.__name__ for warning in caught], clip.lost
    (['LostFramesWarning'], ('short.npy has 3 frames and 4 were asked for: frames repeat',))
    """


Choose = Callable[[int], list[int]]


def chosen_frames(choose: Choose, count: int, name: str) -> list[int]:
    """The frames chosen of a video of ``count`` frames; raises VideoError if it does not have them, or for none."""
    indices = []
    for index in choose(count):
        try:
            indices.append(operator.index(index))
        except TypeError:
            raise VideoError(f"frames have whole numbers, and frame {index} is asked for in {name}") from None
    missing = [f"frame {index}" for index in indices if not 0 <= index < count]
    if missing or not indices:
        frames = f"frames 0 to {count - 1}" if count > 1 else "frame 0 alone"
        raise VideoError(f"{name} has {frames}, and {missing[0] if missing else 'none'} is asked for")
    return indices


@dataclass
class Source:
    """The chosen frames of any kind of source, uint8 (h, w, 3) in the size of the clip, and facts about the source."""

    images: list[Tensor]
    indices: list[int]
    count: int
    times: list[float]
    fps: float | None = None
    losses: Losses = field(default_factory=lambda: Losses(""))
    notes: list[str] = field(default_factory=list)


def repeats(frames: int, reach: int, count: int, name: str) -> list[str]:
    """The sentence about a source of ``count`` frames that is too short for the number or the reach of the frames."""
    frame_count = "1 frame" if count == 1 else f"{count} frames"
    if count < frames:
        return [f"{name} has {frame_count} and {frames} were asked for: frames repeat"]
    if count < reach:
        return [f"{name} has {frame_count}, and the clip takes {reach}: past the end the last frame repeats"]
    return []


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
