"""Where relevance ends, or is looked at: the clip, outputs held constant, outputs of modules, unknown operations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.errors import UnsupportedOperation
from lrp3d.layout import Layout
from lrp3d.rules import Identity, Rule
from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.step import Step
from lrp3d.steps.weigher import Weigher


class _Constant(Rule):
    """A rule under which relevance stays where it is."""

    def __repr__(self) -> str:
        return "held constant"


class ClipInput(Step):
    """Where the clip (or a pathway of it) enters the twin.

    Args:
        layout: its axes; None if it is no clip, but images or features.
    """

    def __init__(self, layout: Layout | None = None):
        self.layout = layout

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """The relevance of the input itself."""
        return [r]


class Outlet(PassThrough):
    """The output of a module whose relevance the caller asked for; it has the name of the module."""

    rule: Rule | None = Identity()

    def __init__(self, shape: torch.Size):
        super().__init__(shape, linear=True)

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Returns the relevance, multiplied: seeds may start here, and steps below expect the same factor of all."""
        return [lazy.multiplied()]

    def release(self, lazy: LazyRelevance) -> None:
        """Releases what the factor holds, as no step below gets it."""
        Step.release(self, lazy)


class ConstantOutput(Step):
    """The output of a module that is held constant: relevance that arrives stays here and is booked."""

    rule: Rule | None = _Constant()

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Hands no relevance on."""
        return [None]


class Unsupported(Step):
    """An operation without a rule; kept in the graph so that it is refused only if relevance would reach it.

    Args:
        advice: one sentence that says why, or what to do.
        made_of: for each input that descends from the clip, how it goes into the output, so that where weights come
            from can be followed; empty where nobody knows.
    """

    def __init__(self, advice: str, made_of: Sequence[Weigher] = ()):
        self.advice = advice
        self.made_of: Sequence[Weigher] = made_of

    @property
    def problem(self) -> str:
        """One line that names the operation and says what to do."""
        return f"{self.name} ({self.operation}): {self.advice}"

    def accepts(self, rule: Rule) -> bool:
        """Accepts no rule."""
        return False

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Raises the error that names the operation."""
        raise UnsupportedOperation([self.problem])
