"""Which clips of a data set count, and means over those that do: of numbers, and of matrices.

Letters: ``b`` clips, ``n`` frames that have a logit (rows), ``t`` frames that receive relevance (columns), ``k``
classes, ``g`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.defaults import MIN_SCORE
from lrp3d.values import check_real, in_widest_type, is_number, whole_numbers

__all__ = ["Aggregate", "aggregate", "class_logits", "mean_matrix", "select"]


def check_min_score(min_score: float) -> None:
    """Raises ValueError if `min_score` is no score that a clip could exceed, in [0, 1)."""
    if not (is_number(min_score) and 0 <= min_score < 1):
        raise ValueError(f"min_score is a score that clips must exceed, at least 0 and below 1, not {min_score!r}")


def class_logits(logits: Tensor) -> Tensor:
    """Logits (..., k) with one for each class, of which a lone logit (..., 1) has two.

    A lone logit speaks for class 1 where it is positive and for class 0 where it is not; with 0 as the logit of class
    0, the softmax of both is the sigmoid.

    >>> class_logits(torch.tensor([[3.0], [-1.0]]))
    tensor([[ 0.,  3.],
            [ 0., -1.]])
    """
    return F.pad(logits, (1, 0)) if logits.shape[-1] == 1 else logits


def select(logits: Tensor, target: Tensor, min_score: float = MIN_SCORE) -> Tensor:
    """Which clips are predicted correctly with a softmax score above ``min_score``; the paper counts only these.

    Args:
        logits: clip logits (b, k); a lone logit (b, 1) has two classes, as in `class_logits`.
        target: true class (b,); one that the model does not have (no label) is never predicted.
        min_score: score in [0, 1) that must be exceeded.

    Returns:
        Boolean mask (b,).

    Raises:
        ValueError: if there is not one target per clip, or the score is outside [0, 1).

    Source: paper, Sec. 4.2, "video clips with correct predictions score > 0.5".

    >>> select(torch.tensor([[2.0, 0.0], [0.1, 0.0], [2.0, 0.0]]), torch.tensor([0, 0, 1]), min_score=0.6)
    tensor([ True, False, False])
    """
    check_min_score(min_score)
    check_real(logits, "logits are a torch.Tensor (b, k)")
    check_real(target, "target is a torch.Tensor (b,)")
    if target.shape != logits.shape[:-1]:
        raise ValueError(f"logits {tuple(logits.shape)} need one target per clip, not {tuple(target.shape)}")
    wide = class_logits(logits).to(torch.promote_types(logits.dtype, torch.float32))
    score, predicted = wide.softmax(-1).max(-1)
    return (predicted == target) & (score > min_score)


@dataclass(frozen=True)
class Aggregate:
    """Mean, standard deviation and number of the values that were counted, one of each per group.

    All three have shape (g, ...), or (...) without groups; `count` is int64, the others are float64. `std`
    is the deviation of the population (divided by `count`): it says how much clips differ, not how certain
    the mean is. A group in which nothing counts has NaN as its mean and deviation.

    >>> import torch, lrp3d
    >>> found = lrp3d.atr.aggregate(torch.tensor([2.0, 4.0, 5.0]), torch.tensor([0, 0, 2]), 3)
    >>> found.mean, found.count
    (tensor([3., nan, 5.], dtype=torch.float64), tensor([2, 0, 1]))
    """

    mean: Tensor
    std: Tensor
    count: Tensor


def aggregate(
    values: Tensor,
    groups: Tensor | None = None,
    num_groups: int | None = None,
    keep: Tensor | None = None,
) -> Aggregate:
    """Mean and standard deviation over the clips of a data set, or over those of each class.

    Args:
        values: one value per clip (b,), or one tensor per clip (b, ...); NaN is ignored, element by element.
        groups: each clip's group (b,), such as its class; None is one group.
        num_groups: how many groups there are; by default the greatest group present, plus one.
        keep: boolean mask (b,) of the clips that count, such as `select` returns; others may have any group.

    Returns:
        `Aggregate` of shape (g, ...), or (...) without groups.

    Raises:
        ValueError: if groups or keep do not have one value per clip, keep is no mask, groups are no whole numbers from
            0 to num_groups - 1 (a GPU is asked only where num_groups is not given), or num_groups comes without groups.

    Source: paper, Sec. 3.2, "averages the video-level ATR accordingly", Tables 1 and 4, Fig. 8.

    >>> result = aggregate(torch.tensor([4.0, 6.0, 5.0, torch.nan]), groups=torch.tensor([1, 1, 0, 0]))
    >>> result.mean.tolist(), result.std.tolist(), result.count.tolist()
    ([5.0, 5.0], [0.0, 1.0], [1, 2])
    """
    _check_each_clip(values, groups, keep)
    if groups is None:
        if num_groups is not None:
            raise ValueError("num_groups without groups")
        whole = _moments(values, values.new_zeros(values.shape[:1], dtype=torch.long), 1, keep)
        return Aggregate(whole.mean[0], whole.std[0], whole.count[0])
    if whole_numbers(groups) is None:
        raise ValueError(f"groups are whole numbers, got {groups.dtype}; pass groups.long() if they are classes")
    if keep is not None:
        groups = torch.where(keep, groups, 0)
    if num_groups is not None and groups.device.type != "cpu":
        return _moments(values, groups.long(), num_groups, keep)  # to look at the groups would make the host wait
    least, greatest = (int(groups.min()), int(groups.max())) if len(groups) else (0, -1)
    if num_groups is None:
        num_groups = max(greatest, 0) + 1 if len(groups) else 0
    if least < 0 or greatest >= num_groups:
        raise ValueError(
            f"groups of clips that count are from 0 to {num_groups - 1}, got some from {least} to {greatest}; "
            "leave other clips out with keep"
        )
    return _moments(values, groups.long(), num_groups, keep)


def _check_each_clip(values: Tensor, groups: Tensor | None, keep: Tensor | None) -> None:
    """Raises TypeError or ValueError unless these are tensors with one value per clip, and `keep` is a mask."""
    check_real(values, "values are a torch.Tensor (b, ...)")
    for name, mask in (("groups", groups), ("keep", keep)):
        if mask is None:
            continue
        check_real(mask, f"{name} is a torch.Tensor (b,)")
        if mask.shape != values.shape[:1]:
            raise ValueError(f"{name} {tuple(mask.shape)} is not one per clip of values {tuple(values.shape)}")
    if keep is not None and keep.dtype != torch.bool:
        raise ValueError(f"keep is a mask of truth values, got {keep.dtype}; pass keep.bool() if 1 means kept")


def _moments(values: Tensor, groups: Tensor, num_groups: int, keep: Tensor | None) -> Aggregate:
    """Computes the mean first and deviations from it second: the difference of two large sums would cancel."""
    is_counted = ~values.isnan()
    if keep is not None:
        is_counted &= keep.view(-1, *[1] * (values.ndim - 1))
    wide = in_widest_type(values)

    def total(summand: Tensor) -> Tensor:
        sums = summand.new_zeros(num_groups, *summand.shape[1:])
        return sums.index_add(0, groups, summand)

    count = total(is_counted.long())
    mean = total(torch.where(is_counted, wide, 0)) / count
    deviation = torch.where(is_counted, wide - mean[groups], 0)
    return Aggregate(mean, (total(deviation.square()) / count).sqrt(), count)


def mean_matrix(
    matrix: Tensor,
    groups: Tensor | None = None,
    num_groups: int | None = None,
    keep: Tensor | None = None,
    *,
    normalize: str = "clip",
) -> Tensor:
    """Mean heat map over the clips of a data set, or over those of each class.

    Args:
        matrix: relevance matrices (b, n, t) whose rows sum to the frame logits.
        groups: each clip's group (b,); None is one group.
        num_groups: how many groups there are.
        keep: boolean mask (b,) of the clips that count.
        normalize: what is divided out before the mean, so that a clip with large logits does not drown the
            others. "clip" divides a clip by the sum of its positive frame logits and drops the other rows:
            row i then sums to its weight w_i in avg-ATR, so that frames that matter more keep more weight.
            "row" makes every row sum to 1: it shows where a frame looks, whatever its logit. "none" takes
            the mean of the matrices as they are.

    Returns:
        Mean matrix (n, t), or (g, n, t) with groups, float64. A clip (with "row": a row) without relevance,
        or whose sum is not finite, is left out; NaN where nothing is left.

    Raises:
        ValueError: as for `aggregate`, or if ``normalize`` is unknown.

    Source: paper, Fig. 2, 11 and 13. The paper does not say how its clips are scaled; "clip" is the
    "logit-based normalization" which it uses for avg-ATR.

    >>> mean_matrix(torch.tensor([[[3.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]))
    tensor([[0.5000, 0.1250],
            [0.1250, 0.2500]], dtype=torch.float64)
    """
    check_real(matrix, "relevance matrices are a torch.Tensor (b, n, t)")
    if matrix.ndim != 3:
        raise ValueError(f"a batch of relevance matrices is (b, n, t), not {tuple(matrix.shape)}")
    if normalize not in ("clip", "row", "none"):
        raise ValueError(f'normalize is "clip", "row" or "none", not {normalize!r}')
    wide = in_widest_type(matrix)
    logits = wide.sum(-1, keepdim=True)  # (b, n, 1)
    known = logits.isfinite()  # a number divided by an infinity would count as zero
    if normalize == "clip":
        wide = wide * (logits > 0)
        wide = wide / logits.clamp(min=0).sum(-2, keepdim=True)  # 0 / 0 is NaN: such a clip is left out
        wide = torch.where(known.all(-2, keepdim=True), wide, torch.nan)
    elif normalize == "row":
        wide = torch.where(known & (logits != 0), wide / logits, torch.nan)
    return aggregate(wide, groups, num_groups, keep).mean
