"""Maps of the clip by relevance and by other methods."""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.attending.networks import PATCH, Attention
from torch import Tensor, nn

import lrp3d
from lrp3d.rules import SameSign, ZPlus

LAYERS = dict.fromkeys((nn.Linear, nn.Conv2d, nn.Conv3d), SameSign())
SUMS = dict.fromkeys((torch.add, torch.sub, torch.sum, torch.mean), SameSign())
SIGNED = lrp3d.Composite(layers=LAYERS, operations=SUMS, classifier=ZPlus())


def by_lrp(composite: str | lrp3d.Composite, contrastive: bool) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """Relevance per pixel (b, t, h, w) by a composite, positive part of the sum over channels."""

    def method(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
        found = lrp3d.explain(model, clip, target, contrastive=contrastive, composite=composite, temporal=False)
        assert isinstance(found.relevance, Tensor)
        return found.relevance.sum(1).clamp(min=0)

    return method


def gradient_input(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """Gradient times input, positive part of the sum over channels."""
    x = clip.clone().requires_grad_()
    logits = model(x)
    gradient = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), x)[0]
    return (gradient * clip).sum(1).clamp(min=0)


def occlusion(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """What the logit loses when a patch of a frame becomes the clip's mean colour, spread over that patch."""
    b, _, t, h, w = clip.shape
    found = clip.new_zeros(b, t, h // PATCH, w // PATCH)
    with torch.no_grad():
        before = model(clip).gather(1, target[:, None])
        mean = clip.mean((2, 3, 4), keepdim=True)
        for frame in range(t):
            changed = clip.repeat(found[0, 0].numel(), 1, 1, 1, 1)
            for i in range(found[0, 0].numel()):
                y, x = i // found.shape[3] * PATCH, i % found.shape[3] * PATCH
                changed[i * b : (i + 1) * b, :, frame, y : y + PATCH, x : x + PATCH] = mean[:, :, 0]
            after = model(changed).gather(1, target.repeat(found[0, 0].numel())[:, None])
            found[:, frame] = (before - after.view(-1, b).T).view(b, *found.shape[2:])
    return _spread(found.clamp(min=0))


def rollout(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """Attention rollout (Abnar and Zuidema 2020, 2005.00928): products of mean attention plus identity; no class."""
    with torch.no_grad():
        model(clip)
    total: Tensor | None = None
    for module in model.modules():
        if isinstance(module, Attention) and module.probabilities is not None:
            own = module.probabilities.mean(1)
            mixed = (own + torch.eye(own.shape[-1])) / 2
            total = mixed if total is None else mixed @ total
    assert total is not None
    b, _, t, h, w = clip.shape
    return _spread(total.mean(1).view(b, t, h // PATCH, w // PATCH))


def _spread(patches: Tensor) -> Tensor:
    """(b, t, p, q) to (b, t, h, w)."""
    return patches.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3) / PATCH**2


def chance(model: nn.Module, clip: Tensor, target: Tensor) -> Tensor:
    """The same everywhere."""
    return torch.ones_like(clip[:, 0])


METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "LRP, paper": by_lrp("paper", False),
    "CLRP, paper": by_lrp("paper", True),
    "LRP, SameSign": by_lrp(SIGNED, False),
    "CLRP, SameSign": by_lrp(SIGNED, True),
    "attnlrp": by_lrp("attnlrp", False),
    "epsilon": by_lrp("epsilon", False),
    "gradient x input": gradient_input,
    "rollout": rollout,
    "patches replaced": occlusion,
    "everywhere alike": chance,
}
