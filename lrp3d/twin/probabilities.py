"""Models that return probabilities: the input of their final softmax, sigmoid or log-softmax is their logits.

Relevance starts from logits. Networks of several model zoos end, in evaluation mode, in a softmax and an average over
positions. The softmax is left out, and what follows it is computed again from the input of the softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.graph import Node, downwards, edge_of, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step, Token
from lrp3d.steps.torch_nodes import REARRANGEMENTS
from lrp3d.tracing.recorder import Probabilities
from lrp3d.tracing.tracer import Tracer

LEFT_OUT = "the last of the network: what goes into it is explained"
"""What the inspection prints beside a softmax or sigmoid that was left out."""


def before_probabilities(tracer: Tracer, output: Tensor) -> tuple[Tensor, list[Step]]:
    """The logits behind probabilities, and the softmax or sigmoid steps that were left out; else the output and none.

    Args:
        tracer: the forward pass.
        output: the output that was read from what the model returned.
    """
    made = tracer.probabilities
    nodes = list(downwards([output.grad_fn], lambda node: _made_at(node, made) is not None))
    last = [probabilities for node in nodes if (probabilities := _made_at(node, made)) is not None]
    after = [node for node in nodes if _made_at(node, made) is None]
    if not last or not all(map(_moves_or_averages, after)):
        return output, []
    inputs = {probabilities.token: probabilities.x for probabilities in last}
    if tracer.token(output) in inputs:
        logits: Tensor | None = inputs[tracer.token(output)]
    else:
        logits = tracer.replay(inputs, output, keep=True)
    if logits is None or edge_of(logits)[0] is None:
        return output, []
    replaced = {step for node in after if (step := step_of(node)) is not None}
    tracer.steps = [step for step in tracer.steps if step not in replaced]
    return logits, [probabilities.step for probabilities in last]


def _made_at(node: Node, made: dict[Token, Probabilities]) -> Probabilities | None:
    """The probabilities that a node made, if it made any."""
    step = step_of(node)
    return None if step is None else made.get(step.site.token)


def _moves_or_averages(node: Node) -> bool:
    """Whether a node after the probabilities only averages, sums, scales or moves values."""
    step = step_of(node)
    if step is None:
        return node.name() in REARRANGEMENTS
    if isinstance(step, LinearStep):
        return not step.weighted and step.bias is None
    return isinstance(step, PassThrough) and step.linear


def logits_note(steps: Sequence[Step]) -> dict[str, str]:
    """What an explanation says about a softmax or sigmoid that was left out."""
    if not steps:
        return {}
    names = ", ".join(dict.fromkeys(f"'{step.name}' ({step.operation})" for step in steps))
    return {"logits": f"what goes into {names}, with which the model ends"}
