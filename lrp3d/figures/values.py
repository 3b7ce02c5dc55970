"""Checks what pictures are drawn from: matrices, pixels and relevance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

ArrayLike: TypeAlias = "Tensor | np.ndarray | Sequence[Any]"


def array(values: ArrayLike) -> np.ndarray:
    """Numbers of any kind as float64."""
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float64).numpy()
    return np.asarray(values, dtype=np.float64)


def matrix_of(matrix: ArrayLike) -> np.ndarray:
    """One relevance matrix (n, t); raises ValueError for anything else."""
    values = array(matrix)
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"a relevance matrix is (n, t), not {values.shape}: draw one clip at a time")
    return values


def pixels_of(pixels: ArrayLike) -> np.ndarray:
    """Frames, uint8 RGB (t, h, w, 3); raises ValueError for anything else."""
    images = pixels.numpy(force=True) if isinstance(pixels, Tensor) else np.asarray(pixels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ValueError(f"pixels are uint8 (t, h, w, 3), not {images.dtype} {images.shape}")
    return images


def pixel_relevance(relevance: ArrayLike, images: np.ndarray) -> np.ndarray:
    """Relevance (t, h, w), colour channels summed."""
    values = array(relevance)
    if values.ndim == 5 and len(values) == 1:
        values = values[0]
    if values.ndim == 4:
        values = values.sum(0)
    if values.shape != images.shape[:3]:
        raise ValueError(
            f"relevance is (t, h, w), (c, t, h, w) or (1, c, t, h, w) of frames {images.shape[:3]}, "
            f"not {tuple(np.shape(relevance))}"
        )
    if not np.isfinite(values).all():
        raise ValueError("relevance holds NaN or infinity, which no colour stands for")
    return values


def row_times(times: Sequence[float], rows: int) -> list[float]:
    """The time in the middle of every row's block of frames; empty if times are unknown or do not divide into rows."""
    if not len(times) or len(times) % rows or not all(math.isfinite(second) for second in times):
        return []
    block = len(times) // rows
    return [float(times[row * block + block // 2]) for row in range(rows)]
