"""Products of a small matrix with a wide one, which has a column for every position of a layer, on one core of a CPU.

Libraries for matrices lay the wide one out anew while they multiply, from rows that lie far apart in memory. Block by
block of columns, that takes less time, and what the columns are to be multiplied with first needs no pass of its own.
Several cores, which would have to meet after every block, gain nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

COLUMNS = 1024
"""Columns of a block: few enough for the caches, and enough to be worth a call."""
LEAST_COLUMNS = 4 * COLUMNS
LEAST_WEIGHTS = 2**9
"""Values of the small matrix; with fewer, the product is a pass over memory whatever is done."""


def is_wide(w: Tensor, x: Tensor) -> bool:
    """Whether blocks are worth it for the product of w (o, i) and x (i, n)."""
    large = w.numel() >= LEAST_WEIGHTS and x.shape[1] >= LEAST_COLUMNS
    return large and x.device.type == "cpu" and torch.get_num_threads() == 1


def multiply(w: Tensor, x: Tensor, out: Tensor, scale: Tensor | None = None) -> None:
    """Writes `w @ (x * scale)` to `out`, block by block.

    Args:
        w: (o, i).
        x: (i, n).
        out: (o, n).
        scale: (i, n); None for none.
    """
    scratch = None if scale is None else x.new_empty(len(x), COLUMNS)
    for first in range(0, x.shape[1], COLUMNS):
        part = slice(first, first + COLUMNS)
        block = x[:, part]
        if scratch is not None and scale is not None:
            block = torch.mul(block, scale[:, part], out=scratch[:, : block.shape[1]])
        torch.mm(w, block, out=out[:, part])
