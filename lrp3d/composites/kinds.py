"""Kinds of layers and functions, as composites name them together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

LayerTypes = tuple[type[nn.Module], ...]
CONVOLUTIONS: LayerTypes = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AVERAGES: LayerTypes = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.Upsample)
AVERAGES += (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)

SUMS: tuple[Callable[..., Any], ...] = (torch.add, torch.sub, torch.rsub, torch.sum, torch.mean, torch.cumsum)
SUMS += (torch.addcmul, torch.addcdiv, torch.addmm, torch.lerp, torch.diff, torch.einsum, F.fold)
SUMS += (torch.scatter_add, torch.scatter_reduce, torch.index_add, torch.nansum, torch.nanmean)
"""The functions that add signals up and belong to no layer."""
