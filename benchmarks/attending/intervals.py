"""Means over networks and clips, with intervals, and differences of two methods on the same clips."""

from __future__ import annotations

import torch

DRAWS = 2000


def interval(of_seeds: list[list[float]]) -> tuple[float, float, float]:
    """Mean, and 95 % by drawing seeds, and clips of each of them, again and again."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.tensor(clips, dtype=torch.double) for clips in of_seeds]
    means = []
    for _ in range(DRAWS):
        chosen = torch.randint(len(values), (len(values),), generator=generator).tolist()
        drawn = [
            values[i][torch.randint(len(values[i]), (len(values[i]),), generator=generator)].mean() for i in chosen
        ]
        means.append(torch.stack(drawn).mean())
    ends = torch.stack(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return float(torch.stack([v.mean() for v in values]).mean()), ends[0], ends[1]


def difference(of_seeds: list[list[float]], others: list[list[float]]) -> tuple[float, float, float]:
    """The same for how much more the first have than the others, clip by clip of the same networks."""
    return interval([[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(of_seeds, others, strict=True)])


def written(mean: float, low: float, high: float, digits: int = 2) -> str:
    """Such an interval in a table."""
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
