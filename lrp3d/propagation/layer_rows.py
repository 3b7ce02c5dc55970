"""Rows of the matrix at a layer: what of a clip's relevance flows through each time step of a module's output.

They need no frame logits, so that networks have a matrix that classify a class token, or what a norm, an attention or a
maximum has made of all frames. Each row goes on from its time step down to the frames of the clip, so that the matrix
says what the network has mixed over time below the module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrp3d.motion.frame_numbers import NONE, Frames
from lrp3d.motion.frames_of_values import FramesOfValues
from lrp3d.motion.refusals import FramesLost
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.propagation.frame_seeds import FrameSeeds
from lrp3d.propagation.inside import outlets
from lrp3d.propagation.propagate import Start
from lrp3d.steps.graph import downwards, is_classifier
from lrp3d.twin.trace import Trace


class NoLayerRows(ValueError):
    """The output of a module has no time steps that could be rows, on any clip; the message says why and what to do."""


@dataclass
class _ThroughSteps(Start):
    """The parts of relevance (1, *tensor.shape) that flow through single time steps, one seed for each of them."""

    slot: Tensor
    """The time step of every value, broadcasting."""
    steps: int

    def chunk(self, rows: slice) -> Start:
        """The parts of some time steps."""
        numbers = torch.arange(rows.start, min(rows.stop, self.steps), device=self.slot.device)
        mask = self.slot[None] == numbers.reshape(-1, *[1] * self.slot.dim())
        return Start(self.edge, self.relevance * mask.to(self.relevance))


def check_rows_at(rows_at: Any, temporal: bool, channels: Mapping[str, Any], merge: str) -> None:
    """Raises TypeError or ValueError for a module that cannot have rows, or contradicts other arguments of `explain`.

    Args:
        rows_at: the name of a module, or None.
        temporal: whether a matrix is wanted.
        channels: the channels through which relevance counts, by the module.
        merge: how the frame logits of pathways are combined, "paper" where nobody asks for another way.
    """
    if rows_at is None:
        return
    if not isinstance(rows_at, str) or not rows_at or set(rows_at) & set("*?["):
        raise TypeError(f"rows_at= takes the name of one module, as in 'encoder.layer.10', got {rows_at!r}")
    if not temporal:
        raise ValueError("rows_at= says what the rows of the matrix are, and temporal=False makes no matrix")
    if channels:
        raise ValueError("rows_at= and where= both choose what relevance flows through: leave out one of them")
    if merge != "paper":
        raise ValueError(
            f"merge={merge!r} says how the frame logits of pathways are combined, and rows_at= makes rows of the time "
            "steps of one module: leave out one of them"
        )


def layer_seeds(clips: ClipRelevance, module: str) -> FrameSeeds:
    """The seeds of rows that are time steps of the output of a module.

    The logits of these rows are n times what flows through each of n time steps, so that their mean is the part of the
    clip's logit that flows through the module. With a contrast they are those of the class alone, as a contrast says
    nothing of how much flows.

    Args:
        clips: the recorded clips, of which the output of the module is a step of its own.
        module: the name of the module.

    Raises:
        NoLayerRows: no relevance flows through the module, or its output has no time steps that can be followed.
    """
    frames = time_steps(clips.record, module, clips.settings.layout)
    n, edge = frames.length, (frames.origin, 0)
    relevance = clips.at(edge)  # (1, *output)
    of_class = clips.one_side_at(edge) if clips.contrasts_classes else relevance
    logits = n * totals_of_steps(of_class, frames, len(clips.logits))
    if not logits.any():
        raise NoLayerRows(
            f"rows_at={module!r}: no relevance flows through its {n} time steps, but all of it through what "
            "belongs to no frame, such as a class token, or around the module: name a module that comes before that"
        )
    starts: list[Start] = [_ThroughSteps(edge, n * relevance, frames.slot.to(relevance.device), n)]
    orientation = None
    if clips.settings.contrastive:
        # Seeds have the logit's magnitude, and a row shows what speaks for the class also where its own is below zero.
        orientation = torch.where(logits < 0, -1, 1).T
        logits = torch.where(clips.logit < 0, -1, 1)[:, None] * logits
    return FrameSeeds(logits.to(clips.logit.dtype), starts, additive=False, orientation=orientation)


def time_steps(record: Trace, module: str, layout: str) -> Frames:
    """To which time step each value of a module's output belongs; their origin is its node.

    Args:
        record: a run in which the output of the module is a step of its own.
        module: the name of the module.
        layout: the layout of the clips.

    Raises:
        NoLayerRows: the output is not between the clip and the classifier, or has no time steps that can be followed.
    """
    wanted = f"rows_at={module!r}"
    node = outlets([record.output.grad_fn]).get(module)
    if node is None:
        raise NoLayerRows(f"{wanted}: no relevance flows there, as it is not on the path from the logits to the clip")
    if any(is_classifier(below) for below in downwards([node])):
        raise NoLayerRows(f"{wanted} comes after the classifier or has it inside: name a module below the classifier")
    try:
        frames = FramesOfValues(record, layout, node, through_products=True).of(node)
    except FramesLost as error:
        raise NoLayerRows(f"{wanted}: lrp3d {error}; name a module that comes before that") from None
    if frames.length < 2:
        steps = "a single time step" if frames.length else "no time steps"
        raise NoLayerRows(
            f"{wanted}: its output has {steps}, as all frames have become one before: name a module that comes before "
            "that"
        )
    return frames._replace(origin=node)


def totals_of_steps(relevance: Tensor, frames: Frames, batch: int) -> Tensor:
    """The sums (b, n) of relevance (1, *output) over what belongs to each time step of each clip."""
    slot, clip = (x.to(relevance.device) for x in (frames.slot, frames.clip))
    number = torch.where(slot == NONE, batch * frames.length, clip * frames.length + slot)  # the last one is of no step
    summed = [axis for axis, size in enumerate(number.shape) if size == 1]
    parts = relevance[0].sum(summed, keepdim=True) if summed else relevance[0]
    sums = parts.new_zeros(batch * frames.length + 1).index_add(0, number.flatten(), parts.flatten())
    return sums[:-1].view(batch, frames.length)
