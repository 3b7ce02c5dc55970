"""Makes figures and axes, and writes titles, footnotes, legends and ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.figures.colours import import_matplotlib, theme
from lrp3d.figures.folding import folded
from lrp3d.figures.lettering import em, lettered
from lrp3d.printed import printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

SMALL, NORMAL, LARGE = 7, 8.5, 10  # points


def blank(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without a window and without global state."""
    import_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="compressed", facecolor=theme().paper)


def canvas(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The axes to draw into, and their figure; a new figure of this size in inches if no axes are given."""
    if ax is None:
        figure = blank(width, height)
        return figure, figure.add_subplot()
    return ax.figure.figure, ax


def heading(title: str | None, inches: float) -> str:
    """A title folded to the width of a figure (in inches), into few enough lines to leave room for the picture."""
    return in_lines(title, 0.9 * max(inches, 4.4), LARGE, lines=5)


def remark(footnote: str | None, inches: float) -> str:
    """A footnote folded in the same way; it may have more lines, because a reader has to know what it says."""
    return in_lines(footnote, 0.85 * max(inches, 4.4), SMALL, lines=16)


def room(title: str | None, footnote: str | None, inches: float) -> float:
    """The height in inches that a figure of this width needs for all but the first lines of title and footnote."""
    return 0.17 * heading(title, inches).count("\n") + 0.12 * remark(footnote, inches).count("\n")


def in_lines(text: str | None, inches: float, size: float, lines: int) -> str:
    """Text of this size in points, folded into lines of this width in inches."""
    return folded(lettered(text or "")[0], 72 * inches / size, lines, em)


def write(ax: Axes, title: str | None, footnote: str | None, left: float = 0.0) -> None:
    """Writes a title above the axes, and a footnote below their label; it begins at `left`, in widths of the axes."""
    width = ax.figure.figure.get_figwidth()
    if title:
        text, style = lettered(heading(title, width))
        ax.set_title(text, fontsize=LARGE, **style)
    if footnote:
        text, style = lettered(remark(footnote, width))
        place: dict[str, Any] = {
            "xycoords": (ax.transAxes, ax.xaxis.label),
            "xytext": (0, -5),
            "textcoords": "offset points",
        }
        ax.annotate(text, (left, 0), va="top", fontsize=SMALL, color=theme().quiet, **place, **style)


def legend(ax: Axes, artists: Sequence[Artist], names: Sequence[str], **where: Any) -> None:
    """Draws a legend whose entries have these names unchanged, in at most two lines."""
    shown = ax.legend(artists, [" "] * len(artists), fontsize=SMALL, frameon=False, **where)
    for text, name in zip(shown.get_texts(), names, strict=True):  # matplotlib would leave out names that begin with _
        label, properties = lettered(printable(name))
        text.set(text=in_lines(label, 2.2, SMALL, lines=2), **properties)


def fit(figure: Figure, margin: float = 0.09) -> None:
    """Lay the figure out once, and give it the size of its contents, so that nothing is empty or cut off.

    Frames keep their proportions, so that a guessed size would leave gaps. Footnotes are left out of the layout: they
    are wider than the axes, which would shrink to make room for them.
    """
    from matplotlib.text import Annotation

    footnotes = [text for ax in figure.axes for text in ax.texts if isinstance(text, Annotation)]
    for text in footnotes:
        text.set_in_layout(False)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for text in footnotes:
        text.set_in_layout(True)
    box = figure.get_tightbbox()
    old = figure.get_size_inches()
    new = np.array([box.width, box.height]) + 2 * margin
    figure.set_size_inches(*new)
    for ax in figure.axes:
        place = ax.get_position(original=True)
        corner = (np.array([place.x0, place.y0]) * old - [box.x0, box.y0] + margin) / new
        ax.set_position((*corner, *np.array([place.width, place.height]) * old / new))


def ticks(count: int) -> np.ndarray:
    """Frame numbers, counted from 1, few enough that their labels do not overlap."""
    step = 1 if count <= 10 else 2 if count <= 20 else 4 if count <= 40 else 10 * math.ceil(count / 100)
    numbers = np.arange(0, count + 1, step)
    numbers[0] = 1
    return np.unique(numbers)


def colour_bar(colours: ScalarMappable, label: str, **where: Any) -> None:
    """Draws the colour bar beside some axes (`ax`) or in axes of its own (`cax`)."""
    place = where.get("ax") or where["cax"]
    bar = place.figure.figure.colorbar(colours, **where)
    text, properties = lettered(label)
    bar.set_label(in_lines(text, 4, NORMAL, lines=2), fontsize=NORMAL, **properties)
    bar.ax.tick_params(labelsize=SMALL)
    for axis in (bar.ax.xaxis, bar.ax.yaxis):  # the power of ten of very small numbers
        axis.get_offset_text().set_size(SMALL)
