"""Relevance inside of a network: at the outputs of modules that the caller names, and through channels of them.

The outputs are steps of their own (`Outlet`) in the recorded graph, so that relevance that flows around a module is
not counted as its. A walk passes through them and is looked at; or it ends there and goes on with some channels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lrp3d.layout import channel_axis
from lrp3d.propagation.propagate import Start, Through
from lrp3d.steps.graph import Edge, Node, downwards, step_of
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.step import Outlet, Step
from lrp3d.transfer import placed
from lrp3d.twin.twin import Trace

Where = Mapping[str, int | Sequence[int] | Tensor]
"""Channels of modules, by the modules' names."""


def check_inside(
    layers: Any, layer_rows: bool, where: Any, temporal: bool, other: bool
) -> tuple[list[str], dict[str, list[int]]]:
    """Names of modules and lists of channels as `explain` takes them; raises TypeError or ValueError.

    Args:
        layers: names, or patterns of names.
        layer_rows: whether rows are asked for.
        where: channels by module.
        temporal: whether there are rows.
        other: whether something is asked for that channels alone do not have.
    """
    if layer_rows and not (temporal and layers):
        raise ValueError("layer_rows=True keeps rows of the matrix at layers: it needs layers= and temporal=True")
    if where and other:
        raise ValueError("floor= and motion= are of all channels: leave out where=, or leave out those")
    if isinstance(layers, str):
        layers = [layers]
    if not isinstance(layers, Sequence) or not all(isinstance(name, str) and name for name in layers):
        raise TypeError(f"layers= takes the names of modules, as in ['layer3', 'layer4'], got {layers!r}")
    if where is not None and not isinstance(where, Mapping):
        raise TypeError(f"where= takes channels by module, as in {{'layer3': [12, 40]}}, got {type(where).__name__}")
    by_layer = {}
    for name, channels in (where or {}).items():
        listed = torch.as_tensor(channels).flatten().tolist()
        if not listed or not all(isinstance(channel, int) and channel >= 0 for channel in listed):
            raise ValueError(f"where={{{name!r}: ...}} takes numbers of channels from 0 on, got {channels!r}")
        by_layer[name] = listed
    return list(layers), by_layer


def with_clips(x: Tensor, batch: int) -> Tensor:
    """An output (b t, c, h, w) of frames folded into the batch as (b, c, t, h, w); any other as it is.

    >>> with_clips(torch.zeros(2 * 8, 64, 7, 7), 2).shape
    torch.Size([2, 64, 8, 7, 7])
    """
    if x.dim() != 4 or len(x) == batch or len(x) % batch:
        return x
    return torch.unflatten(x, 0, (batch, -1)).transpose(1, 2)


@dataclass(frozen=True)
class Gate:
    """An output of which some channels alone are followed further down."""

    node: Node
    kept: Tensor
    """1 for those, 0 for the others, to multiply relevance (s, *output)."""

    @property
    def edge(self) -> Edge:
        """Where it stands in the graph."""
        return self.node, 0

    def start(self, relevance: Tensor) -> Start:
        """Go on with what arrived, as far as it passes."""
        return Start(self.edge, relevance * self.kept.to(relevance))


def gates(record: Trace, where: Mapping[str, Sequence[int]], starts: Sequence[Node]) -> list[Gate]:
    """The gates of a recorded run, from the top down.

    Args:
        record: the run, in which those modules' outputs are steps of their own.
        where: channels by module.
        starts: the nodes at which relevance begins.

    Raises:
        ValueError: no relevance can flow through all of them, or there are no such channels.
    """
    unsorted: list[Gate] = []
    below = _outlets(starts)
    shapes = {step.name: step for step in record.run.steps if isinstance(step, Outlet)}
    for name, channels in where.items():
        if name not in below:
            raise ValueError(
                f"no relevance flows through '{name}': it lies beside the way from the logits to the clip, or after "
                "the average over time, where frames have no channels of their own"
            )
        step = shapes[name]
        like = torch.zeros(step.shape, dtype=step.dtype, device=record.output.device)
        axis = channel_axis(like)
        if max(channels) >= like.shape[axis]:
            raise ValueError(
                f"where={{{name!r}: {list(channels)}}}: the output of '{name}', {tuple(like.shape)}, has channels "
                f"from 0 to {like.shape[axis] - 1} on axis {axis}"
            )
        kept = like.new_zeros(like.shape[axis]).index_fill_(0, placed(channels, like.device), 1)
        unsorted.append(Gate(below[name], kept.reshape([-1 if i == axis else 1 for i in range(like.dim())])))
    order = sorted(unsorted, key=lambda gate: -len(_outlets([gate.node])))
    for upper, lower in pairwise(order):
        if lower.node not in set(_outlets([upper.node]).values()):
            names = " and ".join(f"'{name}'" for name in where if below[name] in (upper.node, lower.node))
            raise ValueError(f"no relevance flows through both {names}: they lie side by side")
    return order


def _outlets(roots: Sequence[Node]) -> dict[str, Node]:
    """The outputs that are steps of their own, from some nodes down."""
    nodes = downwards(roots, lambda node: False)
    return {step.name: node for node in nodes if isinstance(step := step_of(node), Outlet)}


def looked_at(seen: dict[str, Tensor], through: Through) -> Through:
    """The same walk, which leaves in `seen` the relevance (s, *output) that arrives at every `Outlet`."""

    def look(step: Step, carried: LazyRelevance) -> Sequence[LazyRelevance | None]:
        if isinstance(step, Outlet):
            seen[step.name] = carried.tensor(step.shape)
        return through(step, carried)

    return look


class Inside:
    """Relevance at the outputs of modules, added up over the walks of one batch of clips.

    Args:
        record: the run.
        patterns: of the modules' names.
        batch: how many clips.
        rows: also keep that of every row.
    """

    def __init__(self, record: Trace, patterns: Sequence[str], batch: int, rows: bool):
        names = dict.fromkeys(name for pattern in patterns for name in record.run.layers[pattern])
        self.shapes: dict[str, torch.Size] = {
            step.name: step.shape for step in record.run.steps if isinstance(step, Outlet) and step.name in names
        }
        self.batch = batch
        self.like: Tensor = record.output.detach()
        self.keep_rows = rows
        self.clip: dict[str, Tensor] = {}
        """(*output) by module, for the clips' logits."""
        self.rows: dict[str, list[Tensor]] = {}
        """(s, *output) by module, chunk by chunk."""

    def add(self, seen: Mapping[str, Tensor], share: float = 1.0) -> None:
        """Count what arrived for some seeds as `share` of the clips' relevance."""
        for name, shape in self.shapes.items():
            part = seen[name].sum(0) * share if name in seen else self.like.new_zeros(shape)
            self.clip[name] = part if name not in self.clip else self.clip[name] + part

    def set(self, seen: Mapping[str, Tensor]) -> None:
        """Take what arrived for the clips' logits instead of what is there."""
        self.clip |= {name: r.sum(0) for name, r in seen.items() if name in self.shapes}

    def add_rows(self, seen: Mapping[str, Tensor], orientation: Tensor | None) -> None:
        """Keep what arrived for some rows, the other way round where `orientation` (s, b) is -1."""
        for name in self.shapes if self.keep_rows else ():
            if name not in seen:
                raise ValueError(
                    f"layer_rows=True: no row's relevance flows through '{name}'; it lies beside the way from the "
                    "logits to the clip, or after the average over time"
                )
            r = seen[name]
            if orientation is not None:
                per_item = orientation.repeat_interleave(r.shape[1] // self.batch, 1)
                r = r * per_item.reshape(*per_item.shape, *[1] * (r.dim() - 2)).to(r)
            self.rows.setdefault(name, []).append(r)

    @property
    def of_explanation(self) -> dict[str, Any]:
        """What `Explanation` has of it, by its names there."""
        if not self.shapes:
            return {}
        whole = {name: with_clips(x, self.batch).to(self.like) for name, x in self.clip.items()}
        rows = {name: self._rows(torch.cat(chunks)).to(self.like) for name, chunks in self.rows.items()}
        return {"layers": whole} | ({"layer_rows": rows} if rows else {})

    def _rows(self, x: Tensor) -> Tensor:
        """(s, *output) as (b, s, ...)."""
        return torch.stack([with_clips(row, self.batch) for row in x], 1)
