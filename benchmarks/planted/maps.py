"""Everything that is computed from a trained network on planted clips, once, and kept: tables are made from it."""

from __future__ import annotations

from pathlib import Path

import torch
from lrp3d.models import VideoModel
from lrp3d.files import replacing
from benchmarks.planted.training_plans import Lineage
from benchmarks.planted.matrices import METHODS
from benchmarks.planted.measures import frame_scores, frozen, margin, relevance_gain, shapley
from safetensors.torch import load_file, save_file
from torch import Tensor

import lrp3d
from lrp3d.planted import normalise
from lrp3d.propagation.temporal_matrix import block_sum

MOST_PLAYERS = 8  # whose exact Shapley values are computed, from 2^8 forward passes
SEED = 920_000  # of the clips that are explained: never seen in training or validation
BATCH = 24
SANITY = ("CLRP", "LRP", "gradient x input", "intervention")  # whose logit and parameters are exchanged

Maps = dict[str, Tensor]


def maps_of(lineage: Lineage, gap: int, trained: Path, kept: Path, clips: int, methods: list[str], tests: bool) -> Maps:
    """Matrices of a network and of the same network untrained, with the truth.

    Those that are kept are read if they are of as many clips, and newer than the weights.

    Raises:
        FileNotFoundError: the network was not trained.
    """
    path, weights = kept / f"{lineage.name}-gap{gap}.safetensors", lineage.folder(trained, gap) / "model.safetensors"
    if path.exists() and weights.exists() and path.stat().st_mtime > weights.stat().st_mtime:
        found = load_file(path)
        if len(found["labels"]) == clips:
            return found
    model, untrained = lineage.trained(trained, gap), lineage.untrained().eval()
    found = compute(model, untrained, lineage, gap, clips, methods, tests)
    kept.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file({name: value.contiguous() for name, value in found.items()}, temporary)
    return found


def compute(
    model: VideoModel, untrained: VideoModel, lineage: Lineage, gap: int, clips: int, methods: list[str], tests: bool
) -> Maps:
    """Maps of the first `clips` clips of a seed; all are kept, and which of them were right.

    With `tests` also what the maps are held against: another logit, curves, Shapley values.
    """
    planted = lineage.task(gap).clips(clips, seed=SEED + lineage.seed)
    x, target = normalise(planted.clips, model), planted.labels
    batches = zip(x.split(BATCH), target.split(BATCH), strict=True)
    parts = [_maps_of_batch(model, untrained, clip, label, methods, tests) for clip, label in batches]
    found = {name: torch.cat([part[name] for part in parts]).detach() for name in parts[0]}
    rows, frames = found["frame_logits"].shape[1], x.shape[2]
    for name in found:
        if name.split("/")[0] in ("matrix", "untrained", "other logit"):
            found[name] = block_sum(block_sum(found[name], 1, rows), 2, rows)
    found["correct"] = found["value"] > 0
    found |= {"decisive": block_sum(planted.decisive.int(), 1, rows) > 0, "labels": target}
    found["block"] = torch.tensor(frames // rows)  # frames of a row: more than one in SlowFast
    if not tests:
        return found

    def value(kept: Tensor) -> Tensor:
        return margin(model, frozen(x, kept.repeat_interleave(frames // rows, 1)), target)

    for name in found.copy():
        kind, _, method = name.partition("/")
        if kind in ("matrix", "untrained"):
            row = method if kind == "matrix" else f"untrained {method}"
            found[f"gain/{row}"] = relevance_gain(frame_scores(found[name]), value)
    if frames <= MOST_PLAYERS:
        found["shapley"] = shapley(value, len(x), rows)
    return found


def _maps_of_batch(
    model: VideoModel, untrained: VideoModel, clip: Tensor, label: Tensor, methods: list[str], tests: bool
) -> Maps:
    """The matrices of some clips, also those of the untrained network and of another logit, and the logits."""
    part = {f"matrix/{name}": METHODS[name](model, clip, label) for name in methods}
    for name in [name for name in SANITY if name in methods]:
        part[f"untrained/{name}"] = METHODS[name](untrained, clip, label)
        if tests:
            part[f"other logit/{name}"] = METHODS[name](model, clip, (label + 1) % model.num_classes)
    part["frame_logits"] = lrp3d.frame_logits(model, clip, label).detach()
    part["value"] = margin(model, clip, label)
    return part
