"""The frames of values between two operations, where views, selections and concatenations only move them."""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.motion.frame_numbers import (
    DEVICE,
    NONE,
    Frames,
    compressed,
    concatenated,
    name_of_unplaced,
    numbered_apart,
    of_one_length,
)
from lrp3d.motion.moved import kind, moved
from lrp3d.motion.refusals import FramesLost
from lrp3d.steps.graph import Edge, Node, downwards, edges_below
from lrp3d.steps.torch_nodes import axis_of, keeps_frames


class MovedFrames:
    """The frames of all tensors of one recorded run.

    What an operation makes of them is entered in `known`; what values are only moved to is found from there.
    """

    def __init__(self) -> None:
        self.known: dict[Node, Frames] = {}
        """The frames of the outputs of operations."""

    def incoming(self, edge: Edge) -> Frames:
        """The frames of the tensor of an edge."""
        node = edge[0]
        if node in self.known:
            return self.known[node]
        if node.name().startswith("Cat") and all(below in self.known for below, _ in edges_below(node)):
            parts, axis = [self.known[below] for below, _ in edges_below(node)], axis_of(node)
            alike = all(part.equals(parts[0]) for part in parts)
            if alike and all(numbers.shape[axis] == 1 for numbers in parts[0].numbers):
                return parts[0]._replace(origin=None)
        return self._moved(edge)

    def _moved(self, edge: Edge) -> Frames:
        """The frames of values that were only moved since their frames were known."""
        shape, sources = kind(edge)[0], self.sources(edge[0])
        by_node = {node: frames for node in sources if (frames := self.known[node]).length}
        unplaced = name_of_unplaced([self.known[node] for node in sources])
        nothing = dict.fromkeys(sources, torch.zeros((), dtype=torch.long, device=DEVICE))
        if numbered_apart([*by_node.values()]):  # constants, such as a class token, have no number
            by_node = {
                node: frames
                for node, frames in by_node.items()
                if bool(moved(edge, nothing | {node: (frames.frame != NONE).long()}).any())
            }
        if not by_node:
            return Frames.none(len(shape), DEVICE)._replace(unplaced=unplaced)
        by_node = dict(zip(by_node, of_one_length([*by_node.values()]), strict=True))
        if numbered_apart([*by_node.values()]):
            if self._joined_lengths(edge[0]):
                return self.incoming(edge)
            raise FramesLost(f"does not know which frames {self._mover(edge[0])} brings together")
        first = next(iter(by_node.values()))
        numbers = {
            node: torch.where(frames.frame == NONE, 0, frames.place * first.length + frames.frame + 1)
            for node, frames in by_node.items()
        }
        number = moved(edge, nothing | numbers).to(DEVICE) - 1
        frame = compressed(torch.where(number < 0, NONE, number % first.length))
        place = compressed(torch.where(number < 0, NONE, number // first.length))
        origin = sources[0] if len(sources) == 1 else None
        found = Frames(frame, place, frame, first.length, first.places, origin, unplaced)
        return found if bool((number >= 0).all()) and found.in_order else found._replace(slot=self._slot(edge, frame))

    def _joined_lengths(self, node: Node) -> bool:
        """Finds the frames of concatenations of sequences of different lengths; whether there were any."""
        between = [below for below in downwards([node], self.known.__contains__) if below not in self.known]
        found = False
        for cat in reversed([below for below in between if below.name().startswith("Cat")]):
            parts, axis = [self.incoming(edge) for edge in edges_below(cat) if edge[0] is not None], axis_of(cat)
            if len(parts) < len(edges_below(cat)) or any(not part.length or part.varies(axis) for part in parts):
                continue
            lengths, parts = {part.length for part in parts}, [*of_one_length(parts)]
            if len(lengths) > 1 and not numbered_apart(parts):
                shapes = [kind(edge)[0] for edge in edges_below(cat)]
                self.known[cat] = concatenated(parts, shapes, axis)
                found = True
        return found

    def _slot(self, edge: Edge, frame: Tensor) -> Tensor:
        """The frames of the nearest tensor below that has the same shape, and its frames in order.

        They are not in order, or not complete, in a tensor whose channels are moved along time or were written into
        zeros. Behind that, an operation makes of each slot the values of its frame.
        """
        shape = kind(edge)[0]
        for node in downwards([edge[0]], self.known.__contains__):
            if kind((node, 0))[0] == shape and (node, 0) != edge:
                below = self.known[node] if node in self.known else self._moved((node, 0))
                if below.length and below._replace(frame=below.slot).in_order:
                    return below.slot
        return frame

    def sources(self, node: Node) -> list[Node]:
        """The nearest nodes below whose frames are known."""
        return [below for below in downwards([node], self.known.__contains__) if below in self.known]

    def _mover(self, node: Node) -> str:
        """What moves values, for a message."""
        nodes = [below for below in downwards([node], self.known.__contains__) if below not in self.known]
        name: str = next((below for below in nodes if not keeps_frames(below)), nodes[0]).name()
        return name.removesuffix("0")
