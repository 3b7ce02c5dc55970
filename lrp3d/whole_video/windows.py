"""Where the windows over a video lie, and which rows are explained in which of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A window of the video, in frames of the timeline."""

    start: int
    """The number of the window's first frame."""
    rows: range
    """The rows of the whole matrix that are explained in it."""


def windows(frames: int, length: int, stride: int, step: int = 1) -> list[Window]:
    """Windows of `length` frames, `stride` frames apart, so that each row is explained where it stands most central.

    Args:
        frames: how many the video has.
        length: of a window.
        stride: from one window to the next; the last one ends with the video, whatever that takes.
        step: how many frames are one row; divides the other numbers.

    Of two windows in which a row stands alike, the earlier one has it.

    >>> [(window.start, window.rows) for window in windows(10, 4, 2)]
    [(0, range(0, 3)), (2, range(3, 5)), (4, range(5, 7)), (6, range(7, 10))]
    """
    last = frames - length
    starts = [*range(0, last, stride), last]
    places, first = [], 0
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        # Row r stands at its middle, (r + 1/2) step; halfway between the middles of two windows they part.
        end = frames // step if following is None else _rows_before(start + following + length, 2 * step)
        places.append(Window(start, range(first, end)))
        first = end
    return places


def _rows_before(twice_border: int, twice_step: int) -> int:
    """How many rows have their middle at or before the border."""
    return (2 * twice_border + twice_step) // (2 * twice_step)
