"""What makes networks of others take a clip (b, 3, t, h, w) and give logits (b, k)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

CLASSES = 10


class FramesAsChannels(nn.Module):
    """A network that takes (b, t * 3, h, w)."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        logits: Tensor = self.net(clip.transpose(1, 2).flatten(1, 2))
        return logits


class FramesFirst(nn.Module):
    """A network that takes (b, t, 3, h, w)."""

    def __init__(self, net: nn.Module, then: nn.Module | None = None):
        super().__init__()
        self.net, self.then = net, then or nn.Identity()

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        logits: Tensor = self.then(self.net(clip.transpose(1, 2)))
        return logits


class Averaged(nn.Module):
    """Logits of every place or frame, averaged over all axes but batch and classes."""

    def __init__(self, net: nn.Module, classes_last: bool = False):
        super().__init__()
        self.net, self.classes_last = net, classes_last

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        found = self.net(clip)
        out: Tensor = found[0] if isinstance(found, tuple) else found
        if out.dim() == 2:
            return out
        return out.mean(tuple(range(1, out.dim() - 1))) if self.classes_last else out.flatten(2).mean(2)


class Consensus(nn.Module):
    """The mean over segments of TSN's code."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, n, k) to (b, 1, k)."""
        return x.mean(1, keepdim=True)


class Grey(nn.Module):
    """A network of one channel."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        logits: Tensor = self.net(clip.mean(1, keepdim=True))
        return logits


class RowsOfAClip(nn.Module):
    """A network that returns a row of logits for each of a clip's pooled frames (TSM with temporal pooling)."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        logits: Tensor = self.net(clip).unflatten(0, (len(clip), -1)).mean(1)
        return logits


class LastState(nn.Module):
    """ConvLSTM of ndrplz, and a classifier on its last state."""

    def __init__(self, net: nn.Module, width: int):
        super().__init__()
        self.net, self.fc = net, nn.Linear(width, CLASSES)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        outputs, _ = self.net(clip.transpose(1, 2))
        logits: Tensor = self.fc(outputs[-1].mean((3, 4))).mean(1)
        return logits


class OnePathway(nn.Module):
    """A network that takes a list of one clip."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        logits: Tensor = self.net([clip])
        return logits


class Pathways(OnePathway):
    """A network that takes every alpha-th frame, and all frames."""

    def __init__(self, net: nn.Module, alpha: int):
        super().__init__(net)
        self.alpha = alpha

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        logits: Tensor = self.net([clip[:, :, :: self.alpha], clip])
        return logits


class Reset(nn.Module):
    """A stream whose buffers are emptied before each clip."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        self.net.clean_activation_buffers()
        logits: Tensor = self.net(clip)
        return logits


class Sense(nn.Module):
    """A stream of twentybn's, and a classifier of the mean of its features."""

    def __init__(self, net: nn.Module, kept: bool):
        super().__init__()
        self.net, self.fc = net, nn.LazyLinear(CLASSES)
        if kept:
            with torch.no_grad():
                self(torch.rand(1, 3, 16, 64, 64))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (1, 3, t, h, w) to logits (1, k)."""
        features = self.net.get_submodule("cnn")(clip.transpose(1, 2).flatten(0, 1))
        logits: Tensor = self.fc(features.mean((2, 3))).mean(0, keepdim=True)
        return logits


class Batched(OnePathway):
    """A network that takes a dict with the clip under "frames"."""

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        out = self.net({"frames": clip})
        logits: Tensor = out[0] if isinstance(out, tuple) else out
        return logits


class TwoChannels(nn.Module):
    """A network of optical flow, here of the first two channels."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        logits: Tensor = self.net(clip[:, :2])
        return logits


class Shots(nn.Module):
    """A detector of cuts that takes (b, t, 27, 48, 3) in 0 to 255 and gives a logit for every frame."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, 48, 48) to logits (b, 1)."""
        logits: Tensor = self.net(clip[:, :, :, :27].permute(0, 2, 3, 4, 1) * 255)[0].mean(1)
        return logits


class Stream(nn.Module):
    """A network that takes a frame and what it kept of the one before, and gives logits and what it keeps."""

    def __init__(self, net: nn.Module, kept: Sequence[tuple[int, ...]]):
        super().__init__()
        self.net, self.kept = net, kept

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        kept = [clip.new_zeros(len(clip), *shape) for shape in self.kept]
        logits = []
        for frame in clip.unbind(2):
            answer, *kept = self.net(frame, *kept)
            logits.append(answer)
        return torch.stack(logits, 1).mean(1)


class WithSound(nn.Module):
    """A network of every alpha-th frame, all frames and a spectrogram, which is the same for every clip."""

    sound: Tensor

    def __init__(self, net: nn.Module, alpha: int, shape: tuple[int, ...]):
        super().__init__()
        self.net, self.alpha = net, alpha
        self.register_buffer("sound", torch.rand(1, *shape))

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (b, 3, t, h, w) to logits (b, k)."""
        sound = self.sound.expand(len(clip), *self.sound.shape[1:])
        logits: Tensor = self.net([clip[:, :, :: self.alpha], clip, sound])
        return logits
