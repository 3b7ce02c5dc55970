"""The temporal relevance matrix as a heat map (paper, Fig. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lrp3d.figures.canvas import NORMAL, SMALL, canvas, colour_bar, fit, ticks, write
from lrp3d.figures.colours import scale
from lrp3d.figures.values import ArrayLike, array, matrix_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def matrix_heatmap(
    matrix: ArrayLike,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    footnote: str | None = None,
    label: str = "relevance (logit)",
    windows: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """Draw a temporal relevance matrix: how much each frame contributes to the logit of each frame.

    Args:
        matrix: relevance (n, t), or (1, n, t).
        ax: axes to draw into; by default those of a new figure.
        title: what stands above.
        footnote: what stands below, such as "weights are random".
        label: what the colours mean, with its unit.
        windows: first and last frame (n,), (n,) of each row's ATR window, to be framed.

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
    figure, axes = canvas(ax, 4.6, 3.9)
    image = axes.imshow(values, interpolation="nearest", **scale(values))
    colour_bar(image, label, ax=axes, shrink=0.85)
    _frame_axes(axes, *values.shape)
    if windows is not None:
        _outline(axes, *(array(bound).ravel() for bound in windows))
    write(axes, title, footnote)
    if ax is None:
        fit(figure)
    return figure


def _frame_axes(ax: Axes, rows: int, columns: int) -> None:
    """Axes of a matrix whose rows and columns are frames, counted from 1."""
    ax.set_xticks(ticks(columns) - 1, [str(tick) for tick in ticks(columns)])
    ax.set_yticks(ticks(rows) - 1, [str(tick) for tick in ticks(rows)])
    ax.set_xlabel("frame j that contributes", fontsize=NORMAL)
    ax.set_ylabel("explained frame i", fontsize=NORMAL)
    ax.tick_params(labelsize=SMALL)


def _outline(ax: Axes, first: np.ndarray, last: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for i, (left, right) in enumerate(zip(first, last, strict=True)):
        # White on black shows on every colour.
        for colour, width in (("black", 1.8), ("white", 0.9)):
            corner = (left - 0.5, i - 0.5)
            ax.add_patch(Rectangle(corner, right - left + 1, 1, fill=False, edgecolor=colour, linewidth=width))
