"""Draws over the clip the window of frames on which each frame rests (paper, Fig. 5a)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.figures.canvas import LARGE, NORMAL, SMALL, canvas, room, ticks, write
from lrp3d.figures.colours import theme
from lrp3d.figures.grid import thumbnails
from lrp3d.figures.heatmap import ROWS
from lrp3d.figures.values import ArrayLike, array, matrix_of, pixels_of, row_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDEST = 14  # inches
MANY = 24  # above so many rows, windows are drawn thin and without numbers, in a picture of fixed height


def atr_windows(
    atr: ArrayLike,
    matrix: ArrayLike,
    *,
    windows: tuple[ArrayLike, ArrayLike] | None = None,
    frame_logits: ArrayLike | None = None,
    pixels: ArrayLike | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    footnote: str | None = None,
    unit: str = "frame",
    times: Sequence[float] = (),
    rows: str = "",
) -> Figure:
    """Draw over the clip the window of frames on which each frame's logit rests.

    Args:
        atr: frame ATR (n,) in frames; NaN draws no window.
        matrix: relevance (n, n), which says where the window lies: among the segments of length ATR around frame i,
            the one that holds the most relevance.
        windows: first and last frame (n,), (n,) of each window, such as `lrp3d.atr.frame_windows` returns for the
            sigma of these ATR values; of several equally short segments it may take another one.
        frame_logits: logits (n,); windows of frames that weigh nothing in avg-ATR are drawn hollow, and
            avg-ATR is written below.
        pixels: uint8 RGB (t, h, w, 3), drawn as small frames along the top.
        ax: axes to draw into; by default those of a new figure.
        title: text above the figure.
        footnote: text below the figure, such as "weights are random".
        unit: what a row and a column stand for: a frame, or a step of several frames.
        times: when each frame is shown (t,), in seconds, to be written below the columns.
        rows: what a row is, where it is no explained frame, such as "frame i at layer3".

    Returns:
        The figure.

    Raises:
        ValueError: shapes do not fit each other.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 5a.

    >>> import torch, lrp3d
    >>> figure = lrp3d.figures.atr_windows(torch.ones(4), torch.eye(4))
    >>> print(figure.axes[0].get_xlabel())
    frame j
    square: frame i; number: its ATR in frames
    """
    lengths, values = array(atr).ravel(), matrix_of(matrix)
    if values.shape != (len(lengths), len(lengths)):
        raise ValueError(f"{len(lengths)} ATR values need a square matrix of that size, not {values.shape}")
    number = len(lengths)
    first, last = _heaviest_windows(lengths, values) if windows is None else map(array, windows)
    logits = None if frame_logits is None else array(frame_logits).ravel()
    images = None if pixels is None else pixels_of(pixels)
    if images is not None and len(images) % number:
        raise ValueError(f"{len(images)} frames do not divide into {number} rows")
    is_thin = number > MANY
    body = 4.2 if is_thin else 0.2 * number
    height = body + 1.5 if images is None else body + 1.5 + 0.45 * images.shape[1] / images.shape[2]
    width = 9.5 if is_thin else max(4.5, min(0.4 * number, WIDEST) + 1.6)
    figure, axes = canvas(ax, width, max(2.6, height) + room(title, footnote, width))
    for i in np.flatnonzero(~np.isnan(lengths)).tolist():
        weighs = logits is None or logits[i] > 0
        _window_bar(axes, i, first[i], last[i], hollow=not weighs, thin=is_thin)
        if not is_thin:
            axes.text(last[i] + 1.65, i + 1, f"{lengths[i]:g}", va="center", fontsize=SMALL, color=theme().window)
    _mark_own_frames(axes, lengths, logits, is_thin)
    _label_frames(axes, number, row_times(times, number), is_thin)
    axes.set_xlabel(_caption(lengths, logits, unit, is_thin), fontsize=NORMAL)
    axes.set_ylabel(rows or ROWS.format(unit), fontsize=NORMAL)
    write(axes, title, footnote)
    if images is not None:
        figure.draw_without_rendering()  # the layout has to come first: it decides how wide a column is
        height = thumbnails(axes, images, number)
        axes.set_title(axes.get_title(), fontsize=LARGE, pad=height + 6)
    return figure


def _mark_own_frames(ax: Axes, lengths: np.ndarray, logits: np.ndarray | None, thin: bool) -> None:
    """Draws a square at frame i of every row i."""
    weighs = np.ones(len(lengths), bool) if logits is None else logits > 0
    full = thin & ~np.isnan(lengths) & weighs
    for marked, colour in ((full, theme().paper), (~full, theme().ink)):  # full bars are too dark for ink
        own = np.flatnonzero(marked) + 1
        ax.plot(own, own, "s", color=colour, markersize=1.5 if thin else 3)


def _label_frames(ax: Axes, rows: int, seconds: Sequence[float], thin: bool) -> None:
    """Sets the limits of the axes and the numbers of frames, with their seconds below them if these are known."""
    ax.set_xlim(0.4, rows + (0.6 if thin else 1 + 0.04 * rows))
    ax.set_ylim(rows + 0.6, 0.4)
    columns = ticks(rows)
    if seconds and len(columns) > 6:  # seconds take more room than numbers
        columns = columns[1::2]
    ax.set_xticks(columns, [f"{tick}\n{seconds[tick - 1]:.3g} s" if seconds else str(tick) for tick in columns])
    ax.set_yticks(ticks(rows))
    ax.tick_params(labelsize=SMALL)
    ax.spines[["top", "right"]].set_visible(False)


def _caption(lengths: np.ndarray, logits: np.ndarray | None, unit: str, thin: bool) -> str:
    """What squares, bars and numbers mean, and avg-ATR where the logits are known."""
    number = "its window is as long as its ATR" if thin else f"number: its ATR in {unit}s"
    lines = [f"{unit} j", f"square: {unit} i; {number}"]
    if logits is not None:
        if (logits <= 0).any():
            lines.append(f"{'pale' if thin else 'hollow'}: no positive logit, so no weight in avg-ATR")
        average = _average(lengths, logits)
        if not math.isnan(average):
            lines.append(f"avg-ATR {average:.1f} {unit}s")
    return "\n".join(lines)


def _window_bar(ax: Axes, row: int, first: float, last: float, hollow: bool, thin: bool) -> None:
    if thin:
        colours: dict[str, Any] = {"color": theme().inside if hollow else theme().window, "linewidth": 0}
    else:
        colours = {"facecolor": "none" if hollow else theme().inside, "edgecolor": theme().window}
    ax.barh(row + 1, last - first + 1, left=first + 0.5, height=0.72, **colours)


def _heaviest_windows(lengths: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The segment of each row's length around its own frame that holds the most relevance."""
    rows = len(lengths)
    prefix = np.pad((matrix * np.sign(matrix.sum(1, keepdims=True))).clip(0).cumsum(1), ((0, 0), (1, 0)))
    first, last = np.zeros(rows, int), np.full(rows, rows - 1)
    for i in np.flatnonzero(~np.isnan(lengths)).tolist():
        length = int(lengths[i])
        starts = np.arange(max(0, i - length + 1), min(i, rows - length) + 1)
        first[i] = starts[np.argmax(prefix[i, starts + length] - prefix[i, starts])]
        last[i] = first[i] + length - 1
    return first, last


def _average(lengths: np.ndarray, logits: np.ndarray) -> float:
    weights = np.where(np.isnan(lengths), 0, logits.clip(0))
    return float((weights * np.nan_to_num(lengths)).sum() / weights.sum()) if weights.sum() else math.nan
