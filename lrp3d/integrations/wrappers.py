"""What makes a network of another library take a clip (b, 3, t, h, w) and return logits (b, k)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["PerFrame", "PublicNetwork", "Segments", "SlowFast", "TimeFirst"]


class PublicNetwork(nn.Module):
    """A network that takes clips as they are, with what its library says about its input.

    Args:
        network: what the library built; checkpoints of the library fit it, so it has the state's names.
        frames: how many frames of a clip it was made for; None for any number.
        size: the side of a frame in pixels.
        mean, std: with which pixels between 0 and 1 are normalised; None if nobody says.
        fixed_frames: whether it takes no other number of frames.
        classes: what the classes of the library's own weights are called.
        weights: where its weights come from; empty if they are random.
        notes: what else should be known.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(
        self,
        network: nn.Module,
        *,
        frames: int | None = None,
        size: int = 224,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        fixed_frames: bool = False,
        classes: Sequence[str] = (),
        weights: str = "",
        notes: Sequence[str] = (),
    ):
        super().__init__()
        self.network = network
        self.frames, self.fixed_frames, self.size = frames, fixed_frames, size
        if mean is not None and std is not None:
            self.mean, self.std = tuple(mean), tuple(std)
        self.class_names, self.weights, self.notes = tuple(classes), weights, tuple(notes)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        return logits_in(self.network(clip))


class PerFrame(PublicNetwork):
    """A network of images: it sees every frame alone, and the mean over frames is the clip's logit, as in TSN."""

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        images = clip.transpose(1, 2).flatten(0, 1)
        logits: Tensor = logits_in(self.network(images)).unflatten(0, (len(clip), -1))
        return logits.mean(1)


class TimeFirst(PublicNetwork):
    """A network that takes clips (b, t, 3, h, w)."""

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        return logits_in(self.network(clip.transpose(1, 2)))


class SlowFast(PublicNetwork):
    """A network that takes two pathways: every `alpha`-th frame, and all frames."""

    alpha = 4

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        return logits_in(self.network([clip[:, :, :: self.alpha], clip]))


class Segments(PublicNetwork):
    """A recogniser of mmaction2: its backbone, neck and head, without what it does before and after them.

    It takes frames (b, t, 3, h, w) where it looks at images, and one crop (b, 1, 3, t, h, w) where it looks at clips.
    """

    images = False

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        taken = clip.transpose(1, 2).contiguous() if self.images else clip[:, None]
        return logits_in(self.network(taken, stage="head"))


def logits_in(returned: Any) -> Tensor:
    """The logits among what a network returns: the tensor itself, what is called so, or the first of several."""
    logits = getattr(returned, "logits", returned)
    if isinstance(logits, (tuple, list)) and logits:
        logits = logits[0]
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"the network returns {type(returned).__name__}, in which no logits are found")
    return logits
