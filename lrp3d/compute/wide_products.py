"""Products of a small matrix with a wide one, which has a column for every position of a layer, on a CPU.

Libraries for matrices lay the wide one out anew while they multiply, from rows that lie far apart in memory. Block by
block of columns, that takes less time, and what the columns are to be multiplied with first needs no pass of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

COLUMNS = 1024
"""Columns of a block: few enough for the caches, and enough to be worth a call."""
WORTHWHILE = 4 * COLUMNS
"""Columns; fewer are multiplied at once."""


def is_wide(x: Tensor) -> bool:
    """Whether blocks are worth it for x (i, n)."""
    return x.device.type == "cpu" and x.shape[1] >= WORTHWHILE


def multiply(w: Tensor, x: Tensor, out: Tensor, scale: Tensor | None = None) -> None:
    """Writes `w @ (x * scale)` to `out`.

    Args:
        w: (o, i).
        x: (i, n).
        out: (o, n).
        scale: (i, n); None for none.
    """
    if not is_wide(x):
        torch.mm(w, x if scale is None else x * scale, out=out)
        return
    block = None if scale is None else x.new_empty(len(x), COLUMNS)
    for first in range(0, x.shape[1], COLUMNS):
        part = slice(first, min(first + COLUMNS, x.shape[1]))
        columns = x[:, part]
        if block is not None and scale is not None:
            columns = torch.mul(columns, scale[:, part], out=block[:, : columns.shape[1]])
        torch.mm(w, columns, out=out[:, part])
