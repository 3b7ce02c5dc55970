"""The columns of the validity table: one number of a seed each, from its maps."""

from __future__ import annotations

import statistics

import torch
from maps import CURVES, Maps
from measures import (
    cosine,
    frame_scores,
    lag_profile,
    mass,
    row_weights,
    share,
    spearman,
)
from torch import Tensor

from lrp3d.atr import avg_atr, frame_atr

Row = dict[str, tuple[float, float]]
SIGMAS = (0.975, 0.8)


def matrix_of(maps: Maps, method: str) -> Tensor:
    """The matrices (b, n, t) of a row of the table."""
    if method.startswith("untrained "):
        return maps["untrained/" + method.removeprefix("untrained ")]
    return maps[f"matrix/{method}"]


def right(maps: Maps, method: str) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices, frame logits and decisive frames of the clips that the trained network classifies correctly."""
    keep = maps["correct"].bool()
    return matrix_of(maps, method)[keep], maps["frame_logits"][keep], maps["decisive"][keep]


def clip_columns(by_gap: dict[int, Maps], method: str) -> dict[str, float]:
    """Where the relevance lies, and what it agrees with."""
    found: dict[str, float] = {}
    lifts, cosines, correlations, gains, others, fresh = [], [], [], [], [], []
    by_class: list[list[float]] = []
    for gap, maps in by_gap.items():
        matrix, logits, decisive = right(maps, method)
        if not len(matrix):
            continue
        on_events = share(matrix, logits, decisive)
        found[f"share d={gap}"] = on_events.mean().item()
        labels = maps["labels"][maps["correct"].bool()]
        by_class.append(sorted(on_events[labels == label].mean().item() for label in labels.unique()))
        expected = (lag_profile(matrix, logits) * decisive[:, None]).sum(-1) * row_weights(logits)
        lifts.append(on_events.mean().item() / max(expected.sum(-1).mean().item(), 1e-9))
        keep = maps["correct"].bool()
        measured = maps["matrix/intervention"][keep]
        cosines.append(cosine(matrix, measured).nanmean().item())
        correlations.append(spearman(matrix.flatten(1), measured.flatten(1)).nanmean().item())
        if f"gain/{method}" in maps:
            gains.append(maps[f"gain/{method}"][keep[:CURVES]].nanmedian().item())
        if method in ("CLRP", "LRP"):
            others.append(_alike(matrix, maps[f"other logit/{method}"][keep]))
            fresh.append(_alike(matrix, maps[f"untrained/{method}"][keep]))
        if "shapley" in maps:
            scores = frame_scores(matrix_of(maps, method)[: len(maps["shapley"])])
            agree = spearman(scores, maps["shapley"])[keep[: len(scores)]]
            found[f"Shapley ρ d={gap}"] = agree.nanmean().item()
    for name, values in (
        ("share, weaker class", [shares[0] for shares in by_class]),
        ("share, stronger class", [shares[-1] for shares in by_class]),
        ("lift", lifts),
        ("cosine with intervention", cosines),
        ("ρ with intervention", correlations),
        ("relevance gain (median)", gains),
        ("ρ with the other logit", others),
        ("ρ with random parameters", fresh),
    ):
        if values:
            found[name] = statistics.fmean(values)
    return found


def atr_columns(by_gap: dict[int, Maps], method: str) -> dict[str, float]:
    """Weighted ATR against the true span: slope, rank correlation over gaps and over clips."""
    found: dict[str, float] = {}
    for sigma in SIGMAS:
        clips = {gap: clip_atr(maps, method, sigma) for gap, maps in by_gap.items()}
        clips = {gap: values[~values.isnan()] for gap, values in clips.items()}
        found |= against_span(clips, f"{sigma:.1%}".replace(".0%", "%"))
    return found


def against_span(clips: dict[int, Tensor], label: str) -> dict[str, float]:
    """How estimates of the span of clips of each gap relate to the truth, gap + 1."""
    clips = {gap: values for gap, values in clips.items() if len(values)}
    found = {f"ATR {label} d={gap}": values.mean().item() for gap, values in clips.items()}
    if len(clips) > 1:
        span = torch.tensor([gap + 1.0 for gap in clips], dtype=torch.double)
        means = torch.stack([values.double().mean() for values in clips.values()])
        centred = span - span.mean()
        found[f"slope {label}"] = ((centred * means).sum() / centred.square().sum()).item()
        found[f"ρ gaps {label}"] = spearman(span, means).item()
        every = torch.cat([torch.full_like(values.double(), gap + 1) for gap, values in clips.items()])
        found[f"ρ clips {label}"] = spearman(every, torch.cat([v.double() for v in clips.values()])).item()
    return found


def control_columns(controls: dict[str, Maps], method: str) -> dict[str, float]:
    """ATR where one frame is enough: the truth is 1."""
    return {
        f"ATR {family}": clip_atr(maps, method, SIGMAS[0]).nanmean().item()
        for family, maps in controls.items()
        if family in ("static", "flash")
    }


def clip_atr(maps: Maps, method: str, sigma: float) -> Tensor:
    """avg-ATR of every correct clip."""
    matrix, logits, _ = right(maps, method)
    return avg_atr(frame_atr(matrix, sigma), logits)


def mean_and_deviation(seeds: list[dict[str, float]]) -> Row:
    """Over seeds; NaN counts nowhere."""
    row: Row = {}
    for column in dict.fromkeys(column for seed in seeds for column in seed):
        values = [seed[column] for seed in seeds if column in seed and seed[column] == seed[column]]
        if values:
            row[column] = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    return row


def _alike(one: Tensor, other: Tensor) -> float:
    """Mean rank correlation of two matrices by clip, of the shares of their rows."""
    return spearman(mass(one).flatten(1), mass(other).flatten(1)).nanmean().item()
