"""What is kept of a network: of each explained clip its numbers, of the network its mean matrix and its accuracy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import lrp3d
from benchmarks.paper.actions import ActionClips
from benchmarks.paper.nets import Net, quick_aggregation
from lrp3d import models, sampling
from lrp3d.defaults import MIN_SCORE
from lrp3d.metrics import atr
from lrp3d.models import VideoModel
from lrp3d.planted import normalise

SEED = 940_000  # of the clips that are explained: nothing was trained on them
CLIPS = 60  # of each network: as many of every class
WINDOW_CLIPS = 30  # a window needs one pass for every frame of every clip
BATCH = 20
SIZES = (1, 2, 4, 6, 8, 12, 16)
"""Fixed windows, in frames; with them go the segments of each frame's ATR and windows of that length around it."""
METHODS, WINDOWED = ("I3D-R18-f16", "TAM2D-R18-f16"), ("mixed", "temporal")

Record = dict[str, Any]
"""Of a network: "net", "seed", "accuracy" (of fresh clips), "matrix" (mean of the counted clips' matrices, each divided
by its sum), "clips" (lists over clips: label, predicted, score, logit, avg_atr, max_atr; with LRP beside CLRP
lrp_avg_atr and lrp_max_atr) and, where windows were asked, "windows" (classes predicted, by window)."""


def record(net: Net, model: VideoModel, accuracy: float, clips: int = CLIPS) -> Record:
    """Explain the clips of a trained network."""
    model.eval().requires_grad_(False)
    pixels, labels = net.actions.clips(clips, seed=SEED)
    x = normalise(pixels, model)
    both = net.model in METHODS and net == Net(net.model, net.dataset, seed=net.seed, longer=net.longer)
    with quick_aggregation(model), torch.no_grad():
        logits = torch.cat([model(part) for part in x.split(BATCH)])
    parts = [_explained(model, part, both) for part in x.split(BATCH)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    best = found["target"]
    score = logits.softmax(1).gather(1, best[:, None])[:, 0]
    counted = (best == labels) & (score > MIN_SCORE)
    matrices = found.pop("matrix")[counted]
    shares = matrices / matrices.sum((1, 2), keepdim=True)
    kept: dict[str, Tensor] = {"label": labels, "predicted": best, "score": score}
    kept |= {"logit": logits.gather(1, best[:, None])[:, 0]}
    kept |= {name: value for name, value in found.items() if name.endswith("atr")}
    made: Record = {"net": net.key, "seed": net.seed, "accuracy": accuracy}
    made["matrix"] = _rounded(shares.mean(0), 5) if len(shares) else None
    made["clips"] = {name: _rounded(value, 3) for name, value in kept.items()}
    if both and net.dataset in WINDOWED:
        made["windows"] = _windowed(model, x[:WINDOW_CLIPS], found)
        made["window_atr"] = _rounded(found["lengths"][:WINDOW_CLIPS].double().nanmean(1), 3)
    return made


def _explained(model: VideoModel, clip: Tensor, both: bool) -> dict[str, Tensor]:
    explain = _single_row if model.output_frames == 1 else _all_rows
    found = explain(model, clip, True)
    if both:
        plain = explain(model, clip, False)
        found |= {f"lrp_{name}": plain[name] for name in ("avg_atr", "max_atr")}
    return found


def _all_rows(model: VideoModel, clip: Tensor, contrastive: bool) -> dict[str, Tensor]:
    """A row of the matrix for every frame with a logit."""
    found = lrp3d.explain(model, clip, contrastive=contrastive)
    matrix, lengths, logits = found.matrix, found.atr, found.frame_logits
    assert matrix is not None
    assert lengths is not None
    assert logits is not None
    made = _numbers(found.target, matrix, lengths, logits)
    if matrix.shape[1] == matrix.shape[2]:
        made |= dict(zip(("left", "right"), atr.frame_windows(matrix), strict=True))
    return made


def _single_row(model: VideoModel, clip: Tensor, contrastive: bool) -> dict[str, Tensor]:
    """The same where one frame answers for the clip: the clip's relevance is that frame's row."""
    found = lrp3d.explain(model, clip, contrastive=contrastive, temporal=False)
    assert isinstance(found.relevance, Tensor)
    matrix = found.relevance.sum((1, 3, 4)).unsqueeze(1)
    lengths = atr.frame_atr(matrix, positions=list(model.output_positions(clip.shape[2])))
    # One row has all the weight, whatever its logit.
    return _numbers(found.target, matrix, lengths, torch.ones_like(lengths))


def _numbers(target: Tensor, matrix: Tensor, lengths: Tensor, logits: Tensor) -> dict[str, Tensor]:
    averages = {"avg_atr": atr.avg_atr(lengths, logits), "max_atr": atr.max_atr(lengths)}
    return {"target": target, "matrix": matrix, "lengths": lengths, **averages}


def _windowed(model: VideoModel, x: Tensor, found: dict[str, Tensor]) -> dict[str, list[int]]:
    """Classes predicted with every window, and with empty frames outside of fixed ones."""
    few = len(x)
    windows: dict[str, Any] = {str(size): size for size in SIZES}
    windows["segment"] = (found["left"][:few], found["right"][:few])
    windows["centred"] = found["lengths"][:few]
    made: dict[str, list[int]] = {}
    with quick_aggregation(model):
        for name, window in windows.items():
            made[name] = _predicted(model, x, window, "edge")
            if name in {str(size) for size in SIZES[:-1]}:
                made[f"empty {name}"] = _predicted(model, x, window, "blank")
    return made


def _predicted(model: VideoModel, x: Tensor, window: Any, fill: str) -> list[int]:
    black = torch.tensor(model.input_range[0])
    answer = sampling.partial_uniform_logits(model, x, window, fill=fill, value=black if fill == "blank" else 0.0)
    predicted: list[int] = answer.logits.argmax(1).tolist()
    return predicted


def _rounded(values: Tensor, digits: int) -> Any:
    """Lists of numbers with so many digits; NaN, an ATR of a row without relevance, is None."""
    if not values.is_floating_point():
        return values.tolist()
    if values.ndim > 1:
        return [_rounded(value, digits) for value in values]
    return [None if value != value else round(value, digits) for value in values.tolist()]


def accuracy(model: VideoModel, net: Net, clips: int, seed: int) -> float:
    """Share of so many fresh clips that are predicted correctly."""
    fresh = ActionClips(net.actions, clips, mean=model.mean, std=model.std, seed=seed, train=False)
    with quick_aggregation(model):
        return models.evaluate(model, fresh, 40)
