"""The checked network with parameters drawn anew: who explains what was learnt says something else of it."""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.errors import CannotBeReset
from lrp3d.layout import laid_out
from lrp3d.twin.twin import Twin
from lrp3d.twin.untrained import layers_in_order, untrained

REDRAWN = 1_618_033
"""Seed of the parameters that are drawn anew: with a usual one, they would be those that training began with."""
STAGES: dict[str, float | None] = {"random classifier": None, "random top half": 0.5, "random parameters": 1.0}
"""The share of the layers whose parameters are drawn again, from the classifier down; None for the classifier alone."""


def random_networks(twin: Twin, clip: Tensor, layout: str) -> dict[str, Twin]:
    """The same network with parameters drawn anew, from the classifier down; none where that cannot be had."""
    noise = torch.rand(2, *clip.shape[1:], generator=torch.Generator().manual_seed(0), device="cpu").to(clip)
    noise = laid_out(noise, layout)
    one_clip = noise[:1] if layout[0] == "b" else noise
    names = layers_in_order(twin, one_clip, layout)
    networks = {}
    for stage, part in STAGES.items():
        count = 1 if part is None else max(1, round(part * len(names)))
        only = None if part == 1.0 else names[-count:]
        try:
            networks[stage] = untrained(twin, REDRAWN, noise, only, one_clip, layout)
        except CannotBeReset as error:
            warn(f"'{stage}' is left out: {error.reason}")
    return networks
