"""The temporal relevance matrix: the relevance of every frame for every frame's logit (paper, Sec. 3.2 and App. A)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.pathways import slow_frames
from lrp3d.propagation.frame_seeds import FrameSeeds, NoFrameLogits
from lrp3d.transfer import placed


@dataclass
class TemporalRelevance:
    """The matrix of frame logits (rows) against frames (columns), and the logits of its rows."""

    frame_logits: Tensor
    """(b, n)."""
    matrix: Tensor
    """(b, n, n); (b, n, t) where the model answers from n of t frames."""
    positions: list[int] | None = None
    """The frame (column) of every row, where it is not the number of the row."""


def block_sum(x: Tensor, axis: int, blocks: int) -> Tensor:
    """Sums along `axis` in `blocks` equal parts, or nearly equal ones where the length is no multiple.

    >>> block_sum(torch.arange(8), 0, 4)
    tensor([ 1,  5,  9, 13])
    """
    size = x.shape[axis]
    if size == blocks:
        return x
    shape = list(x.shape)
    shape[axis] = blocks
    return x.new_zeros(shape).index_add(axis, torch.arange(size, device=x.device) * blocks // size, x)


def in_blocks(of_seeds: Tensor, seeds: FrameSeeds) -> Tensor:
    """Sums what belongs to seeds, as frame logits (b, n) do, to (b, blocks, ...), as rows of the matrix are summed."""
    return of_seeds if seeds.blocks is None else block_sum(of_seeds, 1, seeds.blocks) * seeds.share


def on_one_clock(frames: list[Tensor]) -> Tensor:
    """Adds up the relevance (..., t) of the frames of every pathway on the clock of the fastest (paper, App. A)."""
    clock = max(pathway.shape[-1] for pathway in frames)
    total = torch.zeros_like(next(pathway for pathway in frames if pathway.shape[-1] == clock))
    for pathway in frames:
        indices = placed(slow_frames(pathway.shape[-1], clock), pathway.device)
        total = total.index_add(-1, indices, pathway)
    return total


def check_row_count(rows: int, frames: int, hint: str) -> None:
    """Raises NoFrameLogits, with a hint from the clip's shape, if there are more frame logits than frames."""
    if rows > frames:
        raise NoFrameLogits(f"the model has {rows} frame logits for {frames} frames{hint}")


def row_scale(totals: Tensor, logits: Tensor) -> Tensor:
    """What rows with the sums `totals` (b, n) are multiplied by to sum to their logits (b, n); 0 for rows of zeros.

    Returns (b, n, 1).
    """
    return torch.where(totals != 0, logits / totals, 0.0).unsqueeze(-1)


def temporal_relevance(rows: Tensor, seeds: FrameSeeds, scaled: bool, hint: str = "") -> TemporalRelevance:
    """Makes the matrix from the relevance of every frame for every row.

    Args:
        rows: (b, n, t), relevance of the clip's frames for each frame logit.
        seeds: the logits of the rows and what is known about their frames.
        scaled: whether every row is scaled to sum to its logit ("the summation of the i-th row is the logit",
            Sec. 3.2); a contrastive row needs this, a conserving one sums to its logit anyway.
        hint: what the clip's shape suggests where there are more frame logits than frames.

    Raises:
        NoFrameLogits: if there are more frame logits than frames.
    """
    logits = seeds.logits
    check_row_count(logits.shape[1], rows.shape[2], hint)
    if scaled:
        rows = rows * row_scale(rows.sum(-1), logits)
    if seeds.positions is not None:
        if seeds.classified > rows.shape[2]:
            raise NoFrameLogits(
                f"padding makes more steps of time than the clip has frames ({seeds.classified} of {rows.shape[2]}), "
                "and the model answers from some of them, of which nothing says which frames they are"
            )
        return TemporalRelevance(logits, block_sum(rows, 2, seeds.classified), seeds.positions)
    n = logits.shape[1] if seeds.blocks is None else seeds.blocks
    return TemporalRelevance(in_blocks(logits, seeds), block_sum(block_sum(rows, 2, n), 1, n) * seeds.share)
