"""Steps: what one operation of a run does with the relevance of its output, for many seeds at once.

`step.relevance(r)` takes r (s, *output) and returns one tensor (s, *input) for each input that descends from the
clip. State belongs to the step, and a step to one run: a module used twice makes two steps. `Relevance` connects
steps to autograd: its backward calls the step, so the gradient that autograd carries is the relevance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lrp3d.compute.precision import widened
from lrp3d.errors import UnsupportedOperation
from lrp3d.rules import Identity, Rule, opposed
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.weigher import Weigher

GRADIENT = "takes gradients inside the forward, where gradients are relevance; explain the model without that step"


@dataclass(frozen=True)
class Token:
    """Stands for a tensor of a run without keeping it alive."""

    number: int


class Site(NamedTuple):
    """Which operation of the run a step belongs to, and what is known of its output."""

    name: str
    """Qualified name of the module, or of the module and the operation in its forward."""
    operation: str
    """Name of the operation in tables and messages."""
    shape: torch.Size
    """Shape of the output."""
    dtype: torch.dtype
    """Type of the output."""
    token: Token
    """Token of the output in the run's tape."""
    handler: Callable[..., Any] | None = None
    """The registered handler that made the step; all functions with this handler count as this operation."""
    layer: nn.Module | None = None
    """The layer whose forward this operation is, if there is one."""
    kind: type[nn.Module] | None = None
    """The layer type whose rules apply; for a function, the layer type that does the same."""
    note: str = ""
    """What the inspection prints beside the rule, such as which factor of a product is the weight."""


class Position(NamedTuple):
    """Where a step stands between the clip and the logits, which is known when the run is over."""

    sees_clip: bool = False
    """Whether the operation sees the clip itself."""
    is_classifier: bool = False
    after_classifier: bool = False
    """Whether the operation lies between the classifier and the logits."""


class Step:
    """One operation of a run; subclasses say what it does with relevance.

    The tracer tells it which operation it is, and the audit tells it where it stands and which rule it has.
    """

    weighted = False
    """Whether it has a weight: it may then be the first layer or the classifier, and the clip's range ends there."""
    in_range = False
    """Whether the valid range of its inputs is known, which is so until a layer has seen the clip."""

    site: Site
    """Set once by the tracer, when the operation is recorded."""
    position: Position | None = None
    """Set once by the audit, when the run is over."""
    rule: Rule | None = None
    weigher: Weigher | None = None
    """The signal that weighs the input, where the operation is a product of two signals."""

    @property
    def name(self) -> str:
        """Qualified name of the module, or of the module and the operation in its forward."""
        return self.site.name

    @property
    def operation(self) -> str:
        """Name of the operation in tables and messages."""
        return self.site.operation

    @property
    def layer(self) -> nn.Module | None:
        """The layer whose forward this operation is, if there is one."""
        return self.site.layer

    @property
    def shape(self) -> torch.Size:
        """Shape of the output."""
        return self.site.shape

    @property
    def dtype(self) -> torch.dtype:
        """Type of the output."""
        return self.site.dtype

    @property
    def sees_clip(self) -> bool:
        """Whether the operation sees the clip itself."""
        return self.position is not None and self.position.sees_clip

    @property
    def is_classifier(self) -> bool:
        """Whether the operation is the classifier, or one of several."""
        return self.position is not None and self.position.is_classifier

    @property
    def after_classifier(self) -> bool:
        """Whether the operation lies between the classifier and the logits."""
        return self.position is not None and self.position.after_classifier

    @property
    def hands_on_all(self) -> bool:
        """Whether all that came last was handed on, so that the ledger need not add up what went out."""
        return False

    @property
    def is_booked(self) -> bool:
        """Whether the ledger says what stayed in it; a step in which nothing can stay is left out."""
        return True

    @property
    def default_rule(self) -> Rule:
        """The rule of `paper`."""
        return Identity()

    def accepts(self, rule: Rule) -> bool:
        """Whether the rule can be used for this operation."""
        return rule.unchanged

    def assign_rule(self, rule: Rule) -> None:
        """Takes the rule, once the whole run is known."""
        self.rule = rule

    def oppose(self, sign: Tensor | None) -> None:
        """Negates the rule for outputs with a negative `sign` (None: for all), unless it is negated already."""
        assert self.rule is not None
        self.rule = opposed(self.rule, sign)

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Turns relevance (s, *output) into one tensor (s, *input) for each input."""
        raise NotImplementedError

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Does the same for `LazyRelevance`; overridden where its factor can wait."""
        relevances = self.relevance(lazy.tensor(self.shape))
        return [None if r is None else LazyRelevance(r.to(lazy.value.dtype)).narrowed(lazy) for r in relevances]

    def release(self, lazy: LazyRelevance) -> None:
        """Releases what no later seed reads, once the first one went through with this relevance.

        Most steps read the factor of the relevance for every seed, or hand it on in several parts.
        """
        if lazy.factor is not None:
            lazy.factor.held.is_read = True


class Relevance(torch.autograd.Function):
    """The custom autograd function of every operation in a twin: computes the output, carries relevance back."""

    @staticmethod
    def forward(ctx: Any, step: Step, output: list[Tensor], *inputs: Tensor) -> Tensor:
        """Returns the output, which was computed already, as a descendant of `inputs`."""
        ctx.step = step
        return output.pop()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        """Carries the relevance of one seed."""
        if ctx.step.rule is None and ctx.step.position is None:
            raise UnsupportedOperation([f"{ctx.step.name} ({ctx.step.operation}): {GRADIENT}"])
        r = grad_outputs[0].unsqueeze(0)
        # Shares overflow in float16, so they are computed in float32; autograd casts to the type of each input.
        relevances = ctx.step.relevance(r.to(widened(r.dtype)))
        return (None, None, *(out if out is None else out.squeeze(0).to(r.dtype) for out in relevances))


class Rearrangement(Step):
    """A view, a permutation or a selection: torch's own node carries relevance; this step is only for the record."""
