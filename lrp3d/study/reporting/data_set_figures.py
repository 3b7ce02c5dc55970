"""Figures that show several studies together, those of several data sets side by side (Fig. 2, 6, 7 and 14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lrp3d.study.reporting import charts, paper_maps, paper_tables
from lrp3d.study.reporting.report_charts import Chart, Ends
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.table_format import Cell, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures_across_studies(studies: Sequence[Studied]) -> Iterator[Chart]:
    """Yields the figures of several studies together, those of several data sets side by side."""
    groups = paper_tables.comparable(studies)
    if groups:
        rows: list[list[Cell]] = []
        scatters = []
        for name, group in groups.items():
            atr = [study.moments("avg_atr")["mean"] for study in group]
            accuracy = [study.summary["accuracy"]["top1"] for study in group]
            rows += [[name, s.model, Value(x), Value(y)] for s, x, y in zip(group, atr, accuracy, strict=True)]
            said = name if len(groups) > 1 else ""
            models = [study.model for study in group]
            scatters.append(partial(charts.accuracy_scatter, atr, accuracy, models, title=said))
        note = "" if min(map(len, groups.values())) > 2 else "Two models are no correlation."
        most = max(([study.model for study in group] for group in groups.values()), key=len)
        title, file = _of_data_sets("Accuracy against avg-ATR", "accuracy", list(groups), "Fig. 7")
        table = Table(file, title, ["data set", "model", "avg-ATR", "accuracy (%)"], rows)
        yield Chart(file, title, partial(_side_by_side, scatters, most), note, table)
    windowed = [study for study in studies if study.summary["windows"]]
    curves: dict[str, dict[str, Any]] = {}
    for study in windowed:
        curves.setdefault(study.dataset, {})[study.label()] = study.summary["windows"]
    if curves:
        note = (
            "Every frame's prediction sees its own window only. A star shows every frame the segment of its own "
            "ATR, a cross as many frames around it. Dashed: empty images outside of the windows."
        )
        title, file = _of_data_sets("Partial uniform sampling", "windows", list(curves), "Fig. 6, 14")
        draw = [
            partial(charts.window_curves, each, title=name if len(curves) > 1 else None)
            for name, each in curves.items()
        ]
        names = [*max(curves.values(), key=len), *charts.OWN_WINDOWS, charts.EMPTY]
        yield Chart(file, title, partial(_side_by_side, draw, names), note, paper_tables.windows(windowed))


def _of_data_sets(title: str, file: str, names: Sequence[str], figure: str) -> tuple[str, str]:
    """Returns title and name of a figure, with the data set if there is only one."""
    if len(names) > 1:
        return f"{title} by data set ({figure})", f"{file}-of-data-sets"
    return f"{title}: {names[0]} ({figure})", f"{file}-{_slug(names[0])}"


def _side_by_side(draw: Sequence[Callable[..., Figure]], names: Sequence[str]) -> Figure:
    """Draws one chart alone, and several into one figure."""
    return draw[0]() if len(draw) == 1 else charts.abreast(draw, names)


def maps_of_data_sets(studies: Sequence[Studied], maps: Mapping[str, Mapping[str, Any]], ends: Ends) -> Iterator[Chart]:
    """Yields the heat maps of one model, a row for each of its data sets (Fig. 2)."""
    groups: dict[str, list[Studied]] = {}
    for study in studies:
        if study.name in maps:
            groups.setdefault(study.label(), []).append(study)
    for label, group in groups.items():
        if len(group) < 2:
            continue
        columns = min(len(maps[study.name]) for study in group)
        shown = {
            (name if name == study.dataset else f"{study.dataset}: {name}"): matrix
            for study in group
            for name, matrix in list(maps[study.name].items())[:columns]
        }
        title, file = f"Mean relevance by data set: {label} (Fig. 2)", f"heatmaps-of-data-sets-{_slug(label)}"
        unit = "step" if any(study.unit == "step" for study in group) else "frame"
        draw = partial(charts.heatmaps, shown, columns=columns, unit=unit, greatest=ends.greatest, least=ends.least)
        note = (
            "A row for each data set: the mean of all clips, then classes. All maps of this page have the same colours."
        )
        yield Chart(file, title, draw, note, paper_maps.matrices_of(file, title, shown))


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name).strip("-").lower()
