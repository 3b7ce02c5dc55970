"""The numbers of the paper's page: networks, shares of frames, windows and classes, means over training seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.paper.actions import CLASSES
from benchmarks.paper.measures import WINDOW_SIZES, shares
from benchmarks.paper.nets import LONGER, MODULES, TWICE, Net, every
from benchmarks.paper.recording import WINDOWED
from benchmarks.paper.records import Bench, Missing, fixed
from lrp3d.study.reporting.table_format import Cell, Table, Value


def moments(bench: Bench, measure: Callable[[int], float | None]) -> Value:
    """Mean and deviation over the seeds that have a number."""
    values = []
    for seed in bench.seeds:
        try:
            value = measure(seed)
        except Missing:
            continue
        if value is not None:
            values.append(value)
    if not values:
        return Value(None)
    return Value(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, digits=2)


def trained(bench: Bench) -> list[Net]:
    """The networks of which there are records, of any seed."""
    recorded = {key for key, _ in bench.records}
    return [net for net in every((0,)) if net.key in recorded]


def network_table(bench: Bench) -> Table:
    """Accuracy and ATR of every network."""
    rows: list[list[Cell]] = []
    for net in trained(bench):
        seeds = sum(key == net.key for key, _ in bench.records)
        row: list[Cell] = [net.key, seeds, replace(moments(bench, partial(bench.accuracy, net)), digits=1)]
        row.append(replace(moments(bench, partial(_counted, bench, net)), digits=0))
        for kind in ("avg_atr", "max_atr", "lrp_avg_atr", "lrp_max_atr"):
            has = any(key == net.key and kind in record["clips"] for (key, _), record in bench.records.items())
            row.append(moments(bench, partial(bench.atr, net, kind=kind)) if has else Value(None))
        rows.append(row)
    headers = ["network and data", "seeds", "accuracy (%)", "counted clips", "avg-ATR", "max-ATR"]
    headers += ["avg-ATR, LRP", "max-ATR, LRP"]
    note = "k5: temporal kernels of 5; of4: 4 ensembled frames; dense: consecutive frames; "
    note += f"x{TWICE}, x{LONGER}: trained longer."
    return Table("networks", "All networks (Tables 1, 2, 4 to 7)", headers, rows, note)


def _counted(bench: Bench, net: Net, seed: int) -> int:
    return len(bench.clips(net, seed))


def share_table(bench: Bench) -> Table:
    """Where relevance lies."""
    rows: list[list[Cell]] = []
    for net in map_nets():
        each = [moments(bench, partial(_share, bench, net, which)) for which in range(3)]
        rows.append([net.key, *(replace(value, digits=1) for value in each)])
    headers = ["network and data", "within two frames (%)", "on the diagonal (%)", "in the first and last quarter (%)"]
    return Table("shares", "Where relevance lies (Fig. 2, 13)", headers, rows, "An even share of the quarters is 50 %.")


def _share(bench: Bench, net: Net, which: int, seed: int) -> float:
    return shares(bench.matrix(net, seed))[which]


_MAPS = (("static", False), ("mixed", False), ("temporal", False), ("mixed", True))


def window_table(bench: Bench) -> Table:
    """Partial uniform sampling."""
    measures: dict[str, Callable[[dict[str, float]], float]] = {
        "whole clip (%)": lambda w: w["16"],
        "8 of 16 (%)": lambda w: w["8"],
        "mean ATR": lambda w: w["size"],
        "segments (%)": lambda w: w["segment"],
        "centred windows (%)": lambda w: w["centred"],
        "fixed window of that size (%)": lambda w: fixed(w, w["size"]),
        "frozen, mean over windows (%)": lambda w: statistics.fmean(w[size] for size in WINDOW_SIZES),
        "empty (%)": lambda w: statistics.fmean(w[f"empty {size}"] for size in WINDOW_SIZES),
    }
    rows: list[list[Cell]] = []
    for net in window_nets():
        each = [moments(bench, partial(_in_windows, bench, net, measure)) for measure in measures.values()]
        rows.append([net.key, *(replace(value, digits=1) for value in each)])
    note = (
        "A segment [l, r] is what the ATR of a frame is the length of; a centred window is as long and lies around the "
        "frame. Fixed windows of that size: on the line between two that were tried."
    )
    return Table("windows", "Windows (Fig. 6, 14)", ["network and data", *measures], rows, note)


def _in_windows(bench: Bench, net: Net, measure: Callable[[dict[str, float]], float], seed: int) -> float:
    return measure(bench.windows(net, seed))


def map_nets() -> list[Net]:
    """The networks whose mean relevance is shown."""
    return [Net(f"{module}-f16", group, dense=dense) for module in MODULES for group, dense in _MAPS]


def window_nets() -> list[Net]:
    """The networks that were shown windows of their clips."""
    return [Net(f"{module}-f16", group) for module in MODULES for group in WINDOWED]


def class_table(bench: Bench) -> Table:
    """ATR by class."""
    rows: list[list[Cell]] = []
    for index, name in enumerate(CLASSES):
        each = [
            moments(bench, partial(bench.atr, Net(f"{m}-f16"), kind=kind, classes=(index,)))
            for m in MODULES
            for kind in ("avg_atr", "max_atr")
        ]
        rows.append([name, "static" if index < 4 else "temporal", *each])
    headers = ["class", "any frame shows it, or none"]
    headers += [f"{title}, {module}-f16" for module in MODULES for title in ("avg-ATR", "max-ATR")]
    return Table("classes", "Classes of the mixed data (Table 3, Fig. 8, 9, 15)", headers, rows)
