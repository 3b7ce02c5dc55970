"""After the forward pass: is every node known, where is the classifier, which step gets which rule?

This is why nothing happens silently: every node of the graph between the logits and the clip must be a step, or a node
of torch that only moves values; anything else is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lrp3d.composites import PRESETS, Composite
from lrp3d.steps.elementwise import Elementwise
from lrp3d.steps.ends import ClipInput, ConstantOutput, Outlet, Unsupported
from lrp3d.steps.graph import Node, downwards, parents, step_of
from lrp3d.steps.step import Position, Step
from lrp3d.steps.torch_nodes import REARRANGEMENTS, WITH_CONSTANTS
from lrp3d.tracing.advice import CHECKPOINT, FOREIGN, GLOBAL_HOOK, LOST
from lrp3d.tracing.tracer import Tracer
from lrp3d.twin.classifier import NESTED, positions_of

_KNOWN = REARRANGEMENTS | WITH_CONSTANTS | {"torch::autograd::AccumulateGrad"}


_ADVICE = {"CheckpointFunctionBackward": CHECKPOINT, "BackwardHookFunctionBackward": GLOBAL_HOOK}


def unsupported(tracer: Tracer, output: Tensor) -> list[str]:
    """One line for everything between `output` and the clip that has no rule; empty if all is well."""
    problems: dict[str, None] = {}
    foreign: list[Node] = []
    reaches_clip = False
    for node in downwards([output.grad_fn], lambda node: isinstance(step_of(node), (ClipInput, ConstantOutput))):
        step = step_of(node)
        if isinstance(step, (ClipInput, ConstantOutput)):
            reaches_clip = True
        elif isinstance(step, Unsupported):
            problems[step.problem] = None
        elif step is None and node.name() not in _KNOWN:
            foreign.append(node)
    below = {parent for node in foreign for parent in parents(node)}
    for node in foreign:
        if node not in below:  # of several foreign nodes in a row, the first is named
            advice = _ADVICE.get(node.name(), FOREIGN)
            problems[f"{tracer.adopted.get(node) or 'the forward'} ({node.name()}): {advice}"] = None
    if not reaches_clip and not problems:
        problems[f"output: {LOST}"] = None
    return list(problems)


def assign_rules(
    steps: Sequence[Step], outputs: Sequence[Tensor], composite: Composite, contrastive: bool, is_part: bool = False
) -> None:
    """Tell every step of a run where it stands, and give it its rule.

    Args:
        steps: the steps.
        outputs: the logits, below which the classifiers are.
        composite: says which step gets which rule.
        contrastive: whether the rule of a classifier gets its contrast.
        is_part: whether these are the steps of a part of the model, to which not all names of the composite belong.

    Raises:
        ValueError: if a rule cannot be used where the composite wants it, a name in the composite fits nothing, or
            there is more than one classifier on some way to the logits where a contrast is wanted.
    """
    positions: dict[Step, Position] = {}
    for output in outputs:
        found, nested = positions_of(output)
        if contrastive and nested:
            raise ValueError(NESTED.format(names=", ".join(nested)))
        positions |= found
    for step in steps:
        step.position = positions.get(step, Position(step.in_range))
        if isinstance(step, Elementwise) and not step.after_classifier:
            step.forget_factors()  # only what follows the classifier turns its outputs round
    if not is_part:
        composite.check_names([step for step in steps if _has_rule(step) or isinstance(step, Unsupported)])
        if composite not in PRESETS.values():
            composite.warn_if_unused([*filter(_has_rule, steps)])
    for step in filter(_has_rule, steps):
        contrasts = contrastive and step.is_classifier
        step.assign_rule(composite.contrastive_rule_for(step) if contrasts else composite.rule_for(step))


def _has_rule(step: Step) -> bool:
    """Whether there is a choice of rules for a step."""
    without = (ClipInput, ConstantOutput, Outlet, Unsupported)
    return type(step).relevance is not Step.relevance and not isinstance(step, without)
