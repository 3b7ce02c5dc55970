"""Builds networks of pytorchvideo's hub."""

from __future__ import annotations

import importlib
from typing import Any

from lrp3d.integrations.networks import built, check_name
from lrp3d.integrations.wrappers import PublicNetwork, SlowFast

MEAN, STD = (0.45,) * 3, (0.225,) * 3
USUAL = 256
"""The shorter side to which the hub's examples resize videos, and the side of the squares that they cut."""
CLIPS = {
    "slow_r50": (8, 8, 256),
    "c2d_r50": (8, 8, 256),
    "i3d_r50": (8, 8, 256),
    "csn_r101": (32, 2, 256),
    "r2plus1d_r50": (16, 4, 256),
    "slowfast_r50": (32, 2, 256),
    "slowfast_r101": (32, 2, 256),
    "slowfast_16x8_r101_50_50": (64, 2, 256),
    "x3d_xs": (4, 12, 160),
    "x3d_s": (13, 6, 160),
    "x3d_m": (16, 5, 224),
    "x3d_l": (16, 5, 312),
    "mvit_base_16x4": (16, 4, 224),
    "mvit_base_32x3": (32, 3, 224),
}
"""The number of frames, how far they are apart, and their side: the clips with which each network was trained."""


def build(name: str, options: dict[str, Any]) -> PublicNetwork:
    """A network of `pytorchvideo.models.hub`."""
    check_name(name, CLIPS, "pytorchvideo")
    hub = importlib.import_module("pytorchvideo.models.hub")
    classes = "head_num_classes" if name.startswith("mvit") else "model_num_class"
    network = built(getattr(hub, name), f"pytorchvideo:{name}", options, num_classes=classes)
    frames, apart, size = CLIPS[name]
    short_side = size if size == USUAL else None
    kind = SlowFast if name.startswith("slowfast") else PublicNetwork
    fixed = name.startswith("mvit")
    return kind(
        network,
        frames=frames,
        frames_apart=apart,
        fixed_frames=fixed,
        size=size,
        short_side=short_side,
        mean=MEAN,
        std=STD,
    )
