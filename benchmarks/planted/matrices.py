"""Temporal relevance matrices (b, n, t) of every method that the bench compares, for networks with frame logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from lrp3d.models import VideoModel
from torch import Tensor

import lrp3d

# Three Gauss-Legendre nodes on [0, 1]: exact along paths on which the gradient is a polynomial of degree 5.
NODES = (0.1127016653792583, 0.5, 0.8872983346207417)
WEIGHTS = (5 / 18, 4 / 9, 5 / 18)

Method = Callable[[VideoModel, Tensor, Tensor], Tensor]


def clrp(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """What the paper does."""
    return _matrix(lrp3d.explain(model, clip, target))


def lrp(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """Without contrast."""
    return _matrix(lrp3d.explain(model, clip, target, contrastive=False))


def gradient(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """Sum of the gradient's magnitude over a frame's values."""
    return torch.stack([row.abs().sum((1, 3, 4)) for row in _rows(model, clip, target)], 1)


def gradient_input(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """Positive part of gradient times input per value, summed over a frame: as CLRP sums (Eq. 2)."""
    return torch.stack([(row * clip).clamp(min=0).sum((1, 3, 4)) for row in _rows(model, clip, target)], 1)


def integrated_gradients(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """From the normalisation's zero to the clip, positive part per value (Sundararajan et al. 2017)."""
    total: list[Tensor | float] = []
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        for i, row in enumerate(_rows(model, node * clip, target)):
            if len(total) <= i:
                total.append(0.0)
            total[i] = total[i] + weight * row
    return torch.stack([(row * clip).clamp(min=0).sum((1, 3, 4)) for row in total], 1)


def intervention(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """What a frame logit loses when a frame becomes its neighbours' mean."""
    return lrp3d.intervention_matrix(model, clip, target)


def freeze(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """The same, when a frame becomes the nearest one that stays."""
    return lrp3d.intervention_matrix(model, clip, target, occluder="nearest")


def random(model: VideoModel, clip: Tensor, target: Tensor) -> Tensor:
    """Numbers that know nothing."""
    n = clip.shape[2]
    return torch.rand(len(clip), n, n, generator=torch.Generator().manual_seed(0))


METHODS: dict[str, Method] = {
    "CLRP": clrp,
    "LRP": lrp,
    "gradient": gradient,
    "gradient x input": gradient_input,
    "integrated gradients": integrated_gradients,
    "intervention": intervention,
    "intervention (freeze)": freeze,
    "random": random,
}


def _matrix(explanation: lrp3d.Explanation) -> Tensor:
    assert explanation.matrix is not None
    return explanation.matrix.detach()


def _rows(model: VideoModel, clip: Tensor, target: Tensor) -> Iterator[Tensor]:
    """Gradient of every frame's logit with respect to the clip; the clips of a batch do not meet."""
    x = clip.detach().clone().requires_grad_()
    logits = model.frame_logits(x)
    chosen = logits[torch.arange(len(x)), :, target].sum(0)
    for i in range(len(chosen)):
        yield torch.autograd.grad(chosen[i], x, retain_graph=i + 1 < len(chosen))[0]
