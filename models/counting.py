"""Counts temporal convolutions (Fig. 4 of the paper), parameters and multiply-adds of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import prod

import torch
from torch import Tensor, nn

from .base import VideoModel
from .blocks import TemporalShift

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def count_temporal_convolutions(model: nn.Module, include_stem: bool = False) -> int:
    """Number of convolutions that see more than one frame: the labels of Fig. 4 of the paper.

    As there, the convolution that reads the clip does not count unless `include_stem` is set: I3D-R18 has 8
    residual blocks of two 3x3x3 convolutions, 16 altogether, and TAM2D-R18 one temporal module in each, 8
    altogether. A shift of TSM counts, because it is a depthwise temporal convolution with weights 0 and 1.

    >>> from lrp3d.models import i3d_resnet, tam_resnet
    >>> count_temporal_convolutions(i3d_resnet(18, 10, width=8))
    16
    >>> count_temporal_convolutions(tam_resnet(18, 10, frames=8, width=8))
    8
    """
    stems: tuple[nn.Module, ...] = ()
    if not include_stem:
        first = (module for module in model.modules() if isinstance(module, nn.Conv3d))
        stems = model.stems if isinstance(model, VideoModel) else tuple(islice(first, 1))
    return sum(_is_temporal(module) for module in model.modules() if not any(module is stem for stem in stems))


def _is_temporal(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv3d):
        return module.kernel_size[0] > 1
    return isinstance(module, TemporalShift)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, without the statistics of batch normalisation.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, clip_shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions for one clip; classifier, normalisation and pools are not counted.

    Only shapes are run through the model, so that this takes no memory for activations.

    Args:
        model: any module that takes one clip; unchanged afterwards.
        clip_shape: (c, t, h, w) or (b, c, t, h, w).

    >>> count_multiply_adds(nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1)), (3, 2, 4, 4))
    6912
    """
    shape = tuple(clip_shape) if len(clip_shape) == 5 else (1, *clip_shape)
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(module, _CONVOLUTIONS)
        total += output.numel() * prod(module.kernel_size) * module.in_channels // module.groups

    handles = [module.register_forward_hook(add) for module in _convolutions(model)]
    training = model.training
    state = {name: torch.empty_like(value, device="meta") for name, value in _tensors(model)}
    try:
        model.eval()
        with torch.no_grad():
            torch.func.functional_call(model, state, (torch.empty(shape, device="meta"),))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return total


def _convolutions(model: nn.Module) -> Iterator[nn.Module]:
    return (module for module in model.modules() if isinstance(module, _CONVOLUTIONS))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()
