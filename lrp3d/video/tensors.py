"""Videos in tensor files: .pt, .npy, .safetensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrp3d.video.source import Choose, Source, VideoError, first_line

TENSOR_SUFFIXES = {".pt", ".pth", ".npy", ".safetensors"}


def read_tensor(path: Path, choose: Choose) -> Source:
    """The chosen frames of a tensor file; raises VideoError for anything else."""
    try:
        stored = _load_tensor(path)
    except VideoError:
        raise
    except Exception as error:  # Each of the three formats has errors of its own.
        raise VideoError(f"{path.name} cannot be read as a tensor: {first_line(error)}") from None
    if stored.ndim != 4 or stored.shape[-1] != 3 or 0 in stored.shape:
        raise VideoError(f"{path.name} holds {tuple(stored.shape)}, and frames are (t, h, w, 3) with t >= 1")
    indices = choose(len(stored))
    picked = np.asarray(stored[indices])
    if picked.dtype != np.uint8:
        picked = _float_pixels(picked, path.name)
    return Source(list(picked), indices, len(stored), [math.nan] * len(indices))


def _load_tensor(path: Path) -> np.ndarray:
    """The one array in a file; nothing in it is executed."""
    if path.suffix.lower() == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        stored: Any = load_file(path)
    else:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(stored, dict):
        tensors = {key: value for key, value in stored.items() if isinstance(value, Tensor)}
        if len(tensors) != 1:
            raise VideoError(f"{path.name} holds {len(tensors)} tensors, and a clip is one: {', '.join(tensors)}")
        (stored,) = tensors.values()
    if not isinstance(stored, Tensor):
        raise VideoError(f"{path.name} holds a {type(stored).__name__}, not a tensor")
    return (stored if stored.dtype == torch.uint8 else stored.float()).numpy(force=True)


def _float_pixels(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind != "f" or not (values.min() >= 0 and values.max() <= 1):
        raise VideoError(
            f"{name} holds {values.dtype} from {values.min():g} to {values.max():g}: pixels are uint8, or "
            "floats from 0 to 1 that are not normalised yet"
        )
    return np.rint(values * 255).astype(np.uint8)
