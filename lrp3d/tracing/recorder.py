"""The record of one forward pass of a twin: its steps and their names, and what is known about its tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lrp3d.compute.maps import Broadcast
from lrp3d.layout import Layout
from lrp3d.registry import Handler, TorchFunction, handler_of
from lrp3d.rules import Rule
from lrp3d.steps.ends import ClipInput, Unsupported
from lrp3d.steps.graph import downwards, step_of, weigher_of
from lrp3d.steps.step import Rearrangement, Relevance, Site, Step, Token
from lrp3d.tracing.answers import Answers
from lrp3d.tracing.choices import Choices
from lrp3d.tracing.first_states import FirstStates
from lrp3d.tracing.scope import Scope
from lrp3d.tracing.signals import Signal, Signals
from lrp3d.tracing.tape import Tape
from lrp3d.tracing.torch_functions import plain_name
from lrp3d.tracing.trees import leaves, mapped

Output = TypeVar("Output")


class Probabilities(NamedTuple):
    """A softmax or sigmoid, and its input."""

    step: Step
    token: Token
    x: Tensor


FEW_VALUES = 1 << 14
LATEST, LATEST_SMALL = 4, 1024
"""How many of the latest probabilities are kept, as they may be what the model ends with: of any size, and of few
values, such as those of every frame; attention makes large ones, and keeping these would take memory."""


class Recorder:
    """Records one forward pass, which the `Tracer` follows operation by operation."""

    def __init__(self, choices: Choices | None = None, past_answers: Sequence[bool] = ()):
        super().__init__()
        self.choices = choices
        """What the composite says about operations whose recording depends on it."""
        self.normalisation_passes: bool = choices is None or not choices.addresses_normalisation
        """Whether batch norms hand relevance on unchanged, so that their activations need not be kept."""
        self.answers: Answers = Answers(past_answers)
        """Answers to the questions of the forward about numbers."""
        self.steps: list[Step] = []
        self._latest: deque[Probabilities] = deque(maxlen=LATEST)
        self._latest_small: deque[Probabilities] = deque(maxlen=LATEST_SMALL)
        self.signals: Signals = Signals(self.answers)
        """What is known about each tensor that descends from the clip."""
        self.adopted: dict[Any, str] = {}
        """Nodes of autograd's graph that no mode could see, and the modules in which they were made."""
        self.past: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        """Tensors with a history of their own, from before the run, as the constants that they are."""
        self.first_states: FirstStates = FirstStates()
        """Constants that stand for the state before the first frame."""
        self.products: list[str] = []
        """The names of products of two signals, of which the composite may say which factor is the weight."""
        self.coarsest: float = 0.0
        """The largest eps of the types in which anything was computed."""
        self._tape = Tape()
        self._scopes: list[Scope] = []
        self._inside = False
        self._operation = ""
        self._device = "cpu"
        self._handler: Handler | None = None

    @contextmanager
    def scope(self, name: str, module: nn.Module, is_layer: bool) -> Iterator[None]:
        """Notes that a module's forward runs inside this block."""
        self._scopes.append(Scope(name, module, is_layer))
        try:
            yield
        finally:
            self._scopes.pop()

    def enter(self, x: Tensor, low: Tensor | None, high: Tensor | None, layout: Layout | None = None) -> Tensor:
        """Lets a clip (or pathway) of this layout enter; returns the tensor to pass to the model."""
        self._operation, self._handler, self._device = "input", None, x.device.type
        return self.attach(ClipInput(layout), x.detach(), [x], Signal(low, high))

    # ------------------------------------------------------------------ tensors

    def signal(self, x: Any) -> Signal | None:
        """What is known about `x`; None if it is a constant."""
        return self.signals.get(x)

    def is_signal(self, x: Any) -> bool:
        """Whether `x` descends from the clip."""
        return x in self.signals

    def input_mask(self, x: Tensor) -> Tensor:
        """1 where `x` descends from the clip, 0 where it is a constant."""
        return self.signals.input_mask(x)

    def token(self, x: Tensor) -> Token:
        """The token that stands for a tensor in the tape."""
        return self._tape.token(x)

    # ------------------------------------------------------------------ steps

    def attach(
        self,
        step: Step,
        output: Tensor,
        inputs: Sequence[Tensor],
        signal: Signal,
        *,
        kind: type[nn.Module] | None = None,
        note: str = "",
        name: str | None = None,
        like: Site | None = None,
    ) -> Tensor:
        """Record `step` and make `output` descend from `inputs` (all of them signals).

        Args:
            step: says what happens to relevance.
            output: the result of the operation.
            inputs: the tensors for which `step.relevance` returns relevance, in that order.
            signal: what is known about the output.
            kind: the layer type whose rules apply.
            note: what the inspection prints beside the rule.
            name: the name of the step, if it is that of a module and not the next one of the operation.
            like: the site of the step in whose place this one stands, if it stands in the place of another.
        """
        with torch.enable_grad():
            out: Tensor = Relevance.apply(step, [output], *inputs)  # type: ignore[no-untyped-call]  # torch does not annotate it
        site = self._site(out, name)._replace(kind=kind, note=note)
        if like is not None:
            site = like._replace(shape=site.shape, dtype=site.dtype, token=site.token, note=note)
        step.site = site
        self._keep(step, out, signal)
        return out

    def rearrange(self, out: Tensor, signal: Signal) -> Tensor:
        """Record a rearrangement, whose relevance torch's own node carries."""
        step = Rearrangement()
        step.site = self._site(out)
        self._keep(step, out, signal)
        return out

    def _site(self, out: Tensor, name: str | None = None) -> Site:
        """Which operation is running, with its output."""
        scope = self._innermost()
        return Site(
            name=self._take_name() if name is None else name,
            operation=self._operation,
            shape=out.shape,
            dtype=out.dtype,
            token=self.token(out),
            handler=self._handler,
            layer=scope.module if scope is not None and scope.is_layer else None,
        )

    def _keep(self, step: Step, out: Tensor, signal: Signal) -> None:
        if out.is_floating_point():
            self.coarsest = max(self.coarsest, torch.finfo(out.dtype).eps)
        self.steps.append(step)
        self.signals[out] = signal

    def refuse(self, advice: str, output: Output, signals: Sequence[Tensor], signal: Signal | None = None) -> Output:
        """Let the forward go on, but mark the result: relevance that would reach it is refused by name."""
        known = Signal() if signal is None else signal

        def refused(t: Tensor) -> Tensor:
            # Values of as many positions (a softmax of scores) belong to the same ones.
            alike = all(x.shape == t.shape for x in signals)
            made_of = [weigher_of(x, Broadcast(t.shape)) for x in signals] if alike else []
            return self.attach(Unsupported(advice, made_of), t.detach(), signals, replace(known))

        return map_floats(refused, output)

    def note_probabilities(self, output: Tensor, x: Tensor) -> Tensor:
        """Remember that the last step made probabilities `output` of the signal `x`."""
        if self.is_signal(x) and self.steps and self.steps[-1].site.token == self.token(output):
            kept = self._latest_small if x.numel() <= FEW_VALUES else self._latest
            kept.append(Probabilities(self.steps[-1], self.token(output), x))
        return output

    @property
    def probabilities(self) -> dict[Token, Probabilities]:
        """The last probabilities that were computed, by their tokens; the model may end with some of them."""
        return {made.token: made for made in (*self._latest, *self._latest_small)}

    def adopt(self, output: Any, name: str) -> None:
        """Note that nodes no mode can see (scripted code, a foreign Function) were made in `name`, for the audit."""
        with torch._C.DisableTorchFunction():
            for x in (output,) if isinstance(output, Tensor) else leaves(output):
                if not isinstance(x, Tensor) or x.grad_fn is None:
                    continue
                if x not in self.signals:
                    if x in self.past or self._is_past(x):
                        continue
                    self.signals[x] = Signal()
                if not hasattr(x.grad_fn, "step"):
                    self.adopted.setdefault(x.grad_fn, name)

    def _is_past(self, x: Tensor) -> bool:
        """Whether no step of this run leads to `x`, which was thus computed before, as a weight that a model keeps."""
        own = set(self.steps)
        if any(step_of(node) in own for node in downwards([x.grad_fn], lambda node: step_of(node) in own)):
            return False
        self.past[x] = x.detach()
        return True

    # ------------------------------------------------------------------ the operation that is running

    @contextmanager
    def _performing(self, handler: Handler | None, func: Any) -> Iterator[None]:
        """Gives steps that are made inside this block to this operation, if it is the outermost one."""
        if self._inside:
            yield
            return
        self._inside, self._handler = True, handler
        self._operation = handler.__name__ if func is None else plain_name(func)  # type: ignore[union-attr]  # without a function there is a handler
        try:
            yield
        finally:
            self._inside = False

    @contextmanager
    def part(self, name: str, function: TorchFunction | None = None) -> Iterator[None]:
        """Names a part of the operation that is running (the scores of an attention, its values).

        With a `function`, the part counts as this one, and has the rule that a composite gives it.
        """
        before = self._operation, self._handler
        self._operation = f"{self._operation}.{name}"
        self._handler = self._handler if function is None else handler_of(function)
        try:
            yield
        finally:
            self._operation, self._handler = before

    def next_name(self) -> str:
        """The name that the next step of the running operation will get."""
        scope = self._innermost()
        return self._operation if scope is None else scope.next_name(self._operation)

    def _take_name(self) -> str:
        scope = self._innermost()
        return self._operation if scope is None else scope.take_name(self._operation)

    @contextmanager
    def outside_layers(self) -> Iterator[None]:
        """Gives steps that are made inside this block to the module around the layer that is running."""
        layers: list[Scope] = []
        while self._scopes and self._scopes[-1].is_layer:
            layers.insert(0, self._scopes.pop())
        try:
            yield
        finally:
            self._scopes += layers

    def _innermost(self) -> Scope | None:
        """The module whose forward is running."""
        return self._scopes[-1] if self._scopes else None

    def _module(self) -> str:
        """The qualified name of the module that is running."""
        return self._scopes[-1].name if self._scopes else ""

    @property
    def running(self) -> str:
        """The module whose forward is running, and the operation, as refusals name them."""
        return f"{self.place} ({self._operation})"

    @property
    def place(self) -> str:
        """The module whose forward is running, as refusals name it."""
        return self._module() or "the forward"

    def product(self) -> str | None:
        """Which factor of the running product is the weight; None if the composite does not say."""
        name = self.next_name()
        self.products.append(name)
        return None if self.choices is None else self.choices.product(name, self._handler)

    @property
    def addresses_products(self) -> bool:
        """Whether the composite says which factor weighs in some products."""
        return self.choices is not None and self.choices.addresses_products

    def rule_for(self, function: TorchFunction) -> Rule | None:
        """The composite's rule for a function, None without one."""
        return None if self.choices is None else self.choices.rule_of_operation(handler_of(function))

    def has_rule_for_softmax(self) -> bool:
        """Whether the composite has a rule for the softmax that is about to run; without one it is constant."""
        scope = self._innermost()
        layer = scope.module if scope is not None and scope.is_layer else None
        choices, handler = self.choices, handler_of(F.softmax)
        return choices is not None and choices.has_rule_of_softmax(self.next_name(), handler, layer)


def map_floats(change: Callable[[Tensor], Tensor], out: Output) -> Output:
    """Changes every floating-point or complex tensor of a tree, and nothing else."""

    def changed(t: Any) -> Any:
        return change(t) if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex()) else t

    return cast(Output, mapped(changed, out))
