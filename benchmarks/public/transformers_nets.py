"""Networks of transformers that classify videos or images, small or with few layers, from their configuration."""

from __future__ import annotations

from typing import Any

from lrp3d import integrations
from torch import nn

from benchmarks.public.importing import imported

SMALL: dict[str, Any] = {"num_hidden_layers": 2, "image_size": 64}
FRAMES = 2  # of networks of images
VIDEO: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "VideoMAE": ({"num_hidden_layers": 4, "image_size": 64, "num_frames": 8}, (8, 64)),
    "Timesformer": ({"num_hidden_layers": 4, "image_size": 64, "num_frames": 8}, (8, 64)),
    "Vivit": ({"num_hidden_layers": 4, "image_size": 64, "num_frames": 8}, (8, 64)),
    "VJEPA2": ({"num_hidden_layers": 4, "crop_size": 64, "frames_per_clip": 8}, (8, 64)),
    "VideoPrism": ({"num_spatial_layers": 2, "num_temporal_layers": 2, "image_size": 72, "num_frames": 8}, (8, 72)),
}
"""What differs from the default configuration, and the clip."""
WHOLE = """
Bit CLIP ConvNext ConvNextV2 Cvt HGNetV2 Hiera MetaClip2 PoolFormer PvtV2 RegNet ResNet Segformer Siglip Swin TextNet
""".split()
"""Networks of images with their default configuration."""
IMAGE = """
Beit Data2VecVision DeiT Dinov2 Dinov2WithRegisters EfficientNet FocalNet IJepa Levit MobileNetV1 MobileNetV2
MobileViTV2 SwiftFormer Swinv2 ViT ViTMSN
""".split()
"""Networks of images of which smaller ones can be made."""


def names() -> list[str]:
    """Of all networks."""
    return [*VIDEO, *WHOLE, *IMAGE]


def build(name: str) -> tuple[nn.Module, int, tuple[int, ...]]:
    """A network that takes clips (b, 3, t, h, w), with the number of frames and the size of a clip for it."""
    if name in VIDEO:
        options, (frames, side) = VIDEO[name]
        return integrations.network(f"hf:{name}ForVideoClassification", num_classes=10, **options), frames, (side,)
    options = {} if name in WHOLE else SMALL
    net = integrations.network(f"hf:{name}ForImageClassification", num_classes=10, **_known(name, options))
    return net, FRAMES, (net.size or 224,)


def _known(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that the configuration of a network of images has."""
    transformers: Any = imported("transformers")
    config = getattr(transformers, f"{name}ForImageClassification").config_class()
    return {key: value for key, value in options.items() if hasattr(config, key)}
