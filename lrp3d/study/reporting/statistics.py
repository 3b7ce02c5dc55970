"""Statistics for the paper's questions: does accuracy go with ATR, and do people and models agree on time?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from lrp3d.printed import fixed
from lrp3d.values import check_real, is_number, real_numbers

__all__ = ["Correlation", "Overlap", "overlap", "pearson"]


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of n pairs, with the interval that holds the true one with the given confidence."""

    r: float
    low: float
    high: float
    n: int
    confidence: float = 0.95

    def __str__(self) -> str:
        if math.isnan(self.r):
            return f"r undefined, n = {self.n}"
        if math.isnan(self.low):
            return f"r = {fixed(self.r)}, n = {self.n}"
        interval = f"{100 * self.confidence:g} % [{fixed(self.low)}, {fixed(self.high)}]"
        return f"r = {fixed(self.r)}, {interval}, n = {self.n}"


def pearson(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor, confidence: float = 0.95) -> Correlation:
    """Computes Pearson's r with a confidence interval by Fisher's transformation.

    Args:
        x: (n,) one value per model.
        y: (n,) the other value per model, such as accuracy.
        confidence: the confidence of the interval, in (0, 1).

    Returns:
        A `Correlation`. r is NaN where x or y does not vary or has values that are not finite, and for fewer than three
        pairs, because any two points lie on a line. The interval is NaN for fewer than four pairs.

    Raises:
        ValueError: x and y differ in length, or the confidence is outside (0, 1).
        TypeError: x or y are no numbers.

    Source: paper, Fig. 7; Fisher (1915).

    >>> print(pearson([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]))
    r = 0.80, 95 % [-0.28, 0.99], n = 5
    """
    expected = "a correlation is of two sequences of numbers, one for each model"
    first, second = (real_numbers(values, expected).double() for values in (x, y))
    if first.ndim != 1 or second.ndim != 1:
        raise TypeError(f"{expected}, got {x!r} and {y!r}")
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are no pairs")
    if not (is_number(confidence) and 0 < confidence < 1):
        raise ValueError(f"a confidence is between 0 and 1, not {confidence!r}")
    n = len(first)
    first, second = first - first.mean(), second - second.mean()
    scale = float(first.norm() * second.norm())
    if n < 3 or scale <= 1e-12 * n or not math.isfinite(scale):
        return Correlation(math.nan, math.nan, math.nan, n, confidence)
    r = max(-1.0, min(1.0, float(first @ second) / scale))
    if n < 4:
        return Correlation(r, math.nan, math.nan, n, confidence)
    if abs(r) == 1:
        return Correlation(r, r, r, n, confidence)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) / math.sqrt(n - 3)
    return Correlation(r, math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach), n, confidence)


@dataclass(frozen=True)
class Overlap:
    """How far people and a model agree on which classes need time."""

    temporal: float
    """The share of people's temporal classes among as many classes of greatest ATR."""
    static: float
    """The share of people's static classes among as many classes of least ATR."""
    temporal_count: int
    """How many of the study's classes people call temporal."""
    static_count: int
    chance: tuple[float, float]
    """What both shares would be on average if ATR had nothing to do with time."""
    temporal_ties: int
    """How many classes of one ATR lie on both sides of the border of the greatest; which of them are among these is
    decided by their number alone. 0 where the border is clear."""
    static_ties: int
    """The same for the least."""
    auroc: float
    """The probability that a temporal class has a greater ATR than a static one; one half means no relation."""


def overlap(values: Tensor, temporal: Sequence[int], static: Sequence[int]) -> Overlap:
    """Compares a model's most and least temporal classes with those that people named.

    Args:
        values: (c,) the ATR of each class; a NaN counts nowhere.
        temporal: the classes that need time, according to people.
        static: the classes that do not.

    Returns:
        An `Overlap` with shares from 0 to 1, and NaN where people named none of the known classes. Of equal values the
        first counts as greater.

    Source: paper, Table 3 ("we sort all the actions in a dataset from high to low by temporal relevance, and then
    pick the top-k and bottom-k classes").

    >>> import torch
    >>> found = overlap(torch.tensor([5.0, 4.0, 3.0, 2.0]), temporal=[0, 3], static=[2])
    >>> found.temporal, found.static, found.chance, found.auroc
    (0.5, 0.0, (0.5, 0.25), 0.5)
    """
    check_real(values, "values are a torch.Tensor (c,), the ATR of each class")
    if values.ndim != 1:
        raise ValueError(f"values are the ATR of each class, (c,), not {tuple(values.shape)}")
    counted = (~values.isnan()).nonzero().flatten()
    ranked = counted[values[counted].argsort(descending=True, stable=True)].tolist()
    seen = set(ranked)
    people = [[index for index in dict.fromkeys(classes) if index in seen] for classes in (temporal, static)]
    top, bottom = ranked[: len(people[0])], ranked[len(ranked) - len(people[1]) :]
    chance = [_share(len(classes), len(ranked)) if classes else math.nan for classes in people]
    pairs = values[people[0]].unsqueeze(1) - values[people[1]]
    greater = (pairs > 0).double() + (pairs == 0).double() / 2
    auroc = float(greater.mean()) if greater.numel() else math.nan
    return Overlap(
        temporal=_share(len(set(top) & set(people[0])), len(people[0])),
        static=_share(len(set(bottom) & set(people[1])), len(people[1])),
        temporal_count=len(people[0]),
        static_count=len(people[1]),
        chance=(chance[0], chance[1]),
        temporal_ties=_ties_at(values[ranked], len(top)),
        static_ties=_ties_at(values[ranked], len(ranked) - len(bottom)),
        auroc=auroc,
    )


def _ties_at(ordered: Tensor, border: int) -> int:
    """How many values are equal to those on both sides of a border between sorted values; 0 if these differ."""
    if not 0 < border < len(ordered) or ordered[border - 1] != ordered[border]:
        return 0
    return int((ordered == ordered[border]).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
