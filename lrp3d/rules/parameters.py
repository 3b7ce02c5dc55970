"""Checks of the parameters of rules: numbers that are finite and not negative."""

from __future__ import annotations

import math
import numbers

from torch import Tensor

from lrp3d.rules.rule import Rule


def check_numbers(rule: Rule, *names: str) -> None:
    """Raises TypeError unless parameters of a rule are numbers; a tensor of one value becomes that number."""
    for name in names:
        value = getattr(rule, name)
        if isinstance(value, Tensor) and value.numel() == 1:
            object.__setattr__(rule, name, float(value))
        elif not isinstance(value, numbers.Real):
            raise TypeError(f"{name} of {type(rule).__name__} must be a number, got {value!r}")


def check_finite(rule: Rule, *names: str) -> None:
    """Raises ValueError unless parameters of a rule, numbers or tensors, are finite."""
    for name in names:
        value = getattr(rule, name)
        if not (bool(value.isfinite().all()) if isinstance(value, Tensor) else math.isfinite(value)):
            raise ValueError(f"{name} of {type(rule).__name__} must be finite, got {value}")


def check_not_negative(rule: Rule, *names: str) -> None:
    """Raises ValueError if numbers that are parameters of a rule are negative."""
    for name in names:
        if (value := getattr(rule, name)) < 0:
            raise ValueError(f"{name} of {type(rule).__name__} must be at least 0, got {value}")
