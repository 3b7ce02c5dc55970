"""When a claim of the paper counts as reproduced: comparisons, how uncertain they are, and the mark they give."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lrp3d.study.reporting.statistics import Correlation

REPRODUCED, NOT_REPRODUCED, NOT_HERE = "reproduced", "not reproduced", "not testable here"

T = TypeVar("T")


@dataclass(frozen=True)
class Comparison:
    """By how much numbers speak for the paper, if positive, or against it, and the standard error of that.

    An error of NaN is an unknown one, as that of a single training seed.

    >>> Comparison(0.3, 0.1).counts, Comparison(-0.1, 0.2).counts, Comparison(0.3, float("nan")).counts
    (True, False, False)
    """

    mean: float
    error: float

    @property
    def counts(self) -> bool:
        """Whether it is more than noise."""
        return abs(self.mean) > self.error


def mark(comparisons: Mapping[str, Comparison]) -> str:
    """Reproduced where at least half count, all with the paper's sign; not reproduced where one has the other sign.

    Those whose error is unknown are none of the whole.

    >>> for_it, noise = Comparison(1.0, 0.1), Comparison(-0.1, 0.2)
    >>> mark({"a": for_it, "b": noise}), mark({"a": for_it, "b": noise, "c": noise})
    ('reproduced', 'not testable here')
    """
    counted = [one.mean > 0 for one in comparisons.values() if one.counts]
    if not all(counted):
        return NOT_REPRODUCED
    known = [one for one in comparisons.values() if not math.isnan(one.error)]
    return REPRODUCED if counted and 2 * len(counted) >= len(known) else NOT_HERE


def seeds(values: Sequence[float]) -> Comparison:
    """Of a difference in each training seed: their mean, and its standard error.

    >>> seeds([1.0, 3.0]), seeds([2.0]).counts
    (Comparison(mean=2.0, error=1.0), False)
    """
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Comparison(statistics.fmean(values), error)


def below(limit: float, values: Sequence[float]) -> Comparison:
    """Of a claim that something is small: how far each seed stays below a limit.

    >>> below(0.5, [0.25, 0.0]).mean
    0.375
    """
    return seeds([limit - value for value in values])


def no_correlation(limit: float, found: Correlation) -> Comparison:
    """Of a claim that there is no correlation: for it if the interval stays below a limit, against it if 0 is outside.

    Few points have a wide interval, and nothing is shown then.

    >>> from lrp3d.study import pearson
    >>> no_correlation(0.5, pearson([1, 2, 3, 4], [2, 1, 4, 3])).counts
    False
    """
    r, error = abs(found.r), max(found.high - found.r, found.r - found.low)
    if found.low > 0 or found.high < 0:
        return Comparison(-r, r - min(abs(found.low), abs(found.high)))
    return Comparison(limit - r, error)


def jackknife(items: Sequence[T], number: Callable[[Sequence[T]], float]) -> Comparison:
    """Of a number of a set, such as a correlation over networks: its standard error by leaving out each in turn.

    >>> jackknife([1.0, 2.0, 3.0], statistics.fmean)  # the error of a mean is that of `seeds`
    Comparison(mean=2.0, error=0.577...)
    """
    n = len(items)
    each = [number([*items[:i], *items[i + 1 :]]) for i in range(n)]
    middle = statistics.fmean(each)
    return Comparison(number(items), math.sqrt((n - 1) / n * sum((one - middle) ** 2 for one in each)))


def points(margin: float, *accuracies: float, clips: int) -> Comparison:
    """Of a margin in points of accuracy (percent): the error of the accuracies it was made of, over that many clips.

    The same clips were seen each time, so that the true error is smaller.

    >>> points(10.0, 50.0, clips=100)
    Comparison(mean=10.0, error=5.0)
    """
    return Comparison(margin, math.sqrt(sum(a * (100 - a) for a in accuracies) / clips))
