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

from lrp3d.compute.maps import sum_to_shape
from lrp3d.compute.precision import widened
from lrp3d.errors import UnsupportedOperation
from lrp3d.layout import Layout
from lrp3d.rules import Identity, InHalves, Rule, opposed
from lrp3d.steps.lazy_relevance import LazyRelevance

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


class Elementwise(Step):
    """Values are taken one by one: what arrives at a position goes to the same position of the inputs.

    Inputs that broadcast get the sum over their copies.
    """

    factors: Sequence[Tensor | float]
    """For each input, what the operation multiplies it by, or anything with the same signs, which may turn what speaks
    for a class round."""

    @property
    def is_booked(self) -> bool:
        """It is not: all relevance goes to the inputs."""
        return False

    def forget_factors(self) -> None:
        """Forgets what the operation multiplies by, which relevance does not need."""
        self.factors = [1.0] * len(self.factors)


class PassThrough(Elementwise):
    """Relevance passes unchanged: activations, batch norm, dropout, scaling, and the signal side of a gate.

    Args:
        shape: shape of the input.
        linear: whether the operation is linear.
        shifts: whether it adds a constant.
        factor: what it multiplies by, or anything with the same signs, which may turn what speaks for a class round.
    """

    def __init__(self, shape: torch.Size, linear: bool = False, shifts: bool = False, factor: Tensor | float = 1.0):
        self.input_shape = shape
        self.linear = linear
        self.shifts = shifts
        self.factors = [factor]

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Returns the relevance, summed over copies where the input was broadcast."""
        return [sum_to_shape(r, self.input_shape)]

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Returns the relevance unchanged, its factor still waiting, when input and output have one shape."""
        return [lazy] if self.input_shape == self.shape else super().propagate(lazy)

    def release(self, lazy: LazyRelevance) -> None:
        """Releases nothing: relevance that passes unchanged keeps its factor for the step below."""


class Rearrangement(Step):
    """A view, a permutation or a selection: torch's own node carries relevance; this step is only for the record."""


class RecurrentOutput(PassThrough):
    """The output of a recurrent layer: relevance passes; each time step belongs to the same time step of the input."""

    def __init__(self, shape: torch.Size, sequence_shape: torch.Size):
        super().__init__(shape, linear=True)
        self.sequence_shape = sequence_shape

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Hands everything to the unrolled steps, through which the input gets its relevance."""
        return [r, None]

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Hands everything to the unrolled steps, as `relevance` does."""
        return [lazy, None]

    def input_steps(self, r: Tensor) -> Tensor:
        """A mask (b, t, f) of the input: one at the time steps where `r` (b, t, hidden) of the output is not zero."""
        return (r != 0).any(-1, keepdim=True).to(r).expand(self.sequence_shape)


class SharedInParts(Elementwise):
    """Several signals, each of which gets a part of the relevance, position by position.

    Args:
        shapes: shapes of the signals.
        parts: the part of each, (*output) or one number for all positions, such as `equal_parts`.
        factors: what each is multiplied by, or anything with the same signs; 1 by default.
    """

    def __init__(
        self,
        shapes: Sequence[torch.Size],
        parts: Sequence[Tensor | float],
        factors: Sequence[Tensor | float] | None = None,
    ):
        self.shapes = shapes
        self.parts = parts
        self.factors = [1.0] * len(shapes) if factors is None else factors

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Returns its part of the relevance for each signal, summed over copies where the signal was broadcast."""
        return [sum_to_shape(r * part, shape) for part, shape in zip(self.parts, self.shapes, strict=True)]


def equal_parts(masks: Sequence[Tensor]) -> list[Tensor]:
    """The parts of several signals that share equally at every position where their mask is one, not zero.

    >>> equal_parts([torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])])
    [tensor([0.5000, 1.0000, 0.0000]), tensor([0.5000, 0.0000, 0.0000])]
    """
    count = sum(masks[1:], masks[0]).clamp(min=1)
    return [mask / count for mask in masks]


class Halves(SharedInParts):
    """A product of two signals, neither of which is the weight: each gets half of the relevance, position by position.

    This is the uniform rule: both factors contribute `a b / 2` to the product `a b` (Achtibat et al. 2024, Prop. 3.2).

    Args:
        shapes: shapes of the two factors.
        inputs: for each factor, (*output): 0 where its values are constants, such as padding, whose half the other
            factor gets; None if all values of both are inputs.
        factors: what each is multiplied by, the other one, or anything with the same signs.
    """

    def __init__(
        self,
        shapes: Sequence[torch.Size],
        inputs: Sequence[Tensor] | None = None,
        factors: Sequence[Tensor | float] | None = None,
    ):
        super().__init__(shapes, [0.5, 0.5] if inputs is None else equal_parts(inputs), factors)

    @property
    def default_rule(self) -> Rule:
        """Halves, which is the only rule that it has."""
        return InHalves()

    def accepts(self, rule: Rule) -> bool:
        """Accepts no rule that would change it."""
        return rule.on_products or rule.unchanged

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance | None]:
        """Lets the factor of the relevance wait where all shapes are the same; both halves then have it."""
        if any(shape != self.shape for shape in self.shapes) or isinstance(self.parts[0], Tensor):
            return super().propagate(lazy)
        half = LazyRelevance(lazy.value / 2, lazy.factor, band=lazy.band)
        return [half, half]


class OverAxes(Step):
    """A statistic or a choice over whole axes: every output depends on all inputs along them."""

    def spread(self, r: Tensor) -> Tensor:
        """Hands `r` (*output), without seeds, to every input on which each output depends."""
        raise NotImplementedError

    def slopes(self, r: Tensor) -> Tensor:
        """How much each input counts if its output counts `r` (*output), without seeds: of a choice, the winners."""
        (part,) = self.relevance(r[None])
        assert part is not None
        return part[0]


class _Constant(Rule):
    """A rule under which relevance stays where it is."""

    def __repr__(self) -> str:
        return "held constant"


class Outlet(PassThrough):
    """The output of a module whose relevance the caller asked for; it has the name of the module."""

    rule: Rule | None = Identity()

    def __init__(self, shape: torch.Size):
        super().__init__(shape, linear=True)


class ConstantOutput(Step):
    """The output of a module that is held constant: relevance that arrives stays here and is booked."""

    rule: Rule | None = _Constant()

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """Hands no relevance on."""
        return [None]


class Unsupported(Step):
    """An operation without a rule; kept in the graph so that it is refused only if relevance would reach it."""

    def __init__(self, advice: str):
        self.advice = advice

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
