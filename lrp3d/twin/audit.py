"""After the forward pass: is every node known, where is the classifier, which step takes which rule?

This is what makes "nothing silent" true: every node of the graph between the logits and the clip is a step of ours
or one of torch's own that only moves values; anything else is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lrp3d.composites import Composite
from lrp3d.rules import Contrastive
from lrp3d.steps.step import Entry, Held, Step, Unsupported
from lrp3d.tracing.advice import FOREIGN, LOST
from lrp3d.tracing.torch_functions import REARRANGEMENTS
from lrp3d.tracing.tracer import Run

_MOVES = REARRANGEMENTS | {"ConstantPadNdBackward0", "WhereBackward0"}


def step_of(node: Any) -> Step | None:
    """The step behind a node of autograd's graph, None for torch's own nodes."""
    return getattr(node, "step", None)


def unsupported(run: Run, output: Tensor) -> list[str]:
    """One line for everything between `output` and the clip that has no rule; empty if all is well."""
    problems: dict[str, None] = {}
    reached = False
    pending: list[tuple[Any, bool]] = [(output.grad_fn, False)]
    seen = set()
    while pending:
        node, below_foreign = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        step, foreign = step_of(node), False
        if isinstance(step, Entry):
            reached = True
            continue
        if isinstance(step, Held):
            reached = True
            continue
        if isinstance(step, Unsupported):
            problems[step.problem] = None
        elif step is None and node.name() not in _MOVES:
            foreign = node.name() != "torch::autograd::AccumulateGrad"
            if foreign and not below_foreign:
                where = run.adopted.get(node)
                name = f"{where or 'the forward'} ({node.name()})"
                problems[f"{name}: {FOREIGN}"] = None
        pending += [(parent, foreign) for parent, _ in node.next_functions]
    if not reached and not problems:
        problems[f"output: {LOST}"] = None
    return list(problems)


def find_classifier(output: Tensor) -> None:
    """Mark the first weighted steps met from the output downwards, and what lies between them and the output.

    Without any weighted step there is no classifier, and nothing lies behind one.
    """
    pending, seen = [output.grad_fn], set()
    passed: list[Step] = []
    found = False
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        step = step_of(node)
        if step is not None:
            if step.weighted:
                step.is_classifier = found = True
                continue
            passed.append(step)
        pending += [parent for parent, _ in node.next_functions]
    for step in passed:
        step.after_classifier = found


def assign_rules(steps: Sequence[Step], composite: Composite, contrastive: bool) -> None:
    """Give every step its rule, the classifier's contrasted if asked for; raises ValueError where it makes no sense."""
    for step in steps:
        step.ruled = True
        if type(step).relevance is Step.relevance or isinstance(step, (Entry, Held, Unsupported)):
            continue  # nothing to choose
        rule = composite.rule_for(step)
        if contrastive and step.is_classifier and not isinstance(rule, Contrastive):
            rule = Contrastive(rule)
        step.settle(rule)
