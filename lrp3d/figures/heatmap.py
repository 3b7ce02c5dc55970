"""The temporal relevance matrix as a heat map (paper, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.figures.canvas import NORMAL, SMALL, canvas, colour_bar, fit, room, ticks, write
from lrp3d.figures.colours import scale
from lrp3d.figures.values import ArrayLike, array, matrix_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

CELL = 0.08  # inches: rows have to be distinguishable
MOST_STROKES = 48 * 48  # cells of larger matrices are too small for a stroke
SEEN = 0.02  # share of the strongest cell: what is weaker has no visible colour either
COLUMNS, ROWS = "{} j that contributes", "explained {} i"  # what the axes of a matrix are called, by their unit
WIDE = 280.0  # points, the approximate size of a matrix


def matrix_heatmap(
    matrix: ArrayLike,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    footnote: str | None = None,
    label: str = "relevance (logit)",
    windows: tuple[ArrayLike, ArrayLike] | None = None,
    positions: Sequence[int] | None = None,
    unit: str = "frame",
    colours_of: ArrayLike | None = None,
    times: Sequence[float] = (),
    rows: str = "",
) -> Figure:
    """Draw a temporal relevance matrix: how much each frame contributes to the logit of each frame.

    Args:
        matrix: relevance (n, t), or (1, n, t).
        ax: axes to draw into; by default those of a new figure.
        title: text above the matrix.
        footnote: text below the matrix, such as "weights are random".
        label: what the colours mean, with the unit.
        windows: first and last frame (n,), (n,) of each row's ATR window, to be framed.
        positions: the column of each row's own frame, (n,), where a model answers from n of t frames.
        unit: what a row and a column stand for: a frame, or a step of several frames.
        colours_of: all values of the pictures that this one is compared with, which share their colours; by default
            its own.
        times: when each column is shown (t,), in seconds, to be written below its number.
        rows: what a row is, where it is no explained frame, such as "frame i at layer3".

    Returns:
        The figure.

    Raises:
        ValueError: the matrix has another shape.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 2.

    >>> import torch, lrp3d
    >>> figure = lrp3d.figures.matrix_heatmap(torch.eye(4), title="a frame sees itself", footnote="drawn by hand")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['explained frame i', 'relevance (logit)']
    """
    values = matrix_of(matrix)
    number, columns = values.shape
    flat = columns > 2 * number  # the cells of a matrix with few rows are drawn taller than wide
    grown = max(0.0, CELL * max(number, columns) - 3.1)  # inches: wider than the axes of a few frames
    wide, tall = 4.6 + grown, min(3.9, 1.6 + 0.2 * number) if flat else 3.9 + grown
    figure, axes = canvas(ax, wide, tall + room(title, footnote, wide))
    colours = scale(values if colours_of is None else array(colours_of))
    image = draw_matrix(
        axes, values, windows=windows, positions=positions, unit=unit, times=times, rows=rows, **colours
    )
    axes.set_aspect("auto" if flat else "equal")
    colour_bar(image, label, ax=axes, shrink=0.85)
    write(axes, title, footnote)
    if ax is None:
        axes.title.set(x=0, ha="left")  # it may be wider than the matrix
        fit(figure)
    return figure


def draw_matrix(
    ax: Axes,
    values: np.ndarray,
    *,
    windows: tuple[ArrayLike, ArrayLike] | None = None,
    positions: Sequence[int] | None = None,
    unit: str = "frame",
    times: Sequence[float] = (),
    rows: str = "",
    **colours: Any,
) -> AxesImage:
    """Draws the cells and thin windows of a matrix; if it has both signs, strokes mark the negative cells."""
    image = ax.imshow(values, interpolation="nearest", **colours)
    _frame_axes(ax, values.shape, positions, unit, times)
    ax.set_ylabel(rows or ROWS.format(unit), fontsize=NORMAL)
    marks = []
    if values.size <= MOST_STROKES and _strokes(ax, values, colours["vmax"]):
        # A row of a negative logit is negative: what carries it does not speak against it.
        below = bool((np.nansum(values, 1) < -SEEN * np.nansum(np.abs(values), 1)).any())
        marks.append("white strokes: negative" if below else "white strokes: against the class")
    if windows is not None:
        first, last = (array(bound).ravel() for bound in windows)
        windowed = np.isfinite(values.sum(1)) & (values.sum(1) != 0)  # a row without relevance has no window
        _outline(ax, first, last, np.flatnonzero(windowed))
        marks += ["white outlines: ATR windows"] if windowed.any() else []
    if marks:
        ax.set_xlabel(f"{COLUMNS.format(unit)}\n({', '.join(marks)})", fontsize=NORMAL)
    return image


def _strokes(ax: Axes, values: np.ndarray, strongest: float) -> bool:
    """Draws a white stroke in every negative cell, so that it can be told in grey as well."""
    rows, columns = np.nonzero(np.nan_to_num(values) < -SEEN * strongest)
    if len(rows):
        ax.plot(columns, rows, linestyle="none", marker="_", color="white", markersize=WIDE / max(values.shape) * 0.35)
    return len(rows) > 0


def _frame_axes(
    ax: Axes, shape: tuple[int, ...], positions: Sequence[int] | None, unit: str, times: Sequence[float]
) -> None:
    """Labels the axes of a matrix with frames, counted from 1, and with the times of the labelled columns."""
    rows, columns = shape
    own = [row + 1 for row in (range(rows) if positions is None else positions)]
    named_columns = ticks(columns)
    seconds = [float(second) for second in times]
    timed = len(seconds) == columns and bool(np.isfinite(seconds).all())
    if timed and len(named_columns) > 6:
        named_columns = named_columns[1::2] if len(named_columns) > 2 else named_columns
    named = [f"{tick}\n{seconds[tick - 1]:.3g} s" if timed else str(tick) for tick in named_columns]
    ax.set_xticks(named_columns - 1, named)
    ax.set_yticks(ticks(rows) - 1, [str(own[tick - 1]) for tick in ticks(rows)])
    ax.set_xlabel(COLUMNS.format(unit), fontsize=NORMAL)
    ax.tick_params(labelsize=SMALL)


def _outline(ax: Axes, first: np.ndarray, last: np.ndarray, rows: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    width = 0.7 if len(rows) <= 40 else 0.4
    for i in rows.tolist():
        corner, wide = (first[i] - 0.5, i - 0.5), last[i] - first[i] + 1
        ax.add_patch(Rectangle(corner, wide, 1, fill=False, edgecolor="white", linewidth=width))
