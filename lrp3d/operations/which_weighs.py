"""Which of two signals that are multiplied is the weight of the other; `products` says what becomes of relevance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.operations import by_hand
from lrp3d.operations.copies import own_shape
from lrp3d.registry import active_tracer
from lrp3d.tracing.signals import Weighs


def which_weighs(
    a: Tensor, b: Tensor, summed: bool, shapes: Sequence[torch.Size] | None = None
) -> tuple[int | None, str]:
    """Which of two signals (0 or 1) is the weight of the other (None if neither is), and the reason.

    Args:
        a: the first factor.
        b: the second factor.
        summed: whether products are summed over an axis (matrices).
        shapes: of summed products, the shapes of both factors without copies and along the axes of the products before
            they are summed, with size one along those that a factor lacks; None if that is unknown.

    A statistic is always the weight. Otherwise the first of these is: the factor that the composite names; a gate; the
    factor that is copied along an axis; a product of two features (dot-product attention); what lies between 0 and some
    number (`1 + tanh(x)`), where products are not summed; and, where they are, or will be, as both factors are copied
    along axes of the other (an outer product), the factor that is never negative (the features of a kernel, in linear
    attention; the step size of a state-space model).
    """
    tracer = active_tracer()
    signals = [tracer.signals[x] for x in (a, b)]
    ranks = [signal.weighs for signal in signals]
    choice = tracer.product()
    if Weighs.STATISTIC not in ranks and choice is not None:
        return {"first": 0, "second": 1, "halves": None}[choice], "as the composite says"
    if max(ranks) >= Weighs.GATE and ranks[0] != ranks[1]:
        return ranks.index(max(ranks)), max(ranks).label
    carriers = [_carriers(x) for x in (a, b)]
    if shapes is not None:
        carriers = [[shape] for shape in shapes]
    copied = [False, False] if summed and shapes is None else _copied(*carriers)
    if sum(copied) == 1:
        return copied.index(True), "copied along an axis"
    if ranks[0] != ranks[1]:
        return ranks.index(max(ranks)), max(ranks).label
    bounded = [by_hand.is_bounded_above_zero(x) for x in (a, b)]
    if not summed and sum(bounded) == 1:
        return bounded.index(True), "never negative, and bounded"
    is_outer = not summed and all(copied) and carriers == [[own_shape(x)] for x in (a, b)]
    if (summed or is_outer) and signals[0].nonnegative != signals[1].nonnegative:
        return (0 if signals[0].nonnegative else 1), "never negative"
    return None, ""


def _carriers(x: Tensor) -> list[torch.Size]:
    """The shapes, without axes of copies, of what takes the relevance of a factor.

    It is the factor itself, unless that is an outer product, which has the axes of both of its own factors: a third one
    with the axes of one of them (`(step * b) * x` of a state-space model) is copied no more than these are.
    """
    product = active_tracer().signals[x].product
    if product is None or not all(_copied(*([shape] for shape in product.shapes))):
        return [own_shape(x)]
    return [shape for i, shape in enumerate(product.shapes) if i != product.weight]


def _copied(a: Sequence[torch.Size], b: Sequence[torch.Size]) -> list[bool]:
    """Whether each of two factors is copied along an axis of the other, given the shapes of what carries them."""
    pairs = [(one, other, torch.broadcast_shapes(one, other)) for one in a for other in b]
    return [all(pair[i] != pair[2] for pair in pairs) for i in (0, 1)]


def words_of(factor: int | None, reason: str) -> str:
    """What the inspection says of the factor that weighs, and why it does."""
    if factor is None:
        return f"half to each factor{', ' + reason if reason else ''}"
    return f"the {('first', 'second')[factor]} factor weighs: {reason}"
