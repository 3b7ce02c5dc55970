"""Clips for Quantus, whose metrics take images: a clip (c, t, h, w) becomes an image (c, t h, w), frame below frame.

Quantus itself is not needed here. Its metrics take a model, inputs, targets and a function that explains; these are the
first and the last of them.
"""

from __future__ import annotations

from typing import Any

import einops
import numpy as np
from torch import Tensor, nn

from lrp3d.explain import explain
from lrp3d.transfer import device_of_model
from lrp3d.twin.twin import Twin, convert
from lrp3d.values import as_tensor

__all__ = ["FoldedClips", "explain_folded", "folded"]


class FoldedClips(nn.Module):
    """A model of clips (b, c, t, h, w) as one of images (b, c, t h, w).

    Args:
        model: of clips, in evaluation mode; or its twin.
        frames: t.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.i3d_resnet(18, num_classes=5, width=8).eval()
    >>> clip = torch.rand(2, 3, 4, 32, 32)
    >>> bool(FoldedClips(model, 4)(folded(clip)).equal(model(clip)))
    True
    """

    def __init__(self, model: nn.Module, frames: int):
        super().__init__()
        self.model: nn.Module = model.model if isinstance(model, Twin) else model
        self.frames = frames
        self.twin: list[Twin] = [model if isinstance(model, Twin) else convert(model)]  # no module of this one
        self.train(self.model.training)

    def forward(self, images: Tensor) -> Tensor:
        """The logits of the clips that the images are."""
        logits: Tensor = self.model(self.clips(images))
        return logits

    def clips(self, images: Tensor) -> Tensor:
        """Images (b, c, t h, w) as clips; raises ValueError where their height is no multiple of t."""
        if images.dim() != 4 or images.shape[2] % self.frames:
            raise ValueError(f"images are (b, c, {self.frames} h, w), frame below frame, got {tuple(images.shape)}")
        return einops.rearrange(images, "b c (t h) w -> b c t h w", t=self.frames)


def folded(clips: Tensor) -> Tensor:
    """Clips (b, c, t, h, w) as images (b, c, t h, w)."""
    return einops.rearrange(clips, "b c t h w -> b c (t h) w")


def explain_folded(
    model: FoldedClips, inputs: np.ndarray | Tensor, targets: np.ndarray | Tensor, **options: Any
) -> np.ndarray:
    """Relevance of folded clips, as Quantus asks for it (its `explain_func`).

    Args:
        model: the folded model.
        inputs: (b, c, t h, w).
        targets: (b,) classes.
        options: some of those of `lrp3d.explain`; Quantus adds others, which have no meaning here ("device", "method",
            ...) and are named by `IGNORED`.

    Returns:
        (b, c, t h, w).

    Raises:
        TypeError: for any other option.
        ValueError: as in `lrp3d.explain`.

    >>> import lrp3d, numpy as np
    >>> model = FoldedClips(lrp3d.models.i3d_resnet(18, num_classes=5, width=8).eval(), 4)
    >>> explain_folded(model, np.random.rand(2, 3, 128, 32).astype("float32"), np.array([0, 3])).shape
    (2, 3, 128, 32)
    """
    device = device_of_model(model)
    clips = model.clips(as_tensor(inputs).to(device))
    own_options = {name: value for name, value in options.items() if name not in IGNORED}
    explanation = explain(model.twin[0], clips, as_tensor(targets).long().to(device), temporal=False, **own_options)
    assert isinstance(explanation.relevance, Tensor)
    return folded(explanation.relevance).numpy(force=True)


IGNORED = frozenset({"device", "method", "normalise", "abs", "reduce_axes", "softmax", "channel_first", "xai_lib"})
"""What Quantus hands to every function that explains."""
