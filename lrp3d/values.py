"""Checks of single values, which know nothing of models: each bad one raises an error of one sentence."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def check_tensor(x: Any, expected: str) -> None:
    """Raises TypeError unless this is a tensor; `expected` begins the sentence with what should have come."""
    if not isinstance(x, Tensor):
        advice = ""
        if isinstance(x, np.ndarray):
            advice = ": pass torch.from_numpy(...) of it"
        elif isinstance(x, (str, Path)):
            advice = ": pass lrp3d.video.read_clip(...).tensor of a video's path"
        elif isinstance(getattr(x, "tensor", None), Tensor):
            advice = ": pass its .tensor"
        elif isinstance(x, Mapping):
            advice = ": pass its tensor, or a list of its tensors, and a module around the model that names them again"
        raise TypeError(f"{expected}, got {type(x).__name__}{advice}")


def check_real(x: Any, expected: str) -> None:
    """Raises TypeError unless this is a tensor of real numbers; `expected` is as in `check_tensor`."""
    check_tensor(x, expected)
    if x.dtype.is_complex:
        raise TypeError(f"{expected} of real numbers, got {x.dtype}")


def as_tensor(values: Any, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor on its own device, or numbers as a tensor of the host, whatever torch's default device is.

    >>> as_tensor([1, 2]), as_tensor(torch.tensor([0.5]), torch.float64)
    (tensor([1, 2]), tensor([0.5000], dtype=torch.float64))
    """
    if isinstance(values, Tensor):
        return values if dtype is None else values.to(dtype)
    return torch.as_tensor(values, dtype=dtype, device="cpu")


def in_widest_type(values: Tensor) -> Tensor:
    """The values in float64, in which long sums stay exact, or in float32 on MPS, which has nothing wider."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def is_number(value: Any) -> bool:
    """Whether this is one real number, also as a tensor or an array; truth values and texts are none.

    >>> is_number(0.5), is_number(torch.tensor(2)), is_number(True), is_number("1"), is_number([0.5])
    (True, True, False, False, False)
    """
    if isinstance(value, (bool, str, bytes)):
        return False
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def check_counts(**counts: Any) -> None:
    """Checks that numbers of something are whole and at least 1; None is not checked.

    Raises:
        TypeError: one is not a whole number.
        ValueError: one is less than 1.

    >>> check_counts(frames=16, stride=None)
    >>> check_counts(frames=0)
    Traceback (most recent call last):
    ValueError: frames must be a whole number of at least 1, got 0
    """
    for name, count in counts.items():
        if count is None:
            continue
        expected = f"{name} must be a whole number of at least 1, got {count!r}"
        try:
            number = operator.index(count)
        except TypeError:
            raise TypeError(expected) from None
        if isinstance(count, bool):  # which Python takes for a number
            raise TypeError(expected)
        if number < 1:
            raise ValueError(expected)


def real_numbers(values: Any, expected: str) -> Tensor:
    """The tensor of one real number or several; raises TypeError for anything else, with `expected` as above."""
    try:
        tensor = as_tensor(values)
        if tensor.is_floating_point() and not hasattr(values, "dtype"):
            tensor = as_tensor(values, dtype=torch.float64)  # what Python's own numbers are
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{expected}, got {values!r}") from None
    if tensor.dtype.is_complex or tensor.dtype == torch.bool:
        raise TypeError(f"{expected}, got {tensor.dtype}")
    return tensor


def whole_numbers(values: Any) -> Tensor | None:
    """The tensor of what should be whole numbers; None if it is anything else."""
    try:
        tensor = as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        return None
    is_other = tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool
    return None if is_other else tensor


def colour_of(value: float | Sequence[float] | Tensor, channels: int) -> Tensor:
    """The value of an empty frame, (1,) or one per channel (c,).

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite, or there is another number of values.
    """
    expected = f"value must be one number or one per channel ({channels})"
    colour = real_numbers(value, expected).flatten()
    if len(colour) not in (1, channels):
        raise ValueError(f"{expected}, got {len(colour)} values")
    if not bool(torch.isfinite(colour).all()):
        raise ValueError(f"{expected}, and finite, got {colour.tolist()}")
    return colour
