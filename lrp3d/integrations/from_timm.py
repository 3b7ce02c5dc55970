"""Builds networks of timm, which take images and therefore see every frame alone."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

from lrp3d.integrations.networks import built, check_name
from lrp3d.integrations.processing import of_timm
from lrp3d.integrations.wrappers import PerFrame, PublicNetwork


def build(name: str, options: dict[str, Any]) -> PublicNetwork:
    """A network of timm; a tag after the point (`resnet18.a1_in1k`) picks that tag's normalisation."""
    timm = importlib.import_module("timm")
    check_name(name.partition(".")[0], timm.list_models(), "timm")
    network = built(partial(timm.create_model, name, pretrained=False), f"timm:{name}", options)
    pixels = of_timm(network.pretrained_cfg)
    return PerFrame(
        network,
        size=pixels.size or 224,
        short_side=pixels.short_side,
        mean=pixels.mean,
        std=pixels.std,
        notes=pixels.notes,
    )
