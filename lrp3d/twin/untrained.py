"""A model as if it had not been trained: what its relevance looks like then is due to the architecture alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from lrp3d.errors import CannotBeReset as CannotBeReset
from lrp3d.printed import listed
from lrp3d.transfer import answers, device_of_model
from lrp3d.twin.calling import call_model
from lrp3d.twin.copying import Copier
from lrp3d.twin.random_state import kept_random_state, seed_torch
from lrp3d.twin.swapping import name_in_twin
from lrp3d.twin.twin import Twin


def untrained(
    twin: Twin,
    seed: int,
    noise: Any,
    only: Sequence[str] | None = None,
    one_clip: Any | None = None,
    layout: str = "bcthw",
) -> Twin:
    """The twin of the same model with parameters drawn anew, by every module's own `reset_parameters`.

    Modules count wherever the model keeps them, also in lists and closures.

    Batch norms get the statistics of `noise`, as in the first step of a training. With the trained statistics, the
    network's answers depend mostly on the seed; with mean 0 and variance 1, less of the relevance above the floor of
    planted clips lies on the frames that decide (docs/meaning.md). Other buffers (positions, masks) belong to the
    architecture and stay. The model and its twin are not changed, nor are the caller's random numbers.

    Args:
        twin: the twin of any model.
        seed: seed of the new parameters.
        noise: an input of the model with at least two clips.
        only: names of the only modules whose parameters are drawn anew; None for all modules.
        one_clip: one of the clips of the noise, on which a forward without batch norms is watched (default: `noise`).
        layout: the layout of the noise.

    Raises:
        CannotBeReset: if a module has parameters and no `reset_parameters`, or one that leaves some as they are; if the
            forward uses a parameter of no module, or a scripted module, whose parameters are the model's own.
        ModelError: the model cannot run on the noise.
    """
    device = device_of_model(twin.model)
    with kept_random_state(device), torch.inference_mode(False), torch.no_grad():
        copier = Copier(shared=False)
        copy = cast(nn.Module, copier(twin.model, ""))
        _refuse_scripts(twin.model, copier.modules)
        named = [(name_in_twin(module), module) for module in copier.modules]
        chosen = [(name, module) for name, module in named if only is None or name in only]
        parameters = {x: _display_name(module, name) for name, module in chosen for x in module.parameters(False)}
        seed_torch(device, seed)
        for x in parameters:
            x.fill_(torch.nan)  # NaN stays where a reset leaves a value as it is
        stuck: dict[str, None] = {}
        for name, module in reversed(chosen):  # children before their parent
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                stuck[_display_name(module, name)] = None
        left = answers([torch.isnan(x).any() for x in parameters])
        stuck |= {place: None for place, is_left in zip(parameters.values(), left, strict=True) if is_left}
    if not stuck:
        norms = _batch_norms(copier.modules) if only is None else []
        foreign = _ForeignParameters(x for module in copier.modules for x in module.parameters(recurse=False))
        with kept_random_state(device), torch.inference_mode(False), torch.no_grad(), foreign, _set_by_input(norms):
            # A twin shares the statistics, which are set in place, and says what is wrong with a clip.
            call_model(Twin(copy, twin.composite).model, (noise if norms or one_clip is None else one_clip,), layout)
        stuck = {f"a parameter {tuple(x.shape)} that belongs to no module": None for x in foreign.found.values()}
    if stuck:
        raise CannotBeReset(
            f"the untrained network cannot be made: {listed(stuck, 3)} cannot be reset",
            "give every parameter a module with a method reset_parameters() that draws it, "
            "or explain without the floor",
        )
    return Twin(copy, twin.composite)


def _refuse_scripts(model: nn.Module, copied: Sequence[nn.Module]) -> None:
    """Scripted modules are not copied: what would be written to their parameters would be written to the model's."""
    scripts = [module for module in copied if isinstance(module, torch.jit.ScriptModule)]
    if scripts:
        names = [name for name, module in model.named_modules() if module is scripts[0]]
        place = f"'{names[0]}'" if names and names[0] else "the model" if names else "a module"
        raise CannotBeReset(
            f"the untrained network cannot be made: {place} is scripted (TorchScript), so that its parameters cannot "
            "be drawn anew without changing the model itself",
            "give the module that was scripted",
        )


def layers_in_order(twin: Twin, clip: Any, layout: str = "bcthw") -> list[str]:
    """Names of the modules that have a weight, in the order in which the clip passes them."""
    run = twin.record((clip,), None, layout).tracer
    names = dict.fromkeys(step.name for step in run.steps if step.weighted and step.layer is not None)
    return list(names)


class _ForeignParameters(TorchFunctionMode):
    """Notes the parameters that a forward uses and that belong to no module of the network."""

    def __init__(self, own: Iterable[nn.Parameter]):
        super().__init__()
        self.own: set[int] = {id(x) for x in own}
        self.found: dict[int, nn.Parameter] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function; what only looks at a property of a tensor uses nothing of it."""
        if getattr(func, "__name__", "") != "__get__":
            for x in tree_leaves((args, kwargs)):
                if isinstance(x, nn.Parameter) and id(x) not in self.own:
                    self.found[id(x)] = x
        return func(*args, **(kwargs or {}))


def _batch_norms(modules: Sequence[nn.Module]) -> list[nn.modules.batchnorm._BatchNorm]:
    return [x for x in modules if isinstance(x, nn.modules.batchnorm._BatchNorm) and x.track_running_stats]


@contextmanager
def _set_by_input(norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """Inside this block, batch norms take the statistics of their inputs, as in the first step of a training."""
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.training, norm.momentum = True, None
    yield
    for norm, before in zip(norms, momentum, strict=True):
        norm.training, norm.momentum = False, before


def _display_name(module: nn.Module, name: str) -> str:
    return f"'{name}' ({type(module).__name__})" if name else f"the model itself ({type(module).__name__})"
