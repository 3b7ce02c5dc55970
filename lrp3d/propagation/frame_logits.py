"""Where frame logits come from: the seeds of the rows of the temporal relevance matrix.

Two kinds of model have exact frame logits (their mean is the logit):

- those that classify every frame and average;
- those that pool over time first and are linear from there on. Several pathways are put on the clock of the
  fastest (paper, App. A).

Either way the last average over time is found in the recorded graph, and what follows it is replayed once per
frame, on that frame alone.

Anything else is refused with its reason, never approximated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lrp3d.composites import Composite
from lrp3d.compute.maps import Convolution
from lrp3d.errors import MEASURED
from lrp3d.operations import Summand, shares
from lrp3d.outputs import Chosen
from lrp3d.pathways import slow_frames
from lrp3d.propagation.propagate import Start, propagate
from lrp3d.rules import Epsilon, Opposed
from lrp3d.steps.graph import Edge, Node, downwards, edge_of, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import ClipInput, PassThrough, Step, Unsupported
from lrp3d.twin.audit import assign_rules, find_classifier
from lrp3d.twin.twin import Trace


class NoFrameLogits(ValueError):
    """The model has no exact frame logits on this clip; the message says why and what to do."""

    def __init__(self, reason: str):
        super().__init__(
            f"no temporal relevance here: {reason}. To explain the clip alone, pass temporal=False. {MEASURED}"
        )


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
    share: float = 1.0
    """By what the sum of a block's rows is multiplied."""
    averaged: Tensor | None = None
    """(b, n) frame logits of which the mean is the clip's, where those of the rows have another."""


@dataclass
class _Average:
    """An average over time in the graph."""

    node: Any
    step: LinearStep
    axis: int
    stands_on: list[list[bool]] = field(default_factory=list)
    """For each thing averaged, the time steps it comes from."""
    order: list[int] = field(default_factory=list)
    """The things averaged, from the earliest to the latest."""

    @property
    def edge(self) -> Edge:
        """What it averages."""
        averaged: Edge = self.node.next_functions[0]
        return averaged

    @property
    def features(self) -> Tensor:
        """The tensor it averages."""
        return self.step.operands[0].source

    @property
    def frames(self) -> int:
        """How many there are."""
        return self.features.shape[self.axis]


def _last_averages(record: Trace) -> list[_Average]:
    """The last averages over time on every way from the output down; NoFrameLogits for a way without one."""
    output = record.output
    found: dict[Node, _Average] = {}
    problem: str | None = None
    for node in downwards([output.grad_fn], found.__contains__):
        step = step_of(node)
        if isinstance(step, ClipInput):
            raise NoFrameLogits(problem or "the model never averages over time, so no frame has a logit of its own")
        if isinstance(step, LinearStep) and len(step.operands) == 1 and not step.weighted:
            axis = step.operands[0].map.time_axis(step.operands[0].shape, step.shape)
            if axis is not None and step.operands[0].shape[axis] > 1:
                average = _Average(node, step, axis)
                stands_on = _time_steps(average, len(output))
                order = _order(stands_on)
                if order is not None:
                    average.order, average.stands_on = order, [stands_on[i] for i in order]
                    found[node] = average
                    continue
                if not stands_on or not all(map(all, stands_on)):
                    problem = f"'{step.name}' {_disorder(stands_on)}"
            elif axis is not None:
                problem = problem or (
                    f"only one time step is left where '{step.name}' averages over time (the model's strides "
                    "use up this clip); take more frames"
                )
        if step is not None and not _is_linear(step):
            raise NoFrameLogits(
                problem
                or f"'{step.name}' ({step.operation}) stands between the model's average over time and its logits "
                "and is not linear, so its frames cannot be classified one by one exactly"
            )
    return list(found.values())


def _is_linear(step: Step) -> bool:
    return isinstance(step, LinearStep) or (isinstance(step, PassThrough) and step.linear)


def frame_seeds(
    record: Trace, chosen: Chosen, composite: Composite, contrastive: bool, merge: str = "paper"
) -> FrameSeeds:
    """The rows' seeds for the chosen class; raises NoFrameLogits where there are no exact frame logits.

    Args:
        record: one forward pass with logits (b, k).
        chosen: the class of every clip.
        composite: gives the replayed operations their rules.
        contrastive: rows are seeded with |logit| (up to `orientation`); else with the logit itself.
        merge: of pathways of several rates: "paper" leaves slow logits as they are (App. A), "average" scales them so
            that the mean of all frame logits is the clip's.
    """
    averages = _last_averages(record)
    after = [average.step.after_classifier for average in averages]
    if any(after) and not (len(averages) == 1 and all(after)):
        raise NoFrameLogits("the model averages some frame logits and pools other features over time first")
    if any(len(average.features) != len(record.output) for average in averages):
        raise NoFrameLogits("the axis of clips is not the first where the model averages over time")
    seeds = _frame_by_frame(record, chosen, averages, composite, contrastive, merge)
    if all(after) and _adds_up(record.output, averages[0]):
        seeds.additive = True
        if contrastive:
            _orient(seeds, chosen.of(record.output))
    seeds.positions, seeds.classified = _positions(averages, seeds.logits.shape[1])
    averaged = seeds.logits if seeds.averaged is None else seeds.averaged
    _check(averaged, chosen.of(record.output), record.run.coarsest)
    return seeds


def _check(logits: Tensor, logit: Tensor, eps: float) -> None:
    """Mean of the frame logits = logit, up to what the run's coarsest type rounds away, or nothing is explained."""
    error = (logits.mean(1) - logit).abs()
    scale = torch.maximum(logit.abs(), logits.abs().mean(1))
    if bool((error > max(1e-4, 8 * eps) * scale + torch.finfo(logit.dtype).tiny).any()):
        means, wanted = logits.mean(1).tolist(), logit.tolist()
        raise NoFrameLogits(f"the mean of the frame logits, {means}, is not the logit, {wanted}")


def _frame_by_frame(
    record: Trace, chosen: Chosen, averages: list[_Average], composite: Composite, contrastive: bool, merge: str
) -> FrameSeeds:
    """What follows the averages, replayed on each frame alone."""
    run = record.run
    n, slowest = max(a.frames for a in averages), min(a.frames for a in averages)
    before = len(run.steps)
    pooled = [_pool_over_space(record, average) for average in averages]
    outputs = [_replay(record, averages, pooled, i, n, scaled=merge == "average") for i in range(n)]
    for output in outputs:
        find_classifier(output)
    assign_rules(run.steps[before:], composite, contrastive)
    for output in outputs:
        oppose(output, chosen.sign)
    logits = torch.stack([chosen.of(output) for output in outputs], 1)
    ends = [edge_of(features) for features in pooled]
    rows: list[list[Tensor]] = []
    for output in outputs:
        rows.append(propagate([Start(edge_of(output), chosen.seed(output.detach(), contrastive))], ends))
    starts = [Start(end, torch.cat(column)) for end, column in zip(ends, zip(*rows, strict=True), strict=True)]
    if slowest == n:
        return FrameSeeds(logits, starts, additive=False)
    if merge == "average":
        return FrameSeeds(logits, starts, additive=False, blocks=slowest, share=slowest / n)
    # What is checked is the average, although it is not what is explained.
    scaled = [_replay(record, averages, pooled, i, n, scaled=True).detach() for i in range(n)]
    averaged = torch.stack([chosen.of(output) for output in scaled], 1)
    return FrameSeeds(logits, starts, additive=False, blocks=slowest, averaged=averaged)


def oppose(output: Tensor, sign: Tensor | None) -> None:
    """Turn the classifier's rule where a clip's class is the one that its negative lone logit speaks for.

    Args:
        output: lone logits (b, 1), of which every step has its rule.
        sign: (b,) -1 for those clips, else 1; None: there are none.
    """
    if sign is None:
        return
    clips = sign[:, None].to(output).expand(output.shape)
    for of_outputs, step in _spread_down(edge_of(output), clips, lambda step: step.is_classifier):
        assert step.rule is not None
        if isinstance(step.rule, Opposed):  # every frame's logits descend from it
            continue
        step.rule = Opposed(step.rule, None if bool((sign < 0).all()) else of_outputs.sign())


def _pool_over_space(record: Trace, average: _Average) -> Tensor:
    """The same average over everything but time."""
    map = average.step.operands[0].map.without_time(average.features.shape, average.axis)
    if map is None:
        raise NoFrameLogits(f"'{average.step.name}' does not average all frames alike")
    with record.run, torch._C.DisableTorchFunction(), torch.no_grad():
        return shares(map(average.features.to(average.step.dtype), 1.0), [Summand(average.features, map)])


def _replay(record: Trace, averages: list[_Average], pooled: list[Tensor], i: int, n: int, scaled: bool) -> Tensor:
    """The logits (b, k) of frame i alone: what follows the pools, on that frame's features."""
    given = {}
    for average, features in zip(averages, pooled, strict=True):
        with record.run:
            given[average.step.token] = _frame(features, average, i, n, scaled)
    output = record.run.replay(given, record.output)
    if output is None:
        raise NoFrameLogits("what follows the pool over time also uses features that were not pooled")
    return output


def _frame(features: Tensor, average: _Average, i: int, n: int, scaled: bool) -> Tensor:
    """Frame i of the fastest clock: a slower pathway has features on its own frames only.

    If `scaled`, it has n / t times as much there, so that the mean over all n frames is the mean over its own.
    """
    t = average.frames
    on_clock = slow_frames(t, n)
    if i not in on_clock:
        return features.new_zeros(average.step.shape)
    frame = features.narrow(average.axis, average.order[on_clock.index(i)], 1).reshape(average.step.shape)
    return frame * (n / t) if scaled and t < n else frame


# -------------------------------------------------------------- models that classify every frame and average


def _adds_up(output: Tensor, average: _Average) -> bool:
    """Whether the average hands out relevance by what each frame logit contributes: so do the rows, then."""
    steps = map(step_of, downwards([output.grad_fn], lambda node: node is average.node))
    return all(isinstance(s.rule, Epsilon) and not s.rule.epsilon for s in steps if isinstance(s, LinearStep))


def _orient(seeds: FrameSeeds, logit: Tensor) -> None:
    """Turn rows whose logit has another sign than the clip's: their mean is the clip's relevance then."""
    sign = torch.where((seeds.logits < 0) == (logit < 0)[:, None], 1.0, -1.0).to(seeds.logits)  # (b, n)
    seeds.orientation = sign.T
    for start in seeds.starts:
        start.relevance = start.relevance * sign.T.reshape(*sign.T.shape, *[1] * (start.relevance.dim() - 2))


# ---------------------------------------------------------------------------------------- which axis is time


def _order(stands_on: list[list[bool]]) -> list[int] | None:
    """The things averaged in the order of the time steps they come from, None if there is no such order.

    They are told apart by their first and last time steps. Where those wrap around (a shift that puts the last frame
    before the first), each thing may stand at its own time step.
    """
    if not stands_on or not all(any(steps) for steps in stands_on):
        return None
    spans = [_span(steps) for steps in stands_on]
    order = sorted(range(len(spans)), key=spans.__getitem__)
    if all(a < b for ends in zip(*spans, strict=True) for a, b in pairwise(ends[i] for i in order)):
        return order
    own = len(stands_on) == len(stands_on[0]) and all(steps[i] and not all(steps) for i, steps in enumerate(stands_on))
    return list(range(len(stands_on))) if own else None


def _span(steps: list[bool]) -> tuple[int, int]:
    """The first and the last time step."""
    return steps.index(True), len(steps) - 1 - steps[::-1].index(True)


def _disorder(stands_on: list[list[bool]]) -> str:
    """Why what is averaged is no series of frames."""
    if not stands_on:
        return "averages features of layers that have different numbers of time steps"
    if not all(any(steps) for steps in stands_on):
        return "averages constants beside the frames, which belong to no frame"
    first, last = _span(stands_on[0])
    return (
        f"averages {len(stands_on)} things that do not come from one time step after another (the first of them from "
        f"steps {first} to {last} of {len(stands_on[0])}), as where time and space are mixed"
    )


def _positions(averages: list[_Average], rows: int) -> tuple[list[int] | None, int]:
    """Each row's time step and how many there are, if only some of them answer (paper, Fig. 10)."""
    stands_on = averages[0].stands_on
    classified = len(stands_on[0])
    if len(averages) == 1 and rows < classified and all(sum(steps) == 1 for steps in stands_on):
        return [steps.index(True) for steps in stands_on], classified
    return None, rows


def _time_steps(average: _Average, batch: int) -> list[list[bool]]:
    """For each thing averaged, which time steps it comes from, told by the last convolutions and their kin.

    Their shapes say where time is: the third axis of (b, c, t, h, w), the last of (b, c, t), in the batch of
    (b t, c, h, w). What averages the rows of an image comes from all time steps.
    """
    if not batch:  # nothing to look at, and nothing to go wrong
        return torch.eye(average.frames, dtype=torch.bool).tolist()
    found = []
    for i in range(average.frames):
        at = torch.zeros_like(average.features)
        at.narrow(average.axis, i, 1).fill_(1)
        found.append(
            [
                _over_time(r != 0, batch, not isinstance(step, Unsupported))
                for r, step in _spread_down(average.edge, at, _tells_time)
            ]
        )
    lengths = {len(touched) for each in found for touched in each}
    if len(lengths) != 1:
        return []
    return torch.stack([torch.stack(each).any(0) for each in found]).tolist()


def _over_time(touched: Tensor, batch: int, known: bool) -> Tensor:
    """(t,) whether anything at a time step is touched.

    Where the axes of a layer are not known (it has no rule), time is the only one that is touched in parts.
    """
    if not known:
        others = [tuple(j for j in range(touched.dim()) if j != axis) for axis in range(touched.dim())]
        parts = [part for axes in others if not bool((part := touched.any(axes)).all())]
        return parts[0] if len(parts) == 1 else touched.new_ones(1)
    if touched.dim() in (3, 5):
        return touched.movedim(2, 0).flatten(1).any(1)
    return torch.unflatten(touched, 0, (batch, -1)).transpose(0, 1).flatten(1).any(1)


def _spread_down(edge: Edge, r: Tensor, until: Callable[[Step], bool]) -> list[tuple[Tensor, Step]]:
    """`r` at an edge, handed equally to all inputs, as it arrives at the first steps `until` says yes to.

    Others through which nothing can be handed equally are ends as well.
    """
    pending, ends = [(edge, r)], []
    with torch.inference_mode(False), torch.no_grad():
        while pending:
            (node, number), r = pending.pop()
            step = step_of(node)
            if step is None:
                grads: list[Tensor | None] = [None] * len(node._input_metadata)
                grads[number] = r
                outs = node(*grads)
                outs = outs if isinstance(outs, tuple) else (outs,)
            elif isinstance(step, PassThrough) or (isinstance(step, LinearStep) and not step.operands):
                outs = [out[0] for out in step.relevance(r[None])]
            elif isinstance(step, LinearStep) and not until(step):
                outs = [o.map.spread(r[None], o.w.value, o.shape)[0] for o in step.operands]
            else:
                ends.append((r, step))
                continue
            below = zip(node.next_functions, outs, strict=True)
            pending += [(parent, out) for parent, out in below if out is not None and parent[0] is not None]
    return ends


def _tells_time(step: Step) -> bool:
    """Convolutions, and sums of what they make, have their axes where torch wants them."""
    if not isinstance(step, LinearStep):
        return False
    return isinstance(step.operands[0].map, Convolution) or (len(step.operands) > 1 and len(step.shape) > 3)
