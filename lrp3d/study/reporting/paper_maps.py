"""The paper's figures that show mean heat maps of several studies side by side, in the same colours.

A new figure is a function here and its name in `MAPS`. It takes the studies of a report and the ends of the colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lrp3d.study.reporting import charts
from lrp3d.study.reporting.named_networks import networks
from lrp3d.study.reporting.report_charts import Chart, Ends, Made, Missing
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.table_format import Cell, Table, Value


def slowfast(studies: Sequence[Studied], ends: Ends) -> Made:
    """Yields the mean maps of SlowFast beside those of I3D, of the same backbone if there is one (Fig. 11)."""
    candidates = networks(studies)
    slow = [network for network in candidates if network.module == "SlowFast" and network.plain]
    matrices: dict[str, Studied] = {}
    for network in slow:
        alike = (network.study.dataset, network.variant)
        others = [n for n in candidates if n.module == "I3D" and n.common and (n.study.dataset, n.variant) == alike]
        if others:
            columns = network.study.summary["dataset"]["columns"]
            i3d = min(
                others,
                key=lambda n: (n.backbone != network.backbone, abs(n.study.summary["dataset"]["columns"] - columns)),
            )
            for each in (i3d, network):
                matrices[f"{each.study.model}, {each.study.dataset}"] = each.study
    yield from _side_by_side(
        "pathways",
        "Mean relevance, I3D and SlowFast (Fig. 11)",
        matrices,
        "Fig. 11 (SlowFast)",
        "I3D and SlowFast on one data set, explained as in the paper",
        ends,
    )


def samplings(studies: Sequence[Studied], ends: Ends) -> Made:
    """Yields the mean maps of uniform beside those of dense sampling (Fig. 13)."""
    groups: dict[tuple[str, str], dict[str, Studied]] = {}
    for study in studies:
        if study.moments("avg_atr")["count"]:
            groups.setdefault((study.dataset, study.label("sampling")), {})[study.sampling] = study
    matrices = {
        f"{kind}: {model}, {dataset}": pair[kind]
        for kind in ("uniform", "dense")
        for (dataset, model), pair in groups.items()
        if len(pair) > 1
    }
    yield from _side_by_side(
        "samplings",
        "Mean relevance, uniform and dense sampling (Fig. 13)",
        matrices,
        "Fig. 13 and Table 7 (sampling)",
        "studies that differ in nothing but --sampling",
        ends,
    )


def _side_by_side(name: str, title: str, matrices: Mapping[str, Studied], what: str, needed: str, ends: Ends) -> Made:
    if not matrices:
        yield Missing(what, needed)
        return
    maps = {label: study.summary["dataset"]["matrix"] for label, study in matrices.items()}
    unit = "step" if any(s.unit == "step" for s in matrices.values()) else "frame"
    draw = partial(charts.heatmaps, maps, columns=4, unit=unit, greatest=ends.greatest, least=ends.least)
    yield Chart(name, title, draw, "All maps of this page have the same colours.", matrices_of(name, title, maps))


def matrices_of(name: str, title: str, maps: Mapping[str, Any]) -> Table:
    """Returns the numbers of heat maps as a table with a line for each cell."""
    rows: list[list[Cell]] = [
        [label, i + 1, j + 1, Value(value, digits=3)]
        for label, matrix in maps.items()
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
    ]
    return Table(name, title, ["map", "i", "j", "relevance"], rows)


MAPS: tuple[Callable[[Sequence[Studied], Ends], Made], ...] = (slowfast, samplings)
"""The figures of heat maps that a report makes of several studies, in this order."""
