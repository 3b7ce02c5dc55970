"""A model as if it had not been trained: what its relevance looks like then is due to the architecture alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lrp3d.errors import ModelError
from lrp3d.transfer import answers
from lrp3d.twin.copying import copy_of
from lrp3d.twin.random_state import kept_random_state
from lrp3d.twin.twin import Twin


class CannotBeReset(ModelError):
    """Some modules have parameters and no way to draw them anew; the message names them."""


def untrained(twin: Twin, seed: int, noise: Any, only: Sequence[str] | None = None) -> Twin:
    """The twin of the same model with parameters drawn anew, by every module's own `reset_parameters`.

    Batch norms get the statistics of `noise`, as in the first step of a training. With the trained statistics, the
    network's answers depend mostly on the seed; with mean 0 and variance 1, less of the relevance above the floor of
    planted clips lies on the frames that decide (docs/meaning.md). Other buffers (positions, masks) belong to the
    architecture and stay. The model and its twin are not changed, nor are the caller's random numbers.

    Args:
        twin: the twin of any model.
        seed: seed of the new parameters.
        noise: an input of the model with at least two clips.
        only: names of the only modules whose parameters are drawn anew; None for all modules.

    Raises:
        CannotBeReset: if a module has parameters and no `reset_parameters`, or one that leaves some as they are.
    """
    copy = copy_of(twin.model)
    parameters = [(name, x) for name, x in copy.named_parameters() if only is None or name.rpartition(".")[0] in only]
    device = next((x.device for x in copy.parameters()), torch.device("cpu"))
    stuck: dict[str, None] = {}
    with kept_random_state(device), torch.inference_mode(False), torch.no_grad():
        torch.manual_seed(seed)
        for _, x in parameters:
            x.fill_(torch.nan)  # NaN stays where a reset leaves a value as it is
        chosen = [(name, module) for name, module in copy.named_modules() if only is None or name in only]
        for name, module in reversed(chosen):  # children before their parent
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                stuck[_display_name(module, name)] = None
        left = answers([torch.isnan(x).any() for _, x in parameters])
        for (name, _), is_left in zip(parameters, left, strict=True):
            if is_left:
                owner = name.rpartition(".")[0]
                stuck[_display_name(copy.get_submodule(owner), owner)] = None
    if stuck:
        raise CannotBeReset(
            f"the untrained network cannot be made: {', '.join(list(stuck)[:3])}"
            f"{f' and {len(stuck) - 3} more' if len(stuck) > 3 else ''} cannot be reset; give such a module a method "
            "reset_parameters() that draws its parameters, or explain without the floor"
        )
    if only is None:
        _set_statistics(copy, noise, device)
    return Twin(copy, twin.composite)


def layers_in_order(twin: Twin, clip: Any, layout: str = "bcthw") -> list[str]:
    """Names of the modules that have a weight, in the order in which the clip passes them."""
    run = twin.record((clip,), None, layout).run
    names = dict.fromkeys(step.name for step in run.steps if step.weighted and step.layer is not None)
    return list(names)


def _set_statistics(model: nn.Module, noise: Any, device: torch.device) -> None:
    """Give batch norms the statistics of their inputs for `noise`."""
    norms = [x for x in model.modules() if isinstance(x, nn.modules.batchnorm._BatchNorm) and x.track_running_stats]
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.training, norm.momentum = True, None
    if norms:
        with kept_random_state(device), torch.inference_mode(False), torch.no_grad():
            model(noise)
    for norm, before in zip(norms, momentum, strict=True):
        norm.training, norm.momentum = False, before


def _display_name(module: nn.Module, name: str) -> str:
    return f"'{name}' ({type(module).__name__})" if name else f"the model itself ({type(module).__name__})"
