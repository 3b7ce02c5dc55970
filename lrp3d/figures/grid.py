"""Draws frames of a clip on the axes of a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lrp3d.figures.canvas import SMALL
from lrp3d.figures.colours import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROWEST = 26  # points of a frame above columns


def pitch(images: np.ndarray, bars: bool) -> float:
    """The distance between lines of frames, in widths of a frame: the frame, its bar and its caption."""
    height, width = images.shape[1:3]
    return float(height / width + (0.31 if bars else 0.24))


def frame_grid(
    ax: Axes,
    images: np.ndarray,
    captions: Sequence[str],
    columns: int,
    bars: Sequence[Any] | None = None,
    deciding: Sequence[int] = (),
) -> None:
    """Draws frames in lines of ``columns``, each one unit wide and undistorted, with caption and bar below.

    A border marks those that are `deciding`, by their numbers from 0 on.
    """
    from matplotlib.patches import Rectangle

    height = images.shape[1] / images.shape[2]
    below, gap = 0.09 if bars else 0.02, pitch(images, bars is not None)
    for number, image in enumerate(images):
        x, y = number % columns * 1.05, number // columns * gap
        draw_frame(ax, image, (x, y), 1, height, marked=number in deciding)
        if bars:
            ax.add_patch(Rectangle((x, y + height + 0.01), 1, below, facecolor=bars[number], linewidth=0))
        style: dict[str, Any] = {"color": theme().mark} if number in deciding else {}
        ax.text(x + 0.5, y + height + below + 0.03, captions[number], fontsize=SMALL, ha="center", va="top", **style)
    lines = math.ceil(len(images) / columns)
    ax.set_xlim(-0.02, columns * 1.05 - 0.03)
    ax.set_ylim(lines * gap, -0.02)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def draw_frame(
    ax: Axes,
    image: np.ndarray,
    corner: tuple[float, float],
    width: float,
    height: float,
    *,
    marked: bool,
    aspect: Literal["equal", "auto"] = "equal",
) -> None:
    """Draws a frame (h, w, 3) with its upper left corner at a place, with a border if it is one that decides."""
    from matplotlib.patches import Rectangle

    x, y = corner
    # A small frame is enlarged without interpolation, so that every pixel can be seen.
    interpolation = "nearest" if min(image.shape[:2]) <= 64 else "antialiased"
    ax.imshow(image, extent=(x, x + width, y + height, y), interpolation=interpolation, aspect=aspect)
    if marked:
        ax.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=theme().mark, linewidth=2.6))


def mark_columns(ax: Axes, columns: Sequence[int]) -> None:
    """Draws a line on both sides of each of these columns of a matrix."""
    for column in columns:
        for edge in (column - 0.5, column + 0.5):
            ax.axvline(edge, color=theme().mark, linewidth=0.9)


def film(ax: Axes, images: np.ndarray, frames: int, deciding: Sequence[int] = ()) -> None:
    """Draws a strip of frames above a matrix, each in the middle of the columns that it stands for.

    A border marks those that are `deciding`, by their numbers from 0 on.
    """
    height = images.shape[1] / images.shape[2]
    for place in range(frames):
        middle = int((place + 0.5) * len(images) / frames)
        corner, marked = (place + 0.02, 0.04 * height), middle in deciding
        draw_frame(ax, images[middle], corner, 0.96, 0.96 * height, marked=marked, aspect="auto")
    end_strip(ax, frames, (height, 0))


def end_strip(ax: Axes, frames: int, heights: tuple[float, float]) -> None:
    """Cuts the axes of a strip to its frames, each one unit wide, and to its lower and upper end, and hides them."""
    ax.set_xlim(0, frames)
    ax.set_ylim(*heights)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_axis_off()


def thumbnails(ax: Axes, images: np.ndarray, rows: int) -> float:
    """Draws above the columns the middle frame of each block, as wide as a column and at most 44 points wide.

    Where columns are narrow, a frame stands for several of them and is as wide as they are.

    Returns the height of the frames in points.
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    figure = ax.figure.figure
    low, high = ax.get_xlim()
    points = 72 * ax.get_window_extent().width / figure.dpi / (high - low)
    block = len(images) // rows
    columns_per_frame = min(rows, max(1, math.ceil(NARROWEST / points)))
    zoom: float = min(0.92 * points * columns_per_frame, 44) / images.shape[2]
    for row in range(0, rows - columns_per_frame + 1, columns_per_frame):
        image = OffsetImage(images[(row + columns_per_frame // 2) * block + block // 2], zoom=zoom)
        place = (row + 1 + (columns_per_frame - 1) / 2, ax.get_ylim()[1])
        ax.add_artist(AnnotationBbox(image, place, box_alignment=(0.5, 0), frameon=False, pad=0))
    return float(zoom * images.shape[1])
