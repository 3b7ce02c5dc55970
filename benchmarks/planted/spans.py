"""Estimates of the true span: ATR as the paper has it, others, and the excess span, which was chosen among them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.planted.columns import matrix_of, slope
from benchmarks.planted.maps import Maps
from benchmarks.planted.measures import mass, spearman
from torch import Tensor

from lrp3d.metrics.atr import avg_atr, frame_atr
from lrp3d.metrics.excess_span import excess_span

Estimate = Callable[[Maps, str], tuple[Tensor, Tensor]]  # maps, source -> span and weight of correct clips


def atr_at(sigma: float) -> Estimate:
    """The paper's avg-ATR; every clip counts the same."""

    def estimate(maps: Maps, source: str) -> tuple[Tensor, Tensor]:
        matrix, logits, _ = correct(maps, source)
        return _alike(avg_atr(frame_atr(matrix, sigma), logits))

    return estimate


def atr_above_floor(maps: Maps, source: str) -> tuple[Tensor, Tensor]:
    """The paper's avg-ATR minus that of the same network untrained, in the same rows; 1 is no difference."""
    (matrix, logits, _), (untrained, _, _) = correct(maps, source), correct(maps, f"untrained {source}")
    floors = avg_atr(frame_atr(untrained), logits)
    return _alike(1 + avg_atr(frame_atr(matrix), logits) - floors)


def atr_above_mean(maps: Maps, source: str) -> tuple[Tensor, Tensor]:
    """avg-ATR at 80 % of what each row has above the mean row of the other clips of the class."""
    matrix, logits, labels = correct(maps, source)
    shares = mass(matrix)
    above = (shares - others_mean(shares, labels)).clamp(min=0)
    return _alike(avg_atr(frame_atr(above, 0.8), logits))


def excess(maps: Maps, source: str) -> tuple[Tensor, Tensor]:
    """The excess over the mean matrix of the other clips of the class."""
    matrix, _, labels = correct(maps, source)
    found = excess_span(matrix, others_mean(matrix, labels))
    return found.span, found.frames.sum(-1)


def correct(maps: Maps, source: str) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices, frame logits and labels of the clips that were classified correctly."""
    keep = maps["correct"].bool()
    return matrix_of(maps, source)[keep], maps["frame_logits"][keep], maps["labels"][keep]


def others_mean(matrix: Tensor, labels: Tensor) -> Tensor:
    """For every clip the mean matrix of all others of its class, (b, n, t)."""
    same = (labels[:, None] == labels).double().fill_diagonal_(0)
    return torch.einsum("bo,ont->bnt", same / same.sum(1, keepdim=True).clamp(min=1), matrix.double())


def _alike(span: Tensor) -> tuple[Tensor, Tensor]:
    span = span.double()
    return span, torch.ones_like(span)


MEASURES: dict[str, Estimate] = {
    "ATR 97.5%": atr_at(0.975),
    "ATR 80%": atr_at(0.8),
    "ATR above floor": atr_above_floor,
    "ATR above mean row": atr_above_mean,
    "excess span": excess,
}
SOURCES = ("CLRP", "LRP", "intervention", "untrained CLRP", "untrained LRP")
COMPARED = [
    (measure, source)
    for measure in MEASURES
    for source in SOURCES
    if not (measure == "ATR above floor" and source.startswith("untrained"))  # which is the floor
]


def estimates(maps: Maps, source: str, measure: str) -> tuple[Tensor, Tensor]:
    """Spans in frames and weights of the clips that were classified correctly."""
    span, weight = MEASURES[measure](maps, source)
    has_span = ~span.isnan()
    return span[has_span] * maps["block"], weight[has_span]


def mean_span(maps: Maps, source: str, measure: str) -> float:
    """Of a data set."""
    span, weight = estimates(maps, source, measure)
    return ((span * weight).sum() / weight.sum()).item() if len(span) else float("nan")


def agreement(by_gap: dict[int, Maps], source: str, measure: str) -> dict[str, float]:
    """Of one network at several gaps: mean of each gap, slope, rank correlation over clips, error of the means."""
    found = {gap: estimates(maps, source, measure) for gap, maps in sorted(by_gap.items())}
    found = {gap: both for gap, both in found.items() if len(both[0])}
    means = {gap: ((span * weight).sum() / weight.sum()).item() for gap, (span, weight) in found.items()}
    truth = torch.tensor([gap + 1.0 for gap in means], dtype=torch.double)
    got = torch.tensor(list(means.values()), dtype=torch.double)
    result = {f"d={gap}": mean for gap, mean in means.items()}
    result["slope"] = slope(truth, got) if len(means) > 1 else float("nan")
    every = torch.cat([torch.full_like(span, gap + 1.0) for gap, (span, _) in found.items()])
    result["ρ over clips"] = spearman(every, torch.cat([span for span, _ in found.values()])).item()
    result["error of means"] = (got - truth).abs().mean().item()
    return result
