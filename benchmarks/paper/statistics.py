"""Tests of a number of each training seed: Student's t, equivalence, correction for many findings, and the marks.

scipy is no dependency of the project; Student's distribution with whole degrees of freedom is a finite sum.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""Of the corrected p, over all findings of the page together."""
CONFIDENCE = 0.95
LEAST = 5
"""Seeds: a finding with fewer is not asked."""
REPRODUCED, CONTRADICTED, UNDECIDED, NOT_ASKED = "reproduced", "contradicted", "undecided", "not asked"
MARKS = (REPRODUCED, CONTRADICTED, UNDECIDED, NOT_ASKED)


def student(t: float, freedom: int) -> float:
    """The probability that Student's t is below `t` (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).

    >>> round(student(2.776445, 4), 6), round(student(-2.364624, 7), 6), student(0.0, 3)
    (0.975, 0.025, 0.5)
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for k in range(3 if odd else 2, freedom, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    if odd:
        within = 2 / math.pi * (angle + math.sin(angle) * (total if freedom > 1 else 0.0))
    else:
        within = math.sin(angle) * total
    return (1 + within) / 2


def quantile(probability: float, freedom: int) -> float:
    """The t below which Student's t is with this probability, by bisection.

    >>> round(quantile(0.975, 4), 4), round(quantile(0.95, 9), 4)
    (2.7764, 1.8331)
    """
    low, high = -1e6, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if student(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Sample:
    """A number of each training seed, usually a difference of two networks of that seed.

    >>> one = Sample([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> one.mean, round(one.error, 4), [round(end, 3) for end in one.interval], round(one.size, 3)
    (3.0, 0.7071, [1.037, 4.963], 1.897)
    """

    values: Sequence[float]

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN for a single seed."""
        return statistics.stdev(self.values) / math.sqrt(self.n) if self.n > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """In which the mean of all seeds there could be lies, with 95 % confidence."""
        if self.n < 2:
            return math.nan, math.nan
        reach = quantile((1 + CONFIDENCE) / 2, self.n - 1) * self.error
        return self.mean - reach, self.mean + reach

    @property
    def size(self) -> float:
        """The mean in deviations over seeds (Cohen's d of paired differences)."""
        return self.mean / (self.error * math.sqrt(self.n)) if self.error else math.copysign(math.inf, self.mean)

    def below(self, limit: float) -> float:
        """One-sided p of the mean being below a limit: small where it is."""
        if self.n < 2:
            return math.nan
        if not self.error:
            return float(self.mean >= limit)
        return student((self.mean - limit) / self.error, self.n - 1)

    def above(self, limit: float) -> float:
        """One-sided p of the mean being above a limit: small where it is."""
        return Sample([-value for value in self.values]).below(-limit)


@dataclass(frozen=True)
class Question:
    """Two one-sided hypotheses about a sample: what speaks for the paper, and what against it.

    p is of the more likely of the two, doubled, so that it is that of one two-sided question. For a claim that
    something is greater, both are about zero (this is the two-sided t test). For a claim that there is no difference
    they are equivalence within a margin (TOST: the worse of its two one-sided tests) and a difference beyond it.
    """

    sample: Sample
    margin: float | None = None
    """Of equivalence; None asks whether the number is above zero."""
    upper_only: bool = False
    """Whether only a number above the margin is a difference."""

    @property
    def sides(self) -> tuple[float, float]:
        """One-sided p for the paper and against it."""
        if self.margin is None:
            return self.sample.above(0.0), self.sample.below(0.0)
        above, below = self.sample.below(self.margin), self.sample.above(-self.margin)
        if self.upper_only:
            return above, self.sample.above(self.margin)
        return max(above, below), min(self.sample.above(self.margin), self.sample.below(-self.margin))

    @property
    def p(self) -> float:
        """Two-sided, before correction."""
        return min(1.0, 2 * min(self.sides))

    def mark(self, corrected: float) -> str:
        """What the corrected p makes of it.

        >>> for_it = Question(Sample([1.0, 1.1, 1.2, 0.9, 1.0]))
        >>> against = Question(Sample([-1.0, -1.1, -0.9, -1.0, -1.2]))
        >>> for_it.mark(for_it.p), against.mark(against.p), for_it.mark(0.2), Question(Sample([1.0])).mark(math.nan)
        ('reproduced', 'contradicted', 'undecided', 'not asked')
        """
        if self.sample.n < LEAST:
            return NOT_ASKED
        if not corrected < LEVEL:
            return UNDECIDED
        return REPRODUCED if self.sides[0] < self.sides[1] else CONTRADICTED


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Corrected for so many questions (Holm 1979): each p times the number of those not smaller, never decreasing.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    greatest, corrected = 0.0, {}
    ordered = sorted(p, key=lambda name: p[name])
    for place, name in enumerate(ordered):
        greatest = max(greatest, min(1.0, (len(ordered) - place) * p[name]))
        corrected[name] = greatest
    return {name: corrected[name] for name in p}


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the straight line of least squares: by how much y grows for one more of x.

    >>> slope([0, 1, 2], [1.0, 3.0, 5.0])
    2.0
    """
    middle, height = statistics.fmean(x), statistics.fmean(y)
    across = sum((a - middle) ** 2 for a in x)
    return sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / across
