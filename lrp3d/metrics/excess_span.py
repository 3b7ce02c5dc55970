"""How far apart the frames are on which a clip's answer rests, beyond what is the same for any clip.

ATR measures all relevance of a row, including what kernels smear around every frame and what background frames
contribute to their own logits. What two clips of one class have in common cannot tell them apart, so it is subtracted
first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.metrics.atr import frame_windows
from lrp3d.values import check_real, in_widest_type

__all__ = ["SPAN_SHARE", "ExcessSpan", "excess_span"]

SPAN_SHARE = 0.8  # chosen on one seed of the bench in docs/meaning.md; the other seeds confirm it
SIGMA = SPAN_SHARE  # its former name


@dataclass(frozen=True)
class ExcessSpan:
    """What `excess_span` finds in each clip.

    >>> clips = torch.eye(4).repeat(2, 1, 1)
    >>> clips[0, 1, 3] = clips[0, 3, 1] = 2.0  # in the first clip, frames 1 and 3 use each other
    >>> found = excess_span(clips, torch.eye(4))
    >>> found.span.tolist(), found.share.tolist(), found.mean().item()
    ([3.0, nan], [0.5, 0.0], 3.0)
    """

    span: Tensor
    """(b,) number of frames from `first` to `last`, both included; NaN without any excess, and where it is unknown."""
    first: Tensor
    """(b,) int64; with `last` the whole clip where the span is NaN."""
    last: Tensor
    """(b,) int64."""
    frames: Tensor
    """(b, t) excess relevance of each frame, never negative; NaN where it is unknown."""
    share: Tensor
    """(b,) excess as a share of the relevance it is part of, in [0, 1]; near 0, none stands out. NaN where it is
    unknown, and where there is relevance, but no row of which it is positive."""

    def mean(self) -> Tensor:
        """The data set's span: the mean over clips, weighted by their excess; NaN where no clip has any."""
        weight = self.frames.sum(-1).masked_fill(self.span.isnan(), 0)
        return (self.span.nan_to_num() * weight).sum() / weight.sum()


def excess_span(matrix: Tensor, reference: Tensor, sigma: float = SPAN_SHARE) -> ExcessSpan:
    """The length of the shortest segment of the clip that holds `sigma` of the relevance above a reference.

        E_ij = max(0, A_ij - M_ij) in rows whose relevance is positive,   c_j = sum_i E_ij,
        span = min { r - l + 1 : c_l + ... + c_r >= sigma sum_j c_j }

    A is the clip's matrix, M the mean matrix of the same model and class over other clips. The smear of kernels, the
    effects of the clip's ends and the relevance of frames without an event are in M as well as in A, and cancel. Unlike
    ATR, the span is one number per clip, needs other clips, and says how far apart the decisive frames are, not how
    far each frame looks. Where no frame stands out (`share` near 0), it measures noise.

    Args:
        matrix: (b, n, t), rows in units of their logits (`Explanation.matrix`, plain or contrastive, or
            `intervention_matrix`; docs/meaning.md compares them).
        reference: (n, t), or one for each clip (b, n, t), such as `mean_matrix(others, labels,
            normalize="none")[label]`.
        sigma: share of the excess that the segment must hold, in (0, 1].

    Returns:
        `ExcessSpan`: each clip's span with its ends, the excess of every frame, and how much of the relevance it is. As
        with ATR, what is not finite is unknown: a clip whose matrix or reference has a NaN or an infinity gets NaN,
        without a warning, and counts in no mean.

    Raises:
        ValueError: if shapes do not fit or sigma is out of its range.
        TypeError: if one of the matrices is no tensor of real numbers.

    Source: this project; the measure is in no paper.

    >>> reference = torch.eye(6)
    >>> clip = reference.clone()
    >>> clip[2, 1] = clip[2, 4] = 3.0  # frame 2 uses frames 1 and 4
    >>> found = excess_span(clip[None], reference)
    >>> found.span, found.first.item(), found.last.item()
    (tensor([4.], dtype=torch.float64), 1, 4)
    """
    check_real(matrix, "a matrix is a torch.Tensor (b, n, t)")
    check_real(reference, "a reference is a torch.Tensor (n, t) or (b, n, t)")
    if matrix.ndim != 3 or reference.shape not in (matrix.shape, matrix.shape[1:]):
        raise ValueError(
            f"a matrix (b, n, t) needs a reference (n, t) or (b, n, t), not {tuple(matrix.shape)} and "
            f"{tuple(reference.shape)}"
        )
    unknown = ~(matrix.isfinite() & reference.isfinite()).all((1, 2))  # (b,)
    # Zeros there keep the search for the shortest segment defined.
    is_counted = (matrix.sum(-1, keepdim=True) > 0) & ~unknown[:, None, None]
    matrix, reference = in_widest_type(matrix), in_widest_type(reference)
    above = torch.where(is_counted, matrix - reference, 0.0).clamp(min=0)  # (b, n, t)
    total = torch.where(is_counted, matrix, 0.0).clamp(min=0).sum((1, 2))
    frames = above.sum(1)  # (b, t)
    # The shortest segment that holds enough is the shortest of the windows of all frames.
    square = frames[:, None].expand(-1, frames.shape[1], -1)  # (b, t, t)
    first, last = frame_windows(square, sigma)
    best = (last - first).argmin(-1, keepdim=True)  # (b, 1)
    first, last = first.gather(-1, best).squeeze(-1), last.gather(-1, best).squeeze(-1)
    defined = frames.sum(-1) > 0
    span = in_widest_type(last - first + 1).masked_fill(~defined, torch.nan)
    share = torch.where(total > 0, frames.sum(-1) / total, 0.0).clamp(max=1)
    whole = unknown | ~defined
    return ExcessSpan(
        span,
        first.masked_fill(whole, 0),
        last.masked_fill(whole, frames.shape[1] - 1),
        frames.masked_fill(unknown[:, None], torch.nan),
        share.masked_fill(unknown | (~is_counted.any((1, 2)) & (matrix != 0).any(2).any(1)), torch.nan),
    )
