"""Small pictures of matrices, many of them on one scale, in as few bytes as possible."""

from __future__ import annotations

import io

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from lrp3d.figures.colours import colormap

LARGEST = 32  # cells of a side: of more, each is the mean of several
LEVELS = 64  # colours; every one that a picture names takes three bytes of it


def reduced(matrix: Tensor) -> Tensor:
    """A matrix (n, t) of at most 32 x 32 cells; of a larger one, each is the mean of a block.

    >>> import torch
    >>> reduced(torch.ones(64, 8)).shape
    torch.Size([32, 8])
    """
    rows, columns = (min(size, LARGEST) for size in matrix.shape)
    return F.adaptive_avg_pool2d(matrix[None].double(), (rows, columns))[0]


def thumbnail(values: Tensor, limit: float, signed: bool) -> bytes:
    """A PNG with one pixel for each value.

    Args:
        values: (n, t); NaN is drawn as 0.
        limit: where the colours end; values beyond it have the last colour.
        signed: whether the scale goes from `-limit` to `limit`, else from 0 to `limit`.

    Raises:
        ImportError: matplotlib is not installed.

    >>> import torch
    >>> thumbnail(torch.eye(4), 1.0, signed=False)[1:4]
    b'PNG'
    """
    shares = (values.double().nan_to_num(0.0) / limit).numpy()
    places = (shares + 1) / 2 if signed else shares
    levels = (places.clip(0, 1) * (LEVELS - 1)).round().astype(np.uint8)
    from PIL import Image  # matplotlib depends on it

    picture, buffer = Image.fromarray(levels), io.BytesIO()
    picture.putpalette((colormap(signed)(np.linspace(0, 1, LEVELS))[:, :3] * 255).round().astype(np.uint8).tobytes())
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
