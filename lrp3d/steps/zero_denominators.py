"""Whether relevance arrives where a denominator is zero, on devices that would have to wait for the answer.

There it is shared equally, which costs a layer about as many operations as all else that it prepares. It hardly ever
happens: where an output is zero, so is mostly the factor with which relevance comes. So the answers of a twin's earlier
explanation are assumed, and confirmed together at the end; if one was wrong, the explanation is computed again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import zip_longest

from torch import Tensor


class ZerosMatter(RuntimeError):
    """Relevance arrived at a denominator of zero, where none was expected; the next explanation expects it."""


class ZeroDenominators:
    """The questions of one explanation, in the order in which layers are prepared.

    Args:
        known: the answers of earlier explanations by their kind, to which those of this one are added.
        kind: the kind of this explanation.
    """

    def __init__(self, known: dict[Hashable, list[bool]], kind: Hashable):
        self._known, self._kind = known, kind
        self._assumed: Sequence[bool] = known.get(kind, ())
        self.questions: list[Tensor] = []

    def may_matter(self, question: Tensor) -> bool:
        """Whether a tensor of one value may be true; yes, which is always right, where nothing is known."""
        self.questions.append(question)
        number = len(self.questions) - 1
        return self._assumed[number] if number < len(self._assumed) else True

    def confirm(self, answers: Sequence[bool]) -> None:
        """Takes the answers to all questions; raises ZerosMatter if one was assumed to be no and is yes."""
        self._known[self._kind] = [any(both) for both in zip_longest(self._assumed, answers, fillvalue=False)]
        if any(answer > assumed for answer, assumed in zip(answers, self._assumed, strict=False)):
            raise ZerosMatter


_asked: ContextVar[ZeroDenominators | None] = ContextVar("lrp3d_zero_denominators", default=None)


@contextmanager
def asking(questions: ZeroDenominators | None) -> Iterator[None]:
    """Inside this block, these questions are asked; with None, relevance is always shared equally at zeros."""
    token = _asked.set(questions)
    try:
        yield
    finally:
        _asked.reset(token)


def asked() -> ZeroDenominators | None:
    """The questions of the explanation in progress, if it asks any."""
    return _asked.get()


def may_matter(empty: Tensor, factor: Tensor | None) -> bool:
    """Whether relevance, which comes with a factor (or none), may arrive where denominators are `empty`."""
    questions = _asked.get()
    if questions is None:
        return True
    return questions.may_matter((empty if factor is None else empty & (factor != 0)).any())
