"""The temporal relevance matrix as a heat map (paper, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrp3d.figures.canvas import NORMAL, SMALL, canvas, colour_bar, fit, room, ticks, write
from lrp3d.figures.colours import scale
from lrp3d.figures.values import ArrayLike, array, matrix_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 0.08  # inches: rows are to be told apart


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
) -> Figure:
    """Draw a temporal relevance matrix: how much each frame contributes to the logit of each frame.

    Args:
        matrix: relevance (n, t), or (1, n, t).
        ax: axes to draw into; by default those of a new figure.
        title: what stands above.
        footnote: what stands below, such as "weights are random".
        label: what the colours mean, with its unit.
        windows: first and last frame (n,), (n,) of each row's ATR window, to be framed.
        positions: the column of each row's own frame, (n,), where a model answers from n of t frames.
        unit: what a row and a column are: frames, or steps of several.
        colours_of: all values of the pictures that this one is compared with, which share their colours; by default
            its own.

    Returns:
        The figure.

    Raises:
        ValueError: a matrix of another shape.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 2.

    >>> import torch, lrp3d
    >>> figure = lrp3d.figures.matrix_heatmap(torch.eye(4), title="a frame sees itself", footnote="drawn by hand")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['explained frame i', 'relevance (logit)']
    """
    values = matrix_of(matrix)
    rows, columns = values.shape
    flat = columns > 2 * rows  # cells of a few rows are drawn taller than wide
    grown = max(0.0, CELL * max(rows, columns) - 3.1)  # inches more than the axes of few frames have
    wide, tall = 4.6 + grown, min(3.9, 1.6 + 0.2 * rows) if flat else 3.9 + grown
    figure, axes = canvas(ax, wide, tall + room(title, footnote, wide))
    image = axes.imshow(
        values,
        interpolation="nearest",
        aspect="auto" if flat else "equal",
        **scale(values if colours_of is None else array(colours_of)),
    )
    colour_bar(image, label, ax=axes, shrink=0.85)
    _frame_axes(axes, rows, columns, positions, unit)
    if windows is not None:
        first, last = (array(bound).ravel() for bound in windows)
        known = np.isfinite(values.sum(1)) & (values.sum(1) != 0)  # a row without relevance has no window
        _outline(axes, first, last, np.flatnonzero(known))
    write(axes, title, footnote)
    if ax is None:
        fit(figure)
    return figure


def _frame_axes(ax: Axes, rows: int, columns: int, positions: Sequence[int] | None, unit: str) -> None:
    """Axes of a matrix whose rows and columns are frames, counted from 1."""
    own = [row + 1 for row in (range(rows) if positions is None else positions)]
    ax.set_xticks(ticks(columns) - 1, [str(tick) for tick in ticks(columns)])
    ax.set_yticks(ticks(rows) - 1, [str(own[tick - 1]) for tick in ticks(rows)])
    ax.set_xlabel(f"{unit} j that contributes", fontsize=NORMAL)
    ax.set_ylabel(f"explained {unit} i", fontsize=NORMAL)
    ax.tick_params(labelsize=SMALL)


def _outline(ax: Axes, first: np.ndarray, last: np.ndarray, rows: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for i in rows.tolist():
        # White on black shows on every colour.
        for colour, width in (("black", 1.8), ("white", 0.9)):
            corner, wide = (first[i] - 0.5, i - 0.5), last[i] - first[i] + 1
            ax.add_patch(Rectangle(corner, wide, 1, fill=False, edgecolor=colour, linewidth=width))
