"""2D networks over frames: TSN, which never mixes frames, and TAM2D, which blends neighbours in every block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from .base import builder, check_at_least
from .blocks import ConvUnit, TemporalAggregation, conv3d, frame_conv, pool3d, temporal_pool
from .inception import InceptionV1
from .resnet import ResNet


@builder
def tsn_resnet(
    depth: int,
    num_classes: int,
    temporal_stride: bool = False,
    pooling: str = "max",
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
    width: int = 64,
) -> ResNet:
    """A 2D ResNet on every frame, with averaged logits (Wang et al. 2016): its relevance matrix is diagonal.

    Clips are (b, 3, t, h, w), logits (b, k), any t.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: `k`.
        temporal_stride: pool three frames into one, with stride 2, after stages 1 to 3; t must then be a
            multiple of 8.
        pooling: the kind of pooling along time, "max" or "avg".
        dropout: before the classifier.
        output_frames: how many evenly spaced frames are averaged (Fig. 10 of the paper), None or "all" for
            all.
        in_channels: channels of the clip.
        width: channels of the first stage.

    Raises:
        ValueError: unknown depth or pooling; in `forward`, a clip that does not fit.

    >>> import torch
    >>> tsn_resnet(18, 5, width=8).eval().frame_logits(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 4, 5])
    """
    return ResNet(
        depth,
        num_classes,
        family="TSN",
        convolution=frame_conv,
        stem_time=1,
        time_pool=_time_pool(temporal_stride, pooling),
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
        width=width,
    )


@builder
def tam_resnet(
    depth: int,
    num_classes: int,
    frames: int,
    kernel_size: int = 3,
    temporal_stride: bool = False,
    depthwise: bool = True,
    pooling: str = "max",
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
    width: int = 64,
) -> ResNet:
    """TAM2D: a 2D ResNet with temporal aggregation before each residual branch (Fan et al. 2019).

    Clips are (b, 3, frames, h, w), logits (b, k).

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: `k`.
        frames: frames per clip.
        kernel_size: frames blended: 3, 5 or 7 in the paper (Table 2), any odd number here.
        temporal_stride: pool three frames into one, with stride 2, after stages 1 to 3.
        depthwise: every channel blends only its own frames; else channels mix as well.
        pooling: the kind of pooling along time, "max" or "avg".
        dropout: before the classifier.
        output_frames: how many evenly spaced frames are averaged (Fig. 10 of the paper), None or "all" for
            all.
        in_channels: channels of the clip.
        width: channels of the first stage.

    Raises:
        ValueError: unknown depth or pooling, an even kernel, frames no multiple of 8 with temporal stride; in
            `forward`, a clip that does not fit.

    >>> import torch
    >>> model = tam_resnet(18, num_classes=5, frames=8, kernel_size=5, output_frames=2, width=8).eval()
    >>> model.frame_logits(torch.zeros(1, 3, 8, 32, 32)).shape
    torch.Size([1, 2, 5])
    """
    check_frames(frames, temporal_stride, output_frames)
    model = ResNet(
        depth,
        num_classes,
        family="TAM2D",
        convolution=frame_conv,
        stem_time=1,
        temporal=_aggregation(kernel_size, depthwise),
        time_pool=_time_pool(temporal_stride, pooling),
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
        width=width,
    )
    model.name += f"-f{frames}"
    model.frames, model.fixed_frames = frames, True
    return model


@builder
def tsn_inception(
    num_classes: int,
    temporal_stride: bool = False,
    pooling: str = "max",
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
) -> InceptionV1:
    """GoogLeNet on every frame, with averaged logits (Szegedy et al. 2015; Wang et al. 2016).

    Clips are (b, 3, t, h, w), logits (b, k), any t; arguments and errors as in `tsn_resnet`.

    >>> import torch
    >>> tsn_inception(5).eval()(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 5])
    """
    return _inception("TSN", num_classes, None, temporal_stride, pooling, dropout, output_frames, in_channels)


@builder
def tam_inception(
    num_classes: int,
    frames: int,
    kernel_size: int = 3,
    temporal_stride: bool = False,
    depthwise: bool = True,
    pooling: str = "max",
    *,
    dropout: float = 0.5,
    output_frames: int | str | None = None,
    in_channels: int = 3,
) -> InceptionV1:
    """TAM2D on GoogLeNet: temporal aggregation after each stem unit and each block (Fan et al. 2019).

    Clips are (b, 3, frames, h, w), logits (b, k); arguments and errors as in `tam_resnet`. There is no
    shortcut around the aggregation.

    >>> import torch
    >>> tam_inception(5, frames=4).eval()(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 5])
    """
    check_frames(frames, temporal_stride, output_frames)
    temporal = _aggregation(kernel_size, depthwise)
    model = _inception("TAM2D", num_classes, temporal, temporal_stride, pooling, dropout, output_frames, in_channels)
    model.name += f"-f{frames}"
    model.frames, model.fixed_frames = frames, True
    return model


def check_frames(frames: int, temporal_stride: bool, output_frames: int | str | None) -> None:
    """Raise ValueError for frames that cannot be halved three times, or do not suffice for `output_frames`."""
    check_at_least(1, frames=frames)
    if temporal_stride and frames % 8:
        raise ValueError(f"temporal stride needs a multiple of 8 frames, got {frames}")
    classified = frames // 8 if temporal_stride else frames
    if isinstance(output_frames, int) and output_frames > 0 and classified % output_frames:
        raise ValueError(f"{output_frames} output frames cannot be evenly spaced over {classified} classified frames")


def _inception(
    family: str,
    num_classes: int,
    temporal: Callable[[int], nn.Module] | None,
    temporal_stride: bool,
    pooling: str,
    dropout: float,
    output_frames: int | str | None,
    in_channels: int,
) -> InceptionV1:
    model = InceptionV1(
        num_classes,
        stem=ConvUnit(conv3d(in_channels, 64, (1, 7, 7), (1, 2, 2)), 64),
        unit=lambda i, o: ConvUnit(frame_conv(i, o), o),
        pools=[pool3d("max", (1, 3, 3), (1, 2, 2), ceil_mode=True) for _ in range(3)]
        + [pool3d("max", (1, 2, 2), (1, 2, 2), ceil_mode=True)],
        branch_pool=lambda: pool3d("max", (1, 3, 3), (1, 1, 1), (0, 1, 1), ceil_mode=True),
        temporal=temporal,
        time_pools=_time_pool(temporal_stride, pooling),
        dropout=dropout,
        output_frames=output_frames,
        in_channels=in_channels,
    )
    model.name = f"{family}-Inception"
    model.frame_multiple = 8 if temporal_stride else 1
    return model


def _aggregation(kernel_size: int, depthwise: bool) -> Callable[[int], nn.Module]:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, such as 3, 5 or 7, got {kernel_size}")
    return partial(TemporalAggregation, kernel_size=kernel_size, depthwise=depthwise)


def _time_pool(temporal_stride: bool, pooling: str) -> Callable[[], nn.Module] | None:
    temporal_pool(pooling)  # an unknown name is refused even if it is not used
    return partial(temporal_pool, pooling) if temporal_stride else None
