"""Builds torchvision's networks for videos and for images."""

from __future__ import annotations

from functools import partial
from typing import Any

from lrp3d.integrations.networks import built, check_name
from lrp3d.integrations.processing import of_torchvision
from lrp3d.integrations.wrappers import PerFrame, PublicNetwork

FRAMES = {"mvit_v1_b": 16, "mvit_v2_s": 16, "swin3d_b": 32, "swin3d_s": 32, "swin3d_t": 32, "s3d": 32}
USUAL = 16  # frames of the ResNets' clips
APART = {"mvit_v1_b": 4, "mvit_v2_s": 4}  # with 7.5 frames a second
USUALLY_APART = 2  # with 15 frames a second, of videos that have 30
NOTES = {"s3d": ("torchvision's weights of s3d are for clips of 128 frames: --frames 128",)}


def build(name: str, options: dict[str, Any]) -> PublicNetwork:
    """A network of `torchvision.models.video`, or a network for images, which is applied to every frame."""
    from torchvision import models

    video, images = (models.list_models(module=module) for module in (models.video, models))
    check_name(name, [*video, *images], "torchvision")
    kind = PublicNetwork if name in video else PerFrame
    network = built(partial(models.get_model_builder(name), weights=None), f"torchvision:{name}", options)
    public = models.get_model_weights(name).DEFAULT  # the preprocessing of the training; no weights are loaded
    pixels = of_torchvision(public.transforms())
    return kind(
        network,
        frames=FRAMES.get(name, USUAL) if name in video else None,
        frames_apart=APART.get(name, USUALLY_APART) if name in video else None,
        fixed_frames=name.startswith("mvit"),
        size=pixels.size or 224,
        short_side=pixels.short_side,
        mean=pixels.mean,
        std=pixels.std,
        classes=public.meta.get("categories", ()),
        notes=(*NOTES.get(name, ()), *pixels.notes),
    )
