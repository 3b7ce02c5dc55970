"""Figures of what ATR depends on: a bar for each network, or a curve over depth, kernel size or frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp3d.figures.canvas import LARGE, NORMAL, SMALL, canvas
from lrp3d.study.reporting.charts import COLOURS, MARKERS, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bars", "trends"]

Point = tuple[float, float, float]


def bars(
    values: Mapping[str, float],
    *,
    deviations: Mapping[str, float] | None = None,
    groups: Mapping[str, str] | None = None,
    above: Mapping[str, str] | None = None,
    label: str = "avg-ATR (frames)",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draws one bar for each name.

    Args:
        values: the values by name, in the order of the bars; NaN leaves its place empty.
        deviations: the deviations by name, each drawn as a line on its bar.
        groups: the group of each name; bars of one group share a colour.
        above: the text above each bar, by name.
        label: the name of the values.
        title: the text above the figure.
        ax: the axes to draw into; by default those of a new figure.

    Raises:
        ValueError: there are no values.
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 3, 4a and 12.

    >>> figure = bars({"I3D-R18": 7.0, "TAM2D-R18": 5.0}, groups={"I3D-R18": "3D", "TAM2D-R18": "2D"})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['3D', '2D']
    """
    if not values:
        raise ValueError("no values to draw")
    figure, axes = canvas(ax, max(3.6, 1.2 + 0.62 * len(values)), 2.9)
    names, groups, deviations, above = list(values), groups or {}, deviations or {}, above or {}
    kinds = list(dict.fromkeys(groups.get(name, "") for name in names))
    for kind in kinds:
        places = [place for place, name in enumerate(names) if groups.get(name, "") == kind]
        heights = np.array([values[names[place]] for place in places])
        spread = np.nan_to_num([deviations.get(names[place], 0.0) for place in places])
        lines = {"elinewidth": 1, "ecolor": "#555555"}
        yerr = spread if spread.any() else None
        axes.bar(places, heights, 0.7, yerr=yerr, error_kw=lines, color=COLOURS[kinds.index(kind)], label=kind)
    for place, name in enumerate(names):
        if name in above and not np.isnan(values[name]):
            top = max(values[name], 0.0) + np.nan_to_num(deviations.get(name, 0.0))
            _annotate(axes, above[name], place, top, 2, va="bottom")
    axes.axhline(0, color="#555555", linewidth=0.8)
    axes.set_xticks(range(len(names)), names, rotation=35 if max(map(len, names)) > 8 else 0)
    for tick in axes.get_xticklabels():
        tick.set(ha="right" if tick.get_rotation() else "center", rotation_mode="anchor")
    axes.margins(y=0.15)
    _say(axes, label, title, kinds)
    return figure


def trends(
    curves: Mapping[str, Sequence[Point]],
    *,
    marks: Mapping[str, Sequence[str]] | None = None,
    xlabel: str,
    label: str = "avg-ATR (frames)",
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draws values over depth, kernel size or frames, each curve with its deviations.

    Args:
        curves: the points (x, value, deviation) of each curve, by name; points without a number are left out.
        marks: the text at each point, by name of the curve, such as an accuracy.
        xlabel: the name of x.
        label: the name of the values.
        title: the text above the figure.
        ax: the axes to draw into; by default those of a new figure.

    Raises:
        ImportError: matplotlib is not installed.

    Source: paper, Fig. 4b, 5a and 10.

    >>> figure = trends({"I3D": [(18, 6.0, 0.2), (34, 6.4, 0.1)]}, xlabel="depth")
    >>> figure.axes[0].get_xticks().tolist()
    [18, 34]
    """
    figure, axes = canvas(ax, 5.2, 2.9)
    positions: set[float] = set()
    for place, (name, points) in enumerate(curves.items()):
        x, y, spread = np.array(points, dtype=float).reshape(-1, 3).T
        measured = ~np.isnan(y)
        style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        style |= {"markersize": 5, "linewidth": 1.3, "elinewidth": 1, "capsize": 2}
        axes.errorbar(x[measured], y[measured], np.nan_to_num(spread[measured]), label=name, **style)
        positions |= set(x[measured].tolist())
        for position, height, text in zip(x, y + np.nan_to_num(spread), (marks or {}).get(name, ()), strict=False):
            if not np.isnan(height):
                _annotate(axes, text, position, height, 6)
    ticks = [int(tick) if tick == int(tick) else tick for tick in sorted(positions)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel(xlabel, fontsize=NORMAL)
    axes.margins(x=0.08, y=0.2)
    _say(axes, label, title, curves)
    return figure


def _annotate(axes: Axes, text: str, x: float, y: float, above: float, **options: Any) -> None:
    """Writes a text so many points above a place."""
    offset = (0, above)
    axes.annotate(text, (x, y), xytext=offset, textcoords="offset points", ha="center", fontsize=SMALL, **options)


def _say(axes: Axes, label: str, title: str | None, kinds: Collection[str]) -> None:
    """Writes what is drawn, the title, and a legend where there are several colours."""
    axes.set_ylabel(label, fontsize=NORMAL)
    if len(kinds) > 1:
        axes.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    style_axes(axes)
    if title:
        axes.set_title(title, fontsize=LARGE)
