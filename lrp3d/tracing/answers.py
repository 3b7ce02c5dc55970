"""What a forward pass asks of numbers (is every value an input?), remembered, so that a device is not waited for.

The answers hardly ever depend on the clip: they are those of the constants that a model writes beside its signal. The
next pass over a clip of that shape takes them for granted and has them all confirmed at its end, by one wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class Answers:
    """The answers of one forward pass.

    Args:
        remembered: those of a pass before, in the order in which they were asked for.
    """

    def __init__(self, remembered: Sequence[bool] = ()):
        self._remembered = remembered
        self.given: list[bool] = []
        self.asked: list[Tensor] = []
        """What has an answer of a pass before."""
        self.over = False
        """The pass is over; what is replayed of it is not looked at."""

    def __call__(self, question: Tensor) -> bool:
        """Whether a tensor of one value is true; False also means that nobody looked, and has to be right then."""
        if question.device.type == "cpu":
            return bool(question)
        if self.over:
            return False
        number = len(self.given)
        if number < len(self._remembered):
            self.asked.append(question)
            self.given.append(self._remembered[number])
        else:
            self.given.append(bool(question))
        return self.given[-1]

    def confirmed(self, replies: Sequence[bool]) -> bool:
        """Whether what was taken for granted is so, given the answers to all that was `asked`."""
        return list(replies) == self.given[: len(replies)]
