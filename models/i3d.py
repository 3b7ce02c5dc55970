"""I3D: 2D networks with kernels inflated along time (Carreira & Zisserman 2017), as IBM built them."""

from __future__ import annotations

from .base import builder
from .blocks import ConvUnit, conv3d, full_conv, pool3d
from .inception import InceptionV1
from .resnet import ResNet


@builder
def i3d_resnet(
    depth: int,
    num_classes: int,
    temporal_stride: bool = False,
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
    width: int = 64,
) -> ResNet:
    """A ResNet in which every 3x3 became 3x3x3, with a 3x7x7 stem (Chen et al. 2021, "Deep analysis").

    Clips are (b, 3, t, h, w), logits (b, k). Without temporal stride (the paper's setting) every frame has
    a logit, and with it one frame in eight.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: `k`.
        temporal_stride: halve the frames in stages 2 to 4; clips then need a multiple of 8 frames.
        dropout: before the classifier.
        output_frames: how many evenly spaced frames are averaged (Fig. 10 of the paper), None or "all" for
            all.
        in_channels: channels of the clip.
        width: channels of the first stage.

    Raises:
        ValueError: unknown depth; in `forward`, a clip that does not fit.

    >>> import torch
    >>> model = i3d_resnet(18, num_classes=5, width=8).eval()
    >>> model.frame_logits(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 4, 5])
    """
    return ResNet(
        depth,
        num_classes,
        family="I3D",
        convolution=full_conv,
        stem_time=3,
        stage_time_stride=2 if temporal_stride else 1,
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
        width=width,
    )


@builder
def i3d_inception(
    num_classes: int,
    temporal_stride: bool = False,
    pooling: str = "max",
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
) -> InceptionV1:
    """Inflated Inception-V1 with symmetric padding (Chen et al. 2021); DeepMind's own is `i3d_original`.

    Clips are (b, 3, t, h, w), logits (b, k). Without temporal stride the pools between stages still look at
    three frames, so that pooling mixes frames as well.

    Args:
        num_classes: `k`.
        temporal_stride: halve the frames in the last three pools; clips then need a multiple of 8 frames.
        pooling: "max" or "avg", for all pools.
        dropout: before the classifier.
        output_frames: how many evenly spaced frames are averaged, None or "all" for all.
        in_channels: channels of the clip.

    Raises:
        ValueError: unknown pooling; in `forward`, a clip that does not fit.

    >>> import torch
    >>> i3d_inception(5).eval()(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 5])
    """
    stride = (2 if temporal_stride else 1, 2, 2)
    stages = [pool3d(pooling, (3, 3, 3), stride, (1, 1, 1)) for _ in range(3)]
    model = InceptionV1(
        num_classes,
        stem=ConvUnit(conv3d(in_channels, 64, (7, 7, 7), (1, 2, 2)), 64),
        unit=lambda i, o: ConvUnit(full_conv(i, o), o),
        pools=[pool3d(pooling, (1, 3, 3), (1, 2, 2), (0, 1, 1)), *stages],
        branch_pool=lambda: pool3d("max", (3, 3, 3), (1, 1, 1), (1, 1, 1)),
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
    )
    model.name = "I3D-Inception"
    model.frame_multiple = 8 if temporal_stride else 1
    return model
