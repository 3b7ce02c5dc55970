"""Questions of a forward pass about numbers (is every value an input?), and their answers, kept to save waiting.

The answers hardly ever depend on the clip, because they are about constants that a model writes next to its signal. The
next pass over a clip of that shape assumes them and confirms all of them at its end, waiting for the device only once.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class Answers:
    """The answers of one forward pass.

    Args:
        remembered: the answers of an earlier pass, in the order of the questions.
    """

    def __init__(self, remembered: Sequence[bool] = ()):
        self._remembered = remembered
        self.given: list[bool] = []
        self.asked: list[Tensor] = []
        """The questions that were answered with the answer of an earlier pass."""
        self.over = False
        """Whether the pass is over; a replay of it does not look at numbers."""

    def __call__(self, question: Tensor) -> bool:
        """Whether a tensor of one value is true; False can also mean that nobody looked, so it must always be safe."""
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
        """Whether the assumed answers are right, given the `replies` to all questions in `asked`."""
        return list(replies) == self.given[: len(replies)]
