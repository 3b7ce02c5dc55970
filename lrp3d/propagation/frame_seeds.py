"""What the rows of the temporal relevance matrix start from, and the error of models that have none."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lrp3d.errors import MEASURED
from lrp3d.propagation.propagate import Start
from lrp3d.steps.graph import Edge, edges_below


class NoFrameLogits(ValueError):
    """The model has no exact frame logits on this clip; the message says why and what to do.

    >>> import torch, lrp3d
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 2 * 2, 5)).eval()
    >>> try:
    ...     lrp3d.explain(model, torch.rand(1, 3, 4, 2, 2))
    ... except lrp3d.NoFrameLogits as error:
    ...     print(error.reason)
    the model never averages over time, so no frame has a logit of its own
    """

    def __init__(self, reason: str, rows: str = ""):
        self.reason = reason
        self.rows: str = rows or "with rows_at= and the name of a module it makes rows of the time steps there"
        """What `rows_at=` can do about it."""
        super().__init__(
            f"no temporal relevance here: {reason}. lrp3d.explain with temporal=False explains the clip alone, and "
            f"{self.rows}. {MEASURED}"
        )

    def __reduce__(self) -> tuple[type[NoFrameLogits], tuple[str, str]]:
        return type(self), (self.reason, self.rows)


class FramesInColumns(NoFrameLogits):
    """Each column of the logits (b, n) belongs to a frame, not to a class."""


@dataclass
class FrameSeeds:
    """The seeds of a matrix's rows, before relevance is propagated."""

    logits: Tensor
    """(b, n), one for each row; their mean is the clip's logit, unless `averaged` is given."""
    starts: list[Start]
    """Where relevance starts, with one seed per row (s = n)."""
    additive: bool
    """Whether the mean of the rows' relevance is that of the clip, because the model itself averages these logits."""
    orientation: Tensor | None = None
    """(n, b): -1 where the seed of a contrastive row is -|logit|, to keep rows additive, else 1; None if all are 1."""
    positions: list[int] | None = None
    """The frame of each row, where fewer rows than classified frames exist."""
    classified: int = 0
    """The number of frames that were classified."""
    blocks: int | None = None
    """The number of blocks to which rows and columns are summed: the frames of the slowest pathway."""
    share: float = 1.0
    """The number by which the sum of a block's rows is multiplied."""
    averaged: Tensor | None = None
    """(b, n) frame logits whose mean is the clip's logit, where the mean of `logits` is not."""

    @property
    def doors(self) -> set[Edge]:
        """Where relevance of the rows enters what that of the clip's logit flows through as well."""
        nodes = [start.edge[0] for start in self.starts]
        return {start.edge for start in self.starts} | {edge for node in nodes for edge in edges_below(node)}
