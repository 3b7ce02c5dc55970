"""z-beta: contributions within the range of valid inputs, for the layer that sees the clip."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lrp3d.compute.terms import Share, Signed
from lrp3d.rules.contributions import term
from lrp3d.rules.parameters import check_finite
from lrp3d.rules.rule import Rule
from lrp3d.values import as_tensor


@dataclass(frozen=True)
class ZBeta(Rule):
    """For the layer that sees the clip: `a w - low w+ - high w-` (z-beta; paper Sec. 3.1, Montavon et al. 2017).

    `low` and `high` are the valid range of an input: numbers, or tensors that broadcast with it, such as (c, 1, 1, 1)
    for one value per channel. An end that is not given is that of the range tracked from the clip.

    >>> import torch, lrp3d
    >>> head = torch.nn.Linear(2, 1, bias=False).eval()
    >>> head.weight.data = torch.tensor([[1., -2.]])
    >>> x = torch.tensor([[1., 3.]], requires_grad=True)
    >>> twin = lrp3d.convert(head, lrp3d.Composite(layers={torch.nn.Linear: lrp3d.rules.ZBeta(0., 4.)}))
    >>> torch.autograd.grad(twin(x), x, torch.tensor([[5.]]))[0]
    tensor([[1.6667, 3.3333]])
    """

    absorbs = False

    low: float | Tensor | None = None
    high: float | Tensor | None = None

    @property
    def elementwise(self) -> bool:  # type: ignore[override]  # follows from the ends, cannot be set
        """Whether the ends are numbers: tensors have axes of their own."""
        return not isinstance(self.low, Tensor) and not isinstance(self.high, Tensor)

    def __eq__(self, other: object) -> bool:
        return self._ends == other._ends if isinstance(other, ZBeta) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._ends)

    @property
    def _ends(self) -> tuple[Any, ...]:
        """The range as plain numbers, which can be compared."""
        ends = (self.low, self.high)
        return tuple((tuple(x.shape), *x.flatten().tolist()) if isinstance(x, Tensor) else x for x in ends)

    def __post_init__(self) -> None:
        ends = [end for end in ("low", "high") if getattr(self, end) is not None]
        for end in ends:
            if not isinstance(value := getattr(self, end), (numbers.Real, Tensor)):
                raise TypeError(f"{end} of ZBeta must be a number or a tensor, got {value!r}")
        check_finite(self, *ends)
        if self.low is None or self.high is None:
            return
        if bool(as_tensor(self.low > self.high).any()):
            raise ValueError(f"low of ZBeta must be at most high, got low={self.low} and high={self.high}")

    def _check_axes(self, x: Tensor | float) -> None:
        """Refuses one number per channel in a shape that torch would lay along the width of a clip or an image."""
        for end in (self.low, self.high):
            if isinstance(x, Tensor) and x.dim() > 3 and isinstance(end, Tensor) and end.dim() == 1 and len(end) > 1:
                raise ValueError(
                    f"low and high of ZBeta must broadcast with the input {tuple(x.shape)}, got shape "
                    f"{tuple(end.shape)}; for one value per channel shape them as {(len(end), *[1] * (x.dim() - 2))}"
                )

    def shares(self, x: Signed, w: Signed, bias: Tensor | None) -> list[Share]:
        """One share, written as `(a - low) w+ + (a - high) w-`: non-negative inside the range."""
        low = x.low if self.low is None else self.low
        high = x.high if self.high is None else self.high
        if low is None or high is None:
            raise ValueError(
                "ZBeta needs the range of valid inputs, and this layer does not see the clip: "
                "give it as ZBeta(low, high), or use another rule here"
            )
        self._check_axes(x.value)
        above, below = x.value - low, x.value - high
        if x.is_input is not None:  # constants are no pixels: they contribute nothing
            above, below = above * x.is_input, below * x.is_input
        terms = [] if w.nonnegative else [term(below, w.negative)]
        return [Share(1.0, [term(above, w.positive), *terms])]
