"""The numbers that the paper's findings are decided by, each computed of the networks of one training seed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import torch

from benchmarks.paper.actions import CLASSES, STATIC
from benchmarks.paper.nets import DENSE, KERNELS, MODULES, SCATTER, Net
from benchmarks.paper.records import Bench, Missing, auroc, between_variance, pearson, spearman
from benchmarks.paper.statistics import slope
from lrp3d.models import count_temporal_convolutions

STATIC_CLASSES, TEMPORAL_CLASSES = tuple(range(len(STATIC))), tuple(range(len(STATIC), len(CLASSES)))
WINDOW_SIZES = ("1", "2", "4", "6", "8", "12")
NEAR = 2  # a frame's neighbours are so many frames to either side


def of_16_frames(dataset: str = "mixed") -> list[Net]:
    """The I3D and the TAM2D with 16 frames, trained on one data set."""
    return [Net(f"{module}-f16", dataset) for module in MODULES]


def mean_over(nets: Sequence[Net], measure: Callable[[Net], float]) -> float:
    """The mean of a number of each network."""
    return statistics.fmean(measure(net) for net in nets)


def temporal_minus_static(kind: str) -> Callable[[Bench, int], float]:
    """How much greater ATR is on temporal than on static data, the mean of both networks."""
    return lambda bench, seed: mean_over(
        of_16_frames("temporal"),
        lambda net: bench.atr(net, seed, kind) - bench.atr(replace(net, dataset="static"), seed, kind),
    )


def mixed_inside(bench: Bench, seed: int) -> float:
    """How far the ATR of mixed data lies inside those of static and temporal data; negative outside of them."""

    def inside(module: str) -> float:
        low, mid, high = (bench.atr(Net(f"{module}-f16", group), seed) for group in ("static", "mixed", "temporal"))
        return abs(high - low) / 2 - abs(mid - (low + high) / 2)

    return statistics.fmean(map(inside, MODULES))


def shares(matrix: list[list[float]]) -> tuple[float, float, float]:
    """The relevance within two frames, on the diagonal, and in the first and last quarter of the clip, in percent."""
    mean = torch.tensor(matrix, dtype=torch.float64)
    mean, n = mean / mean.sum(), len(mean)
    frame = torch.arange(n)
    lag = (frame - frame[:, None]).abs()
    ends = (frame < n // 4) | (frame >= n - n // 4)
    each = mean[lag <= NEAR].sum(), mean.diagonal().sum(), mean[:, ends].sum()
    near, diagonal, outer = (100 * share.item() for share in each)
    return near, diagonal, outer


def share_of(place: int, dataset: str, bench: Bench, seed: int, dense: bool = False) -> float:
    """One of the three `shares` of the mean matrix of I3D."""
    return shares(bench.matrix(Net("I3D-R18-f16", dataset, dense=dense), seed))[place]


def i3d_minus_tam2d(bench: Bench, seed: int, frames: int, dataset: str = "mixed") -> float:
    """How much greater the avg-ATR of I3D is than that of TAM2D, with the same number of frames."""
    one, other = (bench.atr(Net(f"{module}-f{frames}", dataset), seed) for module in MODULES)
    return one - other


def difference(one: Net, other: Net, kind: str = "avg_atr") -> Callable[[Bench, int], float]:
    """How much greater the ATR of one network is than that of another."""
    return lambda bench, seed: bench.atr(one, seed, kind) - bench.atr(other, seed, kind)


BACKBONE_NETS = [net for net in SCATTER if net.kernel is None]
KERNEL_NETS = [Net("TAM2D-R18-f16"), *KERNELS]
ANSWER_NETS = {1: Net("TAM2D-R18-f16", answers=1), 4: Net("TAM2D-R18-f16", answers=4), 16: Net("TAM2D-R18-f16")}


@cache
def convolutions(net: Net) -> int:
    """How many temporal convolutions a network has."""
    return count_temporal_convolutions(net.untrained())


def convolutions_over_accuracy(bench: Bench, seed: int) -> float:
    """By how much the rank correlation of ATR with temporal convolutions exceeds that with accuracy."""
    atr = [bench.atr(net, seed) for net in BACKBONE_NETS]
    counts = [float(convolutions(net)) for net in BACKBONE_NETS]
    return spearman(atr, counts) - spearman(atr, [bench.accuracy(net, seed) for net in BACKBONE_NETS])


def atr_with_accuracy(bench: Bench, seed: int) -> float:
    """Pearson's correlation of avg-ATR with accuracy, over seven networks."""
    return pearson([bench.atr(net, seed) for net in SCATTER], [bench.accuracy(net, seed) for net in SCATTER])


def deeper_minus_shallower(bench: Bench, seed: int) -> float:
    """How much greater avg-ATR is with 34 layers than with 18, the mean of both families."""
    return statistics.fmean(
        bench.atr(Net(f"{family}-R34-f16"), seed) - bench.atr(Net(f"{family}-R18-f16"), seed)
        for family in ("I3D", "TAM2D")
    )


def kernel_slope(measure: Callable[[Net], float]) -> float:
    """How much a number of a network grows with each step of the temporal kernel, from 3 to 5 to 7."""
    return slope((0, 1, 2), [measure(net) for net in KERNEL_NETS])


def length_slope(bench: Bench, seed: int, share: bool) -> float:
    """How much avg-ATR grows with each doubling of the frames, in frames or in percent of the clip."""

    def growth(module: str) -> float:
        each = [bench.atr(Net(f"{module}-f{n}"), seed) * (100 / n if share else 1) for n in (8, 16, 32)]
        return slope((0, 1, 2), each)

    return statistics.fmean(map(growth, MODULES))


def over_windows(measure: Callable[[dict[str, float]], float]) -> Callable[[Bench, int], float]:
    """The mean of a number of the windowed accuracies over both networks, on mixed and on temporal data."""
    nets = [*of_16_frames("mixed"), *of_16_frames("temporal")]
    return lambda bench, seed: mean_over(nets, lambda net: measure(bench.windows(net, seed)))


def frozen_minus_empty(windows: dict[str, float]) -> float:
    """How much more accurate frozen frames outside of a window are than empty ones, the mean over windows."""
    return statistics.fmean(windows[size] - windows[f"empty {size}"] for size in WINDOW_SIZES)


def variance_between_classes(bench: Bench, seed: int) -> float:
    """The variance of avg-ATR between classes beyond that of their clips, the mean of both networks."""

    def variance(net: Net) -> float:
        clips = bench.clips(net, seed)
        return between_variance([value for label, value in clips if label == own] for own in range(len(CLASSES)))

    return mean_over(of_16_frames(), variance)


def temporal_against_static(bench: Bench, seed: int) -> float:
    """The AUROC with which avg-ATR tells temporal from static clips, minus chance, the mean of both networks."""

    def area(net: Net) -> float:
        clips = bench.clips(net, seed)
        each = [[value for label, value in clips if label in own] for own in (TEMPORAL_CLASSES, STATIC_CLASSES)]
        if not all(each):
            raise Missing("no clip of one kind counts")
        return auroc(*each) - 0.5

    return mean_over(of_16_frames(), area)


def clrp_minus_lrp(kind: str) -> Callable[[Bench, int], float]:
    """How much greater the ATR of CLRP is than that of LRP, the mean of both networks on three data sets."""
    nets = [net for group in ("static", "mixed", "temporal") for net in of_16_frames(group)]
    return lambda bench, seed: mean_over(
        nets, lambda net: bench.atr(net, seed, kind) - bench.atr(net, seed, f"lrp_{kind}")
    )


def dense_minus_uniform(measure: Callable[[Bench, Net, int], float]) -> Callable[[Bench, int], float]:
    """How much greater a number is with dense than with uniform sampling, the mean of both networks."""
    return lambda bench, seed: mean_over(
        DENSE, lambda net: measure(bench, net, seed) - measure(bench, replace(net, dense=False), seed)
    )


def negative(measure: Callable[[Bench, int], float]) -> Callable[[Bench, int], float]:
    """The same number with the other sign."""
    return lambda bench, seed: -measure(bench, seed)
