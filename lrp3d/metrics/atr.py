"""Action temporal relevance (ATR): how many frames a frame's logit really rests on (paper, Sec. 3.2).

Everything here is batched tensor arithmetic on the device of the tensors, and reads nothing back to the
host, except to check positions and groups. Letters: ``b`` clips, ``n`` frames that have a logit (rows), ``t``
frames that receive relevance (columns), ``k`` classes, ``g`` groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lrp3d.defaults import SIGMA
from lrp3d.values import check_real, is_number, whole_numbers

__all__ = [
    "Aggregate",
    "aggregate",
    "avg_atr",
    "class_logits",
    "frame_atr",
    "frame_windows",
    "max_atr",
    "mean_matrix",
    "select",
]


def check_sigma(sigma: float) -> None:
    """Raises ValueError if `sigma` is no share of a row's relevance, in (0, 1]."""
    if not (is_number(sigma) and 0 < sigma <= 1):
        raise ValueError(f"sigma is a share of the relevance, in (0, 1], not {sigma!r}")


def check_min_score(min_score: float) -> None:
    """Raises ValueError if `min_score` is no score that a clip could exceed, in [0, 1)."""
    if not (is_number(min_score) and 0 <= min_score < 1):
        raise ValueError(f"min_score is a score that clips must exceed, at least 0 and below 1, not {min_score!r}")


_MATRIX = "a relevance matrix is a torch.Tensor (..., n, t)"
_ATR = "atr is a torch.Tensor (..., n)"


def frame_atr(matrix: Tensor, sigma: float = SIGMA, positions: Sequence[int] | Tensor | None = None) -> Tensor:
    """Length of the shortest contiguous segment that contains frame i and holds at least ``sigma`` of row i.

    Args:
        matrix: relevance (..., n, t); row i explains the logit of frame i.
        sigma: share of a row's relevance that the segment must hold, in (0, 1].
        positions: the column of each row's own frame, (n,); needed where n != t (a model that answers from
            some of its frames), else row i's own frame is column i.

    Returns:
        ATR (..., n) in frames, from 1 to t: float64 for a float64 matrix, else float32. NaN, without a
        warning, for a row without any relevance, and for one that contains a NaN or an infinity.

    Of a row of mixed sign, the part that has the sign of the row's sum counts; a row that sums to zero has no
    relevance. Sums are taken in float64, and "at least" is meant up to their rounding error (relative 4 t
    eps, 3e-14 for 32 frames), so that a share that is reached exactly counts, as it does in exact
    arithmetic: 39 of 40 equal frames hold 97.5 %. With ``sigma = 1`` the segment spans all frames with
    relevance, however little. Time is O(t log t) per row (prefix sums and a binary search for every start),
    memory O(n t) per clip.

    Raises:
        ValueError: if ``sigma`` is outside (0, 1], there is no row or no column, or n != t without ``positions``.
        TypeError: if the matrix is no tensor of real numbers.

    Source: paper, Sec. 3.2, the definition of r_i.

    >>> matrix = torch.tensor([[9.0, 1.0, 0.0], [1.0, 8.0, 1.0], [0.0, 0.0, 0.0]])
    >>> frame_atr(matrix)
    tensor([2., 3., nan])
    >>> frame_atr(matrix, sigma=0.8)
    tensor([1., 1., nan])
    """
    own, starts, ends, defined = _segments(matrix, sigma, positions)
    frames = matrix.shape[-1]
    lengths = torch.maximum(ends, own) - starts + 1  # (..., n, t)
    # No segment is longer than the clip: t + 1 marks segments that start too late or never hold enough.
    lengths.masked_fill_((starts > own) | (ends == frames), frames + 1)
    shortest = lengths.amin(-1).to(torch.promote_types(matrix.dtype, torch.float32))
    return shortest.masked_fill_(~defined, torch.nan)


def frame_windows(
    matrix: Tensor, sigma: float = SIGMA, positions: Sequence[int] | Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """First and last frame of the segment whose length is `frame_atr`.

    Args:
        matrix: relevance (..., n, t).
        sigma: share of a row's relevance that the segment must hold, in (0, 1].
        positions: as in `frame_atr`.

    Returns:
        Two int64 tensors (..., n), both ends included. Of equally short segments, the one whose middle is
        nearest to frame i is taken, then the earlier one. A row whose ATR is NaN gets the whole clip.

    Raises:
        ValueError: as for `frame_atr`.

    Source: paper, Sec. 3.2, {f_l, ..., f_i, ..., f_r}.

    >>> left, right = frame_windows(torch.tensor([[9.0, 1.0, 0.0], [1.0, 8.0, 1.0], [0.0, 0.0, 0.0]]))
    >>> left.tolist(), right.tolist()
    ([0, 0, 0], [1, 2, 2])
    """
    own, starts, ends, defined = _segments(matrix, sigma, positions)
    frames = matrix.shape[-1]
    last = torch.maximum(ends, own).long()  # (..., n, t)
    off_centre = (starts + last - 2 * own).abs()
    order = ((last - starts + 1) * 2 * frames + off_centre) * frames + starts
    order.masked_fill_((starts > own) | (ends == frames), torch.iinfo(order.dtype).max)
    first = order.argmin(-1, keepdim=True)  # (..., n, 1)
    left = first.squeeze(-1).masked_fill(~defined, 0)
    right = last.gather(-1, first).squeeze(-1).masked_fill(~defined, frames - 1)
    return left, right


def frames_of_columns(first: Tensor, last: Tensor, frames: int, columns: int) -> tuple[Tensor, Tensor]:
    """First and last frame of a clip of `frames` frames that columns of its matrix, from first to last, stand for.

    Column j has the frames from j t / columns on, rounded up: columns have as equal a number of frames as possible.

    >>> frames_of_columns(torch.tensor([0, 1, 4]), torch.tensor([0, 3, 4]), frames=9, columns=5)
    (tensor([0, 2, 8]), tensor([1, 7, 8]))
    """
    return -(-first * frames // columns), -(-(last + 1) * frames // columns) - 1


def _segments(
    matrix: Tensor, sigma: float, positions: Sequence[int] | Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For every row and start, the first end of a segment that holds enough (t if there is none).

    Returns own frames (n, 1), starts (t,), ends (..., n, t), and which rows are defined (..., n).
    """
    check_sigma(sigma)
    check_real(matrix, _MATRIX)
    own = _own_frames(matrix, positions)
    mass, defined = _row_mass(matrix, support_only=sigma == 1)
    cumulative = mass.cumsum(-1).contiguous()  # (..., n, t)
    frames = matrix.shape[-1]
    # Twice the worst rounding error of a difference of two prefix sums, but never as much as sigma itself.
    # A prefix sum on a GPU may also decrease by that much, which then cannot mislead the search.
    slack = min(4 * frames * torch.finfo(mass.dtype).eps, sigma / 2)
    wanted = cumulative[..., -1:] * (sigma - slack)  # (..., n, 1)
    targets = torch.cat([wanted, cumulative[..., :-1] + wanted], -1)  # (..., n, t): one for each start
    ends = torch.searchsorted(cumulative, targets, out_int32=True)
    starts = torch.arange(frames, device=matrix.device, dtype=ends.dtype)
    return own.to(ends.dtype), starts, ends, defined


def _own_frames(matrix: Tensor, positions: Sequence[int] | Tensor | None) -> Tensor:
    """The column (n, 1) of every row's own frame."""
    if matrix.ndim < 2 or 0 in matrix.shape[-2:]:
        raise ValueError(f"a relevance matrix is (..., n, t) with n, t >= 1, not {tuple(matrix.shape)}")
    rows, frames = matrix.shape[-2:]
    if positions is None:
        if rows != frames:
            raise ValueError(
                f"the matrix has {rows} rows and {frames} columns: say with positions which column is each "
                "row's own frame, or sum the columns in blocks"
            )
        return torch.arange(rows, device=matrix.device).unsqueeze(-1)
    own = whole_numbers(positions)
    if own is None or own.shape != (rows,) or not bool(((own >= 0) & (own < frames)).all()):
        raise ValueError(f"positions names one column in 0..{frames - 1} for each of {rows} rows, not {positions}")
    return own.long().to(matrix.device).unsqueeze(-1)


def _row_mass(matrix: Tensor, support_only: bool) -> tuple[Tensor, Tensor]:
    """The non-negative relevance (..., n, t) that counts, and which rows (..., n) have any."""
    widened = _widen(matrix.detach())
    total = widened.sum(-1, keepdim=True)
    defined = (total.isfinite() & (total != 0)).squeeze(-1)
    mass = (widened * total.sign()).clamp_(min=0)
    return (mass > 0).to(mass.dtype) if support_only else mass, defined


def row_shares(matrix: Tensor) -> Tensor:
    """The share of every row's relevance that each frame has, as ATR counts it.

    Args:
        matrix: relevance (..., n, t); of a row of mixed sign, the part with the sign of its sum counts.

    Returns:
        Shares (..., n, t) that sum to 1 in every row; zeros in a row without any relevance, NaN in a row that contains
        a NaN or an infinity.

    >>> row_shares(torch.tensor([[3.0, 1.0, 0.0], [-2.0, -2.0, 1.0], [0.0, 0.0, 0.0]])).tolist()
    [[0.75, 0.25, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    check_real(matrix, _MATRIX)
    mass, _ = _row_mass(matrix, support_only=False)
    total = mass.sum(-1, keepdim=True)
    return (mass / total).masked_fill(total == 0, 0.0).masked_fill(~total.isfinite(), torch.nan)


def _widen(values: Tensor) -> Tensor:
    # MPS is the one device without float64.
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def avg_atr(atr: Tensor, frame_logits: Tensor) -> Tensor:
    """Mean ATR of a clip's frames, weighted by their positive logits.

    Args:
        atr: frame ATR (..., n); NaN is ignored.
        frame_logits: logits (..., n) of the explained class; those that are not positive are ignored.

    Returns:
        avg-ATR (...) in frames; NaN where no frame with a known ATR has a positive logit.

    Raises:
        ValueError: if the shapes differ.

    Source: paper, Sec. 3.2, avg-ATR.

    >>> avg_atr(torch.tensor([[2.0, 4.0, torch.nan, 8.0]]), torch.tensor([[3.0, 1.0, 5.0, -1.0]]))
    tensor([2.5000])
    """
    check_real(atr, _ATR)
    check_real(frame_logits, "frame_logits are a torch.Tensor (..., n)")
    if atr.shape != frame_logits.shape:
        raise ValueError(f"atr {tuple(atr.shape)} and frame_logits {tuple(frame_logits.shape)} differ in shape")
    logits = frame_logits.to(torch.promote_types(frame_logits.dtype, torch.float32))
    weights = logits.clamp(min=0).masked_fill(atr.isnan(), 0)
    return (weights * atr.nan_to_num(nan=0.0)).sum(-1) / weights.sum(-1)


def max_atr(atr: Tensor) -> Tensor:
    """The greatest ATR of a clip's frames.

    Args:
        atr: frame ATR (..., n); NaN is ignored.

    Returns:
        max-ATR (...) in frames; NaN where every frame's ATR is NaN.

    Raises:
        ValueError: if there are no frames.

    Source: paper, Sec. 3.2, max-ATR.

    >>> max_atr(torch.tensor([[2.0, 4.0, torch.nan], [torch.nan, torch.nan, torch.nan]]))
    tensor([4., nan])
    """
    check_real(atr, _ATR)
    if not atr.ndim or not atr.shape[-1]:
        raise ValueError(f"atr {tuple(atr.shape)} has no frames: the greatest of (..., n) needs n >= 1")
    # An ATR is at least 1, so 0 stands for "unknown".
    greatest = atr.to(torch.promote_types(atr.dtype, torch.float32)).nan_to_num(nan=0.0).amax(-1)
    return greatest.masked_fill(greatest == 0, torch.nan)


def class_logits(logits: Tensor) -> Tensor:
    """Logits (..., k) with one for each class, of which a lone logit (..., 1) has two.

    A lone logit speaks for class 1 where it is positive and for class 0 where it is not; with 0 as the logit of class
    0, the softmax of both is the sigmoid.

    >>> class_logits(torch.tensor([[3.0], [-1.0]]))
    tensor([[ 0.,  3.],
            [ 0., -1.]])
    """
    return F.pad(logits, (1, 0)) if logits.shape[-1] == 1 else logits


def select(logits: Tensor, target: Tensor, min_score: float = 0.5) -> Tensor:
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
    widened = _widen(values)

    def total(summand: Tensor) -> Tensor:
        sums = summand.new_zeros(num_groups, *summand.shape[1:])
        return sums.index_add(0, groups, summand)

    count = total(is_counted.long())
    mean = total(torch.where(is_counted, widened, 0)) / count
    deviation = torch.where(is_counted, widened - mean[groups], 0)
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
        Mean matrix (n, t), or (g, n, t) with groups, float64. A clip (with "row": a row) without relevance
        is left out; NaN where nothing is left.

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
    widened = _widen(matrix)
    logits = widened.sum(-1, keepdim=True)  # (b, n, 1)
    if normalize == "clip":
        widened = widened * (logits > 0)
        widened = widened / logits.clamp(min=0).sum(-2, keepdim=True)  # 0 / 0 is NaN: such a clip is left out
    elif normalize == "row":
        widened = torch.where(logits != 0, widened / logits, torch.nan)
    return aggregate(widened, groups, num_groups, keep).mean
