"""What is said before clips of very many frames are explained, which takes long."""

from __future__ import annotations

from lrp3d.commands.model_options import ModelChoice
from lrp3d.commands.terminal import complain

MANY = 256
"""Frames from which on a network on a CPU takes minutes, if it is no toy."""


def say_if_many_frames(choice: ModelChoice, advice: str = "fewer --frames take less") -> None:
    """Say on stderr that the clips have so many frames that this will take long, if they have."""
    if choice.frames > MANY:
        complain(
            f"{choice.frames:,} frames are many: the matrix has as many rows, so that time grows with the square of "
            f"their number; {advice}"
        )
