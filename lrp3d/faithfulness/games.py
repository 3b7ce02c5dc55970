"""Games with frames: what sets of frames are worth, and what that makes of an order or a share of frames.

Letters: b clips, t frames. A *value* maps which frames are kept (b, t) to a number (b,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lrp3d.transfer import placed

__all__ = ["Value", "Worths", "cut_sets", "relevance_gain", "shapley", "shapley_estimate"]

Value = Callable[[Tensor], Tensor]


def relevance_gain(scores: Tensor, value: Value, cuts: int = 8) -> Tensor:
    """Symmetric relevance gain (b,) of scores (b, t): how good an order of frames they are, in the unit of `value`.

    It is the mean over cuts of what is left when the frames with the least scores went first, minus when those with the
    most did. At most `cuts` of the t - 1 cuts are made, evenly spaced. A ranking that knows nothing gains nothing on
    average.

    Source: Bluecher et al. 2024 (arXiv 2401.06654), with frames for pixels.
    """
    sets = cut_sets(scores, cuts)
    gains = [value(without_least) - value(without_most) for without_least, without_most in sets]
    return torch.stack(gains).cpu().double().mean(0)


def cut_sets(scores: Tensor, cuts: int = 8) -> Tensor:
    """Which frames (cuts, 2, b, t) are kept when those with the least scores went first, and when the others did.

    >>> cut_sets(torch.tensor([[5.0, 1.0, 3.0]])).int()[:, :, 0].tolist()
    [[[1, 0, 1], [0, 1, 1]], [[1, 0, 0], [0, 1, 0]]]
    """
    t = scores.shape[1]
    order = scores.argsort(-1, descending=True).argsort(-1)  # 0: most relevant
    counts = torch.linspace(1, t - 1, min(cuts, t - 1), device="cpu").round().long().tolist()
    return torch.stack([torch.stack([order < t - count, order >= count]) for count in counts])


class Worths:
    """What sets of frames of one clip are worth, (p, t) -> (p,): no set is asked for twice, and many at a time.

    Orders of frames by different methods often leave the same sets, and exact Shapley values need all there are.

    Args:
        value: what sets (p, t) are worth, (p,).
        at_once: of how many sets `value` is asked at the same time.

    >>> worths = Worths(lambda kept: print(len(kept), "sets") or kept.sum(1), at_once=2)
    >>> worths(torch.tensor([[True, False], [True, True], [True, False], [False, False]]))
    2 sets
    1 sets
    tensor([1., 2., 1., 0.], dtype=torch.float64)
    >>> worths(torch.tensor([[False, False]]))
    tensor([0.], dtype=torch.float64)
    """

    def __init__(self, value: Value, at_once: int):
        self.value, self.at_once = value, at_once
        self.known: dict[tuple[bool, ...], float] = {}

    def __call__(self, kept: Tensor) -> Tensor:
        """The worths (p,) of sets (p, t), in float64 on the host."""
        sets = [tuple(row) for row in kept.tolist()]
        unknown = [each for each in dict.fromkeys(sets) if each not in self.known]
        for part in torch.tensor(unknown, dtype=torch.bool, device="cpu").split(self.at_once) if unknown else ():
            found = self.value(placed(part, kept.device, part.dtype))
            self.known.update(zip(map(tuple, part.tolist()), found.tolist(), strict=True))
        return torch.tensor([self.known[each] for each in sets], dtype=torch.double, device="cpu")


MOST_EXACT = 8  # frames; above that Shapley values are estimated
Worth = Callable[[Tensor], Tensor]
"""What sets of frames (p, t) are worth for each clip, (p, b)."""


def shapley(worth: Worth, t: int) -> Tensor:
    """Exact Shapley values (b, t) of the frames, from all 2^t coalitions; at most 12 frames.

    Source: Shapley 1953; Sundararajan and Najmi 2020 (arXiv 1908.08474).

    >>> shapley(lambda kept: kept[:, :1].double() + (kept[:, 1:2] & kept[:, 2:]).double(), 3)
    tensor([[1.0000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    if t > 12:
        raise ValueError(f"{t} frames have 2^{t} coalitions: too many; estimate them with shapley_estimate")
    coalitions = (torch.arange(2**t, device="cpu")[:, None] >> torch.arange(t, device="cpu")) & 1 == 1  # (2^t, t)
    worths = worth(coalitions).cpu().double()  # (2^t, b)
    members = coalitions.sum(1)
    factorial = torch.cat([torch.ones(1, device="cpu"), torch.arange(1.0, t + 1, device="cpu")]).double().cumprod(0)
    result = []
    for frame in range(t):
        without = (~coalitions[:, frame]).nonzero().squeeze(1)
        size = members[without]
        weight = (factorial[size] * factorial[t - 1 - size] / factorial[t]).double()
        result.append((weight[:, None] * (worths[without + 2**frame] - worths[without])).sum(0))
    return torch.stack(result, 1)


def shapley_estimate(worth: Worth, t: int, orders: int = 16) -> Tensor:
    """Shapley values (b, t), estimated from random orders in which frames join, each taken both ways round.

    They sum to the worth of all frames minus that of none, as exact ones do.

    Source: Castro et al. 2009; orders in pairs: Mitchell et al. 2022 (arXiv 2104.12199).
    """
    generator = torch.Generator().manual_seed(0)
    permutations = [torch.randperm(t, generator=generator, device="cpu") for _ in range(-(-orders // 2))]
    # (p, t): who joins when
    orders_drawn = torch.stack([permutation for order in permutations for permutation in (order, order.flip(0))])
    place = orders_drawn.argsort(1)
    sets = (
        place[:, None, :] < torch.arange(t + 1, device="cpu")[:, None]
    )  # (p, t + 1, t): who is there after so many joined
    worths = worth(sets.flatten(0, 1)).cpu().double().unflatten(0, (len(orders_drawn), t + 1))  # (p, t + 1, b)
    gains: Tensor = worths.diff(dim=1)  # (p, t, b), by when
    return gains.gather(1, place[..., None].expand_as(gains)).mean(0).T
