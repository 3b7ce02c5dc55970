"""The tape of a forward pass: its operations as they were called, so that some of them can be run again.

The logits of a frame are what the last operations of a model compute from the features of this frame alone, so these
operations are run again once for every frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from lrp3d.registry import Handler
from lrp3d.steps.step import Token
from lrp3d.tracing.scope import Scope
from lrp3d.tracing.trees import leaves, mapped


class Call(NamedTuple):
    """One operation as it was called, with tokens in place of the tensors that descend from the clip."""

    handler: Handler | None
    func: Any
    args: Any
    kwargs: Any
    out: Any
    scope: Scope | None
    autocast: torch.dtype | None
    """The type to which the model's own `torch.autocast` block casts, None outside of one."""


class _Entry(NamedTuple):
    """A call on the tape, with the tokens among its arguments and among its results, which every replay asks for."""

    call: Call
    reads: set[Token]
    writes: set[Token]


class Tape:
    """The operations of one forward pass, in order.

    Tensors that descend from the clip are stored as tokens, so that the tape keeps no activation alive.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._tokens: MutableMapping[Tensor, Token] = WeakTensorKeyDictionary()
        self._numbers = itertools.count()

    def token(self, x: Tensor) -> Token:
        """The token that stands for a tensor."""
        if x not in self._tokens:
            self._tokens[x] = Token(next(self._numbers))
        return self._tokens[x]

    def append(self, call: Call) -> None:
        """Appends an operation that was called."""
        self._entries.append(_Entry(call, _tokens(call.args, call.kwargs), _tokens(call.out)))

    def replay(
        self, inputs: dict[Token, Tensor], output: Token, perform: Callable[[Call, Any, Any], Any], keep: bool
    ) -> Tensor | None:
        """What `output` becomes if some tokens stand for other tensors; None if it needs tensors beside these.

        Args:
            inputs: the other tensors by their tokens.
            output: the token of the result.
            perform: runs a call with other arguments and keyword arguments; what it appends belongs to the replay.
            keep: whether the replayed operations join the tape, so that they can be replayed themselves.
        """
        entries, self._entries = self._entries, []
        tensors: dict[Token, Any] = dict(inputs)
        for call, reads, writes in entries:
            if tensors.keys().isdisjoint(reads) or not inputs.keys().isdisjoint(writes):
                continue
            if not tensors.keys() >= reads:
                self._entries = entries
                return None
            args, kwargs = mapped(lambda x: tensors[x] if isinstance(x, Token) else x, (call.args, call.kwargs))
            out = perform(call, args, kwargs)
            for token, x in zip(leaves(call.out), leaves(out), strict=True):
                if isinstance(token, Token):
                    tensors[token] = x
        self._entries = entries + self._entries if keep else entries
        return tensors.get(output)


def _tokens(*trees: Any) -> set[Token]:
    return {leaf for leaf in leaves(*trees) if isinstance(leaf, Token)}
