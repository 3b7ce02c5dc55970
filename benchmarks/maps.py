"""Everything that is computed from a trained network on planted clips, once, and kept: tables are made from it."""

from __future__ import annotations

from pathlib import Path

import torch
from lineages import Lineage
from lrp3d.models import VideoModel
from lrp3d.models.files import replacing
from matrices import METHODS, clrp, lrp
from measures import frame_scores, frozen, margin, relevance_gain, shapley
from safetensors.torch import load_file, save_file
from torch import Tensor

import lrp3d

SEED = 920_000  # of the clips that are explained: never seen in training or validation
CURVES = 12  # clips of each network whose frames are removed one after the other
BATCH = 24

Maps = dict[str, Tensor]


def maps_of(lineage: Lineage, gap: int, trained: Path, kept: Path, clips: int, methods: list[str]) -> Maps:
    """Matrices of a network and of the same network untrained, with the truth; read if they are there already.

    Raises:
        FileNotFoundError: the network was not trained.
    """
    path = kept / f"{lineage.name}-gap{gap}.safetensors"
    if path.exists():
        return load_file(path)
    model, untrained = lineage.trained(trained, gap), lineage.untrained().eval()
    found = compute(model, untrained, lineage, gap, clips, methods)
    kept.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in found.items()}, temporary)
    return found


def compute(
    model: VideoModel, untrained: VideoModel, lineage: Lineage, gap: int, clips: int, methods: list[str]
) -> Maps:
    """Maps of the first `clips` clips of a seed; all are kept, and which of them were right."""
    planted = lineage.task(gap).clips(clips, seed=SEED + lineage.seed)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (model.mean, model.std))
    x, target = (planted.clips - mean) / std, planted.labels
    parts: list[Maps] = []
    for clip, label in zip(x.split(BATCH), target.split(BATCH), strict=True):
        part = {f"matrix/{name}": METHODS[name](model, clip, label).detach() for name in methods}
        part["untrained/CLRP"] = clrp(untrained, clip, label)
        part["untrained/LRP"] = lrp(untrained, clip, label)
        part["other logit/CLRP"] = clrp(model, clip, (label + 1) % model.num_classes)
        part["other logit/LRP"] = lrp(model, clip, (label + 1) % model.num_classes)
        part["frame_logits"] = lrp3d.frame_logits(model, clip, label).detach()
        part["correct"] = margin(model, clip, label) > 0
        parts.append(part)
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    found |= {"decisive": planted.decisive, "frames": planted.frames.contiguous(), "labels": target}
    few, own = x[:CURVES], target[:CURVES]

    def value(kept: Tensor) -> Tensor:
        return margin(model, frozen(few, kept), own)

    for name in methods:
        found[f"gain/{name}"] = relevance_gain(frame_scores(found[f"matrix/{name}"][: len(few)]), value)
    if x.shape[2] <= 8:
        found["shapley"] = shapley(value, len(few), x.shape[2])
    return found
