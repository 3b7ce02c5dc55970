"""Calls a model on a clip; where it cannot run, the error says what the clip or the model's forward lacks."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Sequence
from pathlib import PurePath
from types import FunctionType, NoneType
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from lrp3d.errors import ModelError
from lrp3d.layout import axes_hint, layout_hint
from lrp3d.out_of_memory import is_out_of_memory
from lrp3d.printed import opening
from lrp3d.twin.swapping import InPlaceOf


def call_model(model: nn.Module, inputs: Sequence[Any], layout: str) -> Any:
    """What the model returns; raises ModelError if it cannot run, with what the shape of a clip suggests."""
    _check_arguments(model, inputs)
    try:
        return model(*inputs)
    except Exception as error:
        if isinstance(error, (AttributeError, TypeError)):
            _check_pathways(inputs, error)
        if type(error) is NotImplementedError and re.search("backward|derivative|grad", str(error)):
            raise ModelError(
                f"the forward has an operation without a derivative, which lrp3d needs where it has no rule: "
                f"{opening(error)}; of attention, torch.nn.functional.scaled_dot_product_attention has a rule"
            ) from error
        clips = [x for x in tree_flatten(inputs)[0] if isinstance(x, Tensor)]
        hint = axes_hint(clips, layout)
        if explains_itself(error) and not (hint and not isinstance(error, (RuntimeError, Warning))):
            raise
        advice = _without_values(model, error) or _other_type(model, clips) or hint
        raise could_not_run(error, clips, advice or _other_layout(clips, layout, error)) from error


def explains_itself(error: Exception) -> bool:
    """Whether an error that comes out of a forward is not the model's: memory ran out, or lrp3d says what is wrong."""
    if is_out_of_memory(error) or isinstance(error, Warning):
        return True
    return isinstance(error, (ValueError, NotImplementedError, ImportError)) and _is_raised_by_lrp3d(error)


def could_not_run(error: Exception, clips: Sequence[Tensor], advice: str = "") -> ModelError:
    """The error that says that a model's own forward failed, on which shape and how."""
    shapes = ", ".join(str(tuple(x.shape)) for x in clips)
    # A RuntimeError is torch's message for a shape that does not fit, and needs no name.
    named = type(error) is RuntimeError or _is_raised_by_lrp3d(error)
    said = opening(error) or f"at {_place(error)}"
    kind = "" if named and str(error) else f"{type(error).__name__}: "
    return ModelError(f"the model could not run on an input of shape {shapes}: {kind}{said}{advice}")


def _is_raised_by_lrp3d(error: Exception) -> bool:
    """Whether a `raise` of lrp3d or of its models made the error, and nothing that these called."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    is_ours = str(frame.f_globals.get("__name__", "")).split(".")[0] == "lrp3d"
    return is_ours and str(traceback.extract_tb(error.__traceback__)[-1].line).startswith("raise ")


def _place(error: Exception) -> str:
    """Where an error without a text was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{PurePath(last.filename).name}, line {last.lineno}"


def _without_values(model: nn.Module, error: Exception) -> str:
    """The end of an error message if a part of the model has no values; else an empty text."""
    empty = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if not empty or "meta" not in str(error):
        return ""
    named = f"{empty[0]}, ..." if len(empty) > 1 else empty[0]
    return f"; parameters of the model ({named}) are on the device meta, without values: load them"


def _other_layout(clips: Sequence[Tensor], layout: str, error: Exception) -> str:
    """The end of an error message that may come from axes in another order; else an empty text."""
    words = "shape|size|dim|axis|axes|channel|expected|stride|broadcast|range|bounds|batch"
    is_of_shapes = re.search(words, str(error), re.IGNORECASE) is not None
    return layout_hint(clips, layout) if is_of_shapes and all(map(len, clips)) else ""


def _check_pathways(inputs: Sequence[Any], error: Exception) -> None:
    """Raises ModelError if pathways were given and the forward met a list where it needs a tensor."""
    lists = [x for x in inputs if isinstance(x, (list, tuple))]
    if lists and re.search(r"\b(list|tuple)\b", str(error)):
        count, kind = len(lists[0]), type(lists[0]).__name__
        given = "one clip" if count == 1 else f"{count} pathways"
        raise ModelError(
            f"the clip came as a {kind} of {given}, and the model's forward takes no {kind} ({error}): pass the "
            "clip itself; only models with several pathways take a list of them"
        ) from error


def _other_type(model: nn.Module, clips: Sequence[Tensor]) -> str:
    """The end of an error message if the clip is not of the model's type; else an empty text."""
    types = {x.dtype for x in model.parameters() if x.is_floating_point()}
    if len(types) != 1 or all(x.dtype in types for x in clips if x.is_floating_point()):
        return ""
    (own,) = types
    came = next(x.dtype for x in clips if x.is_floating_point() and x.dtype != own)
    return f"; the model is {own} and the clip {came}: pass clip.to({own})"


def _check_arguments(model: nn.Module, inputs: Sequence[Any]) -> None:
    """Raises ModelError if the forward needs other arguments than a clip."""
    own = inspect.getattr_static(type(model), "forward", None)
    if not isinstance(own, FunctionType) or not isinstance(vars(model).get("forward"), (InPlaceOf, NoneType)):
        return
    try:
        wanted = inspect.signature(own)
    except (TypeError, ValueError):
        return
    try:
        wanted.bind(model, *inputs)
    except TypeError as error:
        raise ModelError(
            f"the model's forward{wanted} was called with {len(inputs)} argument{'s' * (len(inputs) != 1)}: "
            f"{error}; "
            "the clip (a list for several pathways) is its only argument, so wrap the model in a module whose "
            "forward takes nothing else"
        ) from None
