"""One forward pass of a twin, followed operation by operation.

A `Tracer` is the TorchFunctionMode that is active only in the twin's forward. It gives every function its handler, and
records the steps and what is known about tensors (`Recorder`). All state belongs to the pass, none to a module: modules
may be used twice, threads may run at once, and an exception needs no clean-up.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lrp3d.errors import UnsupportedOperation
from lrp3d.printed import with_article
from lrp3d.registry import Handler, TorchFunction, active_tracer, current_tracer, handler_of
from lrp3d.steps.elementwise import PassThrough
from lrp3d.steps.ends import ConstantOutput, Outlet, Unsupported
from lrp3d.steps.step import GRADIENT, Token
from lrp3d.steps.writes import Shared
from lrp3d.tracing.activations import BY_HAND, Activations, sign_of
from lrp3d.tracing.advice import BITS, COMPLEX, COPIED, NO_GRAD, STALE, TRANSFORMED, advice_for
from lrp3d.tracing.choices import Choices
from lrp3d.tracing.inplace import Write, WrittenMemory
from lrp3d.tracing.recorder import Recorder, map_floats
from lrp3d.tracing.signals import Signal, Weighs
from lrp3d.tracing.tape import Call
from lrp3d.tracing.torch_functions import (
    DROPOUTS,
    LEAVES_TORCH,
    LIKE_ANOTHER,
    READS_VALUES,
    TAKES_ONLY_THE_SHAPE,
    only_moves,
    overwritten,
    plain_name,
    without_inplace,
    written_in_python,
)
from lrp3d.tracing.trees import leaves, mapped

_OUTPUT_FIRST = (nn.RNNBase, nn.MultiheadAttention)
_DERIVATIVES = {torch.autograd.grad, torch.autograd.backward, Tensor.backward}


class Tracer(Recorder, TorchFunctionMode):
    """Follows one forward pass; see the module's docstring."""

    def __init__(
        self,
        own: Sequence[Tensor] = (),
        choices: Choices | None = None,
        constants: Sequence[str] = (),
        seeded: bool = False,
        layers: Sequence[str] = (),
        past_answers: Sequence[bool] = (),
    ):
        super().__init__(choices, past_answers)
        self.seeded = seeded
        """Whether the caller gave a seed for random numbers; active dropout is then a factor like any other."""
        self.constants: dict[str, bool] = dict.fromkeys(constants, False)
        """Patterns of modules whose outputs are held constant, and whether such a module was met."""
        self.layers: dict[str, list[str]] = {pattern: [] for pattern in layers}
        """Patterns of modules whose outputs become steps of their own, and the modules that were met."""
        self.ran: set[str] = set()
        """The modules that ran, by name."""
        self.read_out: list[str] = []
        """Where the forward takes values of signals out of torch, as numbers or arrays."""
        self._decided: MutableMapping[Tensor, None] = WeakTensorKeyDictionary()
        """Tensors without derivative (masks, indices) that were computed from signals."""
        self.not_outlets: dict[str, str] = {}
        """Modules that a pattern met and whose output cannot be such a step, and the reason why."""
        self.activations: Activations = Activations(self.signals)
        """Functions of one signal alone, which the forward may write in several operations."""
        self._memory = WrittenMemory(own)
        self._current_values: list[tuple[Tensor, Tensor]] = []
        """The tensors that the model gave to the running operations, and their current values."""
        self._replacement: tuple[Tensor, Tensor] | None = None
        """The result of a handler that was written to its argument, and the tensor to return in its place."""

    # ------------------------------------------------------------------ entering and leaving

    def __enter__(self) -> Tracer:
        self._token = current_tracer.set(self)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]  # torch does not annotate it
        current_tracer.reset(self._token)

    # ------------------------------------------------------------------ tensors changed in place

    def replace(self, old: Tensor, new: Tensor) -> None:
        """Redirects later reads of `old`, an argument of the running handler, and of its memory to its result `new`."""
        self._replacement = new, self._write(old, new)

    def _write(self, old: Tensor, new: Tensor) -> Tensor:
        """Redirects later reads of `old` and of every view of its memory to `new`; returns the tensor to hand out."""
        old = next((argument for argument, value in reversed(self._current_values) if value is old), old)
        other = self._memory.write(old, new)
        if self.is_signal(new):
            self.signals[other] = self.signals[new]
        return other

    def _rewritten(self, value: Tensor, view: Tensor | None, write: Write) -> Tensor:
        """What `value`, which lies at a view of its block, becomes by a write."""
        if view is not None and write.view is not None:
            shared = Shared.of(view, write.view)
            if shared.read == shared.written:
                return write.value
            if not any(shared.overlap()):
                return value
            if not shared.read.repeats and not shared.written.repeats:
                with torch.enable_grad(), self.outside_layers():  # not a part of the layer that reads the value
                    return cast(
                        Tensor, self.perform_on_values(handler_of(overwritten), (value, write.value, shared), {})
                    )
        signals = [x for x in (value, write.value) if self.is_signal(x)]
        if not signals:
            raise UnsupportedOperation([f"{self.place} (in-place): {STALE}"])
        return self.refuse(STALE, value.detach(), signals)

    def forget_writes(self) -> None:
        """Forgets all writes, because the forward is over."""
        self._memory.forget()

    def resolve(self, x: Any) -> Any:
        """The current value of the tensor `x`."""
        if not isinstance(x, Tensor):
            return x
        latest = self._memory.latest(x, self._rewritten)
        self.adopt(latest, self._module())
        return self.past.get(latest, latest) if self.past else latest

    def _value(self, x: Any) -> Any:
        """The current value without history, for numpy arrays and numbers; a copy if the memory is the model's own."""
        x = self.resolve(x)
        if not isinstance(x, Tensor):
            return x
        return x.detach().clone() if self._memory.is_own(x) else x.detach()

    def hold_constant(self, output: Any, name: str) -> Any:
        """A module's output; held constant if it matches `constants`."""
        patterns = [pattern for pattern in self.constants if fnmatch.fnmatchcase(name, pattern)]
        if not patterns:
            return output
        self.constants |= dict.fromkeys(patterns, True)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            output = mapped(self.resolve, output)
            self._operation, self._handler = "held constant", None
            return map_floats(lambda t: self._hold_tensor(t, name) if self.is_signal(t) else t, output)

    def _hold_tensor(self, x: Tensor, name: str) -> Tensor:
        signal = replace(self.signals[x], low=None, high=None)
        return self.attach(ConstantOutput(), x.detach(), [x], signal, name=name)

    def add_outlet(self, output: Any, name: str, module: nn.Module) -> Any:
        """A module's output; its only tensor becomes a step of its own if the module matches `layers`."""
        self.ran.add(name)
        patterns = [pattern for pattern in self.layers if name and fnmatch.fnmatchcase(name, pattern)]
        if not patterns:
            return output
        tensors = output_tensors(output, module)
        with torch._C.DisableTorchFunction(), torch.no_grad():  # what was written to a tensor is a step that follows
            signals = [x for x in tensors if self.is_signal(self.resolve(x))]
        reason = self._not_outlet(output, tensors, len(signals), name, patterns)
        if reason and name in patterns:
            raise ValueError(reason)
        for pattern in patterns:
            self.layers[pattern].append(name)
        if reason:
            self.not_outlets[name] = reason
            return output
        (signal,) = signals
        outlet = self.perform(_outlet, (signal, name), {})
        return mapped(lambda leaf: outlet if leaf is signal else leaf, output)

    def _not_outlet(
        self, output: Any, tensors: Sequence[Tensor], signals: int, name: str, patterns: Sequence[str]
    ) -> str:
        """Why an output of a module, of whose tensors some are signals, has no single tensor with relevance, if so."""
        if any(name in self.layers[pattern] for pattern in patterns):
            return (
                f"'{name}' runs several times in one forward, so its output is not a single tensor: name a module "
                "around it"
            )
        if signals == 1:
            return ""
        if tensors and not signals:
            return f"the output of '{name}' does not depend on the clip, so it has no relevance"
        what = with_article(type(output).__name__) + (f" with {signals} tensors" if signals else "")
        return f"'{name}' returns {what}, not one tensor: name modules inside of it instead"

    # ------------------------------------------------------------------ operations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DERIVATIVES:
            raise UnsupportedOperation([f"{self.place} ({plain_name(func)}): {GRADIENT}"])
        if not any(isinstance(x, Tensor) for x in leaves(args, kwargs)):
            out = func(*args, **kwargs)  # torch.no_grad() also arrives here
            self.first_states.note(func, args, kwargs, out)
            return out
        if any(self._is_transformed(x) for x in leaves(args, kwargs)):
            raise UnsupportedOperation([f"{self.place} ({plain_name(func)}): {TRANSFORMED}"])
        if getattr(func, "__name__", "") in LEAVES_TORCH:
            self._note_reading(func, args, kwargs)
            with torch._C.DisableTorchFunction(), torch.no_grad():
                return func(*mapped(lambda x: self._value(x), args), **kwargs)
        written_out = written_in_python(func) if handler_of(func) is None else None  # a user's own handler comes first
        if written_out is not None and self._touches_signal(args, kwargs):
            with self._reactivated():
                return written_out(*args, **kwargs)
        if self.seeded and func in DROPOUTS and self._touches_signal(args, kwargs):
            return self.dropout(func, *args, **kwargs)
        target = without_inplace(func)
        if target is None:
            return self.perform(handler_of(func), args, kwargs, func)
        if not self._touches_signal(args, kwargs):
            return self._constant_inplace(func, args, kwargs)
        if func is Tensor.__setitem__ and self._memory.is_itself(*args):
            return None  # the last step of `x[index] += y`, which follows the in-place sum
        out = self.perform(handler_of(target), args, kwargs, target)
        # nothing is overwritten: an activation may still be needed, a parameter is the user's
        out = self._write(args[0], out)
        return None if func is Tensor.__setitem__ else out

    def _note_reading(self, func: Any, args: Any, kwargs: Any) -> None:
        """Notes that values of a signal leave torch; whatever comes back of them is a constant to the graph."""
        place = f"{self.place} ({plain_name(func)})"
        if plain_name(func) in READS_VALUES and place not in self.read_out and self._touches_signal(args, kwargs):
            self.read_out.append(place)

    def dropout(self, func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Active dropout as a constant factor, so that frames can be replayed with the same factor."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            factor = func(torch.ones_like(self.resolve(x)), *args, **{**kwargs, "inplace": False})
        out = self.perform(handler_of(torch.mul), (x, factor), {}, torch.mul)
        return self._write(x, out) if kwargs.get("inplace") else out

    @contextmanager
    def _reactivated(self) -> Iterator[None]:
        """Activates the tracer again inside a function for which torch switched it off."""
        super().__enter__()  # type: ignore[no-untyped-call]  # torch does not annotate it
        try:
            yield
        finally:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]  # torch does not annotate it

    def _touches_signal(self, args: Any, kwargs: Any) -> bool:
        return any(self.is_signal(self.resolve(x)) for x in leaves(args, kwargs))

    def depends_on_clip(self, x: Any) -> bool:
        """Whether `x` is a signal or a mask, an index, that was computed from one."""
        return self.is_signal(x) or (isinstance(x, Tensor) and x in self._decided)

    def _follow_decisions(self, out: Any, args: Any, kwargs: Any) -> None:
        """Takes note of results that are no signals, but depend on signals."""
        if any(self.depends_on_clip(x) for x in leaves(args, kwargs)):
            for x in leaves(out):
                if isinstance(x, Tensor) and not self.is_signal(x):
                    self._decided[x] = None

    def _is_transformed(self, x: Any) -> bool:
        """Whether a transform of torch.func has wrapped a signal, which would go through it as a constant."""
        wrapped = False
        with torch._C.DisableTorchFunction():
            while isinstance(x, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(x):
                wrapped, x = True, torch._C._functorch.get_unwrapped(x)
            return wrapped and self.is_signal(self.resolve(x))

    def _constant_inplace(self, func: TorchFunction, args: Any, kwargs: Any) -> Any:
        """Writes to a constant in place, but never to the memory of the model."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            target, *others = mapped(self.resolve, list(args))
            if self._memory.is_own(target) or self._memory.is_written(args[0]):
                copy = target.clone()
                out = func(copy, *others, **mapped(self.resolve, kwargs))
                other = self._write(args[0], copy)
                if self._decided:
                    self._follow_decisions((copy, other), others, kwargs)
                return other if out is not None else None
            out = func(target, *others, **mapped(self.resolve, kwargs))
            if self._decided:
                self._follow_decisions(target, others, kwargs)
            return out

    def perform(self, handler: Handler | None, args: Any, kwargs: Any, func: Any = None) -> Any:
        """Run an operation: with its handler if an argument is a signal, else unchanged, as a constant."""
        with torch._C.DisableTorchFunction(), torch.inference_mode(False):
            values = mapped(self.resolve, (args, kwargs))
        pairs = zip(leaves(args, kwargs), leaves(values), strict=True)
        before = len(self._current_values)
        self._current_values += [(x, value) for x, value in pairs if x is not value]
        try:
            out = self.perform_on_values(handler, values[0], values[1], func)
            if self._replacement is not None and out is self._replacement[0]:
                out = self._replacement[1]
        finally:
            del self._current_values[before:]
            self._replacement = None
        moves = handler is None and plain_name(func) not in TAKES_ONLY_THE_SHAPE
        self._memory.follow(func, moves, (args, kwargs), values, out)
        self.first_states.note(func or handler, values[0], values[1], out)
        return out

    def perform_on_values(self, handler: Handler | None, args: Any, kwargs: Any, func: Any = None) -> Any:
        """The same, for arguments that have their current values."""
        tracking = self._inside or (torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        with torch._C.DisableTorchFunction(), torch.inference_mode(False):
            signals = [x for x in leaves(args, kwargs) if self.is_signal(x)]
            if not signals and func is not None:
                with torch.no_grad():
                    out = self._run_constants(func, args, kwargs)
                    if self._decided:
                        self._follow_decisions(out, args, kwargs)
                    return out
            scope = self._innermost()
            if kwargs.get("out") is not None:  # torch would write into a tensor that the caller made
                kwargs = dict(kwargs)
                target = kwargs.pop("out")
                return self._write(target, self.perform_on_values(handler, args, kwargs, func))
            is_outermost, before = not self._inside, len(self.steps)
            with self._performing(handler, func):
                if handler is None:
                    out = self._run_unregistered(func, args, kwargs, signals)
                else:
                    with torch.no_grad():
                        out = handler(*args, **kwargs)
                if is_outermost and self._replacement is None:
                    out = self._as_activation(func, args, kwargs, out, before)
                if not tracking:
                    out = self._refuse_untracked(out)
            if not self._inside and signals:
                tokens_by_id = {id(x): self.token(x) for x in signals}
                args, kwargs = mapped(lambda x: tokens_by_id.get(id(x), x), (args, kwargs))
                tokens = mapped(self._tokenised, out)
                self._tape.append(Call(handler, func, args, kwargs, tokens, scope, self._autocast()))
            return out

    def _as_activation(self, func: Any, args: Any, kwargs: Any, out: Any, before: int) -> Any:
        """The result of an operation, through which relevance passes to the one signal that an activation is of.

        Its step takes the place of those that were made for the operation, the first of which has the number `before`.
        """
        of = self.activations.of_one_signal(func, args, kwargs, out)
        if of is None:
            return out
        step = PassThrough(of.shape, factor=sign_of(out, of))
        known = replace(self.signals[out], product=None, scaled=None)
        site = self.steps[-1].site
        del self.steps[before:]
        activated = self.attach(step, out.detach(), [of], known, note=BY_HAND, name=site.name, like=site)
        self.activations.completed(activated, of)
        return activated

    def _run_constants(self, func: TorchFunction, args: Any, kwargs: Any) -> Any:
        """Runs a function of constants, but never lets it write into the memory of the model."""
        target = kwargs.get("out")
        if not isinstance(target, Tensor) or not (self._memory.is_own(target) or self._memory.is_written(target)):
            return func(*args, **kwargs)
        copy = target.clone()
        func(*args, **{**kwargs, "out": copy})
        return self._write(target, copy)

    def _autocast(self) -> torch.dtype | None:
        enabled = torch.is_autocast_enabled(self._device)
        return torch.get_autocast_dtype(self._device) if enabled else None

    def _refuse_untracked(self, out: Any) -> Any:
        """Refuses signals that the model computes without gradients, because they belong to the model as well."""
        return map_floats(
            lambda t: self.attach(Unsupported(NO_GRAD), t.detach(), [t], self._cut(t)) if self.is_signal(t) else t,
            out,
        )

    def _cut(self, x: Tensor) -> Signal:
        """What is known about a signal from which the model takes no gradient: it may weigh, and get no relevance."""
        return Signal(nonnegative=self.signals[x].nonnegative, weighs=Weighs.STATISTIC)

    def _run_unregistered(self, func: TorchFunction, args: Any, kwargs: Any, signals: list[Tensor]) -> Any:
        """Runs a function without a handler: it is recorded if it only moves values, else its result is refused."""
        if plain_name(func) in LIKE_ANOTHER:
            signals = [x for x in signals if x is args[0]]
            if not signals:
                with torch.no_grad():
                    return func(*args, **kwargs)
        with torch.enable_grad():  # only signals keep their history: a parameter is a constant
            out = func(*mapped(self._without_history, args), **mapped(self._without_history, kwargs))
        tensors = [t for t in leaves(out) if isinstance(t, Tensor)]
        results = [t for t in tensors if t.is_floating_point() or t.is_complex()]
        if plain_name(func) in TAKES_ONLY_THE_SHAPE:
            filled = [x for x in leaves(args[1:], kwargs) if self.is_signal(x)]
            return self.refuse(COPIED, out, filled) if filled else out
        if not results and plain_name(func) == "view":
            raise UnsupportedOperation([f"{self.running}: {BITS}"])
        if not results:
            self._follow_decisions(out, args, kwargs)
            return out
        if any(t.is_complex() for t in (*results, *signals)):
            return self.refuse(COMPLEX, out, signals)
        limits = {signal.grad_fn for signal in signals}
        if not all(only_moves(t, limits) for t in results):
            is_cut = plain_name(func) == "detach"  # it may still weigh another signal, as a constant gate
            cut = self._cut(signals[0]) if is_cut else None
            return self.refuse(advice_for(func), out, signals, cut)
        outgoing = self.signals.through(func, args, kwargs, signals, len(results))
        for t, signal in zip(results, outgoing, strict=True):
            self.rearrange(t, signal)
        return out

    def _without_history(self, x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) and x.requires_grad and not self.is_signal(x) else x

    # ------------------------------------------------------------------ the tape

    def _tokenised(self, x: Any) -> Any:
        return self.token(x) if self.is_signal(x) else x

    def replay(self, inputs: dict[Token, Tensor], output: Tensor, keep: bool = False) -> Tensor | None:
        """What `output` becomes if some tokens stand for other tensors; None if it needs tensors beside these.

        Only the operations that depend on these tensors are run again, as they were called. With `keep`, they join the
        tape and can be replayed themselves.
        """
        with self, torch.inference_mode(False), torch.enable_grad():
            return self._tape.replay(inputs, self.token(output), self._call_again, keep)

    def _call_again(self, call: Call, args: Any, kwargs: Any) -> Any:
        if call.scope is not None:
            self._scopes.append(call.scope)
        try:
            with torch.autocast(self._device, call.autocast, enabled=call.autocast is not None):
                return self.perform_on_values(call.handler, args, kwargs, call.func)
        finally:
            if call.scope is not None:
                self._scopes.pop()


def output_tensors(output: Any, module: nn.Module) -> list[Tensor]:
    """The tensors of a module's output; torch's recurrent layers and attention return states or weights beside it."""
    whole = output[0] if isinstance(module, _OUTPUT_FIRST) else output
    return [x for x in leaves(whole) if isinstance(x, Tensor)]


def _outlet(x: Tensor, name: str) -> Tensor:
    """Attaches the `Outlet` of a module, unless nothing of the clip is left, as in a replay for a frame of one pathway.

    It is no closure over the tracer, because the tape would hold it, and no garbage collector sees a circle through
    autograd's graph.
    """
    tracer = active_tracer()
    if not tracer.is_signal(x):
        return x
    return tracer.attach(Outlet(x.shape), x.detach(), [x], replace(tracer.signals[x]), name=name)
