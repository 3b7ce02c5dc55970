"""A note where a clip is made of other frames than those from which the network learned."""

from __future__ import annotations

import argparse
from typing import Any

from lrp3d.models.making import is_number_of_frames


def sampling_notes(frames_apart: Any, options: argparse.Namespace, who: str = "the network") -> tuple[str, ...]:
    """What is said where a network learned from frames that follow one another, and is shown others here.

    Args:
        frames_apart: how far apart those of its training were, as the network states it; None if it does not.
        options: those of the command; none is asked about sampling by a command that reads no video.
        who: what was trained, as the note calls it.

    Raises:
        ValueError: the network states what is no distance.
    """
    if frames_apart is None or not hasattr(options, "sampling"):
        return ()
    if not is_number_of_frames(frames_apart):
        raise ValueError(
            f"the model states frames_apart={frames_apart!r}: expected the distance between frames in training, a "
            "whole number from 1 on, or None"
        )
    learned = f"{who} learned from frames that follow one another" + f", {frames_apart} apart" * (frames_apart > 1)
    if getattr(options, "whole", False):
        shown, change = options.every or 1, f"--every {frames_apart}"
    elif options.sampling == "dense":
        shown, change = options.stride or 1, f"--stride {frames_apart}"
    else:
        dense = "--sampling dense" + f" --stride {frames_apart}" * (frames_apart > 1)
        return (f"{learned}, and here frames are taken from all over the video: {dense} takes them as in training",)
    if shown == frames_apart:
        return ()
    taken = f"{shown} apart" if shown > 1 else "without gaps"
    return (f"{learned}, and here they are taken {taken}: {change} takes them as in training",)
