"""What a matrix says about the frames that decide, in numbers and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.printed import listed

MARGIN = 2.0
"""A frame counts as found if it holds at least so many times the share that it would have if all were equal."""

__all__ = ["Finding", "finding", "percent", "verdict"]


@dataclass(frozen=True)
class Finding:
    """How much of a matrix lies in the columns of the frames that decide, and which of these it misses.

    >>> found = Finding(shares=(0.1, 0.5, 0.1, 0.3), frames=(0, 1))
    >>> found.share, found.chance, found.missed  # frame 0 holds less than twice a quarter
    (0.6, 0.5, (0,))
    """

    shares: tuple[float, ...]
    """Each frame's share (t,) of the sum of absolute values; all 0 of an empty matrix."""
    frames: tuple[int, ...]
    """The frames that decide, counted from 0."""

    @property
    def share(self) -> float:
        """The share of all deciding frames together, from 0 to 1."""
        return sum(self.shares[frame] for frame in self.frames)

    @property
    def chance(self) -> float:
        """The share of the deciding frames if all frames had the same share."""
        return len(set(self.frames)) / len(self.shares)

    @property
    def missed(self) -> tuple[int, ...]:
        """The deciding frames that hold less than twice the share that each would have if all were equal."""
        return tuple(frame for frame in self.frames if self.shares[frame] * len(self.shares) < MARGIN)


def finding(matrix: Tensor, frames: Sequence[int] | Tensor) -> Finding:
    """How much of the absolute values of a matrix (n, t) lies in the columns of these frames.

    Raises:
        ValueError: the matrix has a batch axis, or a frame is not one of its columns.

    >>> import torch
    >>> found = finding(torch.tensor([[0.0, 3.0, 1.0, 0.0], [0.0, -3.0, 0.0, 1.0]]), [1, 3])
    >>> found.share, found.chance, found.missed
    (0.875, 0.5, (3,))
    """
    if matrix.dim() != 2:
        raise ValueError(f"a matrix is (n, t), not {tuple(matrix.shape)}: take one clip at a time")
    chosen = tuple(int(frame) for frame in frames)
    if not all(0 <= frame < matrix.shape[1] for frame in chosen):
        raise ValueError(f"frames {list(chosen)} are not all among the {matrix.shape[1]} columns")
    columns = matrix.detach().double().abs().nan_to_num(0.0).sum(0).cpu()
    total = columns.sum()
    shares = columns / total if total > 0 else torch.zeros_like(columns)
    return Finding(tuple(shares.tolist()), chosen)


def verdict(findings: dict[str, Finding]) -> str:
    """Sentences that say which frames decide, how much each method gives them, and which ones it misses.

    Args:
        findings: the finding of each method by its name in the sentence, all for the same frames.

    >>> import torch
    >>> both, one = torch.tensor([[5.0, 0, 0, 5.0]]), torch.tensor([[6.0, 2.0, 1.0, 1.0]])
    >>> print(verdict({"LRP": finding(both, [0, 3]), "CLRP": finding(one, [0, 3])}))
    The two deciding frames, 1 and 4, hold 100 % by LRP and 70 % by CLRP (chance: 50 %). CLRP fails to find frame 4.
    """
    first = next(iter(findings.values()))
    shares = [f"{percent(finding.share)} by {name}" for name, finding in findings.items()]
    shares_text = f"{_subject(first.frames)} {listed(shares)} (chance: {percent(first.chance)})."
    failed = [f"{name} fails to find {_frames(finding.missed)}" for name, finding in findings.items() if finding.missed]
    sentence = listed(failed) or "Every method finds them"
    return f"{shares_text} {sentence[0].upper()}{sentence[1:]}."


def percent(share: float) -> str:
    """A share as text, with the digit that a chance of 12.5 % needs and no other: 12.5 % and 85 %.

    >>> percent(0.125), percent(0.851)
    ('12.5 %', '85 %')
    """
    return f"{100 * share:.3g} %" if share < 0.2 and round(1000 * share) % 10 == 5 else f"{100 * share:.0f} %"


NUMBERS = ("no", "one", "two", "three", "four")


def _subject(frames: Sequence[int]) -> str:
    if len(frames) == 1:
        return f"The deciding frame, {frames[0] + 1}, holds"
    count = NUMBERS[len(frames)] if len(frames) < len(NUMBERS) else str(len(frames))
    return f"The {count} deciding frames, {listed([str(frame + 1) for frame in frames])}, hold"


def _frames(frames: Sequence[int]) -> str:
    return f"frame{'s' if len(frames) > 1 else ''} {listed([str(frame + 1) for frame in frames])}"
