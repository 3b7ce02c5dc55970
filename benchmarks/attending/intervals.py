"""Means over networks and clips, with intervals."""

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
