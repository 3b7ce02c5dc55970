"""Where the clips of a batch are in the output of a module, and the same output with the clips first, one by one.

They are on the second axis where time comes first (t, b, c), as in recurrent layers of torch, and next to frames or
windows where these are in the batch: (b t, c, h, w), or (t b, c, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.motion.moved import kind
from lrp3d.propagation.axes import Axes, Axis
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import Node
from lrp3d.steps.step import Step


class ClipOrder:
    """Finds the clips in one recorded run.

    Args:
        batch: the number of clips.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._axes = Axes(self._known)

    def of(self, node: Node, channels: int) -> Axis:
        """The axis of clips of what a step made, with the number of the clip at each position.

        Args:
            node: the step.
            channels: the axis of channels.
        """
        shape = kind((node, 0))[0]
        axis = self._by_sizes(shape, channels) or self._axes.of(node)
        # Where nothing says it, the clips come first, as they do almost everywhere.
        return _one_by_one(0, shape, self._batch) if axis is None else axis

    def _by_sizes(self, shape: torch.Size, channels: int) -> Axis | None:
        """What the sizes leave no doubt of; None where they leave any."""
        if self._batch == 1:  # of a lone clip, numbers do not differ
            second = len(shape) == 3 and shape[0] > 1 == shape[1] and channels == 2
            dim = 1 if second else 0
            return Axis(dim, torch.zeros(shape[dim], dtype=torch.long, device="cpu"))
        alone = shape[0] == self._batch and self._batch not in shape[1:]
        return Axis.counted(0, shape) if alone else None

    def _known(self, node: Node, step: Step) -> Axis | None:
        """The axis that the layout of the clip names."""
        if not isinstance(step, ClipInput) or step.layout is None:
            return None
        shape, groups = kind((node, 0))[0], step.layout.groups
        dim = next(i for i, group in enumerate(groups) if "b" in group)
        if groups[dim] == "b":
            return _one_by_one(dim, shape, self._batch)
        clips, like = torch.arange(self._batch, device="cpu")[None], torch.empty(shape, device="meta")
        return Axis(dim, step.layout.per_clip(clips, like[None]).flatten())


def _one_by_one(dim: int, shape: torch.Size, batch: int) -> Axis:
    """An axis of clips, each with all of its frames if these are on it as well."""
    return Axis(dim, torch.arange(shape[dim], device="cpu") * batch // max(shape[dim], 1))


def with_clips_first(x: Tensor, axis: Axis, before: int = 0) -> Tensor:
    """The same with the axis of clips first, and all that belongs to one clip together.

    Args:
        x: (..., *output).
        axis: the axis of clips of the output.
        before: the number of axes in front of the output, which stay there.

    >>> time_first = torch.arange(6).view(3, 2)  # three frames of two clips
    >>> with_clips_first(time_first, Axis(1, torch.tensor([0, 1]))).tolist()
    [[0, 2, 4], [1, 3, 5]]
    >>> with_clips_first(torch.arange(4), Axis(0, torch.tensor([0, 1, 0, 1]))).tolist()
    [0, 2, 1, 3]
    """
    x = x.movedim(before + axis.dim, before)
    return x if axis.is_sorted else x.index_select(before, axis.numbers.argsort(stable=True).to(x.device))
