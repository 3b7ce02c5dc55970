"""An average over time: its entries, and the frames that they are or belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lrp3d.propagation.entry_order import groups_of, order_of, own_steps, with_masked_frames
from lrp3d.propagation.time_axis import Entries, time_steps
from lrp3d.steps.graph import Node, edges_below
from lrp3d.steps.linear import LinearStep
from lrp3d.transfer import placed


@dataclass
class TimeAverage:
    """An average over time in the graph; the entries that it averages are frames, or tokens of frames."""

    node: Any
    step: LinearStep
    axis: int
    source_steps: list[list[bool]] = field(default_factory=list)
    """For each averaged entry, the time steps it comes from."""
    order: list[int] = field(default_factory=list)
    """The averaged entries, from the earliest to the latest."""
    matrix: Tensor | None = None
    """(frames, entries): the mean over the entries of each frame, where several (tokens) come from one time step."""

    follows_clip: bool = False
    """Whether the order is that of the clip's frames, which were moved before the first layers."""

    @classmethod
    def of_frame_logits(cls, node: Node, step: LinearStep, frames: int) -> TimeAverage:
        """The average of frame logits (b, n, k), which are in order because the model says so."""
        own = torch.eye(frames, dtype=torch.bool, device="cpu").tolist()
        return cls(node, step, -2, source_steps=own, order=list(range(frames)))

    @property
    def entries(self) -> Entries:
        """The values that are averaged."""
        return Entries(edges_below(self.node)[0], self.features, self.axis)

    @property
    def features(self) -> Tensor:
        """The tensor that is averaged over time."""
        return self.step.operands[0].source

    @property
    def frames(self) -> int:
        """The number of frames that the averaged values stand for."""
        return self.entries.number if self.matrix is None else len(self.matrix)

    @property
    def entry_of_each_frame(self) -> list[int]:
        """One of the averaged entries of each frame, from the earliest to the latest."""
        return self.order if self.matrix is None else self.matrix.argmax(1).tolist()

    def keeps_time(self, batch: int) -> bool:
        """Whether another axis has the frames, so that this average is over the places of a picture."""
        shape = self.features.shape
        others = set(range(1 - len(shape), 0)) - set(self.step.operands[0].map.time_axes(shape, self.step.shape))
        averages = [TimeAverage(self.node, self.step, axis) for axis in others if shape[axis] > 1]
        return any(average.in_order(time_steps(average.entries, batch)) for average in averages)

    def find_order(self, batch: int) -> tuple[bool, list[list[bool]]]:
        """Whether the entries are frames, one after another, and the time steps of each entry."""
        of_clip = time_steps(self.entries, batch, of_clip=True)
        if of_clip and self.in_order(of_clip):
            self.follows_clip = True
            return True, of_clip
        source_steps = time_steps(self.entries, batch)
        return self.in_order(source_steps), source_steps

    def in_order(self, source_steps: list[list[bool]]) -> bool:
        """Takes the time steps of each entry, and says whether the entries are frames, one after another."""
        source_steps = with_masked_frames(source_steps)
        order = order_of(source_steps)
        if order is None and (own := own_steps(source_steps)):
            source_steps, order = own, order_of(own)
        if order is None:
            groups = groups_of(source_steps)
            if groups is None:
                return False
            matrix = torch.zeros(len(groups), self.entries.number, dtype=self.step.dtype, device="cpu")
            for frame, entries in enumerate(groups):
                matrix[frame, entries] = 1 / len(entries)
            self.matrix = placed(matrix, self.features.device, self.step.dtype)
            source_steps, order = [source_steps[entries[0]] for entries in groups], list(range(len(groups)))
        self.order, self.source_steps = order, [source_steps[i] for i in order]
        return True
