"""Where frame logits come from: the seeds of the rows of the temporal relevance matrix.

Two kinds of model have exact frame logits (their mean is the logit):

- those that classify every frame and average: the average is found in the recorded graph, and a row's seed is what
  that frame contributed to it;
- those that pool over time first and are linear from there on: what follows the pool is replayed once per frame, on
  that frame's pooled features alone. Several pathways are put on the clock of the fastest (paper, App. A).

Anything else is refused with its reason, never approximated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lrp3d.audit import assign_rules, find_classifier, step_of
from lrp3d.composites import Composite
from lrp3d.operations import Summand, shares
from lrp3d.propagate import Edge, Start, edge_of, propagate
from lrp3d.steps import Entry, Linear, Pass, Step
from lrp3d.twin import Record


class NoFrameLogits(ValueError):
    """The model has no exact frame logits on this clip; the message says why and what to do."""

    def __init__(self, reason: str):
        super().__init__(f"no temporal relevance here: {reason}. To explain the clip alone, pass temporal=False")


@dataclass
class FrameSeeds:
    """The rows of a matrix, before relevance is propagated."""

    logits: Tensor
    """(b, n), the mean of which is the logit."""
    starts: list[Start]
    """Where relevance begins, one seed (s = n) per row."""
    additive: bool
    """The mean of the rows' relevance is that of the clip: the model itself averages these frame logits."""
    orientation: Tensor | None = None
    """(n, b) -1 where a contrastive row's seed has the other sign than |logit|, to stay additive; else 1."""
    positions: list[int] | None = None
    """The frame each row stands on, where there are fewer rows than frames were classified."""
    classified: int = 0
    """How many frames were classified."""
    blocks: int | None = None
    """To how many blocks rows and columns are summed: the frames of the slowest pathway."""


@dataclass
class _Average:
    """An average over time in the graph."""

    node: Any
    step: Linear
    axis: int

    @property
    def edge(self) -> Edge:
        """What it averages."""
        return self.node.next_functions[0]

    @property
    def features(self) -> Tensor:
        """The tensor it averages."""
        return self.step.operands[0].source

    @property
    def frames(self) -> int:
        """How many there are."""
        return self.features.shape[self.axis]


def _last_averages(output: Tensor) -> list[_Average]:
    """The last averages over time on every way from the output down; raises NoFrameLogits for a way without one."""
    found, pending, seen = [], [output.grad_fn], set()
    single: str | None = None
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        step = step_of(node)
        if isinstance(step, Entry):
            raise NoFrameLogits("the model never averages over time, so no frame has a logit of its own")
        if isinstance(step, Linear) and len(step.operands) == 1 and not step.weighted:
            axis = step.operands[0].map.time_axis(step.operands[0].shape, step.shape)
            if axis is not None and step.operands[0].shape[axis] > 1:
                found.append(_Average(node, step, axis))
                continue
            single = single or (step.name if axis is not None else None)
        if step is not None and not _is_linear(step):
            if single is not None:
                raise NoFrameLogits(
                    f"only one time step is left where '{single}' averages over time (the model's strides use up this "
                    "clip); take more frames"
                )
            raise NoFrameLogits(
                f"'{step.name}' ({step.operation}) stands between the model's average over time and its logits and is "
                "not linear, so its frames cannot be classified one by one exactly"
            )
        pending += [parent for parent, _ in node.next_functions]
    return found


def _is_linear(step: Step) -> bool:
    return isinstance(step, Linear) or (isinstance(step, Pass) and step.linear)


def frame_seeds(record: Record, target: Tensor, composite: Composite, contrastive: bool) -> FrameSeeds:
    """The rows' seeds for class `target` (b,); raises NoFrameLogits where there are no exact frame logits.

    Args:
        record: one forward pass with logits (b, k).
        target: the class of every clip.
        composite: gives the replayed operations their rules.
        contrastive: rows are seeded with |logit| (up to `orientation`); else with the logit itself.
    """
    averages = _last_averages(record.output)
    after = [average.step.after_classifier for average in averages]
    if len(averages) == 1 and all(after):
        seeds = _classified_frames(record, target, averages[0], contrastive)
    elif any(after):
        raise NoFrameLogits("the model averages some frame logits and pools other features over time first")
    else:
        seeds = _pooled_frames(record, target, averages, composite, contrastive)
    _check(seeds.logits, record.output.detach().gather(1, target[:, None]).squeeze(1))
    return seeds


def _check(logits: Tensor, logit: Tensor) -> None:
    """Mean of the frame logits = logit, or nothing is explained."""
    error = (logits.mean(1) - logit).abs()
    scale = torch.maximum(logit.abs(), logits.abs().mean(1))
    if bool((error > 1e-4 * scale + torch.finfo(logit.dtype).tiny).any()):
        means, wanted = logits.mean(1).tolist(), logit.tolist()
        raise NoFrameLogits(f"the mean of the frame logits, {means}, is not the logit, {wanted}")


def _one_hot(logits: Tensor, target: Tensor, size: Tensor) -> Tensor:
    """One seed (1, b, k): `size` (b,) at the target."""
    return torch.zeros_like(logits).scatter_(1, target[:, None], size[:, None])[None]


# -------------------------------------------------------------- models that classify every frame and average


def _classified_frames(record: Record, target: Tensor, average: _Average, contrastive: bool) -> FrameSeeds:
    output = record.output.detach()
    if average.features.shape[0] != len(output):
        raise NoFrameLogits("the axis of clips is not the first where the model averages over time")
    logit = output.gather(1, target[:, None]).squeeze(1)
    size, sign = (logit.abs(), torch.where(logit < 0, -1.0, 1.0)) if contrastive else (logit, torch.ones_like(logit))
    start = Start(edge_of(record.output), _one_hot(output, target, size))
    n = average.frames
    arrived = n * propagate([start], [average.edge])[0][0].movedim(average.axis, 1)  # (b, n, ...)
    logits = arrived.sum(tuple(range(2, arrived.dim()))) * sign[:, None] if arrived.dim() > 2 else arrived * sign[:, None]
    rows = torch.eye(n, dtype=arrived.dtype, device=arrived.device)
    rows = rows.reshape(n, 1, n, *[1] * (arrived.dim() - 2)) * arrived  # (s = n, b, n, ...)
    axis = average.axis if average.axis >= 0 else average.axis + average.features.dim()
    start = Start(average.edge, rows.movedim(2, axis + 1))
    orientation = (torch.where(logits < 0, -1.0, 1.0) * sign[:, None]).T.to(logits) if contrastive else None
    seeds = FrameSeeds(logits, [start], additive=True, orientation=orientation)
    seeds.positions, seeds.classified = _rows_among_classified(record.output, start, len(output))
    return seeds


def _rows_among_classified(output: Tensor, start: Start, batch: int) -> tuple[list[int] | None, int]:
    """Which of the classified frames the rows stand on, if the model averages only some of them (paper, Fig. 10)."""
    edges = _classifier_outputs(output)
    rows = len(start.relevance)
    if len(edges) != 1:
        return None, rows
    arrived = propagate([start], edges)[0]  # (s, *output of the classifier)
    if arrived.shape[1] != batch:  # frames folded into the batch
        arrived = arrived.unflatten(1, (batch, -1))
    touched = arrived != 0
    for axis in range(2, arrived.dim()):
        others = tuple(i for i in range(1, arrived.dim()) if i != axis)
        profile = touched.any(others[0]) if len(others) == 1 else touched.movedim(axis, 1).flatten(2).any(2)
        if bool((profile.sum(1) == 1).all()):
            positions = profile.int().argmax(1).tolist()
            if len(set(positions)) == rows:
                size = arrived.shape[axis]
                return (positions, size) if size > rows else (None, rows)
    return None, rows


def _classifier_outputs(output: Tensor) -> list[Edge]:
    """The edges at which the classifiers hand out their logits."""
    edges: dict[Edge, None] = {}
    pending, seen = [edge_of(output)], set()
    while pending:
        edge = pending.pop()
        step = step_of(edge[0])
        if step is not None and step.is_classifier:
            edges[edge] = None
        elif edge[0] is not None and edge[0] not in seen:
            seen.add(edge[0])
            pending += edge[0].next_functions
    return list(edges)


# ------------------------------------------------------------------------- models that pool over time first


def _pooled_frames(
    record: Record, target: Tensor, averages: list[_Average], composite: Composite, contrastive: bool
) -> FrameSeeds:
    run = record.run
    n, slowest = max(a.frames for a in averages), min(a.frames for a in averages)
    before = len(run.steps)
    pooled = [_pool_over_space(record, average) for average in averages]
    outputs = [_replay(record, averages, pooled, i, n) for i in range(n)]
    for output in outputs:
        find_classifier(output)
    assign_rules(run.steps[before:], composite, contrastive)
    logits = torch.stack([output.detach().gather(1, target[:, None]).squeeze(1) for output in outputs], 1)
    ends = [edge_of(features) for features in pooled]
    rows: list[list[Tensor]] = []
    for i, output in enumerate(outputs):
        size = logits[:, i].abs() if contrastive else logits[:, i]
        rows.append(propagate([Start(edge_of(output), _one_hot(output.detach(), target, size))], ends))
    starts = [Start(end, torch.cat(column)) for end, column in zip(ends, zip(*rows, strict=True), strict=True)]
    return FrameSeeds(logits, starts, additive=False, classified=n, blocks=slowest if slowest < n else None)


def _pool_over_space(record: Record, average: _Average) -> Tensor:
    """The same average over everything but time."""
    map = average.step.operands[0].map.without_time(average.features.shape, average.axis)
    if map is None:
        raise NoFrameLogits(f"'{average.step.name}' does not average all frames alike")
    with record.run, torch._C.DisableTorchFunction(), torch.no_grad():
        return shares(map(average.features, 1.0), [Summand(average.features, map)])


def _replay(record: Record, averages: list[_Average], pooled: list[Tensor], i: int, n: int) -> Tensor:
    """The logits (b, k) of frame i alone: what follows the pools, on that frame's features."""
    given = {}
    for average, features in zip(averages, pooled, strict=True):
        with record.run:
            given[average.step.token] = _frame(features, average, i, n)
    output = record.run.replay(given, record.output)
    if output is None:
        raise NoFrameLogits("what follows the pool over time also uses features that were not pooled")
    return output


def _frame(features: Tensor, average: _Average, i: int, n: int) -> Tensor:
    """Frame i of the fastest clock: a slower pathway has features on its own frames only, and n / t times as much."""
    t = average.frames
    if t == n:
        return features.narrow(average.axis, i, 1).reshape(average.step.shape)
    on_clock = slow_frames(t, n)
    if i not in on_clock:
        return features.new_zeros(average.step.shape)
    return features.narrow(average.axis, on_clock.index(i), 1).reshape(average.step.shape) * (n / t)


def slow_frames(t: int, n: int) -> list[int]:
    """Where the t frames of a slow pathway lie on a clock of n: evenly spaced from first to last, truncated."""
    return torch.linspace(0, n - 1, t).long().tolist()
