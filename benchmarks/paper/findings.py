"""What networks learn of time: windows, accuracy, classes, ensembles, pathways, sampling (Sec. 4.3, 4.4, App.)."""

from __future__ import annotations

import functools
import statistics
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from benchmarks.paper.actions import CLASSES, STATIC, TEMPORAL
from benchmarks.paper.factors import (
    GAPS,
    GROUPS,
    POORLY,
    around,
    by_seed,
    known,
    learned,
    over_seeds,
    shape,
    shapes_of_seeds,
    told,
    value,
)
from benchmarks.paper.verdicts import Comparison, below, no_correlation, points, seeds
from benchmarks.paper.nets import ANSWERS, DENSE, DEPTHS, INCEPTION, KERNELS, MODULES, OTHERS, SLOWFAST, Net
from benchmarks.paper.page import Section
from benchmarks.paper.studies import WINDOW_CLIPS, Bench, differences, seeds_of, spread
from benchmarks.planted.measures import spearman

from lrp3d.study.reporting import charts, paper_tables
from lrp3d.study import overlap, pearson
from lrp3d.study.reporting.factors import trends
from lrp3d.study.reporting.report import Chart
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.tables import Table, Value

ENOUGH = 5.0  # points of accuracy: less is noise with 150 clips
WINDOW_GAPS = (1, 4, 8)
FEW = 0.5  # frames: between these lie half of the paper's classes
CHANCE = 0.75  # of AUROC: below, ATR is no good sign of a temporal class
SMALL_R = 0.5  # of |r|: below, accuracy and ATR do not go together


def windows(bench: Bench) -> Section:
    """Fig. 6 and 14."""
    section = Section(
        "Fig. 6, Fig. 14",
        "partial uniform sampling against the ATR window",
        "Accuracy is full with windows of about 8 frames (Kinetics) and 10 (Something-Something) of 16 or 32; windows "
        "of each frame's own ATR match the curve; empty frames instead of frozen ones are worse. Fig. 6 is I3D, "
        "Fig. 14 TAM2D.",
    )
    rows: list[list[Any]] = []
    for module, number, planted in zip(MODULES, ("6", "14"), ("I3D-R18", "TAM5-R18"), strict=True):
        studies = {f"{group} f16": bench.actions(Net(f"{module}-f16", group), windows=True) for group in GROUPS}
        studies["mixed f32"] = bench.actions(Net(f"{module}-f32"), windows=True)
        studies |= {f"pairs d={gap} f16": bench.pairs(planted, gap, windows=True) for gap in WINDOW_GAPS}
        there = {name: one.summary for name, one in studies.items() if one is not None}
        for title, chosen in (("actions", "f"), ("pairs", "pairs")):
            curves = {n: s["windows"] for n, s in there.items() if n.startswith("pairs") == (chosen == "pairs")}
            if curves:
                note = "A star shows every frame the segment of its own ATR, a cross as many frames around it."
                name = f"fig{number}-{title}"
                section.add(Chart(name, f"Accuracy by window, {module}, {title}", charts.window_curves(curves), note))
        rows += [[module, name, *_row(summary)] for name, summary in there.items()]
        _judge(section, module, there)
    headers = ["model", "data", "whole clip (%)", "enough: window of", "mean ATR", "centred ATR windows (%)"]
    headers += ["ATR segments (%)", "fixed window of that size (%)"]
    headers += ["empty frames, mean over windows (%)", "frozen frames (%)"]
    note = (
        f"Enough: the smallest fixed window from which on less than {ENOUGH:g} points are lost. A centred window lies "
        "around its frame; a segment is the one whose length is the ATR. Fixed windows of that size: between two tried."
    )
    section.add(Table("fig6-windows", "Windows", headers, rows, note) if rows else None)
    return section


def _row(summary: dict[str, Any]) -> list[Any]:
    own, segment = _of(summary, "centred"), summary["segment"]
    frozen, empty = (
        statistics.fmean(w["accuracy"] for w in summary[kind] if w["window"] == w["size"])
        for kind in ("windows", "empty")
    )
    windows = [Value(own["size"], digits=1), Value(own["accuracy"]), Value(segment["accuracy"])]
    fixed = Value(_fixed(summary, own["size"]))
    return [Value(_whole(summary)), _enough(summary), *windows, fixed, Value(empty), Value(frozen)]


def _of(summary: dict[str, Any], window: str) -> dict[str, Any]:
    """The window that varies by frame, of this kind."""
    return next(one for one in summary["windows"] if one["window"] == window)


def _curve(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Fixed windows, from the smallest to the whole clip."""
    return [w for w in summary["windows"] if w["window"] == w["size"]]


def _whole(summary: dict[str, Any]) -> float:
    return _curve(summary)[-1]["accuracy"]


def _enough(summary: dict[str, Any]) -> int:
    """The window from which on accuracy is full."""
    found = 1
    fixed = _curve(summary)
    for window, wider in pairwise(fixed):
        if window["accuracy"] < _whole(summary) - ENOUGH:
            found = wider["window"]
    return found


def _fixed(summary: dict[str, Any], size: float) -> float:
    """Accuracy of a fixed window of this size, between those that were tried."""
    fixed = _curve(summary)
    for low, high in pairwise(fixed):
        if low["size"] <= size <= high["size"]:
            part = (size - low["size"]) / (high["size"] - low["size"])
            return low["accuracy"] + part * (high["accuracy"] - low["accuracy"])
    return fixed[-1]["accuracy"]


def _judge(section: Section, module: str, there: dict[str, dict[str, Any]]) -> None:
    enough = {name: _enough(summary) for name, summary in there.items()}
    clips = {name: WINDOW_CLIPS * len(summary["seeds"]) for name, summary in there.items()}

    def compared(margins: dict[str, tuple[float, ...]]) -> dict[str, Comparison]:
        return {name: points(*numbers, clips=clips[name]) for name, numbers in margins.items()}

    whole = {name: _whole(summary) for name, summary in there.items()}
    shorter = {name: _curve(summary)[-2]["accuracy"] for name, summary in there.items()}
    section.find(
        f"a window shorter than the clip is enough ({module})",
        compared({n: (ENOUGH - whole[n] + shorter[n], whole[n], shorter[n]) for n in there}),
        "enough: " + ", ".join(f"{name}: {size}" for name, size in enough.items()),
        "a frame's prediction does not use the whole clip",
        "some predictions use the whole clip",
    )
    own = {name: summary["segment"]["accuracy"] for name, summary in there.items()}
    segments = {name: whole[name] - summary["segment"]["accuracy"] for name, summary in there.items()}
    lost = {name: whole[name] - own[name] for name in there}
    section.find(
        f"each frame's ATR window is enough ({module})",
        compared({n: (ENOUGH - lost[n], whole[n], own[n]) for n in there}),
        "points lost: " + ", ".join(f"{name}: {x:.0f} (segments {segments[name]:.0f})" for name, x in lost.items()),
        "an ATR window holds what the frame needs",
        "97.5 % of a row's relevance may leave out a frame that the prediction needs",
    )
    fixed = {name: _fixed(summary, summary["segment"]["size"]) for name, summary in there.items()}
    section.find(
        f"ATR windows match fixed windows of the same size ({module})",
        compared({n: (ENOUGH - fixed[n] + own[n], fixed[n], own[n]) for n in there}),
        "points above the fixed window: " + ", ".join(f"{name}: {own[name] - fixed[name]:+.0f}" for name in there),
        "as large a window would have done as well wherever it is",
        "windows by relevance do worse than windows of one size",
    )
    frozen = {name: statistics.fmean(w["accuracy"] for w in _curve(summary)) for name, summary in there.items()}
    empty = {name: statistics.fmean(w["accuracy"] for w in summary["empty"]) for name, summary in there.items()}
    section.find(
        f"empty frames are worse than frozen ones ({module})",
        compared({n: (frozen[n] - empty[n], frozen[n], empty[n]) for n in there}),
        "points lost, mean over windows: " + ", ".join(f"{name}: {frozen[name] - empty[name]:+.1f}" for name in there),
        "an empty frame is something the network has never seen",
        "a frozen edge can be worse: where a frame that decides is at the window's end, it is shown many times",
    )


def accuracies(bench: Bench) -> Section:
    """Fig. 7."""
    section = Section(
        "Fig. 7",
        "accuracy against avg-ATR",
        "Over 15 models, Pearson's r is close to zero on both data sets. Here the networks of 16 frames on mixed data "
        "as they are after the same 120 steps of training, when they differ in accuracy.",
    )
    nets = [Net(f"{module}-f16") for module in MODULES] + DEPTHS + INCEPTION
    nets += [*OTHERS, *(net for net in KERNELS if net.model.endswith("f16"))]
    for when, title in (("early", "after one round"), ("model", "at the end of training")):
        found = {
            f"{net.model}{f' (kernel {net.kernel})' if net.kernel else ''}": bench.actions(net, when=when)
            for net in nets
        }
        there = {name: one for name, one in found.items() if seeds_of(one)}
        if len(there) < 4:
            section.find(f"accuracy does not go with avg-ATR, {title}", {}, "", "", "")
            continue
        points = {name: (over_seeds(one)[0], over_seeds(one, "accuracy")[0]) for name, one in there.items()}
        name = f"fig7-{when}"
        figure = charts.accuracy_scatter(*map(list, zip(*points.values(), strict=True)), list(points))
        section.add(Chart(name, f"Accuracy against avg-ATR, {title}", figure, "Mean over seeds; r is with TSN."))
        said = pearson(*map(list, zip(*points.values(), strict=True)))
        timed = {name: point for name, point in points.items() if "TSN" not in name}
        without = pearson(*map(list, zip(*timed.values(), strict=True)))
        section.find(
            f"accuracy does not go with avg-ATR, {title}",
            {"": no_correlation(SMALL_R, without)},
            f"{without} without TSN, which the paper has not and whose ATR is 1; with it {said}",
            "a greater ATR is no better network",
            "ATR and accuracy go together here",
        )
    return section


def by_class(bench: Bench) -> tuple[Section, Section]:
    """Fig. 8 and 15; Table 3 and Fig. 9."""
    alike = Section(
        "Fig. 8, Fig. 15",
        "ATR over classes",
        "Most of Something-Something's classes have an avg-ATR between 7.7 and 8.2 (I3D-R50-f16): no significant "
        "difference; max-ATR differs by no more than 1.0.",
    )
    agree = Section(
        "Table 3, Fig. 9",
        "temporal against static classes",
        "Of people's 18 temporal classes 22 to 39 % are among the model's 18 most temporal ones; static classes have "
        "ATR as great as temporal ones. Here it is known which classes need time: six of ten.",
    )
    truth = (list(range(len(STATIC), len(CLASSES))), list(range(len(STATIC))))
    studies = {module: bench.actions(Net(f"{module}-f16")) for module in MODULES}
    for (module, one), number in zip(studies.items(), ("8", "15"), strict=True):
        values = one.by_class("avg_atr") if one is not None else torch.tensor([torch.nan])
        if one is None or values.isnan().all():
            alike.find(f"classes do not differ in avg-ATR ({module})", {}, "", "", "")
            agree.find(f"temporal classes do not have the greater avg-ATR ({module})", {}, "", "", "")
            continue
        figure = charts.class_curve(values, one.by_class("avg_atr", "std"), one.by_class("max_atr"))
        alike.add(Chart(f"fig{number}", f"Classes by ATR, {module}-f16", figure, "Lines: deviation over clips."))
        alike.add(replace(paper_tables.classes(one), name=f"fig{number}-classes"))
        within = one.by_class("avg_atr", "std").nanmean().item()
        greatest = one.by_class("max_atr")
        low, high = values[~values.isnan()].min().item(), values[~values.isnan()].max().item()
        steady = _between_seeds(one)
        alike.find(
            f"classes do not differ in avg-ATR ({module})",
            {"": below(FEW, [_half(values) for values in _classes(one)])},
            f"from {low:.1f} to {high:.1f}, half of them within {_half(values):.1f} "
            f"frames; deviation within a class {within:.1f}; max-ATR from {greatest.min().item():.1f} to "
            f"{greatest.max().item():.1f}; rank correlation of classes between seeds {steady}",
            "one ATR fits all classes",
            "classes differ; how far seeds agree says how much of it is the class and how much the training",
        )
        figure = charts.human_scatter(values, *truth)
        figure.axes[0].set_xlabel("classes that need time or do not, as is known, sorted")
        agree.add(Chart(f"fig9-{module.split('-')[0].lower()}", f"Temporal and static classes, {module}-f16", figure))
        found = overlap(values, *truth)
        by_kind = dict(zip(("temporal", "static"), truth, strict=True))
        shares = {kind: [x for i, x in enumerate(values.tolist()) if i in own] for kind, own in by_kind.items()}
        agree.find(
            f"temporal classes do not have the greater avg-ATR ({module})",
            {"": below(CHANCE, [overlap(values, *truth).auroc for values in _classes(one)])},
            f"AUROC {found.auroc:.2f}; temporal agreed {found.temporal:.0%} (chance {found.chance[0]:.0%}), static "
            f"agreed {found.static:.0%} (chance {found.chance[1]:.0%}); mean temporal "
            f"{statistics.fmean(shares['temporal']):.2f}, static {statistics.fmean(shares['static']):.2f}",
            "the disagreement need not be people's: ATR does not tell which classes need time where that is known",
            "where it is known which classes need time, ATR does tell",
        )
    people = {one.name: truth for one in known([*studies.values()])}
    table = paper_tables.agreement(known([*studies.values()]), people) if people else None
    title = "Temporal and static classes, as they are and by ATR"
    note = "Share of the temporal (static) classes among as many classes of greatest (least) ATR."
    agree.add(replace(table, name="table3", title=title, note=note) if table else None)
    assert len(TEMPORAL) == len(truth[0])
    return alike, agree


def _between_seeds(one: Studied) -> str:
    """How far seeds agree on which classes have the greater ATR."""
    each = _classes(one)
    pairs = [spearman(a, b).item() for i, a in enumerate(each) for b in each[:i]]
    return f"{statistics.fmean(pairs):.2f}" if pairs else "unknown"


def _classes(one: Studied) -> list[torch.Tensor]:
    """avg-ATR (k,) by class, of every seed."""
    return [
        torch.tensor([x if x is not None else torch.nan for x in seed["classes"].values()])
        for seed in one.summary["seeds"].values()
    ]


def _half(values: torch.Tensor) -> float:
    """How far the middle half of the classes reaches."""
    low, high = values[~values.isnan()].double().quantile(torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
    return high - low


def ensembles(bench: Bench) -> Section:
    """Fig. 10."""
    section = Section(
        "Fig. 10",
        "fewer ensembled output frames",
        "TAM2D-R50-f16 trained to answer from 1, 2, 4, 8 or all frames has a greater avg-ATR the fewer they are.",
    )
    nets = {net.answers or 16: net for net in (*ANSWERS, Net("TAM2D-R18-f16"))}
    found = {frames: bench.actions(net) for frames, net in sorted(nets.items())}
    there = {frames: one for frames, one in found.items() if seeds_of(one)}
    if len(there) < 3:
        section.find("fewer ensembled frames, greater avg-ATR", {}, "", "", "")
        return section
    curve = [(frames, *over_seeds(one)) for frames, one in there.items()]
    marks = [f"{over_seeds(one, 'accuracy')[0]:.0f} %" for one in there.values()]
    figure = trends(
        {"TAM2D-R18-f16": curve}, marks={"TAM2D-R18-f16": marks}, xlabel="frames that are ensembled (mixed data)"
    )
    section.add(Chart("fig10", "avg-ATR by ensembled frames", figure, "Beside the points: accuracy."))
    steps = {f"{few} over {more}": differences(there[few], there[more]) for few, more in pairwise(there)}
    section.find(
        "fewer ensembled frames, greater avg-ATR",
        by_seed(steps),
        ", ".join(f"{frames}: {around(mean, deviation)}" for frames, mean, deviation in curve),
        "a frame that answers alone has to look further",
        "a frame that answers alone does not look further",
    )
    return section


def slowfast(bench: Bench) -> Section:
    """Table 4 and Fig. 11."""
    section = Section(
        "Table 4, Fig. 11",
        "SlowFast",
        "avg-ATR of SlowFast-R50-8x8 is 3.7 where I3D-R50-f8 has 5.5 (Kinetics), max-ATR 5.4 and 7.0, though it is "
        "shown four times the frames.",
    )
    found = [bench.actions(net) for net in SLOWFAST]
    if not all(seeds_of(one) for one in found):
        section.find("SlowFast has the smaller avg-ATR", {}, "", "", "")
        return section
    section.add(replace(paper_tables.datasets(known(found)), name="table4", title="SlowFast beside I3D"))
    maps = {one.model: one.summary["dataset"]["matrix"] for one in known(found)}
    figure, note = charts.heatmaps(maps, unit="step"), "Steps of SlowFast are of four frames."
    section.add(Chart("fig11", "Mean relevance, I3D and SlowFast", figure, note))
    for kind, title in paper_tables.ATR:
        pairs = differences(found[0], found[1], kind)
        section.find(
            f"SlowFast has the smaller {title}",
            by_seed({"": pairs}, trained=learned(found[0])),
            f"I3D minus SlowFast, on mixed data: {spread(pairs)}{'' if learned(found[0]) else POORLY.format('I3D')}",
            "fewer temporal kernels in the slow pathway, a narrow fast one",
            "a slow pathway with temporal kernels in two stages only reaches as far",
        )
    return section


def methods(bench: Bench) -> Section:
    """Table 6."""
    section = Section(
        "Table 6",
        "LRP against CLRP",
        "LRP has the smaller ATR: avg-ATR -0.3, -0.4, -0.3, -0.7 and max-ATR -1.3, -1.0, -1.0, -1.3.",
    )
    nets = [(module, group, Net(f"{module}-f16", group)) for module in MODULES for group in GROUPS]
    sources = {f"{module}-f16, {group}": functools.partial(bench.actions, net) for module, group, net in nets}
    for name, short in (("I3D-R18", "I3D-R18-f16"), ("TAM5-R18", "TAM2D-R18-f16 (kernel 5)")):
        for gap in GAPS:
            sources[f"{short}, pairs d={gap}"] = lambda name=name, gap=gap, **way: bench.pairs(name, gap, **way)
    found = {name: (make(), make(contrastive=False)) for name, make in sources.items()}
    there = {name: pair for name, pair in found.items() if seeds_of(pair[0]) and seeds_of(pair[1])}
    table = paper_tables.contrast([one for pair in there.values() for one in known(pair)]) if there else None
    section.add(replace(table, name="table6") if table else None)
    for kind, title in paper_tables.ATR:
        for family in ("I3D", "TAM2D"):
            pairs = {n: differences(*pair, kind) for n, pair in there.items() if n.startswith(family)}
            section.find(
                f"LRP has the smaller {title} ({family})",
                by_seed(pairs),
                f"CLRP minus LRP: {told(pairs)}",
                "contrast makes the window longer",
                "contrast does not make every window longer: it takes away what all classes share, often far frames",
            )
    return section


def samplings(bench: Bench) -> Section:
    """Table 7 and Fig. 13."""
    section = Section(
        "Table 7, Fig. 13",
        "dense against uniform sampling",
        "Dense sampling lowers avg-ATR (-0.6, +0.1, -0.4, -0.1), raises max-ATR (+0.3, +1.0, +0.3, +0.4) and loses "
        "about 13 points of single-clip accuracy. Here 8 or 16 consecutive frames of the 32 against even spacing.",
    )
    dense = {net.model: bench.actions(net) for net in DENSE}
    even = {net.model: bench.actions(replace(net, dense=False)) for net in DENSE}
    there = [name for name in dense if seeds_of(dense[name]) and seeds_of(even[name])]
    table = (
        paper_tables.samplings([one for name in there for one in known([even[name], dense[name]])]) if there else None
    )
    section.add(replace(table, name="table7") if table else None)
    maps = {}
    for kind, group in (("uniform", even), ("dense", dense)):
        for name in (n for n in there if n.endswith("f16")):
            one = group[name]
            assert one is not None
            maps[f"{kind}, {name}"] = one.summary["dataset"]["matrix"]
    section.add(Chart("fig13", "Mean relevance by sampling", charts.heatmaps(maps, columns=4)) if maps else None)
    for kind, title, sign in (("avg_atr", "smaller avg-ATR", -1), ("max_atr", "greater max-ATR", 1)):
        pairs = {name: [sign * x for x in differences(dense[name], even[name], kind)] for name in there}
        raw = {name: differences(dense[name], even[name], kind) for name in there}
        section.find(
            f"dense sampling has the {title}",
            by_seed(pairs),
            f"dense minus uniform: {told(raw)}",
            "consecutive frames are alike",
            "what consecutive frames change of ATR depends on network and length",
        )
    ends = {name: [shape(even[name])[2], shape(dense[name])[2]] for name in there if name.endswith("f16")}
    section.find(
        "dense sampling has more relevance at beginning and end (Fig. 13)",
        {
            name: seeds(
                [b[2] - a[2] for a, b in zip(shapes_of_seeds(even[name]), shapes_of_seeds(dense[name]), strict=False)]
            )
            for name in ends
        },
        "in the first and last quarter, uniform and dense: "
        + "; ".join(f"{name} {one[0]:.1%} and {one[1]:.1%}" for name, one in ends.items()),
        "of consecutive frames those farthest apart differ most",
        "consecutive frames do not move relevance to the ends here",
    )
    lost = {name: differences(even[name], dense[name], "accuracy") for name in there}
    section.find(
        "dense sampling is less accurate with a single clip",
        by_seed(lost),
        f"points lost: {told(lost)}",
        "what lies outside the window is not seen",
        "the window holds enough here",
    )
    return section


__all__ = ["accuracies", "by_class", "ensembles", "methods", "samplings", "slowfast", "value", "windows"]
