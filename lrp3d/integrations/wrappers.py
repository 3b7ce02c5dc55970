"""Wrappers with which a network of another library takes a clip (b, 3, t, h, w) and returns logits (b, k)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.pathways import slow_frames

__all__ = ["PerFrame", "PublicNetwork", "Segments", "SlowFast", "TimeFirst"]


class PublicNetwork(nn.Module):
    """A network that takes clips (b, 3, t, h, w), with what its library says about its input.

    Args:
        network: the library's own module, which the library's checkpoints fit.
        frames: the number of frames of the clips for which it was made; None for any number.
        size: the side of a frame in pixels.
        short_side: the length to which the shorter side of a video is resized before the frame is cut; None if unknown.
        mean, std: the numbers with which pixels between 0 and 1 are normalised; None if unknown.
        frames_apart: how far apart the frames of a clip were when the library's own weights were trained, in frames of
            a video; None if they were taken from all over it, or if it is unknown.
        fixed_frames: whether it takes only this number of frames.
        classes: the names of the classes of the library's own weights.
        weights: where the weights come from; empty if they are random.
        notes: further sentences for the user.

    >>> import lrp3d
    >>> network = PublicNetwork(lrp3d.models.tsn_resnet(18, num_classes=10, width=8), frames=8, size=32).eval()
    >>> network(torch.rand(1, 3, 8, 32, 32)).shape, network.frames
    (torch.Size([1, 10]), 8)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(
        self,
        network: nn.Module,
        *,
        frames: int | None = None,
        size: int = 224,
        short_side: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        frames_apart: int | None = None,
        fixed_frames: bool = False,
        classes: Sequence[str] = (),
        weights: str = "",
        notes: Sequence[str] = (),
    ):
        super().__init__()
        self.network = network
        self.frames: int | None = frames
        self.frames_apart: int | None = frames_apart
        self.fixed_frames: bool = fixed_frames
        self.size: int = size
        self.short_side: int | None = short_side
        if mean is not None and std is not None:
            self.mean, self.std = tuple(mean), tuple(std)
        self.class_names: tuple[str, ...] = tuple(classes)
        self.weights: str = weights
        self.notes: tuple[str, ...] = tuple(notes)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        return logits_in(self.network(clip))


class PerFrame(PublicNetwork):
    """A network for images, which sees every frame alone; the clip's logit is the mean over frames, as in TSN."""

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
    """A network that takes two pathways: one frame in `alpha`, evenly spaced from first to last, and all frames."""

    alpha = 4

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        frames = clip.shape[2]
        slow = clip[:, :, slow_frames(frames // self.alpha, frames)]
        return logits_in(self.network([slow, clip]))


class Segments(PublicNetwork):
    """A recogniser of mmaction2: its backbone, neck and head, without its pre- and postprocessing.

    It takes frames (b, t, 3, h, w) if it works on images, and one crop (b, 1, 3, t, h, w) if it works on clips.
    """

    images = False

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        taken = clip.transpose(1, 2).contiguous() if self.images else clip[:, None]
        return logits_in(self.network(taken, stage="head"))


def logits_in(returned: Any) -> Tensor:
    """The logits in what a network returns: the tensor itself, the entry of that name, or the first of several."""
    logits = getattr(returned, "logits", returned)
    if isinstance(logits, (tuple, list)) and logits:
        logits = logits[0]
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"the network returns {type(returned).__name__}, in which no logits are found")
    return logits
