"""Imports of public libraries that may not fit this torch."""

from __future__ import annotations

import importlib
from typing import Any

import torch

_undone: list[Any] = []


def imported(name: str) -> Any:
    """A module; torchvision also where its compiled operations do not fit this torch, as networks rarely use them."""
    try:
        importlib.import_module("torchvision")
    except (RuntimeError, ImportError):
        if _undone:  # they are defined once
            return importlib.import_module(name)
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operation in ("nms", "qnms"):
            library.define(f"{operation}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _undone.append(library)
    return importlib.import_module(name)
