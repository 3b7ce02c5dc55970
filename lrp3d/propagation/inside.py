"""Relevance inside the network: at the outputs of modules that the caller names, and through some of their channels.

These outputs are steps of their own (`Outlet`) in the recorded graph, so that relevance that flows around a module
does not count as the module's. Propagation passes through an outlet and its relevance is kept; or it ends there and
starts again with some channels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lrp3d.printed import listed
from lrp3d.propagation.axes import Axis
from lrp3d.propagation.channel_axes import ChannelAxes
from lrp3d.propagation.clip_order import ClipOrder, with_clips_first
from lrp3d.propagation.propagate import Start, Through
from lrp3d.steps.ends import Outlet
from lrp3d.steps.graph import Edge, Node, downwards, step_of
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.step import Step
from lrp3d.transfer import placed
from lrp3d.twin.trace import Trace
from lrp3d.values import as_tensor

Where = Mapping[str, int | Sequence[int] | Tensor]
"""Channels of modules, by the modules' names."""

LISTED = 16  # modules that a note names; of more, it says how many follow


def check_inside(
    layers: Any, layer_rows: bool, where: Any, temporal: bool, needs_all_channels: bool
) -> tuple[list[str], dict[str, list[int]]]:
    """Checks the arguments of `explain` and returns names of modules and lists of channels.

    Args:
        layers: names of modules, or patterns of names.
        layer_rows: whether the caller wants rows at layers.
        where: channels by module.
        temporal: whether there are rows.
        needs_all_channels: whether the caller wants something that only all channels together have.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if arguments contradict each other or channels are no numbers.
    """
    if layer_rows and not (temporal and layers):
        raise ValueError("layer_rows=True keeps rows of the matrix at layers: it needs layers= and temporal=True")
    if where and needs_all_channels:
        raise ValueError("floor= and motion= need all channels: leave out where=, or leave out floor= and motion=")
    if where is not None and not isinstance(where, Mapping):
        raise TypeError(f"where= takes channels by module, as in {{'layer3': [12, 40]}}, got {type(where).__name__}")
    return names_of(layers, "layers"), {name: _channels(name, channels) for name, channels in (where or {}).items()}


def names_of(given: Any, argument: str) -> list[str]:
    """The names or patterns of modules that an argument gives; a single one may be given alone.

    Raises:
        TypeError: if it gives anything else.
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"{argument}= takes the names of modules, as in ['layer3', 'layer4'], got {given!r}")
    return list(names)


def _channels(name: str, given: Any) -> list[int]:
    """The numbers of the channels of a module in `where`; raises ValueError for anything else."""
    wanted = f"where={{{name!r}: ...}} takes numbers of channels from 0 on"
    try:
        numbers = as_tensor(given).flatten().tolist()
    except (TypeError, ValueError, RuntimeError):  # what torch raises depends on what is given
        raise ValueError(f"{wanted}, got {given!r}") from None
    if numbers and all(isinstance(number, bool) for number in numbers):
        raise ValueError(f"{wanted}, got a mask: give mask.nonzero()")
    if not numbers or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"{wanted}, got {given!r}")
    return list(dict.fromkeys(numbers))


def with_time(x: Tensor, batch: int, axis: int = 1) -> Tensor:
    """Turns an output (b t, c, h, w), with frames in the batch, into (b, c, t, h, w); returns others unchanged.

    Args:
        x: the output, or what is shaped like it.
        batch: number of clips.
        axis: the axis of channels.

    >>> with_time(torch.zeros(2 * 8, 64, 7, 7), 2).shape
    torch.Size([2, 64, 8, 7, 7])
    """
    if x.dim() != 4 or axis != 1 or len(x) == batch or len(x) % batch:
        return x
    return torch.unflatten(x, 0, (batch, -1)).transpose(1, 2)


@dataclass(frozen=True)
class Gate:
    """An output of a module of which only some channels let relevance through."""

    node: Node
    mask: Tensor
    """1 for these channels, 0 for the others; broadcasts to relevance (s, *output)."""

    @property
    def edge(self) -> Edge:
        """The edge of the output in the graph."""
        return self.node, 0

    def start(self, relevance: Tensor) -> Start:
        """Starts again with the part of the arrived relevance that the gate lets through."""
        return Start(self.edge, relevance * self.mask.to(relevance))


def gates(record: Trace, where: Mapping[str, Sequence[int]], starts: Sequence[Node]) -> list[Gate]:
    """The gates of a recorded run, ordered from the top down.

    Args:
        record: the run, in which the outputs of these modules are steps of their own.
        where: channels by module.
        starts: the nodes at which relevance starts.

    Raises:
        ValueError: if no relevance can flow through all gates, or a channel does not exist.
    """
    unsorted: list[Gate] = []
    below = outlets(starts)
    shapes = {step.name: step for step in record.tracer.steps if isinstance(step, Outlet)}
    axes = ChannelAxes()
    for name, channels in where.items():
        if name not in below:
            raise ValueError(
                f"no relevance flows through '{name}': it is not on the path from the logits to the clip, or comes "
                "after the average over time, where frames have no channels of their own"
            )
        step = shapes[name]
        zeros = torch.zeros(step.shape, dtype=step.dtype, device=record.output.device)
        axis = axes.of(below[name])
        if max(channels) >= zeros.shape[axis]:
            raise ValueError(
                f"where={{{name!r}: {list(channels)}}}: the output of '{name}', {tuple(zeros.shape)}, has channels "
                f"from 0 to {zeros.shape[axis] - 1} on axis {axis}"
            )
        mask = zeros.new_zeros(zeros.shape[axis]).index_fill_(0, placed(channels, zeros.device), 1)
        unsorted.append(Gate(below[name], mask.reshape([-1 if i == axis else 1 for i in range(zeros.dim())])))
    order = sorted(unsorted, key=lambda gate: -len(outlets([gate.node])))
    for upper, lower in pairwise(order):
        if lower.node not in set(outlets([upper.node]).values()):
            names = " and ".join(f"'{name}'" for name in where if below[name] in (upper.node, lower.node))
            raise ValueError(f"no relevance flows through both {names}: they lie side by side")
    return order


def outlets(roots: Sequence[Node]) -> dict[str, Node]:
    """The module outputs that are steps of their own, by the module's name, from the roots down."""
    nodes = downwards(roots)
    return {step.name: node for node in nodes if isinstance(step := step_of(node), Outlet)}


def with_outlets_recorded(outlet_relevance: dict[str, Tensor], through: Through) -> Through:
    """Wraps `through` so that `outlet_relevance` gets the relevance (s, *output) that arrives at every `Outlet`."""

    def record(step: Step, relevance: LazyRelevance) -> Sequence[LazyRelevance | None]:
        if isinstance(step, Outlet):
            relevance = relevance.multiplied()
            outlet_relevance[step.name] = relevance.tensor(step.shape)
        return through(step, relevance)

    return record


class Inside:
    """Relevance at the outputs of modules, added up over all propagations of one batch of clips.

    Args:
        record: the recorded run.
        patterns: patterns of the modules' names.
        batch: number of clips.
        rows: whether to keep the relevance of every row as well.

    Raises:
        ValueError: if a pattern fits only modules that have no single output of which relevance could be kept.
    """

    def __init__(self, record: Trace, patterns: Sequence[str], batch: int, rows: bool):
        for pattern in patterns:
            if all(name in record.tracer.not_outlets for name in record.tracer.layers[pattern]):
                raise ValueError(
                    f"'{pattern}' fits no module whose relevance can be kept: "
                    f"{record.tracer.not_outlets[record.tracer.layers[pattern][0]]}"
                )
        met = dict.fromkeys(name for pattern in patterns for name in record.tracer.layers[pattern])
        self.skipped: list[str] = [name for name in met if name in record.tracer.not_outlets]
        """Modules that a pattern fits and that are left out, because they have no single output that has relevance."""
        names = [name for name in met if name not in record.tracer.not_outlets]
        self.shapes: dict[str, torch.Size] = {
            step.name: step.shape for step in record.tracer.steps if isinstance(step, Outlet) and step.name in names
        }
        nodes, channels, clips = outlets([record.output.grad_fn]) if names else {}, ChannelAxes(), ClipOrder(batch)
        found = {name: channels.of(nodes[name]) for name in self.shapes if name in nodes}
        self._clips: dict[str, Axis] = {name: clips.of(nodes[name], axis) for name, axis in found.items()}
        self.channel_axes: dict[str, int] = {
            name: axis + (axis < self._clips[name].dim) for name, axis in found.items()
        }
        """By module, the axis of its channels, once the clips come first."""
        self.batch = batch
        self.like: Tensor = record.output.detach()
        self.keep_rows = rows
        self._named = set(patterns)
        self.without_rows: dict[str, None] = {}
        """Modules that a pattern fits and through which no row's relevance flows, such as that of a gate."""
        self.clip: dict[str, Tensor] = {}
        """Relevance (*output) by module, for the clips' logits."""
        self.rows: dict[str, list[Tensor]] = {}
        """Relevance (s, *output) of the rows by module, chunk by chunk, with the clips of an output first."""

    def add(self, outlet_relevance: Mapping[str, Tensor], share: float = 1.0) -> None:
        """Adds `share` times the relevance that arrived for some seeds to that of the clips."""
        for name, shape in self.shapes.items():
            part = outlet_relevance[name].sum(0) * share if name in outlet_relevance else self.like.new_zeros(shape)
            self.clip[name] = part if name not in self.clip else self.clip[name] + part

    def set(self, outlet_relevance: Mapping[str, Tensor]) -> None:
        """Replaces the relevance of the clips' logits by what arrived for them."""
        self.clip |= {name: r.sum(0) for name, r in outlet_relevance.items() if name in self.shapes}

    def add_rows(self, outlet_relevance: Mapping[str, Tensor], orientation: Tensor | None) -> None:
        """Keeps the relevance that arrived for some rows, negated where `orientation` (s, b) is -1."""
        for name in self.shapes if self.keep_rows else ():
            if name not in outlet_relevance and name not in self._named:
                self.without_rows[name] = None
                continue
            if name not in outlet_relevance:
                raise ValueError(
                    f"layer_rows=True: no row's relevance flows through '{name}'; it is not on the path from the "
                    "logits to the clip, or comes after the average over time"
                )
            r = self._with_clips_first(name, outlet_relevance[name], 1)
            if orientation is not None:
                per_item = orientation.repeat_interleave(r.shape[1] // self.batch, 1)
                r = r * per_item.reshape(*per_item.shape, *[1] * (r.dim() - 2)).to(r)
            self.rows.setdefault(name, []).append(r)

    @property
    def note(self) -> str:
        """Which modules that a pattern fits were left out, and why; empty if none were."""
        notes = []
        if self.skipped:
            notes.append(
                f"without {listed(self.skipped, LISTED)}, which the patterns of layers= fit as well: they run several "
                "times in one forward, return no single tensor, or do not depend on the clip"
            )
        if self.without_rows:
            notes.append(
                f"without rows for {listed(self.without_rows, LISTED)}, through which no row's relevance flows"
            )
        return "; ".join(notes)

    @property
    def of_explanation(self) -> dict[str, Any]:
        """The fields of `Explanation` that come from here, by name."""
        if not self.shapes:
            return {}
        layers = {
            name: self._with_time(name, self._with_clips_first(name, x)).to(self.like) for name, x in self.clip.items()
        }
        rows = {name: self._rows(name, torch.cat(chunks)).to(self.like) for name, chunks in self.rows.items()}
        return {"layers": layers, "channel_axes": self.channel_axes} | ({"layer_rows": rows} if rows else {})

    def _with_clips_first(self, name: str, x: Tensor, before: int = 0) -> Tensor:
        return with_clips_first(x, self._clips[name], before) if name in self._clips else x

    def _with_time(self, name: str, x: Tensor) -> Tensor:
        return with_time(x, self.batch, self.channel_axes.get(name, 1))

    def _rows(self, name: str, x: Tensor) -> Tensor:
        """Turns (s, b ...) into (b, s, ...)."""
        return torch.stack([self._with_time(name, row) for row in x], 1)
