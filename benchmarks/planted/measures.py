"""How well relevance matrices tell which frames decide, in numbers; letters b clips, n rows, t frames, e events."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lrp3d.models import VideoModel
from torch import Tensor


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


def ranks(values: Tensor) -> Tensor:
    """Ranks along the last axis, ties their mean, float64."""
    below = (values.unsqueeze(-1) > values.unsqueeze(-2)).sum(-1)
    equal = (values.unsqueeze(-1) == values.unsqueeze(-2)).sum(-1)
    return below.double() + (equal - 1).double() / 2


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """Correlation along the last axis; NaN where one of them is constant."""
    x, y = x.double() - x.double().mean(-1, keepdim=True), y.double() - y.double().mean(-1, keepdim=True)
    return (x * y).sum(-1) / (x.square().sum(-1) * y.square().sum(-1)).sqrt()


def spearman(x: Tensor, y: Tensor) -> Tensor:
    """Rank correlation along the last axis."""
    return pearson(ranks(x), ranks(y))


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of two matrices (b, n, t), by clip."""
    return torch.cosine_similarity(x.double().flatten(1), y.double().flatten(1), dim=1)


def frame_scores(matrix: Tensor) -> Tensor:
    """One number per frame (b, t): the columns' sums, what a frame gave to the clip's logit."""
    return matrix.double().sum(1)


def frozen(clips: Tensor, kept: Tensor) -> Tensor:
    """Clips in which every frame that is not kept (b, t) is the nearest one that is, of two the earlier.

    Without any kept frame all become the clip's mean frame.
    """
    t = clips.shape[2]
    frame = torch.arange(t)
    distance = ((frame - frame[:, None]).abs() * 2 + (frame > frame[:, None])).double()
    nearest = distance.masked_fill(~kept[:, None, :], torch.inf).argmin(-1)  # (b, t)
    filled = clips.gather(2, nearest[:, None, :, None, None].expand_as(clips))
    empty = ~kept.any(-1)
    return torch.where(empty[:, None, None, None, None], clips.mean(2, keepdim=True), filled)


def margin(model: VideoModel, clips: Tensor, target: Tensor) -> Tensor:
    """Logit of the target minus the mean of the others, (b,)."""
    with torch.inference_mode():
        logits = model(clips)
    own = logits.gather(1, target[:, None]).squeeze(1)
    return own - (logits.sum(1) - own) / (logits.shape[1] - 1)


def relevance_gain(scores: Tensor, value: Callable[[Tensor], Tensor], cuts: int = 8) -> Tensor:
    """Symmetric relevance gain (b,): mean over cuts of what is left when the least relevant frames went first,
    minus when the most relevant did, in the unit of `value`.

    At most `cuts` of the t - 1 cuts are made, evenly spaced.

    Source: Bluecher et al. 2024 (arXiv 2401.06654), with frames for pixels and freezing for the occluder.
    """
    b, t = scores.shape
    order = scores.argsort(-1, descending=True).argsort(-1)  # 0: most relevant
    gain = torch.zeros(b, dtype=torch.double)
    made = torch.linspace(1, t - 1, min(cuts, t - 1)).round().long().tolist()
    for gone in made:
        gain += (value(order < t - gone) - value(order >= gone)).double()
    return gain / len(made)


def shapley(value: Callable[[Tensor], Tensor], b: int, t: int) -> Tensor:
    """Exact Shapley values (b, t) of the frames, from all 2^t coalitions (Shapley 1953)."""
    if t > 12:
        raise ValueError(f"{t} frames have 2^{t} coalitions: too many")
    coalitions = (torch.arange(2**t)[:, None] >> torch.arange(t)) & 1 == 1  # (2^t, t)
    worth = torch.stack([value(one.expand(b, -1)).double() for one in coalitions])  # (2^t, b)
    members = coalitions.sum(1)
    factorial = torch.cat([torch.ones(1), torch.arange(1.0, t + 1)]).double().cumprod(0)
    result = []
    for frame in range(t):
        without = (~coalitions[:, frame]).nonzero().squeeze(1)
        size = members[without]
        weight = (factorial[size] * factorial[t - 1 - size] / factorial[t]).double()
        result.append((weight[:, None] * (worth[without + 2**frame] - worth[without])).sum(0))
    return torch.stack(result, 1)
