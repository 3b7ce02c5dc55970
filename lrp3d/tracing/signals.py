"""What is known about tensors that descend from the clip: range, sign, constant values, likeness to a weight."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from lrp3d.compute.terms import Signed
from lrp3d.tracing.torch_functions import plain_name
from lrp3d.tracing.trees import leaves, mapped

COPIES = {"clone", "contiguous", "to", "cpu", "type_as", "float", "double", "half", "bfloat16"}
"""Functions that leave every value where it is."""
MOVES_AXES = {
    *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "T", "mT", "t", "adjoint", "mH"),
    *("flatten", "unflatten", "view", "reshape", "unsqueeze", "squeeze"),
}
"""Functions after which axes stand in another place, or are one."""


class Weighs(IntEnum):
    """How much a signal looks like a weight: of two factors, the one that looks more like it is the weight."""

    FEATURE = 0
    """What others weigh."""
    SIMILARITY = 1
    """A product of two features summed over an axis (queries and keys), or gates that went through a layer."""
    GATE = 2
    """Output of a sigmoid, of a softmax or the like: a share, a probability, a mask."""
    STATISTIC = 3
    """A norm's divisor or its parts (variance, reciprocal root): constant whatever the composite says."""

    @property
    def label(self) -> str:
        """The name that the inspection shows."""
        return self.name.lower()


class Product(NamedTuple):
    """A product of two signals, value by value."""

    shapes: tuple[torch.Size, torch.Size]
    """Those of the factors, without axes along which they are copies."""
    weight: int | None
    """Which of them is the weight; None if neither is."""

    def divided(self, shape: torch.Size) -> Product:
        """The same where the weight, or else the first factor, was divided by a signal of this shape of its own."""
        divided = self.weight or 0
        shapes = [torch.broadcast_shapes(own, shape) if i == divided else own for i, own in enumerate(self.shapes)]
        return Product((shapes[0], shapes[1]), self.weight)

    def moved(self, function: Callable[[Tensor], Tensor]) -> Product | None:
        """The same after a function that only moves axes; None where nothing says along which a factor is a copy."""
        full = torch.broadcast_shapes(*self.shapes)
        try:
            moved = [function(torch.empty(shape, device="meta").expand(full)) for shape in self.shapes]
        except (RuntimeError, ValueError, TypeError):
            return None
        first, second = (
            torch.Size(1 if stride == 0 else size for size, stride in zip(x.shape, x.stride(), strict=True))
            for x in moved
        )
        return Product((first, second), self.weight)

    def is_of_matrices(self, axes: Sequence[int]) -> bool:
        """Whether a sum over these axes, counted from the end, makes it a product of matrices.

        Both factors differ along a summed axis, and one of them is copied along another one, as the weights of
        attention are along channels. A gated unit (`x * sigmoid(x)`) whose values are added up is none.
        """
        summed = any(all(len(shape) >= -axis and shape[axis] > 1 for shape in self.shapes) for axis in axes)
        shape = torch.broadcast_shapes(*self.shapes)
        kept = [axis for axis in range(-len(shape), 0) if axis not in axes and shape[axis] > 1]
        return summed and any(len(own) < -axis or own[axis] == 1 for axis in kept for own in self.shapes)


class Scaled(NamedTuple):
    """A signal that a constant multiplied."""

    signal: Tensor
    factor: Tensor


@dataclass
class Signal:
    """What is known about a tensor that descends from the clip."""

    low: Tensor | None = None
    high: Tensor | None = None
    """Valid range, while the tensor is still the clip (moved or normalised)."""
    is_input: Tensor | None = None
    """0 where values are constants that the model wrote next to the signal, such as padding; None if all are inputs."""
    nonnegative: bool = False
    weighs: Weighs = Weighs.FEATURE
    """How much it looks like a weight in a product with another signal."""
    product: Product | None = None
    """How two signals were multiplied here, value by value: summed over an axis next, that is a product of matrices."""
    scaled: Scaled | None = None
    """What it was made of, if a constant multiplied it: if it is summed next, that may be a layer with a weight."""
    shifted: bool = False
    """Whether a constant was added; if it is clipped next, it is a hand-written hard sigmoid."""
    normed: bool = False
    """Whether a statistic divided it, and at most a constant multiplied it since: a constant that is added next may be
    the offset of a norm that is written by hand."""
    lowest: float | None = None
    """A number below which no value is, if that is negative and known."""

    def signed(self, x: Tensor) -> Signed:
        """The tensor as rules see it: its constant values are no inputs."""
        inputs = x if self.is_input is None else x * self.is_input
        return Signed(inputs, self.nonnegative, self.low, self.high, self.is_input)

    def through(self, function: Callable[[Tensor], Tensor]) -> Signal:
        """What is known about `function(x)` if the function only moves values."""
        low, high, is_input = (None if x is None else function(x) for x in (self.low, self.high, self.is_input))
        return replace(self, low=low, high=high, is_input=is_input, product=None, scaled=None)

    def elementwise(self, shape: torch.Size, monotone: Callable[[Tensor], Tensor] | None = None) -> Signal:
        """Range and constants of an output that was computed value by value; nothing else is known about it.

        Args:
            shape: shape of the output, to which the values may have been broadcast.
            monotone: the function, if its output is still the clip in other units; the range then goes through it.
        """
        is_input = None if self.is_input is None else self.is_input.expand(shape)
        if monotone is None or self.low is None or self.high is None:
            return Signal(is_input=is_input)
        ends = monotone(self.low), monotone(self.high)
        return Signal(torch.minimum(*ends), torch.maximum(*ends), is_input)


class Signals:
    """What is known about each tensor that descends from the clip in one forward pass; constants are not listed."""

    def __init__(self, answer: Callable[[Tensor], bool] = bool) -> None:
        """`answer` says whether a tensor of one value is true."""
        self._signals: MutableMapping[Tensor, Signal] = WeakTensorKeyDictionary()
        self._answer = answer

    def __getitem__(self, x: Tensor) -> Signal:
        return self._signals[x]

    def __setitem__(self, x: Tensor, signal: Signal) -> None:
        self._signals[x] = signal

    def __contains__(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x in self._signals

    def get(self, x: Any) -> Signal | None:
        """What is known about `x`; None if it is a constant."""
        return self._signals.get(x) if isinstance(x, Tensor) else None

    def input_mask(self, x: Tensor) -> Tensor:
        """1 where `x` descends from the clip, 0 where it is a constant."""
        signal = self.get(x)
        if signal is None:
            return torch.zeros_like(x)
        return torch.ones_like(x) if signal.is_input is None else signal.is_input

    def constants_among(self, is_input: Tensor, dtype: torch.dtype) -> Tensor | None:
        """The mask of the constants among a signal's values (`Signal.is_input`); None if there are none.

        Args:
            is_input: greater than zero where the clip had a part in the value.
            dtype: type of the signal.
        """
        is_input = is_input > 0
        return None if self._answer(is_input.all()) else is_input.to(dtype)

    def range_of_sum(
        self, summands: Sequence[tuple[Tensor, Callable[[Tensor], Tensor]]], constant: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The range of a sum of signals that are all still the clip.

        Args:
            summands: signals, each with the map through which it goes into the sum; no map reverses signs.
            constant: a constant that is added, if there is one.
        """
        low, high = [], []
        for x, map in summands:
            signal = self[x]
            assert signal.low is not None
            assert signal.high is not None
            low.append(map(signal.low))
            high.append(map(signal.high))
        if constant is not None:
            low[0], high[0] = low[0] + constant, high[0] + constant
        return sum(low[1:], low[0]), sum(high[1:], high[0])

    def through(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        inputs: Sequence[Tensor],
        results: int,
    ) -> list[Signal]:
        """What is known about each tensor that a function returns if the function only moves values.

        The function is applied to what is known about its inputs.

        Args:
            function: the function.
            args: its arguments.
            kwargs: its keyword arguments.
            inputs: the arguments that descend from the clip.
            results: number of tensors that it returns.
        """
        signals = [self[x] for x in inputs]
        tensors = [x for x in leaves(args, kwargs) if isinstance(x, Tensor) and x.is_floating_point()]

        def of_inputs(choose: Callable[[Tensor], Tensor | None]) -> list[Tensor | None]:
            chosen_args, chosen_kwargs = mapped(
                lambda x: choose(x) if isinstance(x, Tensor) and x.is_floating_point() else x, (args, kwargs)
            )
            with torch.no_grad():
                out = function(*chosen_args, **chosen_kwargs)
            return [t for t in leaves(out) if isinstance(t, Tensor)]

        nothing: list[Tensor | None] = [None] * results
        lows = highs = masks = nothing
        if all(signal.low is not None for signal in signals):
            lows = of_inputs(lambda x: self[x].low if any(x is y for y in inputs) else x)
            highs = of_inputs(lambda x: self[x].high if any(x is y for y in inputs) else x)
        if any(x not in self for x in tensors) or any(signal.is_input is not None for signal in signals):
            masks = of_inputs(self.input_mask)
        nonnegative = all(self[x].nonnegative if x in self else self._answer((x >= 0).all()) for x in tensors)
        shifted = all(signal.shifted for signal in signals)
        normed = all(signal.normed for signal in signals)
        product = signals[0].product
        if product is not None and plain_name(function) not in COPIES:

            def of_factor(factor: Tensor) -> Any:
                moved_args, moved_kwargs = mapped(lambda x: factor if x is inputs[0] else x, (args, kwargs))
                return function(*moved_args, **moved_kwargs)

            product = product.moved(of_factor) if plain_name(function) in MOVES_AXES else None
        return [
            Signal(lows[i], highs[i], masks[i], nonnegative, least(signals), product, shifted=shifted, normed=normed)
            for i in range(results)
        ]


def least(signals: list[Signal]) -> Weighs:
    """How much a sum or a rearrangement of signals looks like a weight: no more than any of them."""
    return min((signal.weighs for signal in signals), default=Weighs.FEATURE)
