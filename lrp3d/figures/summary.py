"""A clip at a glance: frames, logits and the matrix (paper, Fig. 16)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lrp3d.figures.canvas import NORMAL, blank, colour_bar, heading, remark, write
from lrp3d.figures.colours import LOGITS, import_matplotlib, limits
from lrp3d.figures.grid import frame_grid, pitch
from lrp3d.figures.heatmap import CELL, matrix_heatmap
from lrp3d.figures.values import ArrayLike, array, matrix_of, pixels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def clip_summary(
    pixels: ArrayLike,
    frame_logits: ArrayLike,
    matrix: ArrayLike,
    atr: ArrayLike | None = None,
    *,
    title: str | None = None,
    footnote: str | None = None,
    columns: int | None = None,
    windows: tuple[ArrayLike, ArrayLike] | None = None,
) -> Figure:
    """Draw a clip at a glance: its frames, a colour bar of the logit under each, and the relevance matrix.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        frame_logits: logits (n,) of the explained class; n divides t, and row i stands for its block of t / n
            frames, a step.
        matrix: relevance (n, n).
        atr: ATR (n,) of every frame or step, written beside the logits.
        title: what stands above, such as the class.
        footnote: what stands below, such as "weights are random".
        columns: frames in a row; by default 4, or 8 for more than 16 frames.
        windows: first and last frame of each row's ATR window, to be framed in the matrix.

    Returns:
        The figure.

    Raises:
        ValueError: shapes that do not belong together.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 16.

    >>> import torch, lrp3d
    >>> pixels = lrp3d.video.draw_clip(frames=8)
    >>> figure = lrp3d.figures.clip_summary(pixels, torch.rand(8), torch.eye(8), torch.ones(8))
    >>> len(figure.axes)
    4
    """
    import_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    images, logits, values = pixels_of(pixels), array(frame_logits).ravel(), matrix_of(matrix)
    if len(logits) != len(values) or len(images) % len(logits):
        raise ValueError(f"{len(logits)} logits do not fit {len(images)} frames and a matrix {values.shape}")
    block = len(images) // len(logits)
    columns = min(columns or (4 if len(images) <= 16 else 8), len(images))
    title, footnote = _texts(title, footnote, columns)
    left, strip, right = _summary_axes(images, columns, len(values), title, footnote)
    colours = ScalarMappable(Normalize(*limits(logits)), LOGITS)
    captions = _captions(logits, atr, block)
    bars = [colours.to_rgba(logits[number // block]) for number in range(len(images))]
    frame_grid(left, images, captions, columns, bars)
    unit = "frame" if block == 1 else "step"
    below = "frame: " + ("logit" if block == 1 else f"logit of its step of {block} frames")
    below += "" if atr is None else f", ATR in {unit}s"
    left.set_xlabel(below, fontsize=NORMAL, labelpad=-4)
    colour_bar(colours, f"{unit} logit", cax=strip, orientation="horizontal", ticks=MaxNLocator(5))
    matrix_heatmap(values, ax=right, windows=windows, unit=unit)
    write(left, title, None)
    left.title.set(x=0, ha="left")  # there is room above the matrix for a long one
    write(strip, None, footnote, left=-1 / 3)  # where the frames begin
    return left.figure.figure


def _texts(title: str | None, footnote: str | None, columns: int) -> tuple[str, str]:
    """Title and footnote in lines for which there is room."""
    wide = max(1.1 * columns, 2.4) + 4.4
    return heading(title, wide), remark(footnote, wide)


def _summary_axes(images: np.ndarray, columns: int, rows: int, title: str, footnote: str) -> tuple[Axes, Axes, Axes]:
    """Axes of the frames, of the colours under them and of the matrix beside them, laid out in inches.

    Frames and matrix have proportions of their own, so that no layout engine finds this.
    """
    lines = math.ceil(len(images) / columns)
    wide, tall = max(1.1 * columns, 2.4), 1.1 / 1.05 * lines * pitch(images, True)
    side = max(min(max(tall, 2.6), 4.4), CELL * rows)
    body = max(tall + 0.75, side + 0.35)
    above, below = 0.23 + 0.17 * (1 + title.count("\n")), 0.15 + 0.13 * (1 + footnote.count("\n"))
    width, height = wide + 1.0 + 1.27 * side + 0.15, above + body + below
    figure = blank(width, height)
    figure.set_layout_engine("none")

    def place(x: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, 1 - (top + h) / height, w / width, h / height))

    frames = place(0.1, above, wide, tall)
    strip = place(0.1 + 0.2 * wide, above + tall + 0.33, 0.6 * wide, 0.11)
    return frames, strip, place(wide + 0.85, above, 1.27 * side, side)


def _captions(logits: np.ndarray, atr: ArrayLike | None, block: int) -> list[str]:
    """For every frame its number, its logit to two digits of the largest, and its ATR."""
    largest = float(np.abs(logits).max()) or 1.0
    digits = min(6, max(0, 1 - math.floor(math.log10(largest))))
    said = [f"{logit:.{digits}f}" for logit in logits]
    said = [text.replace("-", "" if float(text) == 0 else "\N{MINUS SIGN}") for text in said]
    if atr is not None:
        lengths = array(atr).ravel()
        said = [
            text + (", no ATR" if math.isnan(length) else f", ATR {length:g}")
            for text, length in zip(said, lengths, strict=True)
        ]
    return [f"{number + 1}: {said[number // block]}" for number in range(len(logits) * block)]
