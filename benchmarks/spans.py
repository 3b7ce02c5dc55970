"""Estimates of the true span: ATR as the paper has it, and the excess span, on what it was and was not chosen on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from columns import matrix_of
from maps import Maps
from measures import spearman
from torch import Tensor

from lrp3d.atr import avg_atr, frame_atr
from lrp3d.excess import excess_span

Estimate = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # matrix, logits, labels -> span, weight of clips


def atr_at(sigma: float) -> Estimate:
    """The paper's avg-ATR; every clip counts the same."""

    def estimate(matrix: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        values = avg_atr(frame_atr(matrix, sigma), logits).double()
        return values, torch.ones_like(values)

    return estimate


def excess(matrix: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The excess over the mean matrix of the other clips of the class."""
    found = excess_span(matrix, others_mean(matrix, labels))
    return found.span, found.frames.sum(-1)


def others_mean(matrix: Tensor, labels: Tensor) -> Tensor:
    """For every clip the mean matrix of all others of its class, (b, n, t)."""
    same = (labels[:, None] == labels).double().fill_diagonal_(0)
    return torch.einsum("bo,ont->bnt", same / same.sum(1, keepdim=True).clamp(min=1), matrix.double())


MEASURES: dict[str, Estimate] = {"ATR 97.5%": atr_at(0.975), "ATR 80%": atr_at(0.8), "excess span": excess}
SOURCES = ("CLRP", "LRP", "intervention", "untrained CLRP", "untrained LRP")


def estimates(maps: Maps, source: str, measure: str) -> tuple[Tensor, Tensor]:
    """Spans and weights of the clips that were classified correctly."""
    keep = maps["correct"].bool()
    span, weight = MEASURES[measure](matrix_of(maps, source)[keep], maps["frame_logits"][keep], maps["labels"][keep])
    known = ~span.isnan()
    return span[known], weight[known]


def agreement(by_gap: dict[int, Maps], source: str, measure: str) -> dict[str, float]:
    """Of one network at several gaps: mean of each gap, slope, rank correlation over clips, error of the means."""
    found = {gap: estimates(maps, source, measure) for gap, maps in sorted(by_gap.items())}
    found = {gap: both for gap, both in found.items() if len(both[0])}
    means = {gap: ((span * weight).sum() / weight.sum()).item() for gap, (span, weight) in found.items()}
    truth = torch.tensor([gap + 1.0 for gap in means], dtype=torch.double)
    got = torch.tensor(list(means.values()), dtype=torch.double)
    centred = truth - truth.mean()
    result = {f"d={gap}": mean for gap, mean in means.items()}
    result["slope"] = ((centred * got).sum() / centred.square().sum()).item() if len(means) > 1 else float("nan")
    every = torch.cat([torch.full_like(span, gap + 1.0) for gap, (span, _) in found.items()])
    result["ρ over clips"] = spearman(every, torch.cat([span for span, _ in found.values()])).item()
    result["error of means"] = (got - truth).abs().mean().item()
    return result
