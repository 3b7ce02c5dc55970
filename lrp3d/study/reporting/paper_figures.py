"""The paper's figures that compare networks, from any number of studies: what ATR depends on, and maps side by side.

Each function takes the studies of a report and yields charts, with the numbers of each as a table, or an object that
says what is missing. A new figure is a function here and its name in `FIGURES`, or in `MAPS` if it shows heat maps. All
heat maps of a page have the same colours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lrp3d.study.reporting import charts, factors
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.table_format import Cell, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "MAPS", "Chart", "Ends", "Missing", "Network", "kernels"]

KERNEL = 3  # the length of TAM's kernel, where the options name no other


@dataclass(frozen=True)
class Chart:
    """A figure with a name, a title and the numbers in it."""

    name: str
    title: str
    figure: Figure
    note: str = ""
    data: Table | None = None

    def png(self) -> bytes:
        """Returns the figure as a PNG picture."""
        return self._drawing

    def svg(self) -> bytes:
        """Returns the figure as an SVG picture without a background, with the same bytes each time."""
        return self._lines

    @cached_property
    def _lines(self) -> bytes:
        import matplotlib as mpl

        buffer = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": self.name, "svg.fonttype": "path"}):
            about = {"Date": None, "Creator": None}
            self.figure.savefig(buffer, format="svg", dpi=150, transparent=True, metadata=about)
        return buffer.getvalue()

    @cached_property
    def _drawing(self) -> bytes:  # drawn once, for the file and for the page
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
        return buffer.getvalue()


@dataclass(frozen=True)
class Missing:
    """A figure or table that the given studies cannot make, and what it needs."""

    what: str
    needed: str

    def __str__(self) -> str:
        return f"{self.what}: needs {self.needed}."


@dataclass(frozen=True)
class Ends:
    """The least and the greatest relevance of all heat maps of a page, at which its colours end."""

    least: float
    greatest: float

    @classmethod
    def of(cls, maps: Iterable[Sequence[Sequence[float]]]) -> Ends:
        """Returns the ends of these maps; 0 is always between them.

        >>> Ends.of([[[0.5, 2.0]], [[-1.0, 0.0]]])
        Ends(least=-1.0, greatest=2.0)
        """
        values = [value for matrix in maps for row in matrix for value in row]
        return cls(min(values, default=0.0), max(values, default=0.0))


@dataclass(frozen=True)
class Network:
    """What the name of a study's model says about it, in the paper's convention.

    >>> summary = {"config": {"model": "TAM2D-R50-f16", "frames": 16, "options": {"kernel_size": 5}}}
    >>> network = Network.of(Studied("s", summary))
    >>> network.module, network.backbone, network.depth, network.frames, network.kernel
    ('TAM2D', 'R50', 50, 16, 5)
    """

    study: Studied
    module: str
    backbone: str
    frames: int
    kernel: int | None
    answers: int | None
    """How many frames are ensembled; None for all."""
    variant: str
    """The other options it was built with: networks are compared with those that have the same."""
    plain: bool
    """Whether it was explained as in the paper's main tables."""

    @classmethod
    def of(cls, study: Studied) -> Network | None:
        """Reads a study's model; returns None where its name is of another kind."""
        config = study.config
        name = re.fullmatch(r"(\w+?)-(R\d+|Inception)(?:-(?:f\d+|\d+x\d+))?", config.get("model", ""))
        if name is None:
            return None
        options = dict(config.get("options", {}))
        kernel = options.pop("kernel_size", KERNEL if name[1].startswith("TAM") else None)
        answers = options.pop("output_frames", None)
        variant = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
        plain = not study.conditions() and not study.mark
        frames = config.get("frames", study.summary.get("dataset", {}).get("columns", 0))
        return cls(study, name[1], name[2], frames, kernel, None if answers == "all" else answers, variant, plain)

    def named(self, *parts: str | int) -> str:
        """Joins parts of a model's name by hyphens, and adds the options by which it differs from the paper's."""
        return "-".join(map(str, parts)) + (f" ({self.variant})" if self.variant else "")

    @property
    def depth(self) -> int | None:
        """The number of layers, where the model is a ResNet."""
        return int(self.backbone[1:]) if self.backbone.startswith("R") else None

    @property
    def common(self) -> bool:
        """Whether it is like most of the paper's networks: all frames answer, and TAM has its usual kernel."""
        return self.plain and self.answers is None and self.kernel in (None, KERNEL)

    @property
    def atr(self) -> float:
        """The mean avg-ATR of the study."""
        return float(self.study.moments("avg_atr")["mean"])

    @property
    def accuracy(self) -> float | None:
        """The top-1 accuracy, in percent."""
        top1: float | None = self.study.summary["accuracy"]["top1"]
        return top1

    @property
    def deviation(self) -> float:
        """The standard deviation of avg-ATR over clips; 0 if there is only one."""
        return standard_deviation(self.study.moments("avg_atr")) or 0.0


Made = Iterator[Chart | Table | Missing]


def standard_deviation(moments: Mapping[str, Any]) -> float | None:
    """The standard deviation over clips; None if there are fewer than two."""
    return moments["std"] if moments["count"] > 1 else None


def networks(studies: Sequence[Studied]) -> list[Network]:
    """Returns the networks of those studies whose model has a name as in the paper, and an ATR."""
    candidates = (Network.of(study) for study in studies if study.moments("avg_atr")["count"])
    return [network for network in candidates if network is not None]


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
    figure = factors.bars(values, groups=groups, label="avg-ATR, difference (frames)")
    yield Chart("modules", title, figure, data=Table("modules", title, headers, rows))


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
        figure = factors.bars(
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
        yield Chart(name, title, figure, note, Table(name, title, headers, rows))
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
        figure = factors.trends(points, marks=marks, xlabel=self.xlabel)
        return Chart(name, title, figure, self.note, Table(name, title, headers, rows))


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
        mark=lambda network: f"{100 * network.atr / network.study.summary['dataset']['columns']:.0f} %",
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
    figure = charts.heatmaps(maps, columns=4, unit=unit, greatest=ends.greatest, least=ends.least)
    yield Chart(name, title, figure, "All maps of this page have the same colours.", matrices_of(name, title, maps))


def matrices_of(name: str, title: str, maps: Mapping[str, Any]) -> Table:
    """Returns the numbers of heat maps as a table with a line for each cell."""
    rows: list[list[Cell]] = [
        [label, i + 1, j + 1, _exact(value)]
        for label, matrix in maps.items()
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
    ]
    return Table(name, title, ["map", "i", "j", "relevance"], rows)


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
MAPS: tuple[Callable[[Sequence[Studied], Ends], Made], ...] = (slowfast, samplings)
"""The figures of heat maps that follow them."""
