"""Puts a twin in evaluation mode, where that changes nothing, or says what does."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lrp3d.printed import listed
from lrp3d.twin.twin import Twin

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_WITH_WEIGHTS = (nn.Linear, nn.modules.conv._ConvNd)
_POOLS = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)
_ADAPTIVE_POOLS = (nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd)
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softmax)
_SHAPES = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample)
_LAYERS = (*_WITH_WEIGHTS, *_POOLS, *_ADAPTIVE_POOLS, *_ACTIVATIONS, *_SHAPES, nn.modules.dropout._DropoutNd)
_SAME_IN_BOTH = (*_CONTAINERS, *_LAYERS)


def prepare_mode(twin: Twin, clip: Any, seed: int | None = None, takes_seed: bool = True) -> None:
    """Puts a twin in evaluation mode where the mode changes nothing, and refuses it where it changes the output.

    Modules in training mode that change nothing (a pool, a wrapper without parameters) get evaluation mode in the
    twin. With a seed, dropout may stay in training mode, because the caller wants it active; `takes_seed` says whether
    the caller can be given one.

    Raises:
        ValueError: modules in training mode change the output; the message names them.
    """
    training = {name: module for name, module in twin.model.named_modules() if getattr(module, "training", False)}
    if seed is not None:
        training = {name: module for name, module in training.items() if not isinstance(module, _DROPOUTS)}
    if not training:
        return
    suspects = [name for name, module in training.items() if _changes_in_training(module)]
    suspects = suspects or [name for name, module in training.items() if not isinstance(module, _SAME_IN_BOTH)]
    # Layers that do not run change nothing.
    if suspects and not twin.same_in_evaluation(clip):
        shown = listed((name or "the model itself" for name in suspects), 3)
        draws = takes_seed and seed is None and all(isinstance(training[name], _DROPOUTS) for name in suspects)
        either = ", or pass seed= to explain a run with its dropout" if draws else ""
        raise ValueError(f"the model is in training mode ({shown}); call model.eval() first{either}")
    for module in training.values():
        if not isinstance(module, torch.jit.ScriptModule):  # which is the user's own
            module.training = False


def _changes_in_training(module: nn.Module) -> bool:
    """Whether a layer of torch computes something else in training mode."""
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return isinstance(module, nn.modules.batchnorm._BatchNorm) or module.track_running_stats
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, nn.RReLU)
