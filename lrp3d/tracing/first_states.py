"""The first state of a recurrence that is written by hand: zeros, and what layers make of these."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lrp3d.tracing.torch_functions import plain_name
from lrp3d.tracing.trees import leaves

_ZEROS = {"zeros", "zeros_like", "new_zeros"}
_LAYERS = {"linear", "conv1d", "conv2d", "conv3d", "convolution", "matmul", "mm", "bmm", "addmm", "einsum"}
_MOVES = {*"chunk clone contiguous double expand expand_as flatten float getitem half index_select movedim".split()}
_MOVES |= {*"narrow permute repeat reshape select split squeeze stack to transpose type_as unbind unsqueeze".split()}
_MOVES |= {"view", "view_as"}


class _State(NamedTuple):
    is_made: bool
    """Whether a layer made it of zeros; else it is zeros."""
    version: int
    """How often it had been written to: what is written into zeros is a table of its own."""


class FirstStates:
    """Constants that a forward makes of zeros and a layer, as a gated cell does in its first step.

    A gate that weighs one of them weighs no memory, just as it weighs none where the state itself is zero.
    """

    def __init__(self) -> None:
        self._states: MutableMapping[Tensor, _State] = WeakTensorKeyDictionary()

    def __contains__(self, x: Any) -> bool:
        """Whether a layer made this constant of zeros."""
        state = self._of(x)
        return state is not None and state.is_made

    def are_zeros(self, x: Any) -> bool:
        """Whether the forward made this constant as zeros, and nothing was written to it since."""
        state = self._of(x)
        return state is not None and not state.is_made

    def _of(self, x: Any) -> _State | None:
        state = self._states.get(x) if isinstance(x, Tensor) and not x.is_inference() else None
        return state if state is not None and state.version == x._version else None

    def note(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Takes note of what a function, or the handler that stands for it, returned."""
        name = plain_name(func)
        if name in _ZEROS:
            self._keep(output, False)
        if not self._states:
            return
        given = [x for x in leaves(args, kwargs) if isinstance(x, Tensor)]
        states = [state for x in given if (state := self._of(x)) is not None]
        others = [x for x in given if self._of(x) is None]
        if not states:
            return
        if name in _LAYERS and all(isinstance(x, nn.Parameter) for x in others):
            self._keep(output, True)
        elif name in _MOVES and not others:
            self._keep(output, all(state.is_made for state in states))
        elif name == "add" and others and all(isinstance(x, nn.Parameter) and x.dim() == 1 for x in others):
            self._keep(output, any(state.is_made for state in states))  # with the bias of the layer

    def _keep(self, output: Any, is_made: bool) -> None:
        for x in leaves(output):
            if isinstance(x, Tensor) and not isinstance(x, nn.Parameter) and not x.is_inference():
                self._states[x] = _State(is_made, x._version)
