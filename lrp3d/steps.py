"""Steps: what one operation of a run does with the relevance of its output, for many seeds at once.

`step.relevance(r)` takes r (s, *output) and returns one tensor (s, *input) for each input that descends from the
clip. State belongs to the step, and a step to one run: a module used twice makes two steps. `Relevance` is their
face towards autograd: its backward is the step, so the gradient that autograd carries is the relevance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from lrp3d.errors import UnsupportedOperation
from lrp3d.maps import Broadcast, LinearMap, sum_to_shape
from lrp3d.rules import Epsilon, Gamma, Identity, Rule, Share, Signed, Term, WinnerTakesAll


@dataclass(frozen=True)
class Token:
    """Stands for a tensor of a run without keeping it alive."""

    number: int


class Carried:
    """Relevance on its way, as a product: `value` (s, ...) times a `factor` (...) that is the same for all seeds.

    Between two linear steps the factor waits: the activation of one and the denominator of the next become a single
    multiplication per seed. `value` may be shared and is never written to.
    """

    def __init__(self, value: Tensor, factor: Tensor | None = None, total: Tensor | None = None):
        self.value, self.factor, self._total = value, factor, total

    def tensor(self) -> Tensor:
        """The relevance itself, (s, ...)."""
        return self.value if self.factor is None else self.value * self.factor

    def total(self) -> Tensor:
        """The sum of every seed's relevance, (s,)."""
        if self._total is None:
            flat = self.value.flatten(1)
            self._total = (
                flat.sum(1) if self.factor is None else flat @ self.factor.expand(self.value.shape[1:]).flatten()
            )
        return self._total

    def __add__(self, other: Carried) -> Carried:
        total = None if self._total is None or other._total is None else self._total + other._total
        if other.factor is not None:
            return Carried(torch.addcmul(self.tensor(), other.value, other.factor), total=total)
        if self.factor is not None:
            return Carried(torch.addcmul(other.value, self.value, self.factor), total=total)
        return Carried(self.value + other.value, total=total)


class Step:
    """One operation of a run; subclasses say what it does with relevance."""

    weighted = False
    """Has a weight: may be the first layer or the classifier, and ends the clip's range."""

    name = ""
    """Qualified name of the module, or of the module and the operation in its forward."""
    operation = ""
    """The operation, as a person would call it."""
    layer: nn.Module | None = None
    """The layer whose forward this is, if it is one."""
    kind: type[nn.Module] | None = None
    """The layer type whose rules apply: of a function, the type that does the same."""
    handler: Callable[..., Any] | None = None
    """The registered handler that made the step; all functions it is registered for mean this operation."""
    first = False
    """Sees the clip."""
    after_classifier = False
    """Lies between the classifier and the logits."""
    is_classifier = False
    rule: Rule | None = None
    shape: torch.Size
    """Of the output."""
    token: Token
    """Of the output, in the run's tape."""

    def accepts(self, rule: Rule) -> bool:
        """Whether the rule means something here."""
        return isinstance(rule, Identity)

    def settle(self, rule: Rule) -> None:
        """Takes the rule, once the whole run is known."""
        self.rule = rule

    def relevance(self, r: Tensor) -> Sequence[Tensor | None]:
        """(s, *output) to one (s, *input) per input."""
        raise NotImplementedError

    def carry(self, carried: Carried) -> Sequence[Carried | None]:
        """The same for relevance on its way; overridden where a factor can wait."""
        return [None if r is None else Carried(r) for r in self.relevance(carried.tensor())]


class Relevance(torch.autograd.Function):
    """The custom autograd function of every operation in a twin: computes the output, carries relevance back."""

    @staticmethod
    def forward(ctx: Any, step: Step, output: list[Tensor], *inputs: Tensor) -> Tensor:
        """Hands out the output that was computed already, with `inputs` as what it descends from."""
        ctx.step = step
        return output.pop()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        """One seed's relevance."""
        relevances = ctx.step.relevance(grad_outputs[0].unsqueeze(0))
        return (None, None, *(r if r is None else r.squeeze(0) for r in relevances))


class Entry(Step):
    """Where the clip (or a pathway of it) enters the twin."""

    operation = "input"

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Arrived."""
        return [r]


class Pass(Step):
    """Relevance passes unchanged: activations, batch norm, dropout, scaling, and the signal side of a gate."""

    def __init__(self, shape: torch.Size, linear: bool = False):
        self.input_shape, self.linear = shape, linear

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Summed over copies where the input was broadcast."""
        return [sum_to_shape(r, self.input_shape)]

    def carry(self, carried: Carried) -> Sequence[Carried | None]:
        """On and on, where shapes are the same."""
        return [carried] if self.input_shape == self.shape else super().carry(carried)


class Unsupported(Step):
    """An operation without a rule; kept in the graph so that it is refused only if relevance would reach it."""

    def __init__(self, advice: str):
        self.advice = advice

    @property
    def problem(self) -> str:
        """One line that names it and says what to do."""
        return f"{self.name} ({self.operation}): {self.advice}"

    def accepts(self, rule: Rule) -> bool:
        """Nothing."""
        return False

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Refuses."""
        raise UnsupportedOperation([self.problem])


class Write(Step):
    """`target[index] = value`: relevance goes to the value inside the index, to the target outside of it."""

    def __init__(self, index: Any, shape: torch.Size, value_shape: torch.Size, to_target: bool, to_value: bool):
        self.index, self.target_shape, self.value_shape = index, shape, value_shape
        self.to_target, self.to_value = to_target, to_value

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """For the target and the value, as far as they descend from the clip."""
        out = []
        if self.to_target:
            kept = r.new_ones(self.target_shape)
            kept[self.index] = 0
            out.append(r * kept)
        if self.to_value:
            # seed by seed: an index with tensors in it may not simply be shifted by one axis
            written = torch.stack([seed[self.index] for seed in r])
            out.append(sum_to_shape(written, self.value_shape))
        return out


@dataclass
class Operand:
    """One input of a linear step: the tensor, as rules see it, the map it goes through, and the weight there."""

    source: Tensor
    x: Signed
    map: LinearMap
    w: Signed

    @property
    def shape(self) -> torch.Size:
        """Of the input."""
        return self.source.shape


class Linear(Step):
    """An operation linear in its inputs (convolution, fully connected, average, sum), shared by the rule.

    `z = sum of map(x, w) over the operands + bias`. The denominators are computed at the first seed and kept.
    """

    def __init__(self, operands: list[Operand], bias: Tensor | None = None, weighted: bool = False):
        self.operands, self.bias, self.weighted = operands, bias, weighted
        self._parts: list[_Part] | None = None
        self._factor: Tensor | None = None
        self._unchanged = False

    def accepts(self, rule: Rule) -> bool:
        """Every rule that shares, and Identity where nothing changes its shape."""
        if isinstance(rule, Identity):
            return len(self.operands) == 1 and self.operands[0].shape == self.shape
        return not isinstance(rule, WinnerTakesAll)

    def settle(self, rule: Rule) -> None:
        """Takes the rule; where it will pass relevance on unchanged, the activations are let go."""
        super().settle(rule)
        alone = len(self.operands) == 1 and isinstance(self.operands[0].map, Broadcast)
        self._unchanged = isinstance(rule, Identity) or (
            alone and self.operands[0].shape == self.shape and not isinstance(rule, (Epsilon, Gamma))
        )
        if self._unchanged:
            self.operands, self.bias = [], None

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Eq. 1, for every share of the rule."""
        return [carried.tensor() for carried in self.carry(Carried(r))]

    def carry(self, carried: Carried) -> Sequence[Carried]:
        """Eq. 1, with the last multiplication left to who comes next."""
        if self._unchanged:
            return [carried]
        if self._parts is None or self._factor is not carried.factor:
            assert self.rule is not None
            self._parts, self._factor = self._prepare(self.rule, carried.factor), carried.factor
        out: list[Carried | None] = [None] * len(self.operands)
        for part in self._parts:
            handed = part.elementwise(carried.value) if part.elementwise_factors else self._handed(part, carried.value)
            out = [new if old is None else old + new for old, new in zip(out, handed, strict=True)]
        return out  # type: ignore[return-value]

    def _handed(self, part: _Part, value: Tensor) -> list[Carried]:
        """What one share hands to every operand."""
        ratio = value * part.reciprocal
        equal = None if part.equal is None else value * part.equal
        out = []
        for operand, terms in zip(self.operands, part.terms, strict=True):
            raw = operand.map.adjoints(ratio, [term.v for term in terms], operand.shape) if terms else []
            handed = [Carried(value, term.a) for value, term in zip(raw, terms, strict=True)]
            if equal is not None:
                spread = operand.map.spread(equal, operand.w.value, operand.shape)
                handed.append(Carried(spread, operand.x.real))
            nothing = Carried(ratio.new_zeros(len(ratio), *operand.shape))
            out.append(sum(handed[1:], handed[0]) if handed else nothing)
        return out

    def _prepare(self, rule: Rule, factor: Tensor | None) -> list[_Part]:
        """The denominators of every share, with the factor that relevance comes with worked in."""
        per_operand = [rule.shares(o.x, o.w, self.bias if i == 0 else None) for i, o in enumerate(self.operands)]
        parts = [self._part(rule, shares, factor) for shares in zip(*per_operand, strict=True)]
        if all(isinstance(o.map, Broadcast) and o.shape == self.shape for o in self.operands):
            for part in parts:
                part.make_elementwise([operand.x.real for operand in self.operands])
        return parts

    @property
    def like(self) -> Tensor:
        """A tensor of the output's shape, without memory."""
        return self.operands[0].source.new_empty(1).expand(self.shape)

    def _part(self, rule: Rule, shares: tuple[Share, ...], factor: Tensor | None) -> _Part:
        totals = [o.map.total(share.terms) for o, share in zip(self.operands, shares, strict=True) if share.terms]
        # nothing at all may contribute: an average over inputs that are only negative
        z = sum(totals[1:], totals[0]) if totals else torch.zeros_like(self.like)
        if shares[0].bias is not None:
            z = z + shares[0].bias
        # So small that R / z could overflow: as good as zero, and shared equally, so that nothing leaks.
        tiny = torch.finfo(z.dtype).tiny / torch.finfo(z.dtype).eps
        empty = (z <= tiny) & (z >= -tiny)
        if rule.epsilon:
            z = z + torch.where(z < 0, -rule.epsilon, rule.epsilon)
        coefficient = shares[0].coefficient
        reciprocal, equal = torch.reciprocal(z), None
        if z.device.type != "cpu" or bool(empty.any()):  # on a GPU, looking would make it wait
            reciprocal.masked_fill_(empty, 0.0)
            equal = torch.where(empty, 1 / self._count().clamp(min=torch.finfo(z.dtype).tiny), 0.0)
        for times in (coefficient, factor):
            if times is not None and not (isinstance(times, float) and times == 1.0):
                reciprocal.mul_(times)
                equal = None if equal is None else equal.mul_(times)
        return _Part(reciprocal, equal, [share.terms for share in shares])

    def _count(self) -> Tensor:
        """How many real inputs each output has."""
        counts = [o.map.count(cast(Tensor, o.x.ones), o.w.value) for o in self.operands]
        return sum(counts[1:], counts[0])


@dataclass
class _Part:
    """A share of a linear step, with what is the same for all seeds."""

    reciprocal: Tensor
    """coefficient / z, zero where z is."""
    equal: Tensor | None
    """coefficient / number of inputs where z is zero, else zero."""
    terms: list[list[Term]]
    """Per operand."""
    elementwise_factors: list[Tensor] = field(default_factory=list)
    """Per operand, where the whole share is elementwise: everything in one factor."""

    def make_elementwise(self, real: list[Tensor | None]) -> None:
        """A sum of summands of one shape: each gets its part of the output, position by position."""
        for terms, mask in zip(self.terms, real, strict=True):
            factor = torch.zeros_like(self.reciprocal)
            for term in terms:
                factor.addcmul_(term.a, self.reciprocal, value=float(term.v))
            if self.equal is not None:
                factor += self.equal if mask is None else self.equal * mask
            self.elementwise_factors.append(factor)
        self.reciprocal, self.equal, self.terms = self.reciprocal.new_empty(0), None, []

    def elementwise(self, value: Tensor) -> list[Carried]:
        """Nothing is computed yet: the factor waits."""
        return [Carried(value, factor) for factor in self.elementwise_factors]


class Maximum(Step):
    """Windows of which the maximum goes on: max pools of all kinds, by the positions each window looks at.

    `offsets` are index tuples into the trailing axes of `x`: offset `o` picks, for every output, one position of its
    window (a slice per axis, or index tensors that broadcast to the output), `inside` says where that is part of the
    window. Ties share equally; constants take no part while the window has a real input. `x` may be padded;
    `crop` takes the padding off again.
    """

    def __init__(
        self,
        x: Tensor,
        output: Tensor,
        offsets: Sequence[tuple[Any, ...]],
        inside: Sequence[Tensor | None] | None = None,
        real: Tensor | None = None,
        crop: tuple[Any, ...] = (),
    ):
        self.x, self.output, self.offsets, self.real, self.crop = x, output, offsets, real, crop
        self.inside = [None] * len(offsets) if inside is None else inside
        self._parts: list[Tensor] | None = None

    def accepts(self, rule: Rule) -> bool:
        """Winner takes all, which the epsilon rule is on a maximum."""
        return isinstance(rule, (WinnerTakesAll, Epsilon))

    def _winners(self) -> list[Tensor]:
        """Per offset, each output's part for that position: one, divided among ties."""
        candidates, winners = [], []
        for offset, inside in zip(self.offsets, self.inside, strict=True):
            candidate = torch.ones_like(self.output, dtype=torch.bool) if inside is None else inside
            where = (..., *offset)
            if self.real is not None:
                candidate = candidate & (self.real[where] > 0)
            candidates.append(candidate)
            winners.append(candidate & (self.x[where] == self.output))
        won = sum(winner.int() for winner in winners)
        assert isinstance(won, Tensor)
        if self.real is not None:  # where only a constant won, the real inputs of the window share
            lost = won == 0
            winners = [torch.where(lost, c, w) for w, c in zip(winners, candidates, strict=True)]
            won = torch.where(lost, sum(candidate.int() for candidate in candidates), won)
        part = 1 / won.clamp(min=1).to(self.x.dtype)
        return [winner * part for winner in winners]

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """To the winners of every window; overlapping windows add up."""
        if self._parts is None:
            self._parts = self._winners()
        out = r.new_zeros(len(r), *self.x.shape)
        for offset, part in zip(self.offsets, self._parts, strict=True):
            if all(isinstance(o, slice) for o in offset):
                where = (..., *offset)
                out[where].addcmul_(r, part)
            else:
                out = _add_at(out, offset, r * part)
        cropped = (..., *self.crop)
        return [out[cropped]]


def _add_at(out: Tensor, index: Sequence[Tensor], values: Tensor) -> Tensor:
    """`out[..., i, j, k] += values` for index tensors that broadcast; repeated indices add up."""
    axes = len(index)
    flat = index[0].new_zeros(())
    for i, size in zip(index, out.shape[-axes:], strict=True):
        flat = flat * size + i
    flat = flat.expand(values.shape[-axes:])
    return out.flatten(-axes).index_add(-1, flat.flatten(), values.flatten(-axes)).reshape(out.shape)


class Peak(Step):
    """The maximum over whole axes (`amax`): ties share equally."""

    def __init__(self, x: Tensor, output: Tensor, axes: tuple[int, ...]):
        self.input_shape = x.shape
        self.kept_shape = output.shape
        winner = (x == output).to(x.dtype)
        self.part = winner / winner.sum(axes, keepdim=True)

    def accepts(self, rule: Rule) -> bool:
        """Winner takes all, which the epsilon rule is on a maximum."""
        return isinstance(rule, (WinnerTakesAll, Epsilon))

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """To the winners."""
        return [r.reshape(len(r), *self.kept_shape) * self.part]
