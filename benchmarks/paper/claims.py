"""The paper's findings as questions stated before any ATR was looked at: one number of every seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.paper import measures
from benchmarks.paper.nets import MODULES, SLOWFAST, Net
from benchmarks.paper.records import Bench, Listening, Missing, fixed
from benchmarks.paper.statistics import Question, Sample, slope

FRAMES, POINTS, CORRELATION, AREA = 0.5, 5.0, 0.3, 0.1
"""Margins, below which two things are the same: frames of ATR (what depth adds in the paper), points of accuracy, r,
and AUROC to either side of chance."""
ROOM = (60.0, 95.0)
"""Percent of accuracy between which a network leaves room for another to be better or worse."""
SPREAD = (FRAMES / (2 * 0.674)) ** 2
"""The variance between classes at which half of them lie within FRAMES, as the paper has it of its classes."""


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

    def accuracies(self, bench: Bench) -> dict[str, float]:
        """The mean accuracy of every network whose accuracy is part of the number, in percent."""
        listening = Listening(bench.records, bench.counted, bench.longer)
        self.sample(listening)
        keys = sorted({key for key, _ in listening.accuracies})
        return {
            key: statistics.fmean(100 * r["accuracy"] for (k, _), r in bench.records.items() if k == key)
            for key in keys
        }

    def question(self, bench: Bench) -> Question:
        """What is tested."""
        return Question(self.sample(bench), self.margin, self.upper_only)


I3D, TAM2D = (Net(f"{module}-f16") for module in MODULES)
CLAIMS = (
    Claim(
        "Table 1",
        "avg-ATR is greater on data that need time",
        "avg-ATR, temporal minus static data, mean of I3D and TAM2D",
        "frames",
        measures.temporal_minus_static("avg_atr"),
        "+1.0, +1.8, +1.6, +2.4",
    ),
    Claim(
        "Table 1",
        "max-ATR is greater on data that need time",
        "the same of max-ATR",
        "frames",
        measures.temporal_minus_static("max_atr"),
        "+0.7, +1.8, +0.9, +2.2",
    ),
    Claim(
        "Table 5",
        "data of both kinds lie between",
        "how far avg-ATR on mixed data lies inside the other two",
        "frames",
        measures.mixed_inside,
        "Moments in Time between Kinetics and Something-Something",
    ),
    Claim(
        "Fig. 2",
        "a frame is related to a few neighbours",
        "share of I3D's relevance within two frames, minus half, mean of static and temporal data",
        "% of relevance",
        lambda b, s: (measures.share_of(0, "static", b, s) + measures.share_of(0, "temporal", b, s)) / 2 - 50,
        "seen in the heat maps",
    ),
    Claim(
        "Fig. 2",
        "temporal data have more on the diagonal",
        "share on the diagonal, temporal minus static data (I3D)",
        "% of relevance",
        lambda b, s: measures.share_of(1, "temporal", b, s) - measures.share_of(1, "static", b, s),
        "seen in heat maps",
    ),
    Claim(
        "Fig. 2",
        "static data have more at beginning and end",
        "share in the first and last quarter, static minus temporal data (I3D)",
        "% of relevance",
        lambda b, s: measures.share_of(2, "static", b, s) - measures.share_of(2, "temporal", b, s),
        "seen in the heat maps",
    ),
    Claim(
        "Fig. 3",
        "I3D has a greater avg-ATR than TAM2D",
        "I3D minus TAM2D, mean of 8, 16 and 32 frames",
        "frames",
        lambda b, s: statistics.fmean(measures.i3d_minus_tam2d(b, s, n) for n in (8, 16, 32)),
        "+0.5 to +1.7",
    ),
    Claim(
        "Fig. 3",
        "the gap is greater on data without temporal structure",
        "I3D minus TAM2D on static data, minus the same on temporal data",
        "frames",
        lambda b, s: measures.i3d_minus_tam2d(b, s, 16, "static") - measures.i3d_minus_tam2d(b, s, 16, "temporal"),
        "greater on Kinetics",
    ),
    Claim(
        "Fig. 4a",
        "temporal convolutions explain ATR better than accuracy does",
        "rank correlation of avg-ATR with their number, minus that with accuracy, over five networks",
        "correlation",
        measures.convolutions_over_accuracy,
        "seen in the bars",
    ),
    Claim(
        "Fig. 4a",
        "I3D-Inception has a greater avg-ATR than I3D-R18",
        "I3D-Inception minus I3D-R18",
        "frames",
        measures.difference(Net("I3D-Inception-f16"), I3D),
        "the greatest of all",
    ),
    Claim(
        "Fig. 12",
        "I3D-R50 is below I3D-R18",
        "R18 minus R50",
        "frames",
        measures.difference(I3D, Net("I3D-R50-f16")),
        "R50 below",
    ),
    Claim(
        "Fig. 12",
        "TAM2D-R50 is above TAM2D-R18",
        "R50 minus R18",
        "frames",
        measures.difference(Net("TAM2D-R50-f16"), TAM2D),
        "R50 above",
    ),
    Claim(
        "Fig. 4b",
        "depth adds little avg-ATR",
        "R34 minus R18, mean of I3D and TAM2D",
        "frames",
        measures.deeper_minus_shallower,
        "less than 0.5 from R50 to R152",
        FRAMES,
        True,
    ),
    Claim(
        "Table 2",
        "larger temporal kernels have a greater avg-ATR",
        "slope by step of the kernel, 3, 5, 7 (TAM2D)",
        "frames a step",
        lambda b, s: measures.kernel_slope(lambda net: b.atr(net, s)),
        "+2.7 a step (16 frames)",
    ),
    Claim(
        "Table 2",
        "larger temporal kernels are not more accurate",
        "slope of accuracy by step of the kernel",
        "points a step",
        lambda b, s: measures.kernel_slope(lambda net: b.accuracy(net, s)),
        "-0.25 a step (16 frames)",
        POINTS / 2,
        True,
    ),
    Claim(
        "Fig. 5a",
        "more frames, greater avg-ATR",
        "slope by doubling of the frames, 8, 16, 32, mean of I3D and TAM2D",
        "frames a doubling",
        lambda b, s: measures.length_slope(b, s, False),
        "+0.95",
    ),
    Claim(
        "Fig. 5a",
        "more frames, a smaller share of the clip",
        "fall of avg-ATR in percent of the clip by doubling",
        "% of the clip a doubling",
        measures.negative(lambda b, s: measures.length_slope(b, s, True)),
        "-30",
    ),
    Claim(
        "Fig. 6, 14",
        "half of the clip is enough for a frame's prediction",
        "accuracy with the whole clip minus that with windows of 8 of 16 frames, mean of I3D and TAM2D on mixed "
        "and temporal data",
        "points",
        measures.over_windows(lambda w: w["16"] - w["8"]),
        "full from 8 to 10 frames on",
        POINTS,
        True,
    ),
    Claim(
        "Fig. 6, 14",
        "segments of each frame's ATR match fixed windows of the same size",
        "accuracy with segments minus that with fixed windows as long as their mean",
        "points",
        measures.over_windows(lambda w: w["segment"] - fixed(w, w["size"])),
        "match well",
        POINTS,
    ),
    Claim(
        "Fig. 6, 14",
        "empty frames are worse than frozen ones",
        "accuracy with frozen minus that with empty frames outside the window, mean over windows",
        "points",
        measures.over_windows(measures.frozen_minus_empty),
        "worse",
    ),
    Claim(
        "Fig. 7",
        "accuracy does not go with avg-ATR",
        "Pearson's r over seven networks of 16 frames",
        "r",
        measures.atr_with_accuracy,
        "close to zero",
        CORRELATION,
    ),
    Claim(
        "Fig. 8, 15",
        "classes do not differ in avg-ATR",
        "variance between classes beyond that of their clips, mean of I3D and TAM2D",
        "frames²",
        measures.variance_between_classes,
        "half of the classes within 0.5 frames",
        SPREAD,
        True,
    ),
    Claim(
        "Table 3, Fig. 9",
        "temporal classes do not have the greater avg-ATR",
        "AUROC of temporal against static clips by avg-ATR, minus chance, mean of I3D and TAM2D",
        "AUROC",
        measures.temporal_against_static,
        "scattered",
        AREA,
    ),
    Claim(
        "Fig. 10",
        "fewer ensembled frames, greater avg-ATR",
        "rise by halving of the ensembled frames, 16, 4, 1 (TAM2D)",
        "frames a halving",
        lambda b, s: -slope((0, 2, 4), [b.atr(net, s) for net in measures.ANSWER_NETS.values()]),
        "rises",
    ),
    Claim(
        "Table 4",
        "SlowFast has a smaller avg-ATR than I3D",
        "I3D-R50-f8 minus SlowFast-R50-8x8",
        "frames",
        measures.difference(SLOWFAST[0], SLOWFAST[1]),
        "+1.8",
    ),
    Claim(
        "Table 6",
        "LRP has a smaller avg-ATR than CLRP",
        "CLRP minus LRP, mean of I3D and TAM2D on three data sets",
        "frames",
        measures.clrp_minus_lrp("avg_atr"),
        "+0.3, +0.4, +0.3, +0.7",
    ),
    Claim(
        "Table 6",
        "LRP has a smaller max-ATR than CLRP",
        "the same of max-ATR",
        "frames",
        measures.clrp_minus_lrp("max_atr"),
        "+1.3, +1.0, +1.0, +1.3",
    ),
    Claim(
        "Table 7",
        "dense sampling has a smaller avg-ATR",
        "uniform minus dense, mean of I3D and TAM2D",
        "frames",
        measures.negative(measures.dense_minus_uniform(lambda b, net, s: b.atr(net, s))),
        "+0.6, -0.1, +0.4, +0.1",
    ),
    Claim(
        "Table 7",
        "dense sampling has a greater max-ATR",
        "dense minus uniform, mean of I3D and TAM2D",
        "frames",
        measures.dense_minus_uniform(lambda b, net, s: b.atr(net, s, "max_atr")),
        "+0.3, +1.0, +0.3, +0.4",
    ),
    Claim(
        "Table 7",
        "dense sampling is less accurate",
        "uniform minus dense, mean of I3D and TAM2D",
        "points",
        measures.negative(measures.dense_minus_uniform(lambda b, net, s: b.accuracy(net, s))),
        "+13",
    ),
    Claim(
        "Fig. 13",
        "dense sampling has more relevance at beginning and end",
        "share in the first and last quarter, dense minus uniform (I3D)",
        "% of relevance",
        lambda b, s: measures.share_of(2, "mixed", b, s, True) - measures.share_of(2, "mixed", b, s),
        "seen in the heat maps",
    ),
)
