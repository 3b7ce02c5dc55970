"""What is said where frames cannot be followed through an operation."""

from __future__ import annotations

import torch

from lrp3d.steps.step import Step


class FramesLost(ValueError):
    """Frames cannot be followed; the message goes on from the name of what wanted to."""


def unknown(step: Step) -> FramesLost:
    """Nothing says what the operation does to frames."""
    return FramesLost(f"does not know what '{step.name}' ({step.operation}) does to frames")


def summed_products(step: Step) -> FramesLost:
    """Products of two signals are summed over frames, of which the factors are not known any more."""
    return FramesLost(
        f"does not know what '{step.name}' ({step.operation}) does to frames, over which it sums products of "
        "two signals: write them as a product of matrices (torch.matmul, torch.einsum)"
    )


def unmatched(step: Step, why: str) -> FramesLost:
    """Values meet of which nothing says to which frames they belong."""
    return FramesLost(f"does not know which frames '{step.name}' ({step.operation}) brings together: {why}")


def unseen(step: Step, shape: torch.Size, why: str = "frames became channels, or channels frames") -> FramesLost:
    """Nothing says which frames the operation sees, in a tensor of a shape."""
    return FramesLost(f"does not know which frames '{step.name}' ({step.operation}) sees: at {tuple(shape)}, {why}")
