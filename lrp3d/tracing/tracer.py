"""One forward pass of a twin, followed operation by operation.

A `Tracer` is the TorchFunctionMode that lives in the twin's forward only. It knows which tensors descend from the clip,
what is known of them (`Signal`), gives every function its handler, and records the steps. All state belongs to the
pass, none to a module: modules may be used twice, threads may run at once, and an exception needs no clean-up.
"""

from __future__ import annotations

import fnmatch
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from lrp3d.errors import UnsupportedOperation
from lrp3d.registry import Handler, TorchFunction, active_tracer, current_tracer, handler_of
from lrp3d.rules import Rule
from lrp3d.steps.step import GRADIENT, ClipInput, Held, Outlet, Rearrangement, Relevance, Step, Token, Unsupported
from lrp3d.steps.writes import Shared
from lrp3d.tracing.advice import NO_GRAD, STALE, advice_for
from lrp3d.tracing.answers import Answers
from lrp3d.tracing.choices import Choices
from lrp3d.tracing.inplace import Memory, Write
from lrp3d.tracing.scope import Scope
from lrp3d.tracing.signals import Signal, Signals
from lrp3d.tracing.tape import Call, Tape
from lrp3d.tracing.torch_functions import (
    DROPOUTS,
    LEAVES_TORCH,
    LIKE_ANOTHER,
    TAKES_ONLY_THE_SHAPE,
    only_moves,
    overwritten,
    plain_name,
    without_inplace,
    written_in_python,
)

Output = TypeVar("Output")

_DERIVATIVES = {torch.autograd.grad, torch.autograd.backward, Tensor.backward}


class Squashed(NamedTuple):
    """A softmax or sigmoid, and what went into it."""

    step: Step
    token: Token
    x: Tensor


SQUASHED_AT_MOST = 4
"""How many of them are remembered, the last ones: one of them may be the model's last operation."""


class Tracer(TorchFunctionMode):
    """Follows one forward pass; see the module's docstring."""

    def __init__(
        self,
        own: Sequence[Tensor] = (),
        choices: Choices | None = None,
        constants: Sequence[str] = (),
        seeded: bool = False,
        layers: Sequence[str] = (),
        remembered: Sequence[bool] = (),
    ):
        super().__init__()
        self.seeded = seeded
        """The caller knows that random numbers are drawn, and which: active dropout is a factor like any other."""
        self.choices = choices
        """What the composite says of operations that are recorded differently for it."""
        self.normalisation_passes: bool = choices is None or not choices.addresses_normalisation
        """Batch norms hand relevance on unchanged, so their activations need not be kept."""
        self.constants: dict[str, bool] = dict.fromkeys(constants, False)
        """Patterns of modules whose outputs are held constant, and whether one was met."""
        self.layers: dict[str, list[str]] = {pattern: [] for pattern in layers}
        """Patterns of modules whose outputs' relevance is asked for, and the modules that were met."""
        self.answers = Answers(remembered)
        """To what the forward asks of numbers."""
        self.steps: list[Step] = []
        self.squashed: deque[Squashed] = deque(maxlen=SQUASHED_AT_MOST)
        """The last probabilities that were made: one of them may be what the model returns."""
        self.signals = Signals()
        """What is known of each tensor that descends from the clip."""
        self.adopted: dict[Any, str] = {}
        """Nodes of autograd's graph that no mode could see, and the modules they were made in."""
        self._tape = Tape()
        self._memory = Memory(own)
        self._given: list[tuple[Tensor, Tensor]] = []
        """Of the operations that are running, the tensors the model gave them, and what these are now."""
        self._stands_for: tuple[Tensor, Tensor] | None = None
        """What a handler returns that was written to its argument, and what to hand out in its place."""
        self._scopes: list[Scope] = []
        self._inside = False
        self._operation = ""
        self._device = "cpu"
        self.coarsest: float = 0.0
        """The largest eps of the types that something was computed in."""
        self._handler: Handler | None = None

    # ------------------------------------------------------------------ entering and leaving

    def __enter__(self) -> Tracer:
        self._token = current_tracer.set(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        current_tracer.reset(self._token)

    @contextmanager
    def scope(self, name: str, module: nn.Module, is_layer: bool) -> Iterator[None]:
        """While a module's forward runs."""
        self._scopes.append(Scope(name, module, is_layer))
        try:
            yield
        finally:
            self._scopes.pop()

    def enter(self, x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        """A clip (or pathway) comes in; returns the tensor to hand to the model."""
        self._operation, self._handler, self._device = "input", None, x.device.type
        return self.attach(ClipInput(), x.detach(), [x], Signal(low, high))

    # ------------------------------------------------------------------ what is known of tensors

    def signal(self, x: Any) -> Signal | None:
        """What is known of `x`, None if it is a constant."""
        return self.signals.get(x)

    def is_signal(self, x: Any) -> bool:
        """Whether `x` descends from the clip."""
        return x in self.signals

    def attach(self, step: Step, output: Tensor, inputs: Sequence[Tensor], signal: Signal) -> Tensor:
        """Record `step` and make `output` descend from `inputs` (all of them signals)."""
        scope = self._innermost()
        step.name, step.operation, step.handler = self._take_name(), self._operation, self._handler
        if scope is not None and scope.is_layer:
            step.layer = scope.module
        step.shape, step.dtype = output.shape, output.dtype
        if output.is_floating_point():
            self.coarsest = max(self.coarsest, torch.finfo(output.dtype).eps)
        with torch.enable_grad():
            out: Tensor = Relevance.apply(step, [output], *inputs)  # type: ignore[no-untyped-call]
        self.steps.append(step)
        self.signals[out] = signal
        step.token = self.token(out)
        return out

    def squash(self, output: Tensor, x: Tensor) -> Tensor:
        """Remember that the last step made probabilities `output` of the signal `x`."""
        if self.is_signal(x) and self.steps and self.steps[-1].token == self.token(output):
            self.squashed.append(Squashed(self.steps[-1], self.token(output), x))
        return output

    def next_name(self) -> str:
        """What the next step of the operation that is running will be called."""
        scope = self._innermost()
        return self._operation if scope is None else scope.next_name(self._operation)

    def _take_name(self) -> str:
        scope = self._innermost()
        return self._operation if scope is None else scope.take_name(self._operation)

    def _innermost(self) -> Scope | None:
        """The module whose forward is running."""
        return self._scopes[-1] if self._scopes else None

    def _module(self) -> str:
        """Its name."""
        return self._scopes[-1].name if self._scopes else ""

    def product(self) -> str | None:
        """Which factor of the product that is being computed weighs, where the composite says so."""
        return None if self.choices is None else self.choices.product(self.next_name(), self._handler)

    def rule_for(self, function: TorchFunction) -> Rule | None:
        """The rule that the composite has for a function, None where it says nothing of it."""
        return None if self.choices is None else self.choices.rule_of_operation(handler_of(function))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A named part of the operation that is running (the scores of an attention, its values)."""
        before, self._operation = self._operation, f"{self._operation}.{name}"
        try:
            yield
        finally:
            self._operation = before

    # ------------------------------------------------------------------ tensors changed in place

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Inside a handler that returns `new`: later reads of its argument `old`, and of its memory, give that."""
        self._stands_for = new, self._write(old, new)

    def _write(self, old: Tensor, new: Tensor) -> Tensor:
        """Later reads of `old`, and of every view of its memory, give what `new` is; returns what to hand out."""
        old = next((given for given, value in reversed(self._given) if value is old), old)
        other = self._memory.write(old, new)
        if self.is_signal(new):
            self.signals[other] = self.signals[new]
        return other

    def _rewritten(self, value: Tensor, view: Tensor | None, write: Write) -> Tensor:
        """What `value`, which stands at a view of its block, is after a write."""
        if view is not None and write.to is not None:
            shared = Shared.of(view, write.to)
            if shared.read == shared.written:
                return write.value
            if not any(shared.overlap()):
                return value
            if not shared.read.repeats and not shared.written.repeats:
                with torch.enable_grad():
                    return cast(Tensor, self._perform(handler_of(overwritten), (value, write.value, shared), {}))
        signals = [x for x in (value, write.value) if self.is_signal(x)]
        if not signals:
            raise UnsupportedOperation([f"{self._module() or 'the forward'} (in-place): {STALE}"])
        return self.refuse(STALE, value.detach(), signals)

    def forget_writes(self) -> None:
        """The forward is over."""
        self._memory.forget()

    def resolve(self, x: Any) -> Any:
        """What `x` stands for now."""
        if not isinstance(x, Tensor):
            return x
        latest = self._memory.latest(x, self._rewritten)
        self.adopt(latest, self._module())
        return latest

    def _value(self, x: Any) -> Any:
        """Without its history, for what is no tensor any more (numpy arrays, numbers): no door to the model's own."""
        x = self.resolve(x)
        if not isinstance(x, Tensor):
            return x
        return x.detach().clone() if self._memory.is_own(x) else x.detach()

    def adopt(self, output: Any, name: str) -> None:
        """What no mode can see (scripted code, a foreign Function) was made in module `name`: the audit names it."""
        with torch._C.DisableTorchFunction():
            for x in (output,) if isinstance(output, Tensor) else tree_flatten(output)[0]:
                if not isinstance(x, Tensor) or x.grad_fn is None:
                    continue
                if x not in self.signals:
                    self.signals[x] = Signal()
                if not hasattr(x.grad_fn, "step"):
                    self.adopted.setdefault(x.grad_fn, name)

    def held(self, output: Any, name: str) -> Any:
        """A module's output; a constant to relevance, if the caller said so."""
        patterns = [pattern for pattern in self.constants if fnmatch.fnmatchcase(name, pattern)]
        if not patterns:
            return output
        self.constants |= dict.fromkeys(patterns, True)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            output = tree_map(self.resolve, output)
            self._operation, self._handler = "held constant", None
            return _map_floats(lambda t: self._hold(t, name) if self.is_signal(t) else t, output)

    def _hold(self, x: Tensor, name: str) -> Tensor:
        out = self.attach(Held(), x.detach(), [x], replace(self.signals[x], low=None, high=None))
        self.steps[-1].name = name
        return out

    def let_out(self, output: Any, name: str) -> Any:
        """A module's output; a step of its own, if its relevance is asked for."""
        patterns = [pattern for pattern in self.layers if name and fnmatch.fnmatchcase(name, pattern)]
        if not patterns:
            return output
        x = self.resolve(output)
        if not self.is_signal(x):
            if isinstance(x, Tensor):
                raise ValueError(f"the output of '{name}' does not depend on the clip, so no relevance is there")
            raise ValueError(
                f"'{name}' returns a {type(x).__name__}, not one tensor: name modules inside of it instead"
            )
        if any(name in self.layers[pattern] for pattern in patterns):
            raise ValueError(
                f"'{name}' runs several times in one forward, so its output is no one tensor: name a module around it"
            )
        for pattern in patterns:
            self.layers[pattern].append(name)
        return self.perform(_outlet, (output, name), {})

    # ------------------------------------------------------------------ operations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DERIVATIVES:
            raise UnsupportedOperation([f"{self._module() or 'the forward'} ({plain_name(func)}): {GRADIENT}"])
        if not any(isinstance(x, Tensor) for x in tree_flatten((args, kwargs))[0]):
            return func(*args, **kwargs)  # also how torch.no_grad() announces itself
        if getattr(func, "__name__", "") in LEAVES_TORCH:
            with torch._C.DisableTorchFunction(), torch.no_grad():
                return func(*tree_map(lambda x: self._value(x), args), **kwargs)
        if (written_out := written_in_python(func)) is not None and self._touches_signal(args, kwargs):
            with self._again():
                return written_out(*args, **kwargs)
        if self.seeded and func in DROPOUTS and self._touches_signal(args, kwargs):
            return self._dropped(func, *args, **kwargs)
        target = without_inplace(func)
        if target is None:
            return self.perform(handler_of(func), args, kwargs, func)
        if not self._touches_signal(args, kwargs):
            return self._constant_inplace(func, args, kwargs)
        if func is Tensor.__setitem__ and self._memory.is_itself(*args):
            return None  # the last step of `x[index] += y`, after the in-place sum
        out = self.perform(handler_of(target), args, kwargs, target)
        # nothing is overwritten: an activation may still be needed, a parameter is the user's
        out = self._write(args[0], out)
        return None if func is Tensor.__setitem__ else out

    def _dropped(self, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Active dropout as the factor that it is, so that frames can be replayed with the same one."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            factor = func(torch.ones_like(self.resolve(x)), *args, **{**kwargs, "inplace": False})
        out = self.perform(handler_of(torch.mul), (x, factor), {}, torch.mul)
        return self._write(x, out) if kwargs.get("inplace") else out

    @contextmanager
    def _again(self) -> Iterator[None]:
        """Active again inside a function that it stopped for."""
        super().__enter__()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _touches_signal(self, args: Any, kwargs: Any) -> bool:
        return any(self.is_signal(self.resolve(x)) for x in tree_flatten((args, kwargs))[0])

    def _constant_inplace(self, func: TorchFunction, args: Any, kwargs: Any) -> Any:
        """Constants may be written to, but never the model's own."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            target, *others = tree_map(self.resolve, list(args))
            if self._memory.is_own(target) or self._memory.is_written(args[0]):
                copy = target.clone()
                out = func(copy, *others, **tree_map(self.resolve, kwargs))
                other = self._write(args[0], copy)
                return other if out is not None else None
            return func(target, *others, **tree_map(self.resolve, kwargs))

    def perform(self, handler: Handler | None, args: Any, kwargs: Any, func: Any = None) -> Any:
        """Run an operation: by its handler if a signal is among its arguments, else as the constant it is."""
        with torch._C.DisableTorchFunction(), torch.inference_mode(False):
            values = tree_map(self.resolve, (args, kwargs))
        given = zip(tree_flatten((args, kwargs))[0], tree_flatten(values)[0], strict=True)
        before = len(self._given)
        self._given += [(x, value) for x, value in given if x is not value]
        try:
            out = self._perform(handler, values[0], values[1], func)
            if self._stands_for is not None and out is self._stands_for[0]:
                out = self._stands_for[1]
        finally:
            del self._given[before:]
            self._stands_for = None
        moves = handler is None and plain_name(func) not in TAKES_ONLY_THE_SHAPE
        self._memory.follow(func, moves, (args, kwargs), values, out)
        return out

    def _perform(self, handler: Handler | None, args: Any, kwargs: Any, func: Any = None) -> Any:
        """The same, of arguments that are what they are now."""
        tracking = self._inside or (torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        with torch._C.DisableTorchFunction(), torch.inference_mode(False):
            signals = [x for x in tree_flatten((args, kwargs))[0] if self.is_signal(x)]
            if not signals and func is not None:
                with torch.no_grad():
                    return self._of_constants(func, args, kwargs)
            scope = self._innermost()
            if kwargs.get("out") is not None:  # written, in torch, into a tensor the caller made
                kwargs = dict(kwargs)
                into = kwargs.pop("out")
                return self._write(into, self._perform(handler, args, kwargs, func))
            with self._performing(handler, func):
                if handler is None:
                    out = self._unregistered(func, args, kwargs, signals)
                else:
                    with torch.no_grad():
                        out = handler(*args, **kwargs)
                if not tracking:
                    out = self._untracked(out)
            if not self._inside and signals:
                args, kwargs, tokens = tree_map(self._tokenised, (args, kwargs, out))
                self._tape.append(Call(handler, func, args, kwargs, tokens, scope, self._autocast()))
            return out

    def _of_constants(self, func: TorchFunction, args: Any, kwargs: Any) -> Any:
        """As it is; but nothing is written into what is the model's own."""
        into = kwargs.get("out")
        if not isinstance(into, Tensor) or not (self._memory.is_own(into) or self._memory.is_written(into)):
            return func(*args, **kwargs)
        copy = into.clone()
        func(*args, **{**kwargs, "out": copy})
        return self._write(into, copy)

    def _autocast(self) -> torch.dtype | None:
        enabled = torch.is_autocast_enabled(self._device)
        return torch.get_autocast_dtype(self._device) if enabled else None

    # ------------------------------------------------------------------ the tape

    def token(self, x: Tensor) -> Token:
        """What stands for a tensor in the tape."""
        return self._tape.token(x)

    def _tokenised(self, x: Any) -> Any:
        return self.token(x) if self.is_signal(x) else x

    def replay(self, given: dict[Token, Tensor], output: Tensor, keep: bool = False) -> Tensor | None:
        """What `output` becomes if the tensors behind some tokens are others; None if it needs more than those.

        Only the operations that depend on them are run again, as they were called. With `keep`, they join the tape and
        can be replayed themselves.
        """
        with self, torch.inference_mode(False), torch.enable_grad():
            return self._tape.replay(given, self.token(output), self._call_again, keep)

    def _call_again(self, call: Call, args: Any, kwargs: Any) -> Any:
        self._scopes += [call.scope] if call.scope else []
        try:
            with torch.autocast(self._device, call.autocast, enabled=call.autocast is not None):
                return self._perform(call.handler, args, kwargs, call.func)
        finally:
            self._scopes.pop() if call.scope else None

    @contextmanager
    def _performing(self, handler: Handler | None, func: Any) -> Iterator[None]:
        """Steps made inside belong to this operation, the outermost one."""
        if self._inside:
            yield
            return
        self._inside, self._handler = True, handler
        self._operation = handler.__name__ if func is None else plain_name(func)  # type: ignore[union-attr]
        try:
            yield
        finally:
            self._inside = False

    def refuse(self, advice: str, output: Output, signals: Sequence[Tensor], signal: Signal | None = None) -> Output:
        """Let the forward go on, but mark the result: relevance that would reach it is refused by name."""
        signal = Signal() if signal is None else signal
        return _map_floats(lambda t: self.attach(Unsupported(advice), t.detach(), signals, replace(signal)), output)

    def _untracked(self, out: Any) -> Any:
        """What the model computes without gradient is part of it all the same: not passed over, refused."""
        return _map_floats(
            lambda t: self.attach(Unsupported(NO_GRAD), t.detach(), [t], Signal()) if self.is_signal(t) else t,
            out,
        )

    def _unregistered(self, func: TorchFunction, args: Any, kwargs: Any, signals: list[Tensor]) -> Any:
        """A function nobody registered: taken as it is where it only moves values, else refused."""
        if plain_name(func) in LIKE_ANOTHER:
            signals = [x for x in signals if x is args[0]]
            if not signals:
                with torch.no_grad():
                    return func(*args, **kwargs)
        with torch.enable_grad():  # of the signals alone: a parameter beside them is a constant
            out = func(*tree_map(self._without_history, args), **tree_map(self._without_history, kwargs))
        results = [t for t in tree_flatten(out)[0] if isinstance(t, Tensor) and t.is_floating_point()]
        if not results or plain_name(func) in TAKES_ONLY_THE_SHAPE:
            return out
        limits = {signal.grad_fn for signal in signals}
        if not all(only_moves(t, limits) for t in results):
            return self.refuse(advice_for(func), out, signals)
        outgoing = self.signals.through(func, args, kwargs, signals, len(results), self.answers)
        for t, signal in zip(results, outgoing, strict=True):
            self.moved(t, signal)
        return out

    def _without_history(self, x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) and x.requires_grad and not self.is_signal(x) else x

    def moved(self, out: Tensor, signal: Signal) -> Tensor:
        """Record a rearrangement: torch's own node carries its relevance."""
        self.signals[out] = signal
        step = Rearrangement()
        step.name, step.operation, step.shape = self._take_name(), self._operation, out.shape
        self.steps.append(step)
        return out

    def input_mask(self, x: Tensor) -> Tensor:
        """1 where `x` descends from the clip, 0 where it is a constant."""
        return self.signals.input_mask(x)


def _outlet(x: Tensor, name: str) -> Tensor:
    """No closure over the tracer: its tape would hold it, and no collector sees a circle through autograd's graph."""
    tracer = active_tracer()
    out = tracer.attach(Outlet(name, x.shape), x.detach(), [x], replace(tracer.signals[x]))
    tracer.steps[-1].name = name
    return out


def _map_floats(change: Callable[[Tensor], Tensor], out: Output) -> Output:
    leaves, spec = tree_flatten(out)
    changed = [change(t) if isinstance(t, Tensor) and t.is_floating_point() else t for t in leaves]
    return cast(Output, tree_unflatten(changed, spec))
