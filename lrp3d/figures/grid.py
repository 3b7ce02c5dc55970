"""Draws frames of a clip on the axes of a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
        ax.imshow(image, extent=(x, x + 1, y + height, y), interpolation=sharpness(images), aspect="equal")
        if bars:
            ax.add_patch(Rectangle((x, y + height + 0.01), 1, below, facecolor=bars[number], linewidth=0))
        style: dict[str, Any] = {}
        if number in deciding:
            mark_frame(ax, (x, y), 1, height)
            style = {"color": theme().mark}
        ax.text(x + 0.5, y + height + below + 0.03, captions[number], fontsize=SMALL, ha="center", va="top", **style)
    lines = math.ceil(len(images) / columns)
    ax.set_xlim(-0.02, columns * 1.05 - 0.03)
    ax.set_ylim(lines * gap, -0.02)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def sharpness(images: np.ndarray) -> str:
    """The interpolation with which frames are enlarged: none for small frames, so that every pixel can be seen."""
    return "nearest" if min(images.shape[1:3]) <= 64 else "antialiased"


def mark_frame(ax: Axes, corner: tuple[float, float], width: float, height: float) -> None:
    """Draws a border around a frame that decides."""
    from matplotlib.patches import Rectangle

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
        extent = (place + 0.02, place + 0.98, height, 0.04 * height)
        ax.imshow(images[middle], extent=extent, interpolation=sharpness(images), aspect="auto")
        if middle in deciding:
            mark_frame(ax, (place + 0.02, 0.04 * height), 0.96, 0.96 * height)
    ax.set_xlim(0, frames)
    ax.set_ylim(height, 0)
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
