"""A narrow Inception-V1 as I3D inflates it: the package's has no width, and 12 million weights are too many here."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from lrp3d.models import VideoModel
from lrp3d.models.base import UNIT_RANGE
from lrp3d.models.blocks import ConvUnit, conv3d, full_conv, initialise, pool3d
from lrp3d.models.inception import FEATURES, MIXED, Mixed, pointwise

THINNER = 8  # channels are divided by it; branches keep at least LEAST
LEAST = 4


def narrow(channels: int) -> int:
    """How many channels there are for those of Inception-V1.

    >>> narrow(192), narrow(16)
    (24, 4)
    """
    return max(LEAST, channels // THINNER)


class NarrowInception(VideoModel):
    """I3D-Inception with an eighth of the channels: the same stem of 7x7x7, units of 3x3x3 and pools along time."""

    def __init__(self, num_classes: int):
        channels, layers = narrow(64), OrderedDict[str, nn.Module]()
        layers["conv1"] = ConvUnit(conv3d(3, channels, (7, 7, 7), (1, 2, 2)), channels)
        layers["pool1"] = pool3d("max", (1, 3, 3), (1, 2, 2), (0, 1, 1))
        layers["conv2"] = pointwise(channels, channels)
        layers["conv3"] = ConvUnit(full_conv(channels, narrow(192)), narrow(192))
        channels = narrow(192)
        for name, (_, (single, double, triple, pooled)) in MIXED.items():
            if name in ("3a", "4a", "5a"):
                layers[f"pool{int(name[0]) - 1}"] = pool3d("max", (3, 3, 3), (1, 2, 2), (1, 1, 1))
            one, last = narrow(single), narrow(pooled)
            two, three = (narrow(double[0]), narrow(double[1])), (narrow(triple[0]), narrow(triple[1]))
            pool = pool3d("max", (3, 3, 3), (1, 1, 1), (1, 1, 1))
            layers[f"inception{name}"] = Mixed(channels, (one, two, three, last), _unit, pool)
            channels = one + two[1] + three[1] + last
        assert channels == FEATURES // THINNER
        super().__init__(num_classes, channels, statistics=UNIT_RANGE, dropout=0.0)
        self.name = "I3D-Inception"
        self.features: nn.Sequential = nn.Sequential(layers)
        initialise(self)


def _unit(in_channels: int, out_channels: int) -> ConvUnit:
    return ConvUnit(full_conv(in_channels, out_channels), out_channels)
