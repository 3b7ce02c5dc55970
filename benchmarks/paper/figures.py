"""The figures of the paper's page, of means over training seeds."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from benchmarks.paper.measures import ANSWER_NETS, WINDOW_SIZES
from benchmarks.paper.nets import MODULES, SCATTER, Net
from benchmarks.paper.recording import SIZES
from benchmarks.paper.records import Bench, Missing
from benchmarks.paper.tables import map_nets, moments, window_nets
from lrp3d.study.reporting import charts
from lrp3d.study.reporting.factors import trends
from lrp3d.study.reporting.report_charts import Chart


def figures(bench: Bench) -> list[Chart]:
    """Those that there is something for."""
    drawn: list[Chart] = []

    def mean(net: Net, kind: str = "avg_atr") -> tuple[float, float] | None:
        value = moments(bench, lambda s: bench.atr(net, s, kind))
        return None if value.mean is None else (value.mean, value.std or 0.0)

    lengths = {m: [(n, *two) for n in (8, 16, 32) if (two := mean(Net(f"{m}-f{n}")))] for m in MODULES}
    lengths = {module: points for module, points in lengths.items() if len(points) > 1}
    if lengths:
        marks = {m: [f"{100 * atr / n:.0f} %" for n, atr, _ in points] for m, points in lengths.items()}
        draw = partial(trends, lengths, marks=marks, xlabel="frames of the clip (mixed data)")
        drawn.append(Chart("fig5a", "Fig. 5a: avg-ATR by number of frames", draw, "Beside: share of the clip."))
    ensembled = [(n, *two) for n, net in ANSWER_NETS.items() if (two := mean(net))]
    if len(ensembled) > 1:
        accuracy = [moments(bench, partial(bench.accuracy, ANSWER_NETS[n])).mean for n, *_ in ensembled]
        name = "TAM2D-R18-f16"
        marks = {name: [f"{value:.0f} %" for value in accuracy if value is not None]}
        draw = partial(trends, {name: ensembled}, marks=marks, xlabel="frames that are ensembled (mixed data)")
        drawn.append(Chart("fig10", "Fig. 10: avg-ATR by ensembled frames", draw, "Beside: accuracy."))
    curves = {net.key: curve for net in window_nets() if (curve := _curve(bench, net))}
    if curves:
        note = "Dashed: empty frames outside. A star is the segments of each frame's ATR, a cross centred windows."
        drawn.append(Chart("fig6", "Fig. 6 and 14: accuracy by window", partial(charts.window_curves, curves), note))
    points = {net.key.removesuffix("-mixed"): net for net in SCATTER if mean(net)}
    if len(points) > 3:
        accuracies = [moments(bench, partial(bench.accuracy, net)).mean or 0.0 for net in points.values()]
        draw = partial(
            charts.accuracy_scatter,
            [(mean(net) or (0.0,))[0] for net in points.values()],
            accuracies,
            list(points),
        )
        note = "Means over seeds, and r of these; what is tested is r of each seed."
        drawn.append(Chart("fig7", "Fig. 7: accuracy against avg-ATR", draw, note))
    maps = {net.key.replace("-R18-f16", ""): m for net in map_nets() if (m := _mean_matrix(bench, net))}
    if maps:
        drawn.append(Chart("fig2", "Fig. 2 and 13: mean relevance", partial(charts.heatmaps, maps, columns=4)))
    return drawn


def _mean_matrix(bench: Bench, net: Net) -> list[list[float]] | None:
    each = []
    for seed in bench.seeds:
        try:
            each.append(bench.matrix(net, seed))
        except Missing:
            continue
    if not each:
        return None
    return [[statistics.fmean(cells) for cells in zip(*rows, strict=True)] for rows in zip(*each, strict=True)]


def _curve(bench: Bench, net: Net) -> list[dict[str, Any]]:
    """Accuracy by window, mean over seeds, as `window_curves` takes it."""

    def value(name: str) -> float | None:
        return moments(bench, lambda s: bench.windows(net, s)[name]).mean

    if value("16") is None:
        return []
    curve: list[dict[str, Any]] = []
    for size in SIZES:
        curve.append({"window": size, "size": size, "accuracy": value(str(size))})
        if str(size) in WINDOW_SIZES:
            curve[-1]["empty"] = value(f"empty {size}")
    return curve + [{"window": w, "size": value("size"), "accuracy": value(w)} for w in ("segment", "centred")]
