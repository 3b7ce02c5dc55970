"""Draws several methods' matrices of one clip beside each other, with the frames that are known to decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.figures.canvas import LARGE, NORMAL, SMALL, blank, colour_bar, heading, in_lines, ticks, write
from lrp3d.figures.colours import colormap, import_matplotlib, theme
from lrp3d.figures.grid import draw_frame, end_strip, mark_columns
from lrp3d.figures.heatmap import COLUMNS, ROWS
from lrp3d.figures.values import ArrayLike, matrix_of, pixels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# inches: the side of a matrix, the height of the bars above it, the gap between matrices
SIDE, BARS, GAP = 2.55, 0.6, 0.26
LEFT, RIGHT = 0.62, 0.95
NARROWEST, TALLEST = 0.55, 1.5  # inches: a narrower frame shows nothing, a taller one does not look like a film strip


def side_by_side(
    pixels: ArrayLike,
    matrices: Mapping[str, ArrayLike],
    *,
    deciding: Sequence[int] = (),
    title: str | None = None,
    footnote: str | None = None,
) -> Figure:
    """Draw a clip's frames, and below them the matrix of each method and each frame's share of it.

    Args:
        pixels: uint8 RGB (t, h, w, 3); small frames are drawn with sharp pixels. If there are many, only as many are
            shown as can be seen, including those that decide.
        matrices: the matrix (n, t) of each method by its name. Each has its own colour scale, up to its strongest cell.
        deciding: the frames that are known to decide, counted from 0; they are marked everywhere.
        title: text above the frames, such as the verdict.
        footnote: text below the matrices.

    Returns:
        The figure: the axes of the frames, then for each method those of its shares and of its matrix, then the key.

    Raises:
        ValueError: there is no matrix, or a matrix does not have a column for every frame.
        ImportError: matplotlib is not installed.

    >>> import torch, lrp3d
    >>> pixels = lrp3d.video.draw_clip(frames=4, size=16)
    >>> figure = side_by_side(pixels, {"LRP": torch.eye(4), "CLRP": torch.ones(4, 4)}, deciding=[1, 2])
    >>> len(figure.axes), figure.axes[1].get_title()
    (6, 'LRP: 50 % on the marked frames')
    """
    import_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    images, values = pixels_of(pixels), {name: matrix_of(matrix) for name, matrix in matrices.items()}
    if not values or any(matrix.shape[1] != len(images) for matrix in values.values()):
        shapes = ", ".join(str(matrix.shape) for matrix in values.values()) or "none"
        raise ValueError(f"matrices need a column for each of {len(images)} frames, not {shapes}")
    count = len(values)
    width = LEFT + count * SIDE + (count - 1) * GAP + RIGHT
    title = heading(title, width)
    wide = 0.96 * (width - 0.2)  # letters are drawn a little wider than they are measured
    footnote = in_lines(footnote, wide, SMALL, lines=16)
    strip_wide = width - 0.2
    shown_frames = _shown_frames(len(images), deciding, int(strip_wide / NARROWEST))
    frame_wide = min(strip_wide / len(shown_frames), TALLEST * images.shape[2] / images.shape[1])
    strip_wide = frame_wide * len(shown_frames)
    strip_tall = frame_wide * images.shape[1] / images.shape[2] + 0.2
    above = 0.2 + 0.19 * (1 + title.count("\n")) * bool(title)
    below = 0.5 + (0.12 + 0.13 * (1 + footnote.count("\n"))) * bool(footnote)
    top_of_bars = above + strip_tall + 0.32
    height = top_of_bars + BARS + 0.06 + SIDE + below
    figure = blank(width, height)
    figure.set_layout_engine("none")

    def place(x: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, 1 - (top + h) / height, w / width, h / height))

    film = place(0.1, above, strip_wide, strip_tall)
    _film(film, images, shown_frames, deciding, strip_tall / frame_wide)
    write(film, title, None)
    film.title.set(x=0.003, ha="left", fontsize=LARGE, fontweight="bold")
    signed = any(float(np.nanmin(matrix)) < 0 for matrix in values.values())
    shares = {name: _shares(matrix) for name, matrix in values.items()}
    highest = max(float(share.max()) for share in shares.values()) or 1.0
    for number, (name, matrix) in enumerate(values.items()):
        x = LEFT + number * (SIDE + GAP)
        bars = place(x, top_of_bars, SIDE, BARS)
        _bars(bars, shares[name], deciding, highest, name, first=not number)
        body = place(x, top_of_bars + BARS + 0.06, SIDE, SIDE)
        _matrix(body, matrix, deciding, signed, first=not number)
    if footnote:
        figure.text(0.1 / width, 0.1 / height, footnote, fontsize=SMALL, color=theme().quiet, va="bottom")
    key = place(width - RIGHT + 0.14, top_of_bars + BARS + 0.06, 0.11, SIDE)
    mappable = ScalarMappable(Normalize(-1 if signed else 0, 1), colormap(signed))
    colour_bar(mappable, "relative to the strongest cell", cax=key)
    return figure


def _shown_frames(count: int, deciding: Sequence[int], most: int) -> list[int]:
    """The frames that are shown: all of them, or `most` evenly spread ones, the nearest replaced by those that decide.

    >>> _shown_frames(100, [40, 41], 5)
    [0, 40, 41, 74, 99]
    """
    if count <= most:
        return list(range(count))
    chosen = set(deciding)
    others = [round(place * (count - 1) / (most - 1)) for place in range(most)]
    for frame in sorted(chosen):
        if others:
            others.remove(min(others, key=lambda other: abs(other - frame)))
    return sorted(chosen.union(others))


def _film(
    ax: Axes, images: np.ndarray, shown_frames: Sequence[int], deciding: Sequence[int], film_height: float
) -> None:
    """Draws numbered frames in one line, with a border around those that decide."""
    height = 0.94 * images.shape[1] / images.shape[2]
    for place, number in enumerate(shown_frames):
        x, chosen = place + 0.03, number in deciding
        draw_frame(ax, images[number], (x, 0), 0.94, height, marked=chosen)
        caption = f"{number + 1} decides" if chosen and len(shown_frames) <= 20 else str(number + 1)
        style: dict[str, Any] = {"color": theme().mark, "fontweight": "bold"} if chosen else {"color": theme().quiet}
        ax.text(x + 0.47, height + 0.06, caption, fontsize=SMALL, ha="center", va="top", **style)
    end_strip(ax, len(shown_frames), (film_height, -0.02))


def _shares(matrix: np.ndarray) -> np.ndarray:
    columns: np.ndarray = np.nan_to_num(np.abs(matrix)).sum(0)
    return columns / columns.sum() if columns.sum() else columns


def _bars(ax: Axes, shares: np.ndarray, deciding: Sequence[int], highest: float, name: str, first: bool) -> None:
    """Draws each frame's share of the matrix below, on one scale for all methods."""
    colours = [theme().mark if frame in deciding else theme().inside for frame in range(len(shares))]
    ax.bar(range(len(shares)), 100 * shares, color=colours, width=0.82)
    ax.axhline(100 / len(shares), color=theme().quiet, linewidth=0.8, linestyle=":")
    ax.set_xlim(-0.5, len(shares) - 0.5)
    ax.set_ylim(0, 105 * highest)
    ax.set_xticks([])
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL)
    if first:
        ax.set_ylabel("share, %", fontsize=NORMAL)
    else:
        ax.set_yticklabels([])
    on = f": {100 * shares[list(deciding)].sum():.0f} % on the marked frames" if len(deciding) else ""
    ax.set_title(f"{name}{on}", fontsize=NORMAL)


def _matrix(ax: Axes, matrix: np.ndarray, deciding: Sequence[int], signed: bool, first: bool) -> None:
    strongest = float(np.nanmax(np.abs(matrix))) or 1.0
    ax.imshow(
        matrix / strongest,
        interpolation="nearest",
        aspect="auto",
        cmap=colormap(signed),
        vmin=-1 if signed else 0,
        vmax=1,
    )
    rows, columns = matrix.shape
    apart = max(1, columns // 16)  # room for a number
    free = [tick - 1 for tick in ticks(columns).tolist() if all(abs(tick - 1 - frame) > apart for frame in deciding)]
    named_frames = sorted({*free, *deciding})
    ax.set_xticks(named_frames, [str(frame + 1) for frame in named_frames])
    for frame, label in zip(named_frames, ax.get_xticklabels(), strict=True):
        if frame in deciding:
            label.set(color=theme().mark, fontweight="bold")
    ax.set_yticks(ticks(rows) - 1, [str(tick) for tick in ticks(rows)] if first else [])
    ax.tick_params(labelsize=SMALL)
    mark_columns(ax, deciding)
    ax.set_xlabel(COLUMNS.format("frame"), fontsize=NORMAL)
    if first:
        ax.set_ylabel(ROWS.format("frame"), fontsize=NORMAL)
