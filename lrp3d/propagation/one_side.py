"""One side of a contrast alone, by which the conservation of a contrastive map is judged.

R and Rbar sum to the same logit, so a contrastive map sums to zero even if rules lose relevance on both sides alike.
R alone must keep its sum; from it and the sum of the map follows whether Rbar keeps its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.propagation.propagate import Start, propagate
from lrp3d.rules import one_sided
from lrp3d.steps.graph import Edge, downwards, edge_of, edges_below, is_classifier, step_of
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.step import Step


def one_side(output: Tensor, seed: Tensor) -> list[Start]:
    """The starts of R alone: at the inputs of the classifier, by its rule without the contrast.

    Args:
        output: logits (b, k); every step of their graph has its rule.
        seed: relevance (1, b, k) of the logits.
    """
    nodes = downwards([output.grad_fn], is_classifier)
    classifiers = {node: step for node in nodes if is_classifier(node) and (step := step_of(node)) is not None}
    if not classifiers:
        return [Start(edge_of(output), seed)]
    arrivals = propagate([Start(edge_of(output), seed)], [(node, 0) for node in classifiers]).relevance
    starts = []
    for (node, step), r in zip(classifiers.items(), arrivals, strict=True):
        with torch.inference_mode(False), torch.no_grad():
            shares = _without_contrast(step).relevance(r)
        below = zip(edges_below(node), shares, strict=True)
        starts += [Start(edge, relevance) for edge, relevance in below if edge[0] is not None and relevance is not None]
    return starts


def below_classifiers(output: Tensor) -> list[Edge]:
    """The inputs of the classifier, where R alone starts."""
    nodes = downwards([output.grad_fn], is_classifier)
    return [edge for node in nodes if is_classifier(node) for edge in edges_below(node) if edge[0] is not None]


def _without_contrast(step: Step) -> Step:
    """The same step with its rule without the contrast."""
    return step.under(one_sided(step.rule)) if isinstance(step, LinearStep) and step.rule is not None else step
