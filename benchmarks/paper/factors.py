"""What ATR depends on: data, temporal module, backbone, depth, kernel, frames (the paper's Sec. 4.2)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from lrp3d.models import count_temporal_convolutions
from benchmarks.paper.verdicts import Comparison, below, jackknife, seeds
from benchmarks.paper.nets import DEPTHS, INCEPTION, KERNELS, LENGTHS, MODULES, OTHERS, Net
from benchmarks.paper.page import Section
from benchmarks.paper.studies import Bench, differences, seeds_of, spread
from benchmarks.planted.measures import spearman
from lrp3d.study.reporting import charts, paper_tables
from lrp3d.study.reporting.factors import bars, trends
from lrp3d.study.reporting.report import Chart
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.tables import Table, Value

GROUPS = ("static", "mixed", "temporal")
GAPS = (1, 2, 4, 8)
LITTLE = 0.5  # frames: what a depth adds in the paper
POINT = 1.0  # of accuracy
POORLY = " ({} is poorly trained and does not count)"
WELL = 95.0  # percent of clips: networks that learned less are named


def known(studies: Sequence[Studied | None]) -> list[Studied]:
    """Those that are there."""
    return [one for one in studies if one is not None]


def value(one: Studied, kind: str = "avg_atr", digits: int = 2) -> Value:
    """Mean and deviation over clips."""
    found = one.moments(kind)
    return Value(found["mean"], found["std"], digits=digits)


def over_seeds(one: Studied | None, kind: str = "avg_atr") -> tuple[float, float]:
    """Mean and deviation over seeds."""
    values = list(seeds_of(one, kind).values())
    if not values:
        return float("nan"), float("nan")
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else float("nan")


def around(mean: float, deviation: float) -> str:
    """Both, where there is a deviation: a single seed has none."""
    return f"{mean:.2f} ± {deviation:.2f}" if deviation == deviation else f"{mean:.2f}"


def by_seed(pairs: Mapping[str, Sequence[float]], sign: int = 1, trained: bool = True) -> dict[str, Comparison]:
    """Differences over seeds as comparisons, `sign` -1 where the paper has them negative; untrained, none counts."""
    each = {name: seeds([sign * value for value in values]) for name, values in pairs.items() if values}
    return each if trained else {name: replace(one, error=math.nan) for name, one in each.items()}


def learned(one: Studied | None) -> bool:
    """Whether the networks of a study, at the end of training, predict what they should."""
    return over_seeds(one, "accuracy")[0] >= WELL


def each_seed(numbers: Callable[..., float], *studies: Studied | None, kind: str = "avg_atr") -> list[float]:
    """A number of what all these studies have of a seed, for every seed that they share."""
    each = [seeds_of(one, kind) for one in studies]
    return [numbers(*(values[seed] for values in each)) for seed in each[0] if all(seed in values for values in each)]


def told(pairs: Mapping[str, Sequence[float]]) -> str:
    """The differences, in words."""
    return "; ".join(f"{name} {spread(values)}" for name, values in pairs.items() if values)


def data(bench: Bench) -> Section:
    """Table 1, with Table 5 for data in between."""
    section = Section(
        "Table 1, Table 5",
        "data with and without temporal structure",
        "ATR is greater on Something-Something than on Kinetics for all four networks (avg-ATR +1.0, +1.8, +1.6, +2.4; "
        "max-ATR +0.7, +1.8, +0.9, +2.2), and Moments in Time lies between (Table 5). Here *static* has the four "
        "actions that any frame shows, *temporal* the six that no frame shows, *mixed* both.",
    )
    names = [f"{module}-f{frames}" for frames in (8, 16) for module in MODULES]
    found = {(name, group): bench.actions(Net(name, group)) for name in names for group in GROUPS}
    fresh = {(name, group): bench.actions(Net(name, group), when="untrained") for name in names for group in GROUPS}
    if trained := known([*found.values()]):
        section.add(replace(paper_tables.datasets(trained), name="table1"))
    if untrained := known([*fresh.values()]):
        before = paper_tables.datasets(untrained)
        section.add(replace(before, name="table1-untrained", title="Before training"))
    for kind, title in paper_tables.ATR:
        pairs = {n: differences(found[n, "temporal"], found[n, "static"], kind) for n in names}
        section.find(
            f"{title} is greater on data that needs time",
            by_seed(pairs),
            f"temporal minus static: {told(pairs)}",
            "ATR tells data that need time from data that do not",
            "where every frame shows the same it does not matter where a network looks, and it looks anywhere: a great "
            "ATR does not say that the data need time",
        )
    # Half the range minus the distance from its middle: positive where mixed data lie between.
    between = {
        name: each_seed(lambda x, y, z: abs(z - x) / 2 - abs(y - (x + z) / 2), *(found[name, g] for g in GROUPS))
        for name in names
    }
    inside = [statistics.fmean(values) > 0 for values in between.values() if values]
    section.find(
        "data of both kinds lie between (Table 5)",
        by_seed(between),
        f"for {sum(inside)} of {len(inside)} networks",
        "ATR orders data sets by their share of temporal classes",
        "ATR does not order data sets by their share of temporal classes",
    )
    return section


def modules(bench: Bench) -> Section:
    """Fig. 3."""
    section = Section(
        "Fig. 3",
        "I3D against TAM",
        "avg-ATR of I3D is greater than that of TAM2D at 8, 16 and 32 frames on both data sets, by 0.5 to 1.7 frames, "
        "and the gap is greater on Kinetics.",
    )
    pairs: dict[str, list[float]] = {}
    for group, lengths in (("static", (8, 16)), ("mixed", (8, 16, 32)), ("temporal", (8, 16))):
        for frames in lengths:
            one, other = (bench.actions(Net(f"{module}-f{frames}", group)) for module in MODULES)
            pairs[f"{group} f{frames}"] = differences(one, other)
    for gap in GAPS:
        pairs[f"pairs d={gap}"] = differences(bench.pairs("I3D-R18", gap), bench.pairs("TAM5-R18", gap))
    pairs = {name: values for name, values in pairs.items() if values}
    if pairs:
        figure = bars(
            {name: statistics.fmean(values) for name, values in pairs.items()},
            deviations={name: statistics.stdev(values) for name, values in pairs.items() if len(values) > 1},
            groups={name: name.split()[0] for name in pairs},
            label="avg-ATR of I3D - TAM2D",
        )
        note = "ResNet-18; pairs: TAM2D with kernels of 5, 16 frames. Lines: deviation over seeds."
        section.add(Chart("fig3", "avg-ATR of I3D minus that of TAM2D", figure, note))
    section.find(
        "I3D has a greater avg-ATR than TAM2D",
        by_seed(pairs),
        told(pairs),
        "3D kernels spread relevance over more frames than depthwise ones, whatever was learned",
        "the module alone does not decide",
    )
    gaps = {}
    for frames in ("f8", "f16"):
        both = zip(pairs.get(f"static {frames}", []), pairs.get(f"temporal {frames}", []), strict=False)
        gaps[frames] = [static - temporal for static, temporal in both]
    section.find(
        "the gap is greater on data without temporal structure",
        by_seed(gaps),
        f"gap on static minus gap on temporal: {told(gaps)}",
        "TAM2D can leave time alone where it is not needed, I3D cannot",
        "the gap does not depend on the data as there",
    )
    return section


def backbones(bench: Bench) -> Section:
    """Fig. 4a and 12."""
    section = Section(
        "Fig. 4a, Fig. 12",
        "backbones and the number of temporal convolutions",
        "avg-ATR does not follow the strength of the backbone, rather the number of temporal convolutions; "
        "I3D-Inception has the greatest. On mini-MiT I3D-R50 is below I3D-R18, TAM2D-R50 above TAM2D-R18.",
    )
    nets = [Net(f"{module}-f16") for module in MODULES] + DEPTHS + INCEPTION
    nets += [net for net in OTHERS if "TSN" not in net.model]
    found = {net.model.removesuffix("-f16"): (net, bench.actions(net)) for net in nets}
    there = {name: (net, one) for name, (net, one) in found.items() if seeds_of(one)}
    ordered = sorted(there, key=lambda name: -over_seeds(there[name][1])[0])
    counts = {name: count_temporal_convolutions(there[name][0].untrained()) for name in ordered}
    means = {name: over_seeds(there[name][1])[0] for name in ordered}
    accuracy = {name: over_seeds(there[name][1], "accuracy")[0] for name in ordered}
    claim = "the number of temporal convolutions explains ATR better than accuracy does"
    trained = [name for name in ordered if learned(there[name][1])]
    if len(trained) > 3:
        figure = bars(
            means,
            deviations={name: over_seeds(there[name][1])[1] for name in ordered},
            groups={name: name.split("-")[0] for name in ordered},
            above={name: f"{counts[name]}\n{accuracy[name]:.0f} %" for name in ordered},
        )
        note = "Above: temporal convolutions, accuracy. 16 frames, mixed data; lines: deviation over seeds."
        note += "".join(f" {name} is poorly trained and counts for nothing." for name in ordered if name not in trained)
        section.add(Chart("fig4a", "avg-ATR by backbone", figure, note))

        def ranks(names: Sequence[str]) -> tuple[float, float]:
            atr = torch.tensor([means[name] for name in names])
            convolutions, right = (torch.tensor([float(x[name]) for name in names]) for x in (counts, accuracy))
            return spearman(atr, convolutions).item(), spearman(atr, right).item()

        def advantage(names: Sequence[str]) -> float:
            return ranks(names)[0] - abs(ranks(names)[1])

        compared = jackknife(trained, advantage)
        section.find(
            claim,
            {"": compared},
            "rank correlation over {} networks: convolutions {:.2f}, accuracy {:.2f}".format(
                len(trained), *ranks(trained)
            )
            + f"; {compared.mean:+.2f} ± {compared.error:.2f} (jackknife over networks, whose accuracies are at least "
            f"{min(accuracy[name] for name in trained):.0f} %)",
            "ATR is a property of the architecture first",
            "counting convolutions is not enough: what they are counts more",
        )
    else:
        section.find(claim, {}, "", "", "")
    greatest = max((name for name in trained if name != "I3D-Inception"), key=means.__getitem__, default=None)
    beyond = differences(there["I3D-Inception"][1], there[greatest][1]) if "I3D-Inception" in there and greatest else []
    section.find(
        "I3D-Inception has the greatest avg-ATR",
        by_seed({"": beyond}),
        f"I3D-Inception minus {greatest}, the greatest other: {spread(beyond)}",
        "its stem of seven frames and its pools along time do that",
        "its stem of seven frames does not make it the greatest here",
    )
    for module, sign in (("I3D", -1), ("TAM2D", 1)):
        deep = bench.actions(Net(f"{module}-R50-f16"))
        pairs = differences(deep, bench.actions(Net(f"{module}-R18-f16")))
        section.find(
            f"{module}-R50 {'below' if sign < 0 else 'above'} {module}-R18 (Fig. 12)",
            by_seed({"": pairs}, sign, trained=learned(deep)),
            f"R50 minus R18: {spread(pairs)}{'' if learned(deep) else POORLY.format('R50')}",
            "it has as many temporal convolutions, in bottlenecks" if sign < 0 else "it has twice the temporal modules",
            "the order of these two is not the paper's",
        )
    return section


def depth(bench: Bench) -> Section:
    """Fig. 4b."""
    section = Section(
        "Fig. 4b",
        "depth",
        "From ResNet-50 to 101 and 152 the avg-ATR grows by less than 0.5 frames. Here 18, 34 and 50: the increase is "
        "small where it is below half a frame from one depth to the next.",
    )
    found = {family: {n: bench.actions(Net(f"{family}-R{n}-f16")) for n in (18, 34, 50)} for family in ("I3D", "TAM2D")}
    curves = {f: [(n, *over_seeds(one)) for n, one in each.items() if seeds_of(one)] for f, each in found.items()}
    curves = {family: points for family, points in curves.items() if len(points) > 1}
    if curves:
        figure = trends(curves, xlabel="depth of the ResNet (16 frames, mixed data)")
        section.add(Chart("fig4b", "avg-ATR by depth", figure, "Lines: deviation over seeds."))
    for family in found:
        numbers = ", ".join(f"R{n} {around(mean, deviation)}" for n, mean, deviation in curves.get(family, []))
        weak = [n for n in found[family] if seeds_of(found[family][n]) and not learned(found[family][n])]
        numbers += "".join(POORLY.format(f"R{n}") for n in weak)
        steps = {
            f"R{a} to R{b}": below(LITTLE, more)
            for a, b in pairwise(found[family])
            if (more := differences(found[family][b], found[family][a])) and b not in weak
        }
        section.find(
            f"depth adds little avg-ATR ({family})",
            steps,
            numbers,
            "more layers do not spread relevance further",
            "the kind of block and its temporal kernels decide: R34 has twice those of R18, I3D-R50 as many as R18",
        )
    return section


def kernels(bench: Bench) -> Section:
    """Table 2."""
    section = Section(
        "Table 2",
        "temporal kernel size",
        "With kernels of 3, 5, 7 TAM2D-R50's avg-ATR is 6.3, 7.8, 8.0 (8 frames) and 8.0, 11.5, 13.4 (16 frames); "
        "accuracy does not rise with it (65.4, 64.1, 63.6 and 68.6, 68.7, 68.1).",
    )
    rows, growth, gains = [], {}, {}
    for data_set, make in (
        ("mixed, 8 frames", lambda k: bench.actions(_kernel(8, k))),
        ("mixed, 16 frames", lambda k: bench.actions(_kernel(16, k))),
        *((f"pairs d={gap}, 16 frames", lambda k, gap=gap: bench.pairs(f"TAM{k}-R18", gap)) for gap in GAPS),
    ):
        each = {k: make(k) for k in (3, 5, 7)}
        if len(known([*each.values()])) < 2:
            continue
        for size, one in each.items():
            if one is not None:
                accuracy = Value(one.summary["accuracy"]["top1"])
                rows.append([data_set, size, accuracy, value(one), value(one, "max_atr")])
        sizes = [size for size, one in each.items() if seeds_of(one)]
        for small, large in pairwise(sizes):
            growth[f"{data_set}, {small} to {large}"] = differences(each[large], each[small])
            gains[f"{data_set}, {small} to {large}"] = differences(each[large], each[small], "accuracy")
    headers = ["data", "kernel size", "accuracy (%)", "avg-ATR", "max-ATR"]
    section.add(Table("table2", "TAM2D-R18 by temporal kernel size", headers, rows, "± over clips.") if rows else None)
    section.find(
        "larger temporal kernels have a greater avg-ATR",
        by_seed(growth),
        told(growth),
        "the kernel sets how far relevance spreads",
        "a larger kernel may learn to look less far",
    )
    every = [x for values in gains.values() for x in values]
    section.find(
        "they are not more accurate",
        {name: below(POINT, values) for name, values in gains.items() if values},
        f"accuracy by step of the kernel {spread(every)} points" if every else "",
        "a greater ATR buys no accuracy",
        "here larger kernels learned better in the same training",
    )
    return section


def _kernel(frames: int, size: int) -> Net:
    net = Net(f"TAM2D-R18-f{frames}", kernel=None if size == 3 else size)
    assert size == 3 or net in KERNELS
    return net


def lengths(bench: Bench) -> Section:
    """Fig. 5a."""
    section = Section(
        "Fig. 5a",
        "number of input frames",
        "With 8, 16, 32 frames I3D-R50's avg-ATR on Kinetics is 7.0, 8.0, 8.9 (Table 1 has 5.5 and 6.6): it grows, but "
        "its share of the clip falls, .88, .50, .28. Here the same videos of 32 frames are sampled: an event lasts "
        "one, two, four of the sampled frames.",
    )
    found = {m: {n: bench.actions(Net(f"{m}-f{n}")) for n in (8, 16, 32)} for m in MODULES}
    assert {Net(f"{m}-f32") for m in MODULES} == set(LENGTHS)
    curves = {m: [(n, *over_seeds(one)) for n, one in each.items() if seeds_of(one)] for m, each in found.items()}
    if any(len(points) > 1 for points in curves.values()):
        shares = {m: [f"{100 * mean / n:.0f} %" for n, mean, _ in points] for m, points in curves.items()}
        figure = trends(curves, marks=shares, xlabel="frames of the clip (mixed data)")
        note = "Beside the points: share of the clip. Lines: deviation over seeds."
        section.add(Chart("fig5a", "avg-ATR by number of frames", figure, note))
    for module, points in curves.items():
        longer = {f"f{a} to f{b}": (a, b, found[module][a], found[module][b]) for a, b in pairwise(found[module])}
        text = ", ".join(f"f{n} {around(mean, dev)} ({mean / n:.2f} of the clip)" for n, mean, dev in points)
        section.find(
            f"more frames, greater avg-ATR ({module})",
            by_seed({name: differences(more, few) for name, (_, _, few, more) in longer.items()}),
            text,
            "with more frames relevance reaches over more of them",
            "with more frames relevance does not reach over more of them",
        )
        section.find(
            f"but a smaller share of the clip ({module})",
            by_seed(
                {
                    name: each_seed(lambda x, y, a=a, b=b: x / a - y / b, few, more)
                    for name, (a, b, few, more) in longer.items()
                }
            ),
            text,
            "kernels reach over frames, not over time: events that lie twice as many frames apart are seen by half as "
            "much of the clip",
            "here ATR keeps up with the length of the clip",
        )
    return section


def heat_maps(bench: Bench) -> Section:
    """Fig. 2."""
    section = Section(
        "Fig. 2",
        "heat maps of data sets and classes",
        "A frame is related to a few neighbours; Kinetics has more relevance at a video's beginning and end, "
        "Something-Something in its middle and on the diagonal.",
    )
    pair = {group: bench.actions(Net("I3D-R18-f16", group)) for group in ("static", "temporal")}
    fresh = bench.actions(Net("I3D-R18-f16", "temporal"), when="untrained")
    there = [one for one in pair.values() if seeds_of(one)]
    if len(there) < 2:
        section.find("a frame is related to a few neighbours", {}, "", "", "")
        return section
    maps = {}
    for group, one in pair.items():
        assert one is not None
        maps[f"{group} ({over_seeds(one)[0]:.1f})"] = one.summary["dataset"]["matrix"]
        for index in list(one.class_names)[:4] if group == "static" else [*list(one.class_names)[::2], 3]:
            atr = one.by_class("avg_atr")[index]
            maps[f"{one.class_names[index]} ({atr:.1f})"] = one.summary["classes"][f"{index:04d}"]["matrix"]
    note = "I3D-R18-f16, mean over clips, in brackets avg-ATR. First row static, second temporal data."
    section.add(Chart("fig2", "Mean relevance of data sets and classes", charts.heatmaps(maps), note))
    shapes = {name: shape(one) for name, one in (*pair.items(), ("untrained", fresh)) if one is not None}
    headers = ["", "within two frames", "on the diagonal", "in the first and last quarter"]
    rows = [[name, *(Value(100 * x) for x in shape)] for name, shape in shapes.items()]
    section.add(Table("fig2-shape", "Where the relevance lies, I3D-R18-f16 (% of all)", headers, rows))
    static, temporal = shapes["static"], shapes["temporal"]
    alone = {group: shapes_of_seeds(one) for group, one in pair.items()}
    numbers = f"within two frames on either side: static {static[0]:.0%}, temporal {temporal[0]:.0%}, untrained "
    section.find(
        "a frame is related to a few neighbours",
        {group: seeds([near - 0.5 for near, _, _ in each]) for group, each in alone.items()},
        f"{numbers}{shapes['untrained'][0]:.0%}" if "untrained" in shapes else "",
        "most relevance is near",
        "most relevance lies farther away than two frames: training moves it along the clip",
    )
    section.find(
        "temporal data have more on the diagonal",
        by_seed({"": [b[1] - a[1] for a, b in zip(*alone.values(), strict=False)]}),
        f"static {static[1]:.1%}, temporal {temporal[1]:.1%}",
        "a frame that shows something else than the others is worth looking at itself",
        "temporal data do not make a frame look at itself",
    )
    section.find(
        "static data have more at beginning and end, temporal data in the middle",
        by_seed({"": [a[2] - b[2] for a, b in zip(*alone.values(), strict=False)]}),
        f"in the first and last quarter: static {static[2]:.1%}, temporal {temporal[2]:.1%}; an even share is 50 %",
        "the order is the paper's; in both the middle has more than its share",
        "the border is not a sign of static data",
    )
    return section


def shape(one: Studied | None) -> tuple[float, float, float]:
    """Shares of the relevance within two frames, on the diagonal, in the outer quarters of the clip."""
    assert one is not None
    return _shape(one.summary["dataset"]["matrix"])


def shapes_of_seeds(one: Studied | None) -> list[tuple[float, float, float]]:
    """The same of each seed."""
    return [_shape(seed["matrix"]) for seed in one.summary["seeds"].values()] if seeds_of(one) and one else []


def _shape(mean: list[list[float]]) -> tuple[float, float, float]:
    matrix = torch.tensor(mean)
    matrix, n = matrix / matrix.sum(), len(matrix)
    lag = (torch.arange(n) - torch.arange(n)[:, None]).abs()
    outer = torch.arange(n)
    ends = (outer < n // 4) | (outer >= n - n // 4)
    return matrix[lag <= 2].sum().item(), matrix.diagonal().sum().item(), matrix[:, ends].sum().item()
