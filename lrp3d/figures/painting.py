"""Paints relevance over the frames of a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from lrp3d.figures.canvas import NORMAL, canvas, colour_bar, fit, room, write
from lrp3d.figures.colours import colormap, import_matplotlib, limit_of
from lrp3d.figures.grid import frame_grid
from lrp3d.figures.values import ArrayLike, pixel_relevance, pixels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def overlay_strip(
    pixels: ArrayLike,
    relevance: ArrayLike,
    *,
    title: str | None = None,
    footnote: str | None = None,
    columns: int = 8,
    smooth: float | None = None,
    quantile: float = 0.995,
    label: str = "share of the strongest relevance",
    show_frames: bool = True,
    deciding: Sequence[int] = (),
    ax: Axes | None = None,
) -> Figure:
    """Draw a clip's frames with their relevance on top, all to one scale.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        relevance: per pixel, (t, h, w), (c, t, h, w) or (1, c, t, h, w); colour channels are summed.
        title: text above the frames.
        footnote: text below the frames, such as "weights are random".
        columns: frames in a row.
        smooth: as in `overlay`.
        quantile: the share of absolute relevance values at which the colours end.
        label: what the colours mean; they end at 1, the value at `quantile`.
        show_frames: also draw each frame without relevance above it.
        deciding: the frames that are known to decide, counted from 0; they are marked.
        ax: axes to draw into; by default those of a new figure.

    Returns:
        The figure. Under each frame stand its number and its share of the clip's absolute relevance.

    Raises:
        ValueError: shapes do not fit each other.
        ImportError: matplotlib is not installed.

    >>> import torch, lrp3d
    >>> figure = lrp3d.figures.overlay_strip(lrp3d.video.draw_clip(8, 32), torch.rand(3, 8, 32, 32))
    >>> figure.axes[1].get_ylabel()
    'share of the strongest relevance'
    """
    import_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    images = pixels_of(pixels)
    summed = pixel_relevance(relevance, images)
    painted = overlay(images, summed, smooth=smooth, quantile=quantile)
    shares = np.abs(summed).sum((1, 2)) / max(np.abs(summed).sum(), np.finfo(np.float64).tiny)
    columns = min(columns, len(images))
    lines = math.ceil(len(images) / columns)
    side = 1.15 if columns > 4 else 1.4  # inches of a frame and what is beside it
    row_height = side * images.shape[1] / images.shape[2] * (1 + show_frames) + 0.26
    frame_width = max(columns * side + 1.0, 3.6)
    figure, axes = canvas(ax, frame_width, max(lines * row_height + 0.8, 2.0) + room(title, footnote, frame_width))
    digits = 0 if len(images) <= 20 else 1  # many frames have small shares, which need a digit more
    captions = [f"{number} · {100 * share:.{digits}f} %" for number, share in enumerate(shares, 1)]
    if show_frames:
        painted = np.concatenate([images, painted], axis=1)
    frame_grid(axes, painted, captions, columns, deciding=deciding)
    signed = bool(summed.min() < 0)
    below = "frame · share of the clip's " + ("absolute relevance" if signed else "relevance")
    axes.set_xlabel(below if columns > 2 else below.replace("of ", "of\n"), fontsize=NORMAL, labelpad=-4)
    colours = ScalarMappable(Normalize(-1 if signed else 0, 1), colormap(signed))
    long = min(0.8 * lines * row_height, 2.6)  # inches; 0.13 wide
    sizes = {"pad": 0.02, "shrink": long / (lines * row_height), "aspect": long / 0.13, "extendfrac": 0.04}
    colour_bar(colours, label, ax=axes, extend="both" if signed else "max", **sizes)
    write(axes, title, footnote)
    if ax is None:
        fit(figure)
    return figure


def overlay(
    pixels: ArrayLike, relevance: ArrayLike, *, smooth: float | None = None, quantile: float = 0.995
) -> np.ndarray:
    """Paint relevance over frames: the picture is grey, with more colour where there is more relevance.

    Args:
        pixels: uint8 RGB (t, h, w, 3).
        relevance: per pixel, (t, h, w), (c, t, h, w) or (1, c, t, h, w); colour channels are summed.
        smooth: standard deviation in pixels of the Gaussian that smooths relevance, which has the grid of the
            network's strides in it; 0 takes it as it is, and by default it is 2, more for frames above 224.
        quantile: the share of absolute relevance values of the clip at which the colours end, so that a few
            hot pixels do not leave the rest dark.

    Returns:
        uint8 RGB (t, h, w, 3).

    Raises:
        ValueError: shapes do not fit each other.
        ImportError: matplotlib is not installed.

    >>> import torch, lrp3d
    >>> grey = torch.full((1, 2, 2, 3), 200, dtype=torch.uint8)
    >>> lrp3d.figures.overlay(grey, torch.zeros(1, 2, 2))[0, 0, 0].tolist()
    [110, 110, 110]
    """
    images = pixels_of(pixels)
    values = smoothed(pixel_relevance(relevance, images), smoothing(images, smooth))
    strength = np.clip(values / limit_of(values, quantile), -1, 1)
    signed = bool(values.min() < 0)
    grey = images.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / 255
    # The greys leave room for the colours: above them if relevance only lightens, on both sides if it is signed.
    grey = 0.3 + 0.35 * grey if signed else 0.55 * grey
    colour = colormap(signed)((strength + 1) / 2 if signed else strength)[..., :3]
    # The square root makes weak relevance visible; where there is none, nothing is painted.
    weight = np.sqrt(np.abs(strength))[..., None] * 0.9
    painted: np.ndarray = np.rint(255 * ((1 - weight) * grey[..., None] + weight * colour)).astype(np.uint8)
    return painted


def smoothing(images: np.ndarray, smooth: float | None) -> float:
    """The given standard deviation in pixels, or one that suits the size of the frames."""
    return max(2.0, min(images.shape[1:3]) / 112) if smooth is None else smooth


def smoothed(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur within each frame (t, h, w); at the edges, only pixels inside the frame are averaged."""
    if sigma <= 0:
        return values
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu") / sigma) ** 2)
    stacked = torch.from_numpy(np.stack([values, np.ones_like(values)])).flatten(0, 1).unsqueeze(1)
    blurred = F.conv2d(stacked, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    blurred = F.conv2d(blurred, kernel.view(1, 1, 1, -1), padding=(0, reach)).squeeze(1)
    total, inside = torch.unflatten(blurred, 0, (2, -1))
    mean: np.ndarray = (total / inside).numpy()
    return mean
