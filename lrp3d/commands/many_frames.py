"""What is said before clips of very many frames are explained, which takes long."""

from __future__ import annotations

from lrp3d.commands.model_options import ModelChoice
from lrp3d.commands.terminal import complain

MANY = 256
"""Frames from which on any network but a toy takes minutes on a CPU."""


class ManyFrames:
    """Says once, on stderr, that clips have so many frames that this will take long."""

    def __init__(self, choice: ModelChoice, advice: str = "fewer --frames take less"):
        self.frames, self.advice, self.said = choice.frames, advice, False

    def say(self) -> None:
        """Says it, if the clips have so many and it has not been said."""
        if self.frames > MANY and not self.said:
            self.said = True
            complain(
                f"{self.frames:,} frames are many: the matrix has as many rows, so that time grows with the square of "
                f"their number; {self.advice}"
            )
