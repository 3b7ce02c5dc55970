"""The models and clips that are measured."""

from __future__ import annotations

import argparse
import re

import torch
from lrp3d.models import VideoModel
from torch import Tensor

import lrp3d

FAMILIES = ("I3D-R50", "TAM2D-R50")
CLASSES = 400


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The options of a program that measures one size of clip."""
    parser.add_argument("--models", nargs="+", default=list(FAMILIES))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="height and width")


def width_of(options: argparse.Namespace) -> int:
    """The models' width; with `--quick`, all sizes of `add_sizes` become tiny, and there is one round."""
    if not options.quick:
        return 64
    options.frames, options.size, options.repeats = 2, 32, 1
    options.models = [name.replace("R50", "R18") for name in options.models]
    return 8


def network(family: str, frames: int, device: torch.device, width: int = 64) -> VideoModel:
    """A model by family and number of frames, with weights that are the same in every process.

    Weights are random, so that nothing has to be fetched; what a pass costs does not depend on them. Statistics of
    the batch norms are set from a clip, as training would: without them activations vanish or explode with depth.

    Raises:
        ValueError: a family that is no ResNet of `lrp3d.models`.
    """
    if not re.fullmatch(r"(I3D|TAM2D|TSN|TSM|S3D)-R\d+", family):
        raise ValueError(f"models are named like {' or '.join(FAMILIES)}, got {family!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = lrp3d.models.build(f"{family}-f{frames}", num_classes=CLASSES, width=width)
        settle(model, torch.randn(2, 3, frames, 64, 64))
    return model.eval().requires_grad_(False).to(device)


@torch.no_grad()
def settle(model: VideoModel, clip: Tensor) -> None:
    """Set the statistics of all batch norms to what a clip gives; the model is left in training mode."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = None  # the mean of what was seen, and that is one batch
    model.train()(clip)
    for norm in norms:
        norm.momentum = 0.1


def clip_of(frames: int, size: int, device: torch.device, batch: int = 1) -> Tensor:
    """(b, 3, t, h, w), normalised, the same in every process."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, frames, size, size, generator=generator).clamp(-2, 2).to(device)
