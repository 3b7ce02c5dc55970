"""Figures of studies: each function takes plain numbers and returns a matplotlib Figure, and shows nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.figures import matrix_heatmap
from lrp3d.figures.canvas import LARGE, NORMAL, SMALL, blank, canvas, heading, in_lines, legend, write
from lrp3d.figures.colours import LIGHT, WINDOW
from lrp3d.figures.heatmap import ROWS
from lrp3d.figures.lettering import lettered
from lrp3d.figures.values import ArrayLike, array
from lrp3d.printed import printable
from lrp3d.study.reporting.statistics import pearson

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["abreast", "accuracy_scatter", "class_curve", "heatmaps", "human_scatter", "window_curves"]

# These can be told apart in grey, and by people who do not see red or green.
COLOURS = (WINDOW, "#c76a10", "#4f9d8f", "#8a4a86", "#7a7a7a", "#b8a038")
GRID = "#e3e7ec"
MARKERS = "osD^vPX"
WIDEST = 14  # inches: the width of a row of heat maps
PANEL = 6.2  # inches: the width of a chart with its legend
MOST_SINGLE_CLASSES = 40  # up to so many classes are drawn one by one
ABREAST = 32  # names have room beside each other
AT_ENDS = 8  # of more classes, so many are named towards each end
OWN_WINDOWS = {"segment": ("*", 11), "centred": ("x", 8)}  # marker and size for windows that differ between frames
EMPTY = "empty images outside"
BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}  # the legend stands beside the axes


def heatmaps(
    matrices: Mapping[str, ArrayLike],
    *,
    columns: int = 5,
    unit: str = "frame",
    greatest: float | None = None,
    least: float | None = None,
) -> Figure:
    """Draws mean relevance matrices side by side, in the same colours.

    Args:
        matrices: (n, t) by title; the first is that of the data set.
        columns: how many stand in a row.
        unit: what a row and a column of a matrix stand for: frames, or steps of several frames.
        greatest: the greatest value of other pictures that are to have the same colours.
        least: the least value of these other pictures.

    Raises:
        ValueError: there are no matrices.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 2, 11 and 13.

    >>> len(heatmaps({"all": np.eye(8), "archery": np.eye(8)}).axes)
    4
    """
    if not matrices:
        raise ValueError("no matrices to draw")
    panel = max(2.6, 0.7 + 0.04 * max(max(array(matrix).shape) for matrix in matrices.values()))  # inches
    columns = min(columns, len(matrices), max(1, int(WIDEST / panel)))
    lines = math.ceil(len(matrices) / columns)
    values = np.concatenate([array(matrix).ravel() for matrix in matrices.values()] + [[greatest or 0.0, least or 0.0]])
    figure = blank(panel * columns + 0.2, (panel - 0.1) * lines + 0.1)
    grid = figure.subplots(lines, columns, squeeze=False)
    for position, (title, matrix) in enumerate(matrices.items()):
        axes = grid[position // columns, position % columns]
        matrix_heatmap(matrix, ax=axes, label="", unit=unit, colours_of=values)
        text, properties = lettered(printable(title))
        axes.set_title(in_lines(text, 0.8 * panel, NORMAL, lines=2), fontsize=NORMAL, **properties)
        axes.set_xlabel(f"{unit} j" if position + columns >= len(matrices) else "", fontsize=SMALL)
        axes.set_ylabel(ROWS.format(unit) if position % columns == 0 else "", fontsize=SMALL)
    for empty in grid.flat[len(matrices) :]:
        empty.set_visible(False)
    return figure


def class_curve(
    mean: ArrayLike,
    std: ArrayLike,
    greatest: ArrayLike,
    *,
    names: Mapping[int, str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draws the avg-ATR of all classes, sorted, with deviations, and the histogram of their max-ATR.

    Args:
        mean: (c,) the avg-ATR of each class; NaN is left out.
        std: (c,) its deviation over clips.
        greatest: (c,) the max-ATR of each class.
        names: the classes' names by number; of more than forty classes, only some towards both ends.
        title: the text above the figure.

    Raises:
        ValueError: no class has a known ATR.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 8 and 15.

    >>> figure = class_curve([5.0, 6.0, 5.5], [0.4, 0.3, 0.5], [7.0, 7.5, 7.2])
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['avg-ATR (frames)', 'classes']
    """
    values, spread, maxima = (array(x).ravel() for x in (mean, std, greatest))
    is_counted = ~np.isnan(values)
    if not is_counted.any():
        raise ValueError("no class has a known ATR")
    order = np.argsort(-values[is_counted], kind="stable")
    values, spread = values[is_counted][order], np.nan_to_num(spread[is_counted][order])
    figure = blank(7.4, 2.7)  # without matplotlib, its error says which extra is missing
    from matplotlib.ticker import MaxNLocator

    left, right = figure.subplots(1, 2, width_ratios=(5, 3))
    place = np.arange(1, len(values) + 1)
    if len(values) <= MOST_SINGLE_CLASSES:
        left.errorbar(place, values, spread, fmt="o", color=WINDOW, ecolor=LIGHT.inside, elinewidth=3, markersize=4)
    else:
        left.fill_between(place, values - spread, values + spread, color=LIGHT.inside, linewidth=0)
        left.plot(place, values, color=WINDOW, linewidth=1.6)
    left.set_xlim(0.5, len(values) + 0.5)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    if names:
        numbers = np.flatnonzero(is_counted)[order]
        _name(left, [names.get(int(number), str(number)) for number in numbers])
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_xlabel("classes, from the greatest avg-ATR to the least", fontsize=NORMAL)
    left.set_ylabel("avg-ATR (frames)", fontsize=NORMAL)
    maxima = maxima[~np.isnan(maxima)]
    low, high = math.floor(2 * maxima.min()) / 2, math.ceil(2 * maxima.max()) / 2
    right.hist(maxima, bins=np.arange(low, max(high, low + 0.5) + 0.25, 0.25).tolist(), color=WINDOW, rwidth=0.9)
    right.set_xlabel("max-ATR (frames)", fontsize=NORMAL)
    right.set_ylabel("classes", fontsize=NORMAL)
    style_axes(left)
    style_axes(right)
    if title:
        text, properties = lettered(heading(title, figure.get_figwidth()))
        figure.suptitle(text, fontsize=LARGE, **properties)
    return figure


def human_scatter(
    values: ArrayLike,
    temporal: Sequence[int],
    static: Sequence[int],
    *,
    names: Mapping[int, str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draws the avg-ATR of the classes that people call temporal or static, sorted.

    Args:
        values: (c,) the avg-ATR of each class; NaN is left out.
        temporal: the classes that need time, according to people.
        static: the classes that do not.
        names: the classes' names by number; of more than forty classes, only some towards both ends.
        title: the text above the figure.
        ax: the axes to draw into; by default those of a new figure.

    Raises:
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 9.

    >>> figure = human_scatter([5.0, 6.0, 5.5], [0], [1, 2])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['temporal', 'static']
    """
    atr = array(values).ravel()
    figure, axes = canvas(ax, 5.2, 2.8)
    kinds = {index: kind for kind, classes in enumerate((temporal, static)) for index in classes}
    chosen = [index for index in kinds if index < len(atr) and not np.isnan(atr[index])]
    chosen.sort(key=lambda index: (-atr[index], index))
    for kind, name in enumerate(("temporal", "static")):
        places = [place for place, index in enumerate(chosen, 1) if kinds[index] == kind]
        heights = [atr[chosen[place - 1]] for place in places]
        axes.plot(places, heights, MARKERS[kind], color=COLOURS[kind], markersize=5, label=name, alpha=0.9)
    if names:
        _name(axes, [names.get(index, str(index)) for index in chosen])
    axes.set_xlabel("classes that people call temporal or static, sorted", fontsize=NORMAL)
    axes.set_ylabel("avg-ATR (frames)", fontsize=NORMAL)
    axes.legend(fontsize=SMALL, frameon=False)
    style_axes(axes)
    write(axes, title, None)
    return figure


def accuracy_scatter(
    atr: Sequence[float], accuracy: Sequence[float], names: Sequence[str], *, title: str = "", ax: Axes | None = None
) -> Figure:
    """Draws the accuracy of models against their avg-ATR, with Pearson's r and its 95 % interval.

    Args:
        atr: the avg-ATR of each model.
        accuracy: the accuracy of each model, in percent.
        names: the names of the models.
        title: the text above the figure, before r.
        ax: the axes to draw into; by default those of a new figure.

    Raises:
        ValueError: there is not one accuracy and one name for each model.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 7.

    >>> accuracy_scatter([5.0, 6.0, 7.0], [60.0, 62.0, 61.0], ["a", "b", "c"]).axes[0].get_title()
    'r = 0.50, n = 3'
    """
    if not len(atr) == len(accuracy) == len(names):
        raise ValueError(
            f"{len(atr)} ATR values, {len(accuracy)} accuracies and {len(names)} names do not belong together"
        )
    figure, axes = canvas(ax, PANEL, _height(3.2, names))
    points = []
    for place, (x, y) in enumerate(zip(atr, accuracy, strict=True)):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place // len(COLOURS) % len(MARKERS)]
        points += axes.plot([x], [y], marker, color=colour, markersize=6)
    axes.margins(0.12)
    legend(axes, points, names, **BESIDE)
    axes.set_xlabel("avg-ATR (frames)", fontsize=NORMAL)
    axes.set_ylabel("accuracy (%)", fontsize=NORMAL)
    style_axes(axes)
    correlation = str(pearson(atr, accuracy))
    write(axes, f"{title}: {correlation}" if title else correlation, None)
    return figure


def window_curves(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str | None = None, ax: Axes | None = None
) -> Figure:
    """Draws accuracy under partial uniform sampling over the size of the window; dashed with empty images outside.

    A star stands for the segments of the frames' own ATR, a cross for windows of that length around the frames.

    Args:
        curves: the windows of each curve, by its name, as a summary has them: "window" (a number, "segment" or
            "centred"),
            "size" in frames, "accuracy" in percent and, if known, "empty" in percent.
        title: the text above the figure.
        ax: the axes to draw into; by default those of a new figure.

    Raises:
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 6 and 14.

    >>> figure = window_curves({"I3D": [{"window": 2, "size": 2, "accuracy": 50.0}]})
    >>> figure.axes[0].get_xlabel()
    'window (frames)'
    """
    figure, axes = canvas(ax, PANEL, _height(3.0, [*curves, *OWN_WINDOWS, EMPTY]))
    artists: dict[str, Artist] = {}
    for place, (name, windows) in enumerate(curves.items()):
        colour = COLOURS[place % len(COLOURS)]
        for outside, line in (("accuracy", "-"), ("empty", "--")):
            fixed = sorted(
                (float(w["size"]), float(w[outside]))
                for w in windows
                if w["window"] == w["size"] and w.get(outside) is not None
            )
            if fixed:
                (curve_line,) = axes.plot(
                    *zip(*fixed, strict=True), line, marker="o", markersize=3.5, color=colour, linewidth=1.3
                )
                artists.setdefault(name, curve_line)
        for own in (w for w in windows if w["window"] != w["size"]):
            marker, size = OWN_WINDOWS[str(own["window"])]
            (star,) = axes.plot([float(own["size"])], [float(own["accuracy"])], marker, color=colour, markersize=size)
            artists.setdefault(name, star)
    for kind, (marker, size) in OWN_WINDOWS.items():
        if any(w["window"] == kind for windows in curves.values() for w in windows):
            (artists[f"frame-level ATR, {kind}"],) = axes.plot([], [], marker, color=COLOURS[4], markersize=size - 2)
    if any(w.get("empty") is not None for windows in curves.values() for w in windows):
        (artists[EMPTY],) = axes.plot([], [], "--", color=COLOURS[4])
    axes.set_xlabel("window (frames)", fontsize=NORMAL)
    axes.set_ylabel("accuracy (%)", fontsize=NORMAL)
    legend(axes, list(artists.values()), list(artists), **BESIDE)
    low, high = axes.get_ylim()
    low, high = max(0.0, min(low, high - 2)), max(high, low + 2)  # so that hundredths of a percent look like none
    axes.set_ylim(low, min(high, 101))  # no accuracy is above 100, whose mark needs some room
    axes.set_xlim(left=0)
    style_axes(axes)
    write(axes, title, None)
    return figure


def abreast(draw: Sequence[Callable[..., Figure]], names: Sequence[str]) -> Figure:
    """Draws charts of several data sets into one figure, two in a row, as the paper's Fig. 6 and 7 have them.

    Args:
        draw: functions that draw one chart each, into the axes that they are given as `ax`.
        names: the names in the longest legend.

    >>> from functools import partial
    >>> scatter = partial(accuracy_scatter, [5.0, 6.0], [60.0, 62.0], ["a", "b"])
    >>> len(abreast([scatter, scatter], ["a", "b"]).axes)
    2
    """
    columns = min(2, len(draw))
    lines = math.ceil(len(draw) / columns)
    figure = blank(PANEL * columns, _height(3.2, names) * lines)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, chart in zip(grid.flat, draw, strict=False):
        chart(ax=axes)
    for empty in grid.flat[len(draw) :]:
        empty.set_visible(False)
    return figure


def _height(least: float, names: Sequence[str]) -> float:
    """Returns the height in inches of a figure with names beside it, which take two lines if they are long."""
    return max(least, 0.6 + sum(0.16 if len(name) < 20 else 0.28 for name in names))


def _name(axes: Axes, names: Sequence[str]) -> None:
    """Names the classes at 1, 2, ..., or of very many some towards both ends."""
    places = list(range(len(names)))
    if len(names) > MOST_SINGLE_CLASSES:
        apart = -(-len(names) // ABREAST)  # names of neighbours would lie on each other
        named = AT_ENDS * apart
        places = [*places[:named:apart], *places[::-1][:named:apart]]
    labels = [lettered(in_lines(printable(names[place]), 1.3, SMALL, lines=1)) for place in places]
    axes.set_xticks([place + 1 for place in places], [text for text, _ in labels], rotation=90)
    for tick, (_, properties) in zip(axes.get_xticklabels(), labels, strict=True):
        tick.set(**properties)


def style_axes(axes: Axes) -> None:
    """Gives axes the look of all charts: small numbers, a grid behind the data, no lines at the top and right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
