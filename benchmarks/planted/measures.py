"""How well relevance matrices tell which frames decide, in numbers; letters b clips, n rows, t frames, e events."""

from __future__ import annotations

import torch
from lrp3d.faithfulness import games
from lrp3d.occlusion import filled
from lrp3d.faithfulness.games import Value, relevance_gain
from lrp3d.metrics.contributions import frame_scores
from lrp3d.metrics.agreement import cosine, pearson, ranks, spearman
from lrp3d.models import VideoModel
from torch import Tensor

__all__ = [
    "cosine",
    "frame_scores",
    "frozen",
    "lag_profile",
    "margin",
    "mass",
    "pearson",
    "ranks",
    "relevance_gain",
    "row_weights",
    "shapley",
    "share",
    "spearman",
]


def mass(matrix: Tensor) -> Tensor:
    """Rows as shares of the part that has the sign of their sum, as ATR counts them; zero rows stay zero."""
    kept = (matrix * matrix.sum(-1, keepdim=True).sign()).clamp(min=0).double()
    return kept / kept.sum(-1, keepdim=True).clamp(min=1e-300)


def row_weights(frame_logits: Tensor) -> Tensor:
    """The weights of avg-ATR, (b, n): positive logits, summing to 1; zeros where none is positive."""
    positive = frame_logits.double().clamp(min=0)
    return positive / positive.sum(-1, keepdim=True).clamp(min=1e-300)


def share(matrix: Tensor, frame_logits: Tensor, decisive: Tensor) -> Tensor:
    """Share (b,) of the weighted rows' mass that lies on the decisive frames (b, t)."""
    return ((mass(matrix) * decisive[:, None]).sum(-1) * row_weights(frame_logits)).sum(-1)


def lag_profile(matrices: Tensor, frame_logits: Tensor) -> Tensor:
    """The mean row (n, t) of clips, as a function of lag alone: what the architecture puts where, on average."""
    n, t = matrices.shape[1:]
    weighted = (mass(matrices) * row_weights(frame_logits)[..., None]).sum(0)
    lag = torch.arange(t) - torch.arange(n)[:, None] + n - 1
    rows = row_weights(frame_logits).sum(0)[:, None].expand(-1, t)
    total = torch.zeros(n + t - 1, dtype=torch.double).index_add(0, lag.flatten(), weighted.flatten())
    seen = torch.zeros(n + t - 1, dtype=torch.double).index_add(0, lag.flatten(), rows.flatten())
    profile = (total / seen.clamp(min=1e-300))[lag]
    return profile / profile.sum(-1, keepdim=True)


def frozen(clips: Tensor, kept: Tensor) -> Tensor:
    """Clips in which every frame that is not kept (b, t) is the nearest one that is, of two the earlier."""
    return filled(clips, kept, "nearest")


def margin(model: VideoModel, clips: Tensor, target: Tensor) -> Tensor:
    """Logit of the target minus the mean of the others, (b,)."""
    with torch.inference_mode():
        logits: Tensor = model(clips)
    own = logits.gather(1, target[:, None]).squeeze(1)
    return own - (logits.sum(1) - own) / (logits.shape[1] - 1)


def shapley(value: Value, b: int, t: int) -> Tensor:
    """Exact Shapley values (b, t) of the frames of `b` clips, each of which keeps frames of its own in `value`."""
    return games.shapley(lambda sets: torch.stack([value(one.expand(b, -1)) for one in sets]), t)
