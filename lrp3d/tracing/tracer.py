"""One forward pass of a twin, followed operation by operation.

A `Tracer` is the TorchFunctionMode that lives in the twin's forward only. It gives every function its handler, and
records the steps and what is known of tensors (`Recorder`). All state belongs to the pass, none to a module: modules
may be used twice, threads may run at once, and an exception needs no clean-up.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from lrp3d.errors import UnsupportedOperation
from lrp3d.registry import Handler, TorchFunction, active_tracer, current_tracer, handler_of
from lrp3d.steps.step import GRADIENT, Held, Outlet, Token, Unsupported
from lrp3d.steps.writes import Shared
from lrp3d.tracing.advice import NO_GRAD, STALE, TRANSFORMED, advice_for
from lrp3d.tracing.choices import Choices
from lrp3d.tracing.inplace import Memory, Write
from lrp3d.tracing.recorder import Recorder, map_floats
from lrp3d.tracing.signals import Signal
from lrp3d.tracing.tape import Call
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
        remembered: Sequence[bool] = (),
    ):
        super().__init__(choices, remembered)
        self.seeded = seeded
        """The caller knows that random numbers are drawn, and which: active dropout is a factor like any other."""
        self.constants: dict[str, bool] = dict.fromkeys(constants, False)
        """Patterns of modules whose outputs are held constant, and whether one was met."""
        self.layers: dict[str, list[str]] = {pattern: [] for pattern in layers}
        """Patterns of modules whose outputs' relevance is asked for, and the modules that were met."""
        self._memory = Memory(own)
        self._given: list[tuple[Tensor, Tensor]] = []
        """Of the operations that are running, the tensors the model gave them, and what these are now."""
        self._stands_for: tuple[Tensor, Tensor] | None = None
        """What a handler returns that was written to its argument, and what to hand out in its place."""

    # ------------------------------------------------------------------ entering and leaving

    def __enter__(self) -> Tracer:
        self._token = current_tracer.set(self)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        current_tracer.reset(self._token)

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
        """Forgets all writes, because the forward is over."""
        self._memory.forget()

    def resolve(self, x: Any) -> Any:
        """The tensor that `x` stands for now."""
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

    def held(self, output: Any, name: str) -> Any:
        """A module's output; a constant to relevance, if the caller said so."""
        patterns = [pattern for pattern in self.constants if fnmatch.fnmatchcase(name, pattern)]
        if not patterns:
            return output
        self.constants |= dict.fromkeys(patterns, True)
        with torch._C.DisableTorchFunction(), torch.no_grad():
            output = tree_map(self.resolve, output)
            self._operation, self._handler = "held constant", None
            return map_floats(lambda t: self._hold(t, name) if self.is_signal(t) else t, output)

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
        if any(self._transforms_signal(x) for x in tree_flatten((args, kwargs))[0]):
            raise UnsupportedOperation([f"{self._module() or 'the forward'} ({plain_name(func)}): {TRANSFORMED}"])
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

    def _transforms_signal(self, x: Any) -> bool:
        """Whether a transform of torch.func has wrapped a signal, which would go through it as a constant."""
        wrapped = False
        with torch._C.DisableTorchFunction():
            while isinstance(x, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(x):
                wrapped, x = True, torch._C._functorch.get_unwrapped(x)
            return wrapped and self.is_signal(self.resolve(x))

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

    def _untracked(self, out: Any) -> Any:
        """What the model computes without gradient is part of it all the same: not passed over, refused."""
        return map_floats(
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
        outgoing = self.signals.through(func, args, kwargs, signals, len(results))
        for t, signal in zip(results, outgoing, strict=True):
            self.moved(t, signal)
        return out

    def _without_history(self, x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) and x.requires_grad and not self.is_signal(x) else x

    # ------------------------------------------------------------------ the tape

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


def _outlet(x: Tensor, name: str) -> Tensor:
    """No closure over the tracer: its tape would hold it, and no collector sees a circle through autograd's graph."""
    tracer = active_tracer()
    out = tracer.attach(Outlet(name, x.shape), x.detach(), [x], replace(tracer.signals[x]))
    tracer.steps[-1].name = name
    return out
