"""The paper's figures of numbers that compare networks, from any number of studies: what ATR depends on.

Each function takes the studies of a report and yields charts, with the numbers of each as a table, or an object that
says what is missing. A new figure is a function here and its name in `FIGURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lrp3d.study.reporting import factors
from lrp3d.study.reporting.named_networks import KERNEL, Network, networks, standard_deviation
from lrp3d.study.reporting.report_charts import Chart, Made, Missing
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.table_format import Cell, Table, Value

__all__ = ["FIGURES"]


def kernels(studies: Sequence[Studied]) -> Made:
    """Yields ATR and accuracy by the length of TAM's kernel (Table 2)."""
    groups: dict[tuple[str, str], list[Network]] = {}
    for network in networks(studies):
        if network.plain and network.answers is None and network.kernel is not None:
            model = network.named(network.module, network.backbone)
            groups.setdefault((network.study.dataset, model), []).append(network)
    rows: list[list[Cell]] = []
    for (dataset, model), group in groups.items():
        if len({network.kernel for network in group}) > 1:
            for network in sorted(group, key=lambda network: (network.frames, network.kernel or 0)):
                rows.append([dataset, model, network.frames, network.kernel or 0, *_numbers(network.study)])
    if rows:
        headers = ["data set", "model", "frames", "kernel", "accuracy (%)", "avg-ATR", "max-ATR"]
        yield Table("kernels", "ATR by the length of temporal kernels (Table 2)", headers, rows)
    else:
        yield Missing("Table 2 (kernels)", "TAM2D studies of one data set that differ in --option kernel_size=N")


def modules(studies: Sequence[Studied]) -> Made:
    """Yields the ATR of I3D minus that of TAM2D, by number of frames (Fig. 3)."""
    by_setup = {(n.module, n.named(n.backbone), n.study.dataset, n.frames): n for n in networks(studies) if n.common}
    values: dict[str, float] = {}
    groups: dict[str, str] = {}
    rows: list[list[Cell]] = []
    for (module, backbone, dataset, frames), i3d in sorted(by_setup.items(), key=lambda pair: pair[0][1:]):
        tam = by_setup.get(("TAM2D", backbone, dataset, frames))
        if module == "I3D" and tam is not None:
            name = f"{i3d.named(i3d.backbone, f'f{frames}')} {dataset}"
            values[name], groups[name] = i3d.atr - tam.atr, dataset
            rows.append([dataset, backbone, frames, *map(_exact, (i3d.atr, tam.atr, i3d.atr - tam.atr))])
    if not rows:
        yield Missing("Fig. 3 (I3D minus TAM2D)", "I3D and TAM2D of one backbone, data set and number of frames")
        return
    headers = ["data set", "backbone", "frames", "I3D", "TAM2D", "difference"]
    title = "avg-ATR of I3D minus that of TAM2D (Fig. 3)"
    draw = partial(factors.bars, values, groups=groups, label="avg-ATR, difference (frames)")
    yield Chart("modules", title, draw, data=Table("modules", title, headers, rows))


def backbones(studies: Sequence[Studied]) -> Made:
    """Yields backbones by ATR, with accuracy and number of temporal convolutions (Fig. 4a, 12)."""
    groups: dict[tuple[str, int, str], list[Network]] = {}
    for network in networks(studies):
        if network.common:
            groups.setdefault((network.study.dataset, network.frames, network.variant), []).append(network)
    has_chart = False
    for (dataset, frames, variant), group in groups.items():
        if (
            len({(network.module, network.backbone) for network in group}) < 2
            or len({network.backbone for network in group}) < 2
        ):
            continue
        has_chart = True
        ranked = sorted(group, key=lambda network: -network.atr)
        convolutions = {network.study.model: network.study.config.get("temporal_convolutions") for network in ranked}
        above = {
            network.study.model: "\n".join(
                part
                for part in (
                    "" if convolutions[network.study.model] is None else str(convolutions[network.study.model]),
                    "" if network.accuracy is None else f"{network.accuracy:.1f} %",
                )
                if part
            )
            for network in ranked
        }
        draw = partial(
            factors.bars,
            {network.study.model: network.atr for network in ranked},
            deviations={network.study.model: network.deviation for network in ranked},
            groups={network.study.model: network.module for network in ranked},
            above=above,
        )
        named = ", ".join(filter(None, [dataset, f"{frames} frames", variant]))
        title = f"Backbones by avg-ATR: {named} (Fig. 4a, 12)"
        rows: list[list[Cell]] = [
            [network.study.model, Value(convolutions[network.study.model], digits=0), *_numbers(network.study)]
            for network in ranked
        ]
        headers = ["model", "temporal convolutions", "accuracy (%)", "avg-ATR", "max-ATR"]
        name = "-".join(filter(None, ["backbones", dataset, f"f{frames}", variant]))
        note = "Above the bars: number of temporal convolutions, accuracy."
        yield Chart(name, title, draw, note, Table(name, title, headers, rows))
    if not has_chart:
        yield Missing(
            "Fig. 4a and 12 (backbones)", "two backbones or more on one data set with the same number of frames"
        )


@dataclass(frozen=True)
class Trend:
    """A figure of avg-ATR over a number of the network, with one curve for each kind of network."""

    name: str
    figure: str
    """The figure of the paper."""
    title: str
    xlabel: str
    value: Callable[[Network], int | None]
    """The number on the x-axis; None for networks that do not belong to the figure."""
    curve: Callable[[Network], str]
    """The name of a network's curve."""
    needed: str
    """Which studies the figure needs."""
    mark: Callable[[Network], str] | None = None
    """The text at a point."""
    note: str = ""

    def charts(self, studies: Sequence[Studied]) -> Made:
        """Yields one figure for each data set that has a curve of two points or more."""
        by_dataset: dict[str, dict[str, dict[int, Network]]] = {}
        for network in networks(studies):
            x = self.value(network)
            if x is not None:
                by_dataset.setdefault(network.study.dataset, {}).setdefault(self.curve(network), {})[x] = network
        has_chart = False
        for dataset, curves in by_dataset.items():
            whole = {key: dict(sorted(points.items())) for key, points in curves.items() if len(points) > 1}
            if whole:
                has_chart = True
                yield self._chart(dataset, whole)
        if not has_chart:
            yield Missing(self.figure, self.needed)

    def _chart(self, dataset: str, curves: Mapping[str, Mapping[int, Network]]) -> Chart:
        points = {
            key: [(x, network.atr, network.deviation) for x, network in series.items()]
            for key, series in curves.items()
        }
        marks = self.mark and {key: list(map(self.mark, series.values())) for key, series in curves.items()}
        title = f"{self.title}: {dataset} ({self.figure.split(' (')[0]})"
        headers = ["model", self.xlabel, "accuracy (%)", "avg-ATR", "max-ATR"]
        rows: list[list[Cell]] = [
            [key, x, *_numbers(network.study)] for key, series in curves.items() for x, network in series.items()
        ]
        name = f"{self.name}-{dataset}"
        draw = partial(factors.trends, points, marks=marks, xlabel=self.xlabel)
        return Chart(name, title, draw, self.note, Table(name, title, headers, rows))


def depths(studies: Sequence[Studied]) -> Made:
    """Yields ATR over the depth of ResNets (Fig. 4b)."""
    trend = Trend(
        "depth",
        "Fig. 4b (depth)",
        "avg-ATR by depth",
        "depth of the ResNet",
        value=lambda network: network.depth if network.common else None,
        curve=lambda network: network.named(network.module, f"f{network.frames}"),
        needed="ResNets of two depths or more, else alike",
    )
    return trend.charts(studies)


def frames(studies: Sequence[Studied]) -> Made:
    """Yields ATR over the number of frames, also as a share of the clip (Fig. 5a)."""
    trend = Trend(
        "frames",
        "Fig. 5a (frames)",
        "avg-ATR by frames",
        "frames of a clip",
        value=lambda network: network.frames if network.common else None,
        curve=lambda network: network.named(network.module, network.backbone),
        needed="models that differ in nothing but their frames",
        mark=lambda network: f"{100 * network.atr / network.frames:.0f} %",
        note="At the points: avg-ATR as a share of the clip.",
    )
    return trend.charts(studies)


def ensembles(studies: Sequence[Studied]) -> Made:
    """Yields ATR over the number of frames that are ensembled (Fig. 10)."""
    trend = Trend(
        "ensembles",
        "Fig. 10 (ensembles)",
        "avg-ATR by the frames that answer",
        "ensembled frames",
        value=lambda network: (
            (network.answers or network.frames) if network.plain and network.kernel in (None, KERNEL) else None
        ),
        curve=lambda network: network.named(network.module, network.backbone, f"f{network.frames}"),
        needed="models that differ in nothing but --option output_frames=N",
        mark=lambda network: "" if network.accuracy is None else f"{network.accuracy:.1f} %",
        note="At the points: accuracy.",
    )
    return trend.charts(studies)


def _numbers(study: Studied) -> list[Cell]:
    """Returns the accuracy, avg-ATR and max-ATR of a study."""
    moments = [study.moments(kind) for kind in ("avg_atr", "max_atr")]
    return [Value(study.summary["accuracy"]["top1"]), *(Value(m["mean"], standard_deviation(m)) for m in moments)]


def _exact(value: float | None) -> Value:
    return Value(value, digits=3)


FIGURES: tuple[Callable[[Sequence[Studied]], Made], ...] = (
    kernels,
    modules,
    backbones,
    depths,
    frames,
    ensembles,
)
"""The figures of numbers that a report makes of several studies, in this order."""
