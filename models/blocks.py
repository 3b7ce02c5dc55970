"""Blocks that several families share; every tensor is (b, c, t, h, w)."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int, int]


def conv3d(
    in_channels: int,
    out_channels: int,
    kernel: Size,
    stride: Size = (1, 1, 1),
    bias: bool = False,
    padding: Size | None = None,
) -> nn.Conv3d:
    """A convolution that keeps the size at stride 1 unless a padding is given."""
    if padding is None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(in_channels, out_channels, kernel, stride, padding, bias=bias)


def frame_conv(in_channels: int, out_channels: int, stride: Size = (1, 1, 1)) -> nn.Conv3d:
    """A 3x3 convolution of every frame by itself, as in 2D networks."""
    return conv3d(in_channels, out_channels, (1, 3, 3), stride)


def full_conv(in_channels: int, out_channels: int, stride: Size = (1, 1, 1)) -> nn.Conv3d:
    """A 3x3x3 convolution, the inflated form of 3x3."""
    return conv3d(in_channels, out_channels, (3, 3, 3), stride)


def separable_conv(
    in_channels: int, out_channels: int, stride: Size = (1, 1, 1), bias: bool = False, eps: float = 1e-5
) -> nn.Sequential:
    """3x3x3 split into 1x3x3, normalisation, ReLU and 3x1x1 (Xie et al. 2018); only 3x1x1 may have a bias."""
    time, *space = stride
    return nn.Sequential(
        OrderedDict(
            spatial=conv3d(in_channels, out_channels, (1, 3, 3), (1, space[0], space[1])),
            bn=nn.BatchNorm3d(out_channels, eps),
            relu=nn.ReLU(),
            temporal=conv3d(out_channels, out_channels, (3, 1, 1), (time, 1, 1), bias),
        )
    )


class ConvUnit(nn.Sequential):
    """Convolution, batch normalisation, ReLU: the unit of every Inception."""

    def __init__(self, conv: nn.Module, channels: int, eps: float = 1e-3):
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm3d(channels, eps), relu=nn.ReLU()))


class TemporalAggregation(nn.Module):
    """TAM: every channel blends its neighbouring frames, and a ReLU follows (Fan et al. 2019).

    out[t] = ReLU(sum_i w[i] x[t + i - k // 2]), one weight per channel and offset: one depthwise temporal
    convolution of kernel `k`, zero padded, without bias. With `depthwise=False` channels mix, too.
    """

    def __init__(self, channels: int, kernel_size: int = 3, depthwise: bool = True):
        super().__init__()
        self.conv: nn.Conv3d = nn.Conv3d(
            channels,
            channels,
            (kernel_size, 1, 1),
            padding=(kernel_size // 2, 0, 0),
            groups=channels if depthwise else 1,
            bias=False,
        )
        self.relu: nn.ReLU = nn.ReLU()
        self.pass_through(noise=0.1)

    @torch.no_grad()
    def pass_through(self, noise: float = 0.0) -> None:
        """Set weights that let every frame through, plus `noise`: a new network starts close to its 2D backbone."""
        weight = self.conv.weight
        if weight.is_meta:  # only shapes are needed, and dirac_ would loop over all channels
            return
        fresh = torch.empty_like(weight)
        nn.init.dirac_(fresh, self.conv.groups)
        weight.copy_(fresh + torch.randn_like(weight) * (noise / weight.shape[1] ** 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same shape."""
        out: Tensor = self.relu(self.conv(x))
        return out


class TemporalShift(nn.Module):
    """TSM: one eighth of the channels sees the next frame, one eighth the previous frame (Lin et al. 2019).

    This is TAM with weights 0 and 1 and without ReLU.
    """

    def __init__(self, channels: int, fraction: int = 8):
        super().__init__()
        self.fold: int = channels // fraction

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to the same shape; frames outside the clip are zero."""
        fold = self.fold
        ahead = F.pad(x[:, :fold, 1:], (0, 0, 0, 0, 0, 1))
        back = F.pad(x[:, fold : 2 * fold, :-1], (0, 0, 0, 0, 1, 0))
        return torch.cat([ahead, back, x[:, 2 * fold :]], 1)


def pool3d(kind: str, kernel: Size, stride: Size, padding: Size = (0, 0, 0), ceil_mode: bool = False) -> nn.Module:
    """A pooling layer by name: "max" or "avg".

    Raises:
        ValueError: the name is another one.
    """
    if kind == "max":
        return nn.MaxPool3d(kernel, stride, padding, ceil_mode=ceil_mode)
    if kind == "avg":
        return nn.AvgPool3d(kernel, stride, padding, ceil_mode=ceil_mode)
    raise ValueError(f"pooling must be 'max' or 'avg', got {kind!r}")


def temporal_pool(kind: str = "max") -> nn.Module:
    """Halve the number of frames: kernel 3, stride 2, padding 1 along time."""
    return pool3d(kind, (3, 1, 1), (2, 1, 1), (1, 0, 0))


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Initialise weights so that variances are preserved (He et al. 2015).

    Depthwise convolutions keep what they have, as do those along time alone that have as many outputs as inputs: the
    blending of TAM, which has weights of its own, and temporal convolutions of S3D and of SlowFast's first fast stage.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv3d) and module.groups == 1 and not _is_blending(module):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _is_blending(conv: nn.Conv3d) -> bool:
    """Whether a convolution goes along time alone and keeps the number of channels, as a TAM that mixes channels."""
    return conv.kernel_size[1:] == (1, 1) and conv.kernel_size[0] > 1 and conv.in_channels == conv.out_channels
