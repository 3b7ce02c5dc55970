"""S3D: I3D with every 3x3x3 split into space and time (Xie et al. 2018), as IBM's study built it."""

from __future__ import annotations

from .base import builder
from .blocks import ConvUnit, conv3d, pool3d, separable_conv
from .inception import InceptionV1
from .resnet import ResNet


def _unit(in_channels: int, out_channels: int) -> ConvUnit:
    return ConvUnit(separable_conv(in_channels, out_channels, bias=True, eps=1e-3), out_channels)


@builder
def s3d(
    num_classes: int,
    temporal_stride: bool = False,
    pooling: str = "max",
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
) -> InceptionV1:
    """S3D on Inception-V1 (Xie et al. 2018; Chen et al. 2021).

    Clips are (b, 3, t, h, w), logits (b, k). The last pool is 2x2x2 without padding, so that t frames
    have t - 1 frame logits without temporal stride, and t / 8 with it.

    Args:
        num_classes: `k`.
        temporal_stride: halve the frames in the last three pools; clips then need a multiple of 8 frames.
        pooling: "max" or "avg", for all pools.
        dropout: before the classifier.
        output_frames: how many evenly spaced outputs are averaged, None or "all" for all.
        in_channels: channels of the clip.

    Raises:
        ValueError: unknown pooling; in `forward`, a clip that does not fit.

    >>> import torch
    >>> s3d(5).eval().frame_logits(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 3, 5])
    """
    stride = (2 if temporal_stride else 1, 2, 2)
    model = InceptionV1(
        num_classes,
        stem=ConvUnit(conv3d(in_channels, 64, (3, 7, 7), (1, 2, 2)), 64),
        unit=_unit,
        pools=[
            pool3d(pooling, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
            pool3d(pooling, (3, 3, 3), stride, (1, 1, 1)),
            pool3d(pooling, (3, 3, 3), stride, (1, 1, 1)),
            pool3d(pooling, (2, 2, 2), stride),
        ],
        branch_pool=lambda: pool3d("max", (3, 3, 3), (1, 1, 1), (1, 1, 1)),
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
    )
    model.name = "S3D"
    model.frame_multiple = 8 if temporal_stride else 1
    return model


@builder
def s3d_resnet(
    depth: int,
    num_classes: int,
    temporal_stride: bool = False,
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
    width: int = 64,
) -> ResNet:
    """S3D on a ResNet: every 3x3x3 of I3D-ResNet split into 1x3x3 and 3x1x1 (Chen et al. 2021).

    Clips are (b, 3, t, h, w), logits (b, k); arguments and errors as in `i3d_resnet`.

    >>> import torch
    >>> s3d_resnet(18, 5, width=8).eval()(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 5])
    """
    return ResNet(
        depth,
        num_classes,
        family="S3D",
        convolution=separable_conv,
        stem_time=3,
        stage_time_stride=2 if temporal_stride else 1,
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
        width=width,
    )
