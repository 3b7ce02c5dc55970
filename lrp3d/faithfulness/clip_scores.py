"""What one clip tells of every method: the numbers of which `check` takes the means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from lrp3d.faithfulness.games import (
    MOST_EXACT,
    Worths,
    cut_sets,
    relevance_gain,
    shapley,
    shapley_estimate,
)
from lrp3d.faithfulness.scores import YARDSTICK
from lrp3d.faithfulness.subject import Subject
from lrp3d.metrics.agreement import cosine, spearman
from lrp3d.metrics.atr import row_shares
from lrp3d.metrics.contributions import frame_scores, without_rounding
from lrp3d.occlusion import filled
from lrp3d.outputs import Chosen
from lrp3d.propagation.temporal_matrix import block_sum
from lrp3d.transfer import placed

GAINS = {"gain (freeze)": "nearest", "gain (neighbours)": "neighbours"}
"""The relevance gains, and what replaces frames in each of them."""
BATCH = 16  # clips without some of their frames that go through the model at once


def is_exact(measured: Tensor) -> bool:
    """Whether a matrix (1, n, t) has few enough columns of frames that Shapley values are exact."""
    return measured.shape[2] <= MOST_EXACT


def scores_of_clip(
    subject: Subject, clip: Tensor, chosen: Chosen, target: int | None, measured: Tensor, seed: int
) -> dict[str, dict[str, float]]:
    """By measure and method, the numbers of one clip.

    Args:
        subject: the network, and what is measured.
        clip: (1, c, t, h, w).
        chosen: the explained class.
        target: its number, None for that of a lone logit.
        measured: the matrix of interventions.
        seed: of the random matrix.
    """
    t = clip.shape[2]
    matrices = _matrices(subject, clip, target, measured, seed)

    def value(how: str, kept: Tensor) -> Tensor:
        return subject.lead(filled(clip.expand(len(kept), -1, -1, -1, -1), _frames_of(kept, t), how), chosen)

    result: dict[str, dict[str, float]] = defaultdict(dict)
    blocks = measured.shape[2]
    at_once = subject.options["chunk_size"] or BATCH
    worths = {gain: Worths(partial(value, how), at_once) for gain, how in GAINS.items()}
    logits = subject.logits(clip)
    worth = _shapley_values(worths["gain (freeze)"], clip, measured, logits) if subject.shapley_values else None
    matrices = {method: block_sum(matrix, 2, blocks) for method, matrix in matrices.items()}
    sets = torch.cat([cut_sets(frame_scores(matrix)).flatten(0, 2) for matrix in matrices.values()])
    for of_sets in worths.values():
        of_sets(sets)  # those of all methods together
    other_class = int(logits[0].scatter(0, chosen.target, -torch.inf).argmax()) if logits.shape[1] > 1 else None
    for method, matrix in matrices.items():
        for gain, of_sets in worths.items():
            result[gain][method] = float(relevance_gain(frame_scores(matrix), of_sets))
        if matrix.shape == measured.shape:
            result["intervention"][method] = float(cosine(matrix, measured))
        if worth is not None:
            result["shapley"][method] = float(spearman(frame_scores(matrix).cpu(), worth))
        if method not in ("random", "gradient x input"):
            for measure, other in _exchanged(subject, method, clip, target, other_class):
                result[measure][method] = _similarity(matrix, other)
    return result


def _shapley_values(of_sets: Worths, clip: Tensor, measured: Tensor, logits: Tensor) -> Tensor:
    """What each column of frames of `measured` (1, n, t) is worth, exactly or by an estimate."""
    method = shapley if is_exact(measured) else shapley_estimate
    values = method(lambda kept: of_sets(placed(kept, clip.device, kept.dtype)).unsqueeze(1), measured.shape[2])
    return without_rounding(values, logits)


def _matrices(subject: Subject, clip: Tensor, target: int | None, measured: Tensor, seed: int) -> dict[str, Tensor]:
    """The matrix of every method that has one for this network; the yardstick's is `measured`."""
    matrices = {}
    for method in subject.methods:
        matrix = _random(measured, seed) if method == "random" else subject.matrix(method, clip, target)
        if matrix is not None:
            matrices[method] = matrix
    return matrices | {YARDSTICK: measured}


def _exchanged(
    subject: Subject, method: str, clip: Tensor, target: int | None, other_class: int | None
) -> Iterator[tuple[str, Tensor | None]]:
    """By measure, the matrices of a method for another logit, if there is one, and for networks with random layers."""
    if other_class is not None:
        yield "other logit", subject.matrix(method, clip, other_class)
    for stage, twin in subject.random_networks.items():
        yield stage, subject.matrix(method, clip, target, twin)


def _random(measured: Tensor, seed: int) -> Tensor:
    """Drawn evenly from 0 to 1 for every number of `measured`: what an order by chance is worth."""
    return torch.rand(measured.shape, generator=torch.Generator().manual_seed(seed), device="cpu").to(measured)


def _frames_of(kept: Tensor, t: int) -> Tensor:
    """Which frames (b, t) are kept, where blocks of them (b, n) are."""
    return kept if kept.shape[1] == t else kept[:, torch.arange(t, device=kept.device) * kept.shape[1] // t]


def _similarity(matrix: Tensor, other: Tensor | None) -> float:
    """Rank correlation of the shares of two matrices' rows."""
    if other is None or matrix.shape != other.shape:
        return float("nan")
    return float(spearman(row_shares(matrix).flatten(1), row_shares(other).flatten(1)))
