"""Small networks of our own, one for each construct of video networks that no installed package has.

Written after the papers that are named, with random weights; clips (1, 3, 4, 16, 16) to logits (1, 10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES, FRAMES, SIDE = 10, 4, 16


class Backbone(nn.Module):
    """Convolutions on each frame, a block over (b, c, t, h, w), and a classifier of every frame, averaged."""

    def __init__(self, block: nn.Module, width: int = 8):
        super().__init__()
        self.stem = nn.Conv3d(3, width, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.block, self.fc = block, nn.Linear(width, CLASSES)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip to logits."""
        x = self.block(F.relu(self.stem(clip)))
        logits: Tensor = self.fc(F.relu(x).mean((3, 4)).transpose(1, 2)).mean(1)
        return logits


class StreamBuffer(nn.Module):
    """A causal convolution over time, padded with what the last call left behind (MoViNet: 2103.11511, Sec. 3.2)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.conv = nn.Conv3d(width, width, (3, 1, 1))
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same."""
        before = torch.zeros_like(x[:, :, :2]) if self.kept is None else self.kept
        x = torch.cat([before, x], 2)
        self.kept = x[:, :, -2:].detach().clone()
        out: Tensor = self.conv(x)
        return out


class CumulativePool(nn.Module):
    """Squeeze and excite by the mean of all frames so far, kept from call to call (MoViNet, causal)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.down, self.up = nn.Conv3d(width, width // 2, 1), nn.Conv3d(width // 2, width, 1)
        self.total: Any = 0.0
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same."""
        total = torch.cumsum(x.mean((3, 4), keepdim=True), 2) + self.total
        mean = total / (self.count + torch.arange(1, x.shape[2] + 1).view(1, 1, -1, 1, 1))
        self.total, self.count = total[:, :, -1:].detach(), self.count + x.shape[2]
        return x * torch.sigmoid(self.up(F.relu(self.down(mean))))


class ConvLSTM(nn.Module):
    """Gates from one convolution of frame and state, written out over time (Shi et al. 2015, 1506.04214, Eq. 3)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.width, self.conv = width, nn.Conv2d(2 * width, 4 * width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the states of every frame."""
        h, c = torch.zeros_like(x[:, :, 0]), torch.zeros_like(x[:, :, 0])
        states = []
        for frame in x.unbind(2):
            i, f, o, g = torch.split(self.conv(torch.cat([frame, h], 1)), self.width, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states, 2)


class Interlaced(nn.Module):
    """Groups of channels shifted along time by offsets from the clip, read and written by index (TIN, 2001.06499)."""

    def __init__(self, width: int = 8, groups: int = 2):
        super().__init__()
        self.groups, self.offset, self.weight = groups, nn.Linear(width, groups), nn.Conv1d(width, groups, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same."""
        c, t = x.shape[1:3]
        pooled = x.mean((3, 4))
        offset = 4 * (torch.sigmoid(self.offset(pooled.mean(2))) - 0.5)
        weight = 2 * torch.sigmoid(self.weight(pooled))
        out, size = torch.zeros_like(x), c // self.groups
        for group in range(self.groups):
            first, part = offset[:, group].floor(), slice(group * size, (group + 1) * size)
            share = (offset[:, group] - first).view(-1, 1, 1, 1, 1)
            low = (torch.arange(t) + first.long()[:, None]).clamp(0, t - 1)
            high = (torch.arange(t) + first.long()[:, None] + 1).clamp(0, t - 1)
            reads = [x[:, part].gather(2, at[:, None, :, None, None].expand_as(x[:, part])) for at in (low, high)]
            out[:, part] = ((1 - share) * reads[0] + share * reads[1]) * weight[:, group, None, :, None, None]
        return out


class SpatialTransformer(nn.Module):
    """Every frame looked at through an affine grid that the clip computes (Jaderberg et al. 2015, 1506.02025)."""

    def __init__(self, width: int = 8, mode: str = "bilinear"):
        super().__init__()
        self.mode, self.where = mode, nn.Linear(width, 6)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same."""
        frames = x.transpose(1, 2).flatten(0, 1)
        theta = self.where(frames.mean((2, 3))).view(-1, 2, 3) / 4 + torch.eye(2, 3)
        grid = F.affine_grid(theta, list(frames.shape), align_corners=False)
        seen = F.grid_sample(frames, grid, self.mode, "border", False)
        out: Tensor = seen.unflatten(0, (len(x), -1)).transpose(1, 2)
        return out


class FlowAligned(nn.Module):
    """The next frame warped by a computed flow and subtracted (feature alignment)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.flow = nn.Conv2d(2 * width, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to differences to the frame before."""
        out = [x[:, :, 0]]
        h, w = x.shape[-2:]
        base = torch.stack(torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="xy"), -1)
        for i in range(1, x.shape[2]):
            flow = self.flow(torch.cat([x[:, :, i - 1], x[:, :, i]], 1)).tanh().permute(0, 2, 3, 1) / 4
            out.append(x[:, :, i] - F.grid_sample(x[:, :, i - 1], base + flow, align_corners=True))
        return torch.stack(out, 2)


class Appearance(nn.Module):
    """Distances of neighbouring frames' features beside them, normalised (PAN, 2008.03462, Eq. 3)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.mix = nn.Conv3d(width + 1, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same."""
        along = x.permute(0, 2, 3, 4, 1)
        distance = F.pairwise_distance(along[:, 1:], along[:, :-1])
        distance = F.pad(distance, (0, 0, 0, 0, 1, 0))[:, None]
        out: Tensor = self.mix(torch.cat([F.normalize(x), distance / (distance.pow(2).mean().sqrt() + 1e-6)], 1))
        return out


class Recurrent(nn.Module):
    """A CNN on frames and torch's recurrent layer; every step is classified, or the last one."""

    def __init__(self, kind: Any, last: bool, width: int = 8):
        super().__init__()
        self.stem, self.last = nn.Conv3d(3, width, (1, 3, 3), padding=(0, 1, 1)), last
        self.recurrent, self.fc = kind(width, width, num_layers=2, batch_first=True), nn.Linear(width, CLASSES)

    def forward(self, clip: Tensor) -> Tensor:
        """Clip to logits."""
        states = self.recurrent(F.relu(self.stem(clip)).mean((3, 4)).transpose(1, 2))[0]
        logits: Tensor = self.fc(states[:, -1]) if self.last else self.fc(states).mean(1)
        return logits


class Cubic(nn.Module):
    """Pictures enlarged with a cubic kernel before a convolution."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to twice the height and width."""
        frames = F.interpolate(x.transpose(1, 2).flatten(0, 1), scale_factor=2, mode="bicubic", align_corners=False)
        out: Tensor = self.conv(frames).unflatten(0, (len(x), -1)).transpose(1, 2)
        return out


class DrawsFrames(nn.Module):
    """A relation of frames that are drawn at random in every forward (TRN with several scales, 1711.08496)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.relation = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same, changed by two frames."""
        chosen = torch.randperm(x.shape[2])[:2].sort()[0]
        pair = x[:, :, chosen].mean((3, 4)).transpose(1, 2).flatten(1)
        return x + F.relu(self.relation(pair))[:, :, None, None, None]


def without_bias() -> nn.Module:
    """Piecewise linear: the epsilon rule is gradient times input."""
    layers = [nn.Conv3d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool3d((1, 2, 2))]
    layers += [nn.Conv3d(8, 8, 3, padding=1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, CLASSES, bias=False))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "without_bias": without_bias,
    "stream_buffer": lambda: Backbone(StreamBuffer()),
    "stream_cumulative_pool": lambda: Backbone(CumulativePool()),
    "convlstm": lambda: Backbone(ConvLSTM()),
    "interlaced": lambda: Backbone(Interlaced()),
    "spatial_transformer": lambda: Backbone(SpatialTransformer()),
    "spatial_transformer_cubic": lambda: Backbone(SpatialTransformer(mode="bicubic")),
    "flow_aligned": lambda: Backbone(FlowAligned()),
    "appearance": lambda: Backbone(Appearance()),
    "cubic": lambda: Backbone(Cubic()),
    "lstm_every_step": lambda: Recurrent(nn.LSTM, last=False),
    "lstm_last_step": lambda: Recurrent(nn.LSTM, last=True),
    "gru_every_step": lambda: Recurrent(nn.GRU, last=False),
    "draws_frames": lambda: Backbone(DrawsFrames()),
}
