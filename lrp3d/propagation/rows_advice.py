"""Which module `rows_at=` is to name where frames have no logits: the last whose frames hold most of the relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from lrp3d.motion.frame_numbers import Frames
from lrp3d.motion.frames_of_values import FramesOfValues
from lrp3d.outputs import Chosen
from lrp3d.propagation.layer_rows import totals_of_steps
from lrp3d.propagation.propagate import Start, propagate, step_propagation
from lrp3d.steps.ends import Outlet
from lrp3d.steps.graph import Node, downwards, edge_of, is_classifier, step_of
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.step import Step
from lrp3d.twin.trace import Trace

MOST = 0.5  # of a logit: the last module through whose time steps so much flows is advised


class _Module(NamedTuple):
    """A module whose output has time steps."""

    name: str
    steps: int
    share: float
    """Of the logit, what flows through them; of several clips the least."""


def rows_advice(record: Trace, chosen: Chosen, layout: str) -> str:
    """The module that is advised, with what flows through its time steps; empty where no module has any.

    Args:
        record: a run for plain relevance, in which the outputs of all modules are steps of their own.
        chosen: the explained class.
        layout: the layout of the clip.
    """
    modules = [module for module in _modules(record, chosen, layout) if module.share > 0]
    if not modules:
        return ""
    enough = [module for module in modules if module.share >= MOST]
    name, steps, share = enough[-1] if enough else max(modules, key=lambda module: module.share)
    through = f"through which {100 * share:.0f} % of the logit flows"
    return f"with rows_at={name!r} it makes rows of the {steps} time steps there, {through}"


def _modules(record: Trace, chosen: Chosen, layout: str) -> list[_Module]:
    """The modules below the classifier whose outputs have time steps, in the order of the forward."""
    frames = _frames_at_outlets(record, layout)
    found: dict[str, Tensor] = {}
    logit = chosen.of(record.output.detach())

    def through(step: Step, relevance: LazyRelevance) -> Sequence[LazyRelevance | None]:
        if isinstance(step, Outlet) and step.name in frames:
            totals = totals_of_steps(relevance.tensor(step.shape), frames[step.name], len(logit))
            found[step.name] = (totals.sum(1) / logit).min()
        return step_propagation(step, relevance)

    ends = [edge_of(entry) for entry in record.entries]
    propagate([Start(edge_of(record.output), chosen.seed(record.output.detach(), False))], ends, through=through)
    ordered = [step.name for step in record.tracer.steps if isinstance(step, Outlet) and step.name in found]
    return [_Module(name, frames[name].length, float(found[name])) for name in ordered]


def _frames_at_outlets(record: Trace, layout: str) -> Mapping[str, Frames]:
    """The frames of the outputs of modules that have several, as far up as they can be followed."""
    followed = FramesOfValues(record, layout, as_far_as_possible=True, through_products=True)
    found: dict[str, Frames] = {}
    for node in _below_the_classifier(record):
        step = step_of(node)
        if isinstance(step, Outlet) and followed.knows(node) and (frames := followed.of(node)).length > 1:
            found[step.name] = frames
    return found


def _below_the_classifier(record: Trace) -> list[Node]:
    """The nodes below every classifier."""
    classifiers = [node for node in downwards([record.output.grad_fn]) if is_classifier(node)]
    return [node for node in downwards(classifiers) if not is_classifier(node)]
