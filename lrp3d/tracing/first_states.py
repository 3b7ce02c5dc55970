"""The first state of a recurrence that is written by hand: zeros, and what layers make of these."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lrp3d.tracing.torch_functions import plain_name
from lrp3d.tracing.trees import leaves

_ZEROS = {"zeros", "zeros_like", "new_zeros"}
_LAYERS = {"linear", "conv1d", "conv2d", "conv3d", "convolution", "matmul", "mm", "bmm", "addmm", "einsum"}


class FirstStates:
    """Constants that a forward makes of zeros and parameters, as a gated cell does in its first step.

    A gate that weighs one of them weighs no memory, just as it weighs none where the state itself is zero.
    """

    def __init__(self) -> None:
        self._made: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()
        """Zeros (False), and what a layer made of them (True)."""

    def __contains__(self, x: Any) -> bool:
        """Whether a layer made this constant of zeros."""
        return isinstance(x, Tensor) and self._made.get(x, False)

    def note(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """Takes note of what a function, or the handler that stands for it, returned."""
        name = plain_name(func)
        if name in _ZEROS:
            self._keep(output, False)
        if not self._made:
            return
        given = [x for x in leaves(args, kwargs) if isinstance(x, Tensor)]
        states = [self._made[x] for x in given if x in self._made]
        others = [x for x in given if x not in self._made]
        if not states or not all(isinstance(x, nn.Parameter) for x in others):
            return
        is_made = name in _LAYERS or any(states)
        if is_made or not others:
            self._keep(output, is_made)

    def _keep(self, output: Any, is_made: bool) -> None:
        for x in leaves(output):
            if isinstance(x, Tensor) and not isinstance(x, nn.Parameter) and x.is_floating_point():
                self._made[x] = is_made
