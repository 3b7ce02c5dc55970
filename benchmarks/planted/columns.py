"""The columns of the validity table: one number of a seed each, from its maps."""

from __future__ import annotations

import statistics
from collections import defaultdict

import torch
from benchmarks.planted.maps import SANITY, Maps
from benchmarks.planted.measures import cosine, frame_scores, lag_profile, mass, row_weights, share, spearman
from torch import Tensor

from lrp3d.metrics.atr import avg_atr, frame_atr

Row = dict[str, tuple[float, float | None]]  # mean and deviation, which one seed alone has not
SIGMAS = (0.975, 0.8)


def matrix_of(maps: Maps, method: str) -> Tensor:
    """The matrices (b, n, t) of a row of the table."""
    if method.startswith("untrained "):
        return maps["untrained/" + method.removeprefix("untrained ")]
    return maps[f"matrix/{method}"]


def has(by_gap: dict[int, Maps], method: str) -> bool:
    """Whether all gaps have this row."""
    kind, name = ("untrained", method.removeprefix("untrained ")) if "untrained " in method else ("matrix", method)
    return bool(by_gap) and all(f"{kind}/{name}" in maps for maps in by_gap.values())


def right(maps: Maps, method: str) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices, frame logits and decisive frames of the clips that the trained network classifies correctly."""
    keep = maps["correct"].bool()
    return matrix_of(maps, method)[keep], maps["frame_logits"][keep], maps["decisive"][keep]


def place_columns(by_gap: dict[int, Maps], method: str) -> dict[str, float]:
    """How much relevance lies on the frames that decide."""
    found: dict[str, float] = {}
    lifts: list[float] = []
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
    if lifts:
        found["lift"] = statistics.fmean(lifts)
        found["share, weaker class"] = statistics.fmean(shares[0] for shares in by_class)
        found["share, stronger class"] = statistics.fmean(shares[-1] for shares in by_class)
    return found


def agreement_columns(by_gap: dict[int, Maps], method: str) -> dict[str, float]:
    """What it agrees with: interventions, curves of removed frames, Shapley values."""
    found: dict[str, list[float]] = defaultdict(list)
    for maps in by_gap.values():
        keep = maps["correct"].bool()
        matrix, measured = matrix_of(maps, method)[keep], maps["matrix/intervention"][keep]
        found["cosine with intervention"].append(cosine(matrix, measured).nanmean().item())
        found["ρ with intervention"].append(spearman(matrix.flatten(1), measured.flatten(1)).nanmean().item())
        if f"gain/{method}" in maps:
            gain = (
                maps[f"gain/{method}"][keep].sum() / maps["value"][keep].sum()
            )  # of all clips: single values are small
            found["relevance gain"].append(gain.item())
        if "shapley" in maps:
            agree = spearman(frame_scores(matrix), maps["shapley"][keep])
            found["ρ with Shapley values"].append(agree.nanmean().item())
    return {name: statistics.fmean(values) for name, values in found.items()}


def sanity_columns(by_gap: dict[int, Maps], method: str) -> dict[str, float]:
    """How alike the maps of another logit and of random parameters are: they should not be."""
    if method not in SANITY:
        return {}
    found: dict[str, list[float]] = defaultdict(list)
    for maps in by_gap.values():
        keep = maps["correct"].bool()
        matrix = matrix_of(maps, method)[keep]
        for kind, name in (("other logit", "ρ with the other logit"), ("untrained", "ρ with random parameters")):
            if f"{kind}/{method}" in maps:
                found[name].append(_alike(matrix, maps[f"{kind}/{method}"][keep]))
    return {name: statistics.fmean(values) for name, values in found.items()}


def atr_columns(by_gap: dict[int, Maps], method: str) -> dict[str, float]:
    """Weighted ATR against the true span: slope, rank correlation over gaps and over clips."""
    found: dict[str, float] = {}
    for sigma in SIGMAS:
        clips = {gap: clip_atr(maps, method, sigma) for gap, maps in by_gap.items()}
        clips = {gap: values[~values.isnan()] for gap, values in clips.items()}
        found |= against_span(clips, percent(sigma))
    return found


def percent(sigma: float) -> str:
    """As the columns have it.

    >>> percent(0.975), percent(0.8)
    ('97.5%', '80%')
    """
    return f"{sigma:.1%}".replace(".0%", "%")


def against_span(clips: dict[int, Tensor], label: str) -> dict[str, float]:
    """How estimates of the span of clips of each gap relate to the truth, gap + 1."""
    clips = {gap: values for gap, values in clips.items() if len(values)}
    found = {f"ATR {label} d={gap}": values.mean().item() for gap, values in clips.items()}
    if len(clips) > 1:
        span = torch.tensor([gap + 1.0 for gap in clips], dtype=torch.double)
        means = torch.stack([values.double().mean() for values in clips.values()])
        found[f"slope {label}"] = slope(span, means)
        found[f"ρ gaps {label}"] = spearman(span, means).item()
        every = torch.cat([torch.full_like(values.double(), gap + 1) for gap, values in clips.items()])
        found[f"ρ clips {label}"] = spearman(every, torch.cat([v.double() for v in clips.values()])).item()
    return found


def slope(span: Tensor, means: Tensor) -> float:
    """Of the least-squares line through estimates at true spans."""
    centred = span - span.mean()
    return ((centred * means).sum() / centred.square().sum()).item()


def control_columns(controls: dict[str, Maps], method: str) -> dict[str, float]:
    """ATR where one frame is enough: the truth is 1."""
    return {
        name: clip_atr(maps, method, sigma).nanmean().item()
        for sigma, label in zip(SIGMAS, ("ATR", "ATR 80%"), strict=True)
        for name, maps in ((f"{label} {family}", maps) for family, maps in controls.items())
    }


def clip_atr(maps: Maps, method: str, sigma: float) -> Tensor:
    """avg-ATR of every correct clip, in frames."""
    matrix, logits, _ = right(maps, method)
    return avg_atr(frame_atr(matrix, sigma), logits) * maps["block"]


def mean_and_deviation(seeds: list[dict[str, float]]) -> Row:
    """Over seeds; NaN counts nowhere."""
    row: Row = {}
    for column in dict.fromkeys(column for seed in seeds for column in seed):
        values = [seed[column] for seed in seeds if column in seed and seed[column] == seed[column]]
        if values:
            row[column] = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
    return row


def _alike(one: Tensor, other: Tensor) -> float:
    """Mean rank correlation of two matrices by clip, of the shares of their rows."""
    return spearman(mass(one).flatten(1), mass(other).flatten(1)).nanmean().item()
