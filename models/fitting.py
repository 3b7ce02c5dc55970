"""Copies values into a model: first checks that they fit, and undoes everything if a copy fails."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn

from .files import CheckpointError
from .wording import first_line


def storage_problem(value: Tensor) -> str | None:
    """The reason why values of a stored tensor cannot be copied, as part of a sentence; None if they can."""
    if value.is_meta:
        return "has a shape and no values (it is on the meta device)"
    if value.is_quantized:
        return "is quantised: save the weights as floating-point numbers"
    if value.is_floating_point() and value.element_size() == 1:  # float8: 3 digits at most, scaled by another tensor
        return f"is {_type(value)}, and what scales it is not known: save the weights as bfloat16, float16 or float32"
    if value.layout != torch.strided or value.is_nested:
        return f"is stored as {str(value.layout).removeprefix('torch.')}: save it dense"
    return None


def value_problem(name: str, value: Tensor, current: Tensor, infinite: bool = False) -> str | None:
    """The reason why `value` cannot become the model's tensor `name`; None if it can. Shapes are not compared.

    Args:
        name: the name of the model's tensor.
        value: a dense tensor.
        current: the tensor that it replaces; only its type matters.
        infinite: whether infinities are allowed, as in masks.
    """
    if _kind(value) != _kind(current):
        whole = not current.is_floating_point() and value.is_floating_point() and current.dtype != torch.bool
        if not whole or not torch.equal(value.double(), value.double().round()):
            return f"holds {_type(value)}, and the model has {_type(current)} there"
    cast = value.to(current.dtype)
    if value.is_floating_point():
        if value.isnan().any():
            return f"holds {int(value.isnan().sum()):,} values that are no numbers (NaN)"
        if not infinite and not cast.isfinite().all():
            return f"holds infinite values, or values that {_type(current)} cannot"
    elif not torch.equal(cast.to(value.dtype), value):
        return f"holds values that {_type(current)} cannot"
    if name.endswith("running_var") and bool((cast < 0).any()):
        return "holds negative variances"
    return None


def copy_values(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy values into a model, either all of them or none.

    Raises:
        CheckpointError: a value cannot be copied; the model has not changed.
    """
    before = model.state_dict()
    unset = [name for name in values if isinstance(before[name], Tensor) and before[name].is_meta]
    if unset:
        raise CheckpointError(f"the model has no memory for {unset[0]} (it is on the meta device); nothing was loaded")
    copies = {name: value.clone() for name, value in before.items() if isinstance(value, Tensor)}
    try:
        model.load_state_dict(dict(values), strict=False)
    except BaseException as error:
        _restore(before, copies)
        if isinstance(error, Exception):
            raise CheckpointError(f"not all could be copied, so nothing was loaded: {_reason(error)}") from error
        raise


@torch.no_grad()
def _restore(tensors: Mapping[str, Tensor], copies: Mapping[str, Tensor]) -> None:
    """Restore the values of a model's tensors; a tensor that cannot be written to has not changed."""
    for name, value in copies.items():
        with suppress(RuntimeError):
            tensors[name].copy_(value)


def _reason(error: Exception) -> str:
    """The reason in an error of load_state_dict, which lists what failed below its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 else first_line(error)


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    if tensor.is_floating_point():
        return "real"
    return "bool" if tensor.dtype == torch.bool else "whole"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
