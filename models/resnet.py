"""One residual network for all families, which differ in the 3x3 convolution and in the treatment of time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from .base import IMAGENET, VideoModel, check_at_least, check_depth
from .blocks import Size, conv3d, initialise

Convolution = Callable[[int, int, Size], nn.Module]
Temporal = Callable[[int], nn.Module]


class ResidualBlock(nn.Module):
    """A branch of convolutions is added to a shortcut, and a ReLU follows (He et al. 2016).

    `temporal` mixes frames before the branch. The shortcut takes the input itself or, if `temporal_shortcut` is
    set, the output of `temporal`.
    """

    expansion: int

    def __init__(self, in_channels: int, width: int, stride: Size, temporal: nn.Module | None):
        super().__init__()
        out_channels = width * self.expansion
        self.temporal: nn.Module = nn.Identity() if temporal is None else temporal
        self.temporal_shortcut = False
        self.downsample: nn.Module = nn.Identity()
        if stride != (1, 1, 1) or in_channels != out_channels:
            self.downsample = nn.Sequential(
                conv3d(in_channels, out_channels, (1, 1, 1), stride), nn.BatchNorm3d(out_channels)
            )
        self.relu: nn.ReLU = nn.ReLU()

    def branch(self, x: Tensor) -> Tensor:
        """The branch that is added to the shortcut."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to (b, c', t', h', w')."""
        mixed = self.temporal(x)
        shortcut = self.downsample(mixed if self.temporal_shortcut else x)
        out: Tensor = self.relu(self.branch(mixed) + shortcut)
        return out


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: Size,
        convolution: Convolution,
        temporal: nn.Module | None = None,
    ):
        super().__init__(in_channels, width, stride, temporal)
        self.conv1: nn.Module = convolution(in_channels, width, stride)
        self.bn1: nn.BatchNorm3d = nn.BatchNorm3d(width)
        self.relu1: nn.ReLU = nn.ReLU()
        self.conv2: nn.Module = convolution(width, width, (1, 1, 1))
        self.bn2: nn.BatchNorm3d = nn.BatchNorm3d(width)

    def branch(self, x: Tensor) -> Tensor:
        """3x3, 3x3."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return x


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1; the first one may look along time (`reduce_time`, as in SlowFast)."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: Size,
        convolution: Convolution,
        temporal: nn.Module | None = None,
        reduce_time: int = 1,
    ):
        super().__init__(in_channels, width, stride, temporal)
        self.conv1: nn.Module = conv3d(in_channels, width, (reduce_time, 1, 1))
        self.bn1: nn.BatchNorm3d = nn.BatchNorm3d(width)
        self.relu1: nn.ReLU = nn.ReLU()
        self.conv2: nn.Module = convolution(width, width, stride)
        self.bn2: nn.BatchNorm3d = nn.BatchNorm3d(width)
        self.relu2: nn.ReLU = nn.ReLU()
        self.conv3: nn.Module = conv3d(width, width * 4, (1, 1, 1))
        self.bn3: nn.BatchNorm3d = nn.BatchNorm3d(width * 4)

    def branch(self, x: Tensor) -> Tensor:
        """1x1, 3x3, 1x1."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return x


BLOCKS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
DEPTHS = tuple(BLOCKS)


class ResNet(VideoModel):
    """A ResNet over (b, c, t, h, w) whose convolutions and temporal modules are given.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: `k`.
        family: the name of the family in names and errors.
        convolution: makes the 3x3 convolutions from input channels, output channels and stride.
        stem_time: temporal kernel of the first convolution.
        temporal: makes the module before each block's branch from its channels; None for none.
        stage_time_stride: temporal stride of the first block of stages 2 to 4.
        time_pool: makes the pooling along time before stages 2 to 4; None for none.
        width: channels of the first stage; 64 in every published model.
        in_channels: channels of the clip.
        dropout: before the classifier.
        output_frames: how many evenly spaced frames have a logit, None or "all" for all.

    Raises:
        ValueError: the depth is unknown, or an argument is out of range.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int,
        *,
        family: str,
        convolution: Convolution,
        stem_time: int,
        temporal: Temporal | None = None,
        stage_time_stride: int = 1,
        time_pool: Callable[[], nn.Module] | None = None,
        width: int = 64,
        in_channels: int = 3,
        dropout: float = 0.5,
        output_frames: int | str | None = None,
    ):
        check_depth(depth, DEPTHS, family)
        check_at_least(1, width=width)
        block, counts = BLOCKS[depth]
        super().__init__(
            num_classes,
            8 * width * block.expansion,
            statistics=IMAGENET,
            in_channels=in_channels,
            dropout=dropout,
            output_frames=output_frames,
        )
        self.name: str = f"{family}-R{depth}"
        self.depth = depth
        self.frame_multiple = 8 if stage_time_stride > 1 or time_pool is not None else 1
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=conv3d(in_channels, width, (stem_time, 7, 7), (1, 2, 2)),
            bn1=nn.BatchNorm3d(width),
            relu=nn.ReLU(),
            maxpool=nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        channels = width
        for stage, count in enumerate(counts, start=1):
            planes = width * 2 ** (stage - 1)
            blocks = []
            for i in range(count):
                first = stage > 1 and i == 0
                stride = (stage_time_stride, 2, 2) if first else (1, 1, 1)
                mixing = None if temporal is None else temporal(channels)
                blocks.append(block(channels, planes, stride, convolution, mixing))
                channels = planes * block.expansion
            if stage > 1 and time_pool is not None:
                layers[f"pool{stage - 1}"] = time_pool()
            layers[f"layer{stage}"] = nn.Sequential(*blocks)
        self.features: nn.Sequential = nn.Sequential(layers)
        initialise(self)

    def blocks(self) -> list[list[ResidualBlock]]:
        """The residual blocks, stage by stage."""
        stages = [stage for name, stage in self.features.named_children() if name.startswith("layer")]
        return [[block for block in stage.children() if isinstance(block, ResidualBlock)] for stage in stages]
