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
        past_answers: the answers of an earlier pass, in the order of the questions.
    """

    def __init__(self, past_answers: Sequence[bool] = ()):
        self._past_answers = past_answers
        self.values: list[bool] = []
        self.assumed: list[Tensor] = []
        """The questions that were answered with the answer of an earlier pass."""
        self.over = False
        """Whether the pass is over; a replay of it does not look at numbers."""

    def __call__(self, question: Tensor) -> bool:
        """Whether a tensor of one value is true; False can also mean that nobody looked, so it must always be safe."""
        if question.device.type == "cpu":
            return bool(question)
        if self.over:
            return False
        number = len(self.values)
        if number < len(self._past_answers):
            self.assumed.append(question)
            self.values.append(self._past_answers[number])
        else:
            self.values.append(bool(question))
        return self.values[-1]

    def confirmed(self, replies: Sequence[bool]) -> bool:
        """Whether the assumed answers are right, given the `replies` to all questions in `assumed`."""
        return list(replies) == self.values[: len(replies)]
