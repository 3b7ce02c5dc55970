"""Pixels as a model takes them: resized, cropped, normalised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.video.source import VideoError


def resize_and_crop(images: list[np.ndarray], size: int | None, short_side: int | None, name: str) -> Tensor:
    """One frame at a time: a video may change its resolution on the way."""
    done: dict[int, Tensor] = {}  # frames of a short video repeat
    for image in images:
        if id(image) not in done:
            done[id(image)] = _crop(_resize(torch.from_numpy(np.ascontiguousarray(image)), short_side), size)
    frames = [done[id(image)] for image in images]
    shapes = {tuple(frame.shape[:2]) for frame in frames}
    if size is not None and min(min(shape) for shape in shapes) < size:
        smallest = min(shapes)
        raise VideoError(f"{name} has frames of {smallest[1]} x {smallest[0]} pixels, less than the {size} asked for")
    if len(shapes) > 1:
        raise VideoError(f"{name} has frames of different sizes: give a size to crop them to")
    return torch.stack(frames)


def _resize(image: Tensor, short_side: int | None) -> Tensor:
    """Image (h, w, 3) with the given shorter side and the same proportions."""
    height, width = image.shape[:2]
    if short_side is None or min(height, width) == short_side:
        return image
    shape = [max(1, side * short_side // min(height, width)) for side in (height, width)]
    planes = image.permute(2, 0, 1).unsqueeze(0)
    resized = F.interpolate(planes, shape, mode="bilinear", align_corners=False, antialias=True)
    return resized[0].permute(1, 2, 0)


def _crop(image: Tensor, size: int | None) -> Tensor:
    if size is None:
        return image
    top, left = (max(0, (side - size) // 2) for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels uint8 (t, h, w, 3) as a batch of one clip, float32 (1, 3, t, h, w)."""
    scaled = pixels.float() / 255
    return ((scaled - torch.tensor(mean)) / torch.tensor(std)).permute(3, 0, 1, 2).unsqueeze(0).contiguous()
