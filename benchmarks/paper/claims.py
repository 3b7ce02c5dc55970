"""The paper's findings as questions stated before any ATR was looked at: one number of every seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from benchmarks.paper.actions import CLASSES, STATIC
from benchmarks.paper.nets import DENSE, MODULES, SLOWFAST, Net
from benchmarks.paper.records import Bench, Missing, auroc, between_variance, fixed, pearson, spearman
from benchmarks.paper.statistics import Question, Sample, slope
from lrp3d.models import count_temporal_convolutions

FRAMES, POINTS, CORRELATION, AREA = 0.5, 5.0, 0.3, 0.1
"""Margins, below which two things are the same: frames of ATR (what depth adds in the paper), points of accuracy, r,
and AUROC to either side of chance."""
SPREAD = (FRAMES / (2 * 0.674)) ** 2
"""The variance between classes at which half of them lie within FRAMES, as the paper has it of its classes."""
STATIC_CLASSES, TEMPORAL_CLASSES = tuple(range(len(STATIC))), tuple(range(len(STATIC), len(CLASSES)))
WINDOW_SIZES = ("1", "2", "4", "6", "8", "12")
NEAR = 2  # frames to either side


@dataclass(frozen=True)
class Claim:
    """A finding of the paper, and the number of a training seed that decides.

    Args:
        paper: its table or figure.
        finding: what the paper says.
        number: what is computed of every seed; positive where it speaks for the paper, unless a margin is given.
        unit: of the number.
        measure: computes it; raises `Missing` where networks of that seed are.
        margin: of "no difference"; None for "greater than zero".
        upper_only: whether only a number above the margin is a difference.
        theirs: the paper's numbers.
    """

    paper: str
    finding: str
    number: str
    unit: str
    measure: Callable[[Bench, int], float]
    theirs: str
    margin: float | None = None
    upper_only: bool = False

    @property
    def name(self) -> str:
        """Of both together."""
        return f"{self.paper}: {self.finding}"

    def sample(self, bench: Bench) -> Sample:
        """The number of every seed whose networks are all there."""
        values = []
        for seed in bench.seeds:
            try:
                value = self.measure(bench, seed)
            except Missing:
                continue
            if not math.isnan(value):
                values.append(value)
        return Sample(values)

    def question(self, bench: Bench) -> Question:
        """What is tested."""
        return Question(self.sample(bench), self.margin, self.upper_only)


def _f16(dataset: str = "mixed") -> list[Net]:
    return [Net(f"{module}-f16", dataset) for module in MODULES]


def _over(nets: Sequence[Net], measure: Callable[[Net], float]) -> float:
    return statistics.fmean(measure(net) for net in nets)


def _data(kind: str) -> Callable[[Bench, int], float]:
    """Temporal minus static data."""
    return lambda bench, seed: _over(
        _f16("temporal"), lambda net: bench.atr(net, seed, kind) - bench.atr(replace(net, dataset="static"), seed, kind)
    )


def _between(bench: Bench, seed: int) -> float:
    """Half the distance of both data sets minus how far the mixed one is from their middle."""

    def inside(module: str) -> float:
        low, mid, high = (bench.atr(Net(f"{module}-f16", group), seed) for group in ("static", "mixed", "temporal"))
        return abs(high - low) / 2 - abs(mid - (low + high) / 2)

    return statistics.fmean(map(inside, MODULES))


def shares(matrix: list[list[float]]) -> tuple[float, float, float]:
    """Percent of the relevance within two frames, on the diagonal, in the first and last quarter of the clip."""
    mean = torch.tensor(matrix, dtype=torch.float64)
    mean, n = mean / mean.sum(), len(mean)
    frame = torch.arange(n)
    lag = (frame - frame[:, None]).abs()
    ends = (frame < n // 4) | (frame >= n - n // 4)
    each = mean[lag <= NEAR].sum(), mean.diagonal().sum(), mean[:, ends].sum()
    near, diagonal, outer = (100 * share.item() for share in each)
    return near, diagonal, outer


def _share(place: int, dataset: str, bench: Bench, seed: int, dense: bool = False) -> float:
    return shares(bench.matrix(Net("I3D-R18-f16", dataset, dense=dense), seed))[place]


def _modules(bench: Bench, seed: int, frames: int, dataset: str = "mixed") -> float:
    """I3D minus TAM2D."""
    one, other = (bench.atr(Net(f"{module}-f{frames}", dataset), seed) for module in MODULES)
    return one - other


def _minus(one: Net, other: Net, kind: str = "avg_atr") -> Callable[[Bench, int], float]:
    return lambda bench, seed: bench.atr(one, seed, kind) - bench.atr(other, seed, kind)


BACKBONE_NETS = [*_f16(), *(Net(name) for name in ("I3D-R50-f16", "TAM2D-R50-f16", "I3D-Inception-f16"))]
SCATTER_NETS = [*BACKBONE_NETS, *(Net("TAM2D-R18-f16", kernel=kernel) for kernel in (5, 7))]
KERNEL_NETS = [Net("TAM2D-R18-f16"), *(Net("TAM2D-R18-f16", kernel=kernel) for kernel in (5, 7))]
ANSWER_NETS = {1: Net("TAM2D-R18-f16", answers=1), 4: Net("TAM2D-R18-f16", answers=4), 16: Net("TAM2D-R18-f16")}


@cache
def convolutions(net: Net) -> int:
    """How many temporal convolutions a network has."""
    return count_temporal_convolutions(net.untrained())


def _architecture(bench: Bench, seed: int) -> float:
    """By how much the rank correlation of ATR with temporal convolutions exceeds that with accuracy."""
    atr = [bench.atr(net, seed) for net in BACKBONE_NETS]
    counts = [float(convolutions(net)) for net in BACKBONE_NETS]
    return spearman(atr, counts) - spearman(atr, [bench.accuracy(net, seed) for net in BACKBONE_NETS])


def _scatter(bench: Bench, seed: int) -> float:
    return pearson([bench.atr(net, seed) for net in SCATTER_NETS], [bench.accuracy(net, seed) for net in SCATTER_NETS])


def _depth(bench: Bench, seed: int) -> float:
    return statistics.fmean(
        bench.atr(Net(f"{family}-R34-f16"), seed) - bench.atr(Net(f"{family}-R18-f16"), seed)
        for family in ("I3D", "TAM2D")
    )


def _kernels(measure: Callable[[Net], float]) -> float:
    return slope((0, 1, 2), [measure(net) for net in KERNEL_NETS])


def _lengths(bench: Bench, seed: int, share: bool) -> float:
    """Growth by doubling, of frames or of percent of the clip."""

    def growth(module: str) -> float:
        each = [bench.atr(Net(f"{module}-f{n}"), seed) * (100 / n if share else 1) for n in (8, 16, 32)]
        return slope((0, 1, 2), each)

    return statistics.fmean(map(growth, MODULES))


def _windows(measure: Callable[[dict[str, float]], float]) -> Callable[[Bench, int], float]:
    """Mean over both modules, on mixed and temporal data."""
    nets = [*_f16("mixed"), *_f16("temporal")]
    return lambda bench, seed: _over(nets, lambda net: measure(bench.windows(net, seed)))


def _empty(windows: dict[str, float]) -> float:
    return statistics.fmean(windows[size] - windows[f"empty {size}"] for size in WINDOW_SIZES)


def _classes(bench: Bench, seed: int) -> float:
    def variance(net: Net) -> float:
        clips = bench.clips(net, seed)
        return between_variance([value for label, value in clips if label == own] for own in range(len(CLASSES)))

    return _over(_f16(), variance)


def _kinds(bench: Bench, seed: int) -> float:
    """AUROC of temporal classes' ATR, minus chance."""

    def area(net: Net) -> float:
        clips = bench.clips(net, seed)
        each = [[value for label, value in clips if label in own] for own in (TEMPORAL_CLASSES, STATIC_CLASSES)]
        if not all(each):
            raise Missing("no clip of one kind counts")
        return auroc(*each) - 0.5

    return _over(_f16(), area)


def _contrast(kind: str) -> Callable[[Bench, int], float]:
    nets = [net for group in ("static", "mixed", "temporal") for net in _f16(group)]
    return lambda bench, seed: _over(nets, lambda net: bench.atr(net, seed, kind) - bench.atr(net, seed, f"lrp_{kind}"))


def _dense(measure: Callable[[Bench, Net, int], float]) -> Callable[[Bench, int], float]:
    """Dense minus uniform."""
    return lambda bench, seed: _over(
        DENSE, lambda net: measure(bench, net, seed) - measure(bench, replace(net, dense=False), seed)
    )


def _negative(measure: Callable[[Bench, int], float]) -> Callable[[Bench, int], float]:
    return lambda bench, seed: -measure(bench, seed)


I3D, TAM2D = (Net(f"{module}-f16") for module in MODULES)
CLAIMS = (
    Claim(
        "Table 1",
        "avg-ATR is greater on data that need time",
        "avg-ATR, temporal minus static data, mean of I3D and TAM2D",
        "frames",
        _data("avg_atr"),
        "+1.0, +1.8, +1.6, +2.4",
    ),
    Claim(
        "Table 1",
        "max-ATR is greater on data that need time",
        "the same of max-ATR",
        "frames",
        _data("max_atr"),
        "+0.7, +1.8, +0.9, +2.2",
    ),
    Claim(
        "Table 5",
        "data of both kinds lie between",
        "how far avg-ATR on mixed data lies inside the other two",
        "frames",
        _between,
        "Moments in Time between Kinetics and Something-Something",
    ),
    Claim(
        "Fig. 2",
        "a frame is related to a few neighbours",
        "share of I3D's relevance within two frames, minus half, mean of static and temporal data",
        "% of relevance",
        lambda b, s: (_share(0, "static", b, s) + _share(0, "temporal", b, s)) / 2 - 50,
        "seen in the heat maps",
    ),
    Claim(
        "Fig. 2",
        "temporal data have more on the diagonal",
        "share on the diagonal, temporal minus static data (I3D)",
        "% of relevance",
        lambda b, s: _share(1, "temporal", b, s) - _share(1, "static", b, s),
        "seen in heat maps",
    ),
    Claim(
        "Fig. 2",
        "static data have more at beginning and end",
        "share in the first and last quarter, static minus temporal data (I3D)",
        "% of relevance",
        lambda b, s: _share(2, "static", b, s) - _share(2, "temporal", b, s),
        "seen in the heat maps",
    ),
    Claim(
        "Fig. 3",
        "I3D has a greater avg-ATR than TAM2D",
        "I3D minus TAM2D, mean of 8, 16 and 32 frames",
        "frames",
        lambda b, s: statistics.fmean(_modules(b, s, n) for n in (8, 16, 32)),
        "+0.5 to +1.7",
    ),
    Claim(
        "Fig. 3",
        "the gap is greater on data without temporal structure",
        "I3D minus TAM2D on static data, minus the same on temporal data",
        "frames",
        lambda b, s: _modules(b, s, 16, "static") - _modules(b, s, 16, "temporal"),
        "greater on Kinetics",
    ),
    Claim(
        "Fig. 4a",
        "temporal convolutions explain ATR better than accuracy does",
        "rank correlation of avg-ATR with their number, minus that with accuracy, over five networks",
        "correlation",
        _architecture,
        "seen in the bars",
    ),
    Claim(
        "Fig. 4a",
        "I3D-Inception has a greater avg-ATR than I3D-R18",
        "I3D-Inception minus I3D-R18",
        "frames",
        _minus(Net("I3D-Inception-f16"), I3D),
        "the greatest of all",
    ),
    Claim(
        "Fig. 12",
        "I3D-R50 is below I3D-R18",
        "R18 minus R50",
        "frames",
        _minus(I3D, Net("I3D-R50-f16")),
        "R50 below",
    ),
    Claim(
        "Fig. 12",
        "TAM2D-R50 is above TAM2D-R18",
        "R50 minus R18",
        "frames",
        _minus(Net("TAM2D-R50-f16"), TAM2D),
        "R50 above",
    ),
    Claim(
        "Fig. 4b",
        "depth adds little avg-ATR",
        "R34 minus R18, mean of I3D and TAM2D",
        "frames",
        _depth,
        "less than 0.5 from R50 to R152",
        FRAMES,
        True,
    ),
    Claim(
        "Table 2",
        "larger temporal kernels have a greater avg-ATR",
        "slope by step of the kernel, 3, 5, 7 (TAM2D)",
        "frames a step",
        lambda b, s: _kernels(lambda net: b.atr(net, s)),
        "+2.7 a step (16 frames)",
    ),
    Claim(
        "Table 2",
        "larger temporal kernels are not more accurate",
        "slope of accuracy by step of the kernel",
        "points a step",
        lambda b, s: _kernels(lambda net: b.accuracy(net, s)),
        "-0.25 a step (16 frames)",
        POINTS / 2,
        True,
    ),
    Claim(
        "Fig. 5a",
        "more frames, greater avg-ATR",
        "slope by doubling of the frames, 8, 16, 32, mean of I3D and TAM2D",
        "frames a doubling",
        lambda b, s: _lengths(b, s, False),
        "+0.95",
    ),
    Claim(
        "Fig. 5a",
        "more frames, a smaller share of the clip",
        "fall of avg-ATR in percent of the clip by doubling",
        "% of the clip a doubling",
        _negative(lambda b, s: _lengths(b, s, True)),
        "-30",
    ),
    Claim(
        "Fig. 6, 14",
        "half of the clip is enough for a frame's prediction",
        "accuracy with the whole clip minus that with windows of 8 of 16 frames, mean of I3D and TAM2D on mixed "
        "and temporal data",
        "points",
        _windows(lambda w: w["16"] - w["8"]),
        "full from 8 to 10 frames on",
        POINTS,
        True,
    ),
    Claim(
        "Fig. 6, 14",
        "segments of each frame's ATR match fixed windows of the same size",
        "accuracy with segments minus that with fixed windows as long as their mean",
        "points",
        _windows(lambda w: w["segment"] - fixed(w, w["size"])),
        "match well",
        POINTS,
    ),
    Claim(
        "Fig. 6, 14",
        "empty frames are worse than frozen ones",
        "accuracy with frozen minus that with empty frames outside the window, mean over windows",
        "points",
        _windows(_empty),
        "worse",
    ),
    Claim(
        "Fig. 7",
        "accuracy does not go with avg-ATR",
        "Pearson's r over seven networks of 16 frames",
        "r",
        _scatter,
        "close to zero",
        CORRELATION,
    ),
    Claim(
        "Fig. 8, 15",
        "classes do not differ in avg-ATR",
        "variance between classes beyond that of their clips, mean of I3D and TAM2D",
        "frames²",
        _classes,
        "half of the classes within 0.5 frames",
        SPREAD,
        True,
    ),
    Claim(
        "Table 3, Fig. 9",
        "temporal classes do not have the greater avg-ATR",
        "AUROC of temporal against static clips by avg-ATR, minus chance, mean of I3D and TAM2D",
        "AUROC",
        _kinds,
        "scattered",
        AREA,
    ),
    Claim(
        "Fig. 10",
        "fewer ensembled frames, greater avg-ATR",
        "rise by halving of the ensembled frames, 16, 4, 1 (TAM2D)",
        "frames a halving",
        lambda b, s: -slope((0, 2, 4), [b.atr(net, s) for net in ANSWER_NETS.values()]),
        "rises",
    ),
    Claim(
        "Table 4",
        "SlowFast has a smaller avg-ATR than I3D",
        "I3D-R50-f8 minus SlowFast-R50-8x8",
        "frames",
        _minus(*SLOWFAST),
        "+1.8",
    ),
    Claim(
        "Table 6",
        "LRP has a smaller avg-ATR than CLRP",
        "CLRP minus LRP, mean of I3D and TAM2D on three data sets",
        "frames",
        _contrast("avg_atr"),
        "+0.3, +0.4, +0.3, +0.7",
    ),
    Claim(
        "Table 6",
        "LRP has a smaller max-ATR than CLRP",
        "the same of max-ATR",
        "frames",
        _contrast("max_atr"),
        "+1.3, +1.0, +1.0, +1.3",
    ),
    Claim(
        "Table 7",
        "dense sampling has a smaller avg-ATR",
        "uniform minus dense, mean of I3D and TAM2D",
        "frames",
        _negative(_dense(lambda b, net, s: b.atr(net, s))),
        "+0.6, -0.1, +0.4, +0.1",
    ),
    Claim(
        "Table 7",
        "dense sampling has a greater max-ATR",
        "dense minus uniform, mean of I3D and TAM2D",
        "frames",
        _dense(lambda b, net, s: b.atr(net, s, "max_atr")),
        "+0.3, +1.0, +0.3, +0.4",
    ),
    Claim(
        "Table 7",
        "dense sampling is less accurate",
        "uniform minus dense, mean of I3D and TAM2D",
        "points",
        _negative(_dense(lambda b, net, s: b.accuracy(net, s))),
        "+13",
    ),
    Claim(
        "Fig. 13",
        "dense sampling has more relevance at beginning and end",
        "share in the first and last quarter, dense minus uniform (I3D)",
        "% of relevance",
        lambda b, s: _share(2, "mixed", b, s, True) - _share(2, "mixed", b, s),
        "seen in the heat maps",
    ),
)
