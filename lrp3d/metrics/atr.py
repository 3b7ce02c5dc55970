"""Action temporal relevance (ATR): how many frames a frame's logit really rests on (paper, Sec. 3.2).

Everything here is batched tensor arithmetic on the device of the tensors, and reads nothing back to the
host, except to check positions. Letters: ``n`` frames that have a logit (rows), ``t`` frames that receive relevance
(columns). Means over the clips of a data set are those of `lrp3d.metrics.aggregation`, which has the same letters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lrp3d.defaults import SIGMA
from lrp3d.metrics.aggregation import Aggregate, aggregate, class_logits, mean_matrix, select
from lrp3d.values import check_real, in_widest_type, is_number, whole_numbers

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
    wide = in_widest_type(matrix.detach())
    total = wide.sum(-1, keepdim=True)
    defined = (total.isfinite() & (total != 0)).squeeze(-1)
    mass = (wide * total.sign()).clamp_(min=0)
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
