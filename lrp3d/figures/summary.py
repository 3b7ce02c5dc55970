"""Draws a clip at a glance: the matrix, frames above it, logit and ATR of every row beside it (paper, Fig. 16)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.figures.canvas import LARGE, NORMAL, SMALL, blank, colour_bar, heading, remark, write
from lrp3d.figures.colours import import_matplotlib, scale, theme
from lrp3d.figures.grid import film, mark_columns
from lrp3d.figures.heatmap import draw_matrix
from lrp3d.figures.values import ArrayLike, array, matrix_of, pixels_of, row_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, BARS, WORDS, KEY = 0.72, 1.0, 1.6, 0.85  # inches, beside the matrix
NARROWEST = 0.4  # of a frame


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
    times: Sequence[float] = (),
    deciding: Sequence[int] = (),
    quantity: str = "logit",
    rows: str = "",
) -> Figure:
    """Draw a clip at a glance: the relevance matrix, the frames above its columns, and each row's logit beside it.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        frame_logits: logits (n,) of the explained class; n divides t, and row i stands for its block of t / n
            frames, a step. Their bars begin at zero.
        matrix: relevance (n, n).
        atr: ATR (n,) of every frame or step, written beside the logits.
        title: text above the figure, such as the class.
        footnote: text below the figure, such as "weights are random".
        columns: how many frames are shown; by default as many as there is room for.
        windows: first and last frame of each row's ATR window, to be framed in the matrix.
        times: when each frame is shown (t,), in seconds, to be written below the columns.
        deciding: the frames that are known to decide, counted from 0; they and their columns are marked.
        quantity: what the rows explain, such as "logit above the other's".
        rows: what a row is, where it is no explained frame, such as "frame i at layer3".

    Returns:
        The figure: the axes of the frames, of the matrix, of the logits and of the matrix's colours.

    Raises:
        ValueError: shapes do not fit each other.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 16.

    >>> import torch, lrp3d
    >>> pixels = lrp3d.video.draw_clip(frames=8)
    >>> figure = lrp3d.figures.clip_summary(pixels, torch.rand(8), torch.eye(8), torch.ones(8))
    >>> len(figure.axes)
    4
    """
    import_matplotlib()
    images, logits, values = pixels_of(pixels), array(frame_logits).ravel(), matrix_of(matrix)
    if len(logits) != len(values) or len(images) % len(logits):
        raise ValueError(f"{len(logits)} logits do not fit {len(images)} frames and a matrix {values.shape}")
    number, block = len(values), len(images) // len(values)
    unit = "frame" if block == 1 else "step"
    side = min(max(4.4, 0.4 * number), max(6.4, 0.065 * number))
    frame_count = min(columns or int(side / NARROWEST + 0.01), number)
    width = LEFT + side + BARS + WORDS + KEY
    title, footnote = heading(title, width), remark(footnote, width)
    strip = side / frame_count * images.shape[1] / images.shape[2]
    above = 0.16 + 0.2 * (1 + title.count("\n")) * bool(title)
    below = 0.62 + 0.14 * bool(len(times)) + (0.14 + 0.13 * (1 + footnote.count("\n"))) * bool(footnote)
    height = above + strip + 0.06 + side + below
    figure = blank(width, height)
    figure.set_layout_engine("none")

    def place(x: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, 1 - (top + h) / height, w / width, h / height))

    frames = place(LEFT, above, side, strip)
    film(frames, images, frame_count, deciding)
    body = place(LEFT, above + strip + 0.06, side, side)
    seconds = row_times(times, number)
    image = draw_matrix(body, values, windows=windows, unit=unit, times=seconds, rows=rows, **scale(values))
    body.set_aspect("auto")
    mark_columns(body, sorted({frame // block for frame in deciding}))
    # What is no logit is too long to be named in every row.
    name = quantity if quantity == "logit" else "part" if rows else "lead"
    captions = _captions(logits, atr, unit, name)
    bars = place(LEFT + side + 0.08, above + strip + 0.06, BARS - 0.16, side)
    what = quantity if name == quantity else f"{name}: {quantity}"
    _logits(bars, logits, captions, side, what + (f"; ATR in {unit}s" if atr is not None else ""))
    key = place(width - KEY + 0.08, above + strip + 0.06, 0.12, min(side, 3.0))
    colour_bar(image, f"relevance ({quantity})", cax=key)
    write(frames, title, None)
    frames.title.set(x=0, ha="left", fontsize=LARGE)
    if footnote:
        write(body, None, footnote)
    return figure


def _logits(ax: Axes, logits: np.ndarray, captions: list[str], side: float, below: str) -> None:
    """Draws a bar from zero for the logit of every row, and its number and ATR as text where there is room."""
    bars = np.nan_to_num(logits)
    colours = [theme().window if logit >= 0 else theme().against for logit in bars]
    ax.barh(range(len(bars)), bars, height=0.72, color=colours)
    low, high = min(float(bars.min()), 0.0), max(float(bars.max()), 0.0)
    ax.set_xlim((low, high) if high > low else (0, 1))
    ax.set_ylim(len(bars) - 0.5, -0.5)
    ax.axvline(0, color=theme().quiet, linewidth=0.8)
    ax.spines[["top", "right", "left", "bottom"]].set_visible(False)
    ends = sorted({end for end in (low, 0.0, high) if abs(end) > 0.5 * (high - low)} | {0.0})  # room for their numbers
    ax.set_xticks(ends, [_written(end, _digits(bars)) if end else "0" for end in ends])
    for end, number in zip(ends, ax.get_xticklabels(), strict=True):
        number.set_horizontalalignment(
            "left" if end < 0 else "right" if end > 0 else "center"
        )  # clear of the numbers of the matrix
    ax.set_yticks([])
    ax.tick_params(labelsize=SMALL)
    every = max(1, math.ceil(0.13 * len(bars) / side))
    for row in range(0, len(bars), every):
        place: dict[str, Any] = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(captions[row], (1, 1 - (row + 0.5) / len(bars)), xycoords="axes fraction", fontsize=SMALL, **place)
    ax.set_xlabel(below, fontsize=NORMAL, loc="left")


def _digits(logits: np.ndarray) -> int:
    """How many decimals show three digits of the largest logit, and one of others where that is large."""
    largest = float(np.abs(logits).max()) or 1.0
    return min(6, max(1, 2 - math.floor(math.log10(largest)))) if math.isfinite(largest) else 2


def _written(logit: float, digits: int) -> str:
    text = f"{logit:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else "\N{MINUS SIGN}")


def _captions(logits: np.ndarray, atr: ArrayLike | None, unit: str, name: str) -> list[str]:
    """The text for every row: which it is, its logit and its ATR."""
    captions = [f"{name} {_written(logit, _digits(logits))}" for logit in logits]
    if atr is not None:
        lengths = array(atr).ravel()
        captions = [
            text + (", no ATR" if math.isnan(length) else f", ATR {length:g}")
            for text, length in zip(captions, lengths, strict=True)
        ]
    return [f"{unit} {number + 1}: {text}" for number, text in enumerate(captions)]
