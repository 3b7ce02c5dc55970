"""One Inception-V1 for all families, which differ in the 3x3 unit, the pooling and the treatment of time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .base import UNIT_RANGE, VideoModel
from .blocks import ConvUnit, conv3d, initialise

# Input channels, and output channels of the branches: 1x1; 1x1 and 3x3; 1x1 and 3x3; pool and 1x1.
# Szegedy et al. 2015, with a 3x3 in the third branch, as all public video models have it.
MIXED = {
    "3a": (192, (64, (96, 128), (16, 32), 32)),
    "3b": (256, (128, (128, 192), (32, 96), 64)),
    "4a": (480, (192, (96, 208), (16, 48), 64)),
    "4b": (512, (160, (112, 224), (24, 64), 64)),
    "4c": (512, (128, (128, 256), (24, 64), 64)),
    "4d": (512, (112, (144, 288), (32, 64), 64)),
    "4e": (528, (256, (160, 320), (32, 128), 128)),
    "5a": (832, (256, (160, 320), (32, 128), 128)),
    "5b": (832, (384, (192, 384), (48, 128), 128)),
}
FEATURES = 1024

Unit = Callable[[int, int], nn.Module]
Branches = tuple[int, tuple[int, int], tuple[int, int], int]


def pointwise(in_channels: int, out_channels: int) -> ConvUnit:
    """A 1x1x1 unit."""
    return ConvUnit(conv3d(in_channels, out_channels, (1, 1, 1)), out_channels)


class Mixed(nn.Module):
    """Four branches over the same input, concatenated along channels."""

    def __init__(self, in_channels: int, branches: Branches, unit: Unit, pool: nn.Module):
        super().__init__()
        single, double, triple, pooled = branches
        self.branch1: nn.Module = pointwise(in_channels, single)
        self.branch2: nn.Module = nn.Sequential(pointwise(in_channels, double[0]), unit(*double))
        self.branch3: nn.Module = nn.Sequential(pointwise(in_channels, triple[0]), unit(*triple))
        self.branch4: nn.Module = nn.Sequential(pool, pointwise(in_channels, pooled))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, t, h, w) to (b, c', t, h, w)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionV1(VideoModel):
    """Inception-V1 over (b, c, t, h, w) whose units and pools are given.

    Args:
        num_classes: `k`.
        stem: the first unit, from the clip to 64 channels.
        unit: makes a 3x3 unit from input and output channels.
        pools: the four poolings between the stages: after conv1, after conv3, after 3b, after 4e.
        branch_pool: makes the pooling in the fourth branch of a block.
        temporal: makes the module after every unit and block from its channels; None for none.
        time_pools: how to pool along time, after each of the last three pools; None for not at all.
        in_channels: channels of the clip.
        dropout: before the classifier.
        output_frames: how many evenly spaced frames have a logit, None or "all" for all.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        stem: nn.Module,
        unit: Unit,
        pools: Sequence[nn.Module],
        branch_pool: Callable[[], nn.Module],
        temporal: Callable[[int], nn.Module] | None = None,
        time_pools: Callable[[], nn.Module] | None = None,
        in_channels: int = 3,
        dropout: float = 0.5,
        output_frames: int | str | None = None,
    ):
        super().__init__(
            num_classes,
            FEATURES,
            statistics=UNIT_RANGE,
            in_channels=in_channels,
            dropout=dropout,
            output_frames=output_frames,
        )
        layers: OrderedDict[str, nn.Module] = OrderedDict()

        def add(name: str, module: nn.Module, channels: int) -> None:
            layers[name] = module
            if temporal is not None:
                layers[name.replace("conv", "tam").replace("inception", "tam")] = temporal(channels)

        def add_pool(number: int) -> None:
            layers[f"pool{number}"] = pools[number - 1]
            if time_pools is not None and number > 1:
                layers[f"time_pool{number - 1}"] = time_pools()

        add("conv1", stem, 64)
        add_pool(1)
        add("conv2", pointwise(64, 64), 64)
        add("conv3", unit(64, 192), 192)
        for name, (channels, branches) in MIXED.items():
            if name in ("3a", "4a", "5a"):
                add_pool(int(name[0]) - 1)
            single, double, triple, pooled = branches
            block = Mixed(channels, branches, unit, branch_pool())
            add(f"inception{name}", block, single + double[1] + triple[1] + pooled)
        self.features: nn.Sequential = nn.Sequential(layers)
        initialise(self)
