"""Says where the windows over a video lie, and which rows are explained in each of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A window of the video, in frames of the timeline."""

    start: int
    """The number of the window's first frame."""
    rows: range
    """The rows of the whole matrix that are explained in this window."""


def windows(frames: int, length: int, stride: int, step: int = 1) -> list[Window]:
    """Windows of `length` frames, `stride` frames apart; each row is explained in the window whose centre is nearest.

    Args:
        frames: the number of frames of the video.
        length: the number of frames of a window.
        stride: the number of frames from one window to the next; the last window ends with the video, even if it
            is nearer to the one before.
        step: the number of frames of one row; it divides the other numbers.

    If two windows are equally near, the row belongs to the earlier one.

    >>> [(window.start, window.rows) for window in windows(10, 4, 2)]
    [(0, range(0, 3)), (2, range(3, 5)), (4, range(5, 7)), (6, range(7, 10))]
    """
    last = frames - length
    starts = [*range(0, last, stride), last]
    places, first = [], 0
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        # The middle of row r is at (r + 1/2) step; the border between two windows is halfway between their middles.
        end = frames // step if following is None else _rows_before(start + following + length, 2 * step)
        places.append(Window(start, range(first, end)))
        first = end
    return places


def _rows_before(twice_border: int, twice_step: int) -> int:
    """The number of rows whose middle is at or before the border."""
    return (2 * twice_border + twice_step) // (2 * twice_step)
