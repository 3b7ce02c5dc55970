"""The models and clips that are measured."""

from __future__ import annotations

import argparse
import copy
import functools
import re
from typing import Any

import torch
from lrp3d.models import VideoModel
from torch import Tensor, nn

import lrp3d
from lrp3d.extras import missing

FAMILIES = ("I3D-R50", "TAM2D-R50")
SWIN = "Swin-T"
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


def network(family: str, frames: int, device: torch.device, width: int = 64) -> Network:
    """A model by family and number of frames, with weights that are the same in every process.

    "Swin-T" is torchvision's Video Swin Transformer, which has a frame logit for every two frames.

    Weights are random, so that nothing has to be fetched; what a pass costs does not depend on them. Statistics of
    the batch norms are set from a clip, as training would: without them activations vanish or explode with depth.

    Raises:
        ValueError: a family that is neither that nor a ResNet or an Inception network of `lrp3d.models`.
        ImportError: torchvision is not installed.
    """
    if family == SWIN:
        return _swin().to(device)
    if not re.fullmatch(r"(I3D|TAM2D|TSN|TSM|S3D)-R\d+|(I3D|TAM2D|TSN)-Inception", family):
        raise ValueError(f"models are named like {' or '.join(FAMILIES)}, got {family!r}")
    return copy.deepcopy(_settled(family, frames, width)).to(device)


@functools.cache
def _settled(family: str, frames: int, width: int) -> VideoModel:
    """A model on the CPU, made once in a process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {} if family.endswith("Inception") else {"width": width}  # whose channels are fixed
        model = lrp3d.models.build(f"{family}-f{frames}", num_classes=CLASSES, **options)
        settle(model, torch.randn(2, 3, frames, 64, 64))
    return model.eval().requires_grad_(False)


class _FrameLogits(nn.Module):
    """Torchvision's Video Swin Transformer, which averages over time and space before it classifies."""

    def __init__(self, swin: Any):
        super().__init__()
        self.swin = swin

    def frame_logits(self, x: Tensor) -> Tensor:
        """(b, n, k)."""
        features = self.swin.features(self.swin.pos_drop(self.swin.patch_embed(x)))  # (b, n, h, w, c)
        logits: Tensor = self.swin.head(self.swin.norm(features).mean((2, 3)))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """(b, k)."""
        logits: Tensor = self.swin(x)
        return logits


Network = VideoModel | _FrameLogits
"""All of them have `frame_logits`; only those of `lrp3d.models` have features and a classifier that peers can read."""


def _swin() -> _FrameLogits:
    try:
        from torchvision.models.video import swin3d_t
    except ImportError:
        raise missing("torchvision", SWIN) from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _FrameLogits(swin3d_t(num_classes=CLASSES)).eval().requires_grad_(False)


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
