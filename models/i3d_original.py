"""The original I3D, whose Kinetics weights are public, with TensorFlow's padding and temporal stride."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from .base import VideoModel, builder
from .blocks import ConvUnit, Size, conv3d, full_conv
from .inception import InceptionV1


class SamePadding(nn.Module):
    """TensorFlow's "same": zeros so that `kernel` and `stride` yield ceil(size / stride) outputs.

    If the number of zeros is odd, the extra one is at the end. After a ReLU, a zero never wins a max pool alone, so
    that this padding serves pools as well.
    """

    def __init__(self, kernel: Size, stride: Size):
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Pads (b, c, t, h, w)."""
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel[::-1], self.stride[::-1], strict=True):
            total = max(kernel - (size % stride or stride), 0)
            pads += [total // 2, total - total // 2]
        return F.pad(x, pads) if any(pads) else x


def _same_pool(kernel: Size, stride: Size) -> nn.Sequential:
    return nn.Sequential(OrderedDict(pad=SamePadding(kernel, stride), pool=nn.MaxPool3d(kernel, stride)))


class OriginalI3D(InceptionV1):
    """Inception-V1 as DeepMind inflated it; see `i3d_original`."""

    def check(self, clip: Tensor) -> None:
        """Raises ValueError for fewer than nine frames, which leave no window for the last pool."""
        VideoModel.check(self, clip)
        if clip.shape[2] < 9:
            raise ValueError(f"{self.name} needs at least 9 frames, got {clip.shape[2]}")

    def pool(self, features: Tensor) -> Tensor:
        """Average 2x7x7 windows and then the remaining space; maps smaller than 7x7 are one window."""
        window = (2, min(7, features.shape[3]), min(7, features.shape[4]))
        return F.avg_pool3d(features, window, stride=1).mean((3, 4))


@builder
def i3d_original(
    num_classes: int, *, dropout: float = 0.5, output_frames: int | str | None = None, in_channels: int = 3
) -> OriginalI3D:
    """The I3D of DeepMind (Carreira & Zisserman 2017), for the public Kinetics weights.

    Clips are (b, 3, t, h, w) in [-1, 1], 64 frames of 224 pixels as trained. There are ceil(t / 8) - 1
    frame logits.

    Args:
        num_classes: `k`.
        dropout: before the classifier.
        output_frames: how many evenly spaced outputs are averaged, None or "all" for all.
        in_channels: channels of the clip.

    Raises:
        ValueError: in `forward`, a clip that does not fit or has fewer than 9 frames.

    >>> import torch
    >>> i3d_original(5).eval().frame_logits(torch.zeros(1, 3, 16, 32, 32)).shape
    torch.Size([1, 1, 5])
    """
    kernel, stride = (7, 7, 7), (2, 2, 2)
    stem = nn.Sequential(
        OrderedDict(
            pad=SamePadding(kernel, stride),
            unit=ConvUnit(conv3d(in_channels, 64, kernel, stride, padding=(0, 0, 0)), 64),
        )
    )
    model = OriginalI3D(
        num_classes,
        stem=stem,
        unit=lambda i, o: ConvUnit(full_conv(i, o), o),
        pools=[
            _same_pool((1, 3, 3), (1, 2, 2)),
            _same_pool((1, 3, 3), (1, 2, 2)),
            _same_pool((3, 3, 3), (2, 2, 2)),
            _same_pool((2, 2, 2), (2, 2, 2)),
        ],
        branch_pool=lambda: nn.MaxPool3d((3, 3, 3), (1, 1, 1), (1, 1, 1)),
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
    )
    model.name = "I3D"
    return model
