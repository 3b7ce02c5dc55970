"""Where frame logits come from: the seeds of the rows of the temporal relevance matrix.

Two kinds of models have exact frame logits (their mean is the logit):

- models that classify every frame and average;
- models that pool over time first and are linear from there on. Several pathways are put on the clock of the
  fastest (paper, App. A). A signal that weighs the frames (attention) is a constant to relevance.

In both cases the last average over time is found in the recorded graph, and the operations after it are replayed
once per frame, on that frame alone.

Any other model is refused with the reason, never approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.composites import Composite
from lrp3d.compute.maps import Average, Bilinear, LinearMap
from lrp3d.compute.terms import Weight
from lrp3d.operations import Operand, shares
from lrp3d.outputs import FRAMES_LAST, Chosen
from lrp3d.pathways import slow_frames
from lrp3d.propagation.entry_order import disorder
from lrp3d.propagation.frame_clock import check_clock, place_rows
from lrp3d.propagation.frame_columns import frames_in_columns
from lrp3d.propagation.frame_seeds import FrameSeeds as FrameSeeds
from lrp3d.propagation.frame_seeds import FramesInColumns as FramesInColumns
from lrp3d.propagation.frame_seeds import NoFrameLogits as NoFrameLogits
from lrp3d.propagation.frames_of_weights import frames_stay_apart
from lrp3d.propagation.propagate import Start, propagate
from lrp3d.propagation.time_average import TimeAverage
from lrp3d.propagation.time_axis import time_steps
from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.ends import ClipInput
from lrp3d.steps.graph import Node, downwards, edge_of, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step, Token
from lrp3d.twin.audit import assign_rules
from lrp3d.twin.classifier import orient
from lrp3d.twin.trace import Trace


def _last_averages(record: Trace, frames: torch.Size | None = None) -> list[TimeAverage]:
    """The last average over time on every path from the output down; raises NoFrameLogits for a path without one.

    Frame logits that the model returns, of shape `frames`, are averaged over frames whatever they come from.
    """
    output = record.output
    averages: dict[Node, TimeAverage] = {}
    problem: str | None = None
    spent: str | None = None
    mixed: list[TimeAverage] = []
    for node in downwards([output.grad_fn], averages.__contains__):
        step = step_of(node)
        if isinstance(step, ClipInput):
            nothing = "the model never averages over time, so no frame has a logit of its own"
            raise NoFrameLogits(problem or spent or nothing)
        if isinstance(step, LinearStep) and len(step.operands) == 1 and not step.weighted:
            if frames is not None and step.operands[0].shape == frames:
                return [_of_frame_logits(node, step, frames[1], len(output))]
            sought = _average_of(node, step, len(output))
            problem, spent = problem or sought.problem, spent or sought.spent
            mixed += sought.mixed
            if sought.average is not None:
                averages[node] = sought.average
                continue
        if step is not None and not _is_linear(step):
            names = [average.step.name for average in mixed if not average.keeps_time(len(output))]
            if spent and _pools_time(node, len(output)):  # which used up the frames, however many there are
                spent = None
            raise NoFrameLogits(problem or spent or _not_linear(step, names[0] if names else ""))
    if not averages:
        raise NoFrameLogits(problem or spent or "the logits do not descend from the clip in any way lrp3d can see")
    if weighing := _weighed_by_averages(output.grad_fn, averages):
        raise NoFrameLogits(
            f"'{weighing}' weighs by weights that are made of what was pooled over time, so that it is not linear in it"
        )
    return list(averages.values())


def _weighed_by_averages(root: Node, averages: Collection[Node]) -> str:
    """The name of a product above the averages whose weight descends from them; empty if there is none."""
    for node in downwards([root], averages.__contains__):
        step = step_of(node)
        if step is None or step.weigher is None or node in averages:
            continue
        if any(below in averages for below in downwards([step.weigher.edge[0]], averages.__contains__)):
            return step.name
    return ""


def _of_frame_logits(node: Node, step: LinearStep, frames: int, batch: int) -> TimeAverage:
    """The average of frame logits that the model returns, which are rows as they are, at the steps they come from."""
    average = TimeAverage.of_frame_logits(node, step, frames)
    placed = TimeAverage(node, step, average.axis)
    is_in_order, source_steps = placed.find_order(batch)
    if frames > 1 and source_steps and len(source_steps[0]) > 1 and all(map(all, source_steps)):
        warn(
            f"the model returned logits (b, {frames}, k), and each of the {frames} rows comes from all frames: if they "
            "are queries, crops or heads, matrix and ATR say nothing about single frames; pass an output= that makes "
            "clip logits (b, k) of them, or temporal=False",
        )
    return placed if is_in_order and placed.matrix is None else average


class _Sought(NamedTuple):
    """An average over time that was sought at a step."""

    average: TimeAverage | None
    """The average, if the step averages over time steps that are in order."""
    mixed: list[TimeAverage]
    """Averages of frames that were mixed before, or of the places of a picture."""
    problem: str | None
    """Why the step is no such average, although it averages over an axis of time."""
    spent: str | None = None
    """The same where only one time step is left, so that the step shows nothing."""


def _average_of(node: Node, step: LinearStep, batch: int) -> _Sought:
    """The average over time that a step is, or why it is none."""
    shape = step.operands[0].shape
    axes = step.operands[0].map.time_axes(shape, step.shape)
    weighs = isinstance(step.operands[0].w.value, Tensor)  # another signal, and then it may be channels that are summed
    mixed: list[TimeAverage] = []
    problem: str | None = None
    for axis in [axis for axis in axes if shape[axis] > 1]:
        average = TimeAverage(node, step, axis)
        is_in_order, source_steps = average.find_order(batch)
        if is_in_order:
            if not (reason := frames_stay_apart(average, batch)):
                return _Sought(average, mixed, problem)
            problem = problem or reason
            continue
        if weighs:
            continue
        if source_steps and all(map(all, source_steps)):
            mixed.append(average)
        else:
            problem = problem or f"'{step.name}' {disorder(source_steps)}"
    spent: str | None = None
    if axes and not weighs and all(shape[axis] == 1 for axis in axes):
        spent = (
            f"only one time step is left where '{step.name}' averages over time (pools or strides "
            "before it use up this clip); take more frames"
        )
    return _Sought(None, mixed, problem, spent)


def _pools_time(node: Node, batch: int) -> bool:
    """Whether frames are averaged below a node."""
    for below in downwards([node]):
        step = step_of(below)
        lone = isinstance(step, LinearStep) and len(step.operands) == 1 and not step.weighted
        if lone and _average_of(below, cast(LinearStep, step), batch).average is not None:
            return True
    return False


def _not_linear(step: Step, mixed: str) -> str:
    """The reason why a step that comes before any average over time stands in the way.

    Args:
        step: the step, which is not linear.
        mixed: name of an average above it whose every value comes from all time steps; empty if there is none.
    """
    if mixed:
        return (
            f"the model never averages over time what belongs to single frames: each of the values that '{mixed}' "
            f"averages comes from all time steps at once, and '{step.name}' ({step.operation}) below it is not linear"
        )
    # The one subtraction that gets here takes off a mean, which is linear, but mixes frames or clips.
    why = "which takes off a mean" if step.operation == "sub" else "which is not linear"
    return (
        f"lrp3d finds no average over time between '{step.name}' ({step.operation}), {why}, and the logits: frames are "
        "pooled before it, or a class token, the last state or a maximum stands for the whole clip, or the average is "
        "written in a way that lrp3d does not know; it knows mean, sum (also of one frame after another, in a loop), "
        "pools, and attention of queries that come from no single frame, along the axis of time"
    )


def _is_linear(step: Step) -> bool:
    """Whether a step is linear in what relevance goes to; a signal that weighs that is a constant."""
    if isinstance(step, PassThrough):
        return step.linear or step.shifts or step.weigher is not None
    return isinstance(step, LinearStep)


def check_frame_axis(record: Trace, frames: torch.Size | None) -> None:
    """Refuses outputs that were read as frame logits (b, n, k) and are (b, k, n), whose mean is no logit of a class.

    Args:
        record: one forward pass.
        frames: the shape of what was read as frame logits; None if the output was read as logits.

    Raises:
        ValueError: if the last of these axes holds one time step after another.
    """
    if frames is None or not isinstance(record.output, Tensor) or min(frames[1:]) < 2:
        return
    for node in downwards([record.output.grad_fn]):
        step = step_of(node)
        if step is not None and not _is_linear(step):
            return
        if isinstance(step, LinearStep) and len(step.operands) == 1 and step.operands[0].shape == frames:
            average = TimeAverage(node, step, -2)
            if average.in_order(time_steps(average.entries, len(record.output))):
                return
            average = TimeAverage(node, step, -1)
            if average.in_order(time_steps(average.entries, len(record.output))):
                raise ValueError(FRAMES_LAST.format(shape=tuple(frames)))
            return


def columns_of_frames(record: Trace) -> str:
    """What logits (b, n) of single frames are and what to do; empty if the columns are classes."""
    try:
        _last_averages(record)
    except NoFrameLogits:
        return frames_in_columns(record)
    return ""


def frame_seeds(
    record: Trace,
    chosen: Chosen,
    composite: Composite,
    contrastive: bool,
    merge: str = "paper",
    layout: str = "bcthw",
    frames: torch.Size | None = None,
) -> FrameSeeds:
    """The seeds of the rows for the chosen class; raises NoFrameLogits where there are no exact frame logits.

    Args:
        record: one forward pass with logits (b, k).
        chosen: the class of every clip.
        composite: gives the replayed operations their rules.
        contrastive: whether rows are seeded with |logit| (up to `orientation`); else with the logit itself.
        merge: how pathways of several rates are combined: "paper" leaves slow logits as they are (App. A), "average"
            scales them so that the mean of all frame logits is the clip's logit.
        layout: the layout of the clip.
        frames: the shape of the frame logits that the model returns; None if it returns logits.
    """
    try:
        averages = _last_averages(record, frames)
    except NoFrameLogits:
        if what := frames_in_columns(record):
            raise FramesInColumns(what) from None
        raise
    follows_classifier = [average.step.after_classifier for average in averages]
    if any(follows_classifier) and not all(follows_classifier):
        raise NoFrameLogits("the model averages some frame logits and pools other features over time first")
    check_clock(record, averages)
    seeds = _frame_by_frame(record, chosen, averages, composite, contrastive, merge)
    by_clip = len(averages[0].features) == len(record.output)  # heads that are folded into the batch are turned alone
    if all(follows_classifier) and len(averages) == 1 and by_clip and _adds_up(record.output, averages[0]):
        seeds.additive = True
        if contrastive:
            _orient(seeds, chosen.of(record.output))
    seeds.positions, seeds.classified = _positions(averages, seeds.logits.shape[1])
    place_rows(record, chosen, averages, seeds, layout)
    return seeds


def _frame_by_frame(
    record: Trace, chosen: Chosen, averages: list[TimeAverage], composite: Composite, contrastive: bool, merge: str
) -> FrameSeeds:
    """The seeds from a replay, on each frame alone, of everything that follows the averages."""
    tracer = record.tracer
    n, slowest = max(a.frames for a in averages), min(a.frames for a in averages)
    before = len(tracer.steps)
    pools = [(average, _pool_over_space(record, average)) for average in averages]
    weighing = _weighing(record, averages)
    outputs = [_replay(record, pools, weighing, i, n, scaled=merge == "average") for i in range(n)]
    assign_rules(tracer.steps[before:], outputs, composite, contrastive, is_part=True)
    for average, features in pools:  # its part over space shares as the average does
        pool = step_of(features.grad_fn)
        assert pool is not None
        assert average.step.rule is not None
        pool.assign_rule(average.step.rule)
    for output in outputs:
        orient(output, chosen)
    logits = torch.stack([chosen.of(output) for output in outputs], 1)  # (b, n)
    ends = [edge_of(features) for _, features in pools]
    rows: list[list[Tensor]] = []
    for output in outputs:
        seed = chosen.seed(output.detach(), contrastive)
        rows.append(propagate([Start(edge_of(output), seed)], ends).relevance)
    starts = [Start(end, torch.cat(column)) for end, column in zip(ends, zip(*rows, strict=True), strict=True)]
    if slowest == n:
        return FrameSeeds(logits, starts, additive=False)
    if merge == "average":
        return FrameSeeds(logits, starts, additive=False, blocks=slowest, share=slowest / n)
    # The rows explain unscaled logits, but only the scaled ones average to the clip's logit and can be checked.
    scaled = [_replay(record, pools, weighing, i, n, scaled=True).detach() for i in range(n)]
    averaged = torch.stack([chosen.of(output) for output in scaled], 1)
    return FrameSeeds(logits, starts, additive=False, blocks=slowest, averaged=averaged)


def _pool_over_space(record: Trace, average: TimeAverage) -> Tensor:
    """The same average without time: features of every frame."""
    operand = average.step.operands[0]
    map = _without_time(average, operand.map, operand.w.value)
    if map is None:
        raise NoFrameLogits(f"'{average.step.name}' does not average all frames alike")
    pooled = Operand(average.features, map, operand.w.value, operand.w.nonnegative)
    with record.tracer, torch._C.DisableTorchFunction(), torch.no_grad():
        return shares(pooled.apply(average.features.to(average.step.dtype)), [pooled], is_layer=False)


def _without_time(average: TimeAverage, map: LinearMap, w: Weight) -> LinearMap | None:
    """The map of an average without time, whose entries may be tokens of frames."""
    shape, axis, matrix = average.features.shape, average.axis, average.matrix
    if matrix is None:
        return map.without_time(shape, axis)
    if (of_groups := map.of_groups(shape, axis, matrix.nonzero()[:, 1].view(len(matrix), -1))) is not None:
        return of_groups
    if (of_tokens := map.without_time(shape, axis)) is None:
        return None
    of_frames = _of_frames(of_tokens, axis, matrix)
    return Bilinear(of_frames) if isinstance(w, Tensor) else Average(lambda x: of_frames(x, 1.0))


def _of_frames(map: LinearMap, axis: int, matrix: Tensor) -> Callable[[Tensor, Weight], Tensor]:
    """An average over everything but time, followed by the average over the entries (tokens) of each frame."""

    def function(x: Tensor, w: Weight) -> Tensor:
        return (map(x, w).movedim(axis, -1) @ matrix.T.to(x)).movedim(-1, axis)

    return function


def _weighing(record: Trace, averages: Sequence[TimeAverage]) -> dict[Token, Tensor]:
    """The signals that weigh what was pooled, which are the same for every frame, by their tokens."""
    nodes = {average.node for average in averages}
    steps = map(step_of, downwards([record.output.grad_fn], nodes.__contains__))
    weighers = [step.weigher for step in steps if isinstance(step, PassThrough) and step.weigher is not None]
    return {weigher.token: weigher.value for weigher in weighers if weigher.value is not None}


def _replay(
    record: Trace,
    pools: Sequence[tuple[TimeAverage, Tensor]],
    weighing: Mapping[Token, Tensor],
    i: int,
    n: int,
    scaled: bool,
) -> Tensor:
    """The logits (b, k) of frame `i` alone: the operations after the pools, applied to the features of this frame."""
    inputs = dict(weighing)
    for average, features in pools:
        with record.tracer:
            inputs[average.step.site.token] = _frame(features, average, i, n, scaled)
    output = record.tracer.replay(inputs, record.output)
    if output is None:
        raise NoFrameLogits("what follows the pool over time also uses features that were not pooled")
    return output


def _frame(features: Tensor, average: TimeAverage, i: int, n: int, scaled: bool) -> Tensor:
    """The features of frame `i` on the fastest clock; a slower pathway has features only on its own frames.

    If `scaled`, these are multiplied by n / t, so that the mean over all n frames is the mean over its own t frames.
    """
    t = average.frames
    on_clock = slow_frames(t, n)
    if i not in on_clock:
        return features.new_zeros(average.step.shape)
    frame = features.narrow(average.axis, average.order[on_clock.index(i)], 1).reshape(average.step.shape)
    return frame * (n / t) if scaled and t < n else frame


# -------------------------------------------------------------- models that classify every frame and average


def _adds_up(output: Tensor, average: TimeAverage) -> bool:
    """Whether the average shares relevance in proportion to the frame logits, so that rows add up to the clip's map."""
    steps = list(map(step_of, downwards([output.grad_fn], lambda node: node is average.node)))
    linear = [step for step in steps if isinstance(step, LinearStep)]
    # A number that is added is part of the logit of every frame, and their shares are others without it.
    shifted = any(isinstance(step, PassThrough) and step.shifts for step in steps)
    return not shifted and all(step.rule is not None and step.rule.proportional for step in linear)


def _orient(seeds: FrameSeeds, logit: Tensor) -> None:
    """Negates the seeds of rows whose logit has another sign than the clip's, so that their mean is the clip's map."""
    sign = torch.where((seeds.logits < 0) == (logit < 0)[:, None], 1.0, -1.0).to(seeds.logits)  # (b, n)
    seeds.orientation = sign.T
    for start in seeds.starts:
        start.relevance = start.relevance * sign.T.reshape(*sign.T.shape, *[1] * (start.relevance.dim() - 2))


def _positions(averages: list[TimeAverage], rows: int) -> tuple[list[int] | None, int]:
    """The time step of each row, if only some steps have logits (paper, Fig. 10), and the number of time steps."""
    source_steps = averages[0].source_steps
    classified = len(source_steps[0])
    if len(averages) == 1 and rows < classified and all(sum(steps) == 1 for steps in source_steps):
        return [steps.index(True) for steps in source_steps], classified
    return None, rows
