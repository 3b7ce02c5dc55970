"""Words about the rows of a matrix: frames with a logit, or the time steps of a module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrp3d.explanation.wording import amount, comparison
from lrp3d.metrics.excess_span import SPAN_SHARE
from lrp3d.printed import few, listed

if TYPE_CHECKING:
    from lrp3d.explanation.explanation import Explanation

SHOWN_ROWS = 8  # of those without relevance
LONGEST_NAME = 28  # letters of a module's name for which an axis has room; of longer ones the end tells more


def column_unit(explanation: Explanation) -> str:
    """What a column of the matrix is, and with it a row: a frame, or a step of several where time is strided."""
    return "frame" if explanation.unit == "frames" else "step"


def no_positive_row(explanation: Explanation) -> str:
    """Why there is no average over rows, which are weighted by what is positive."""
    return (
        "no frame's logit is positive"
        if explanation.rows_at is None
        else "what flows through is positive at no time step"
    )


def row_quantity(explanation: Explanation, clip: int) -> str:
    """The name of the number that a row explains, which is part of a logit where rows are time steps of a module."""
    quantity = amount(explanation, clip)[1]
    if explanation.rows_at is None or explanation.frame_logits is None:
        return quantity
    return f"{explanation.frame_logits.shape[1]} \N{MULTIPLICATION SIGN} its part of the {quantity}"


def row_words(explanation: Explanation, clip: int, row: int) -> str:
    """The explained number of a row in words, which is no logit where the class is compared with others.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> found = lrp3d.explain(model, torch.rand(1, 3, 4, 32, 32), 1, against=[2])
    >>> row_words(found, 0, 3).partition(" by ")[0]
    "logit above the other's"
    """
    assert explanation.frame_logits is not None
    between = " by" if comparison(explanation, clip) else ":" if explanation.rows_at else ""
    return f"{row_quantity(explanation, clip)}{between} {float(explanation.frame_logits[clip, row]):.3g}"


def row_axis(explanation: Explanation) -> str:
    """What a row of the matrix is, for an axis, where rows are time steps of a module; empty where they are frames.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> row_axis(lrp3d.explain(model, torch.rand(1, 3, 4, 32, 32), rows_at="features.layer2.1"))
    'frame i at features.layer2.1'
    """
    if explanation.rows_at is None:
        return ""
    name = explanation.rows_at
    return f"{column_unit(explanation)} i at {name if len(name) <= LONGEST_NAME else '...' + name[3 - LONGEST_NAME :]}"


def rows_words(explanation: Explanation, clips: Sequence[int]) -> str:
    """How much of the logits of clips rows hold that are time steps of a module; empty where rows are frames.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> found = lrp3d.explain(model, torch.rand(2, 3, 4, 32, 32), contrastive=False, rows_at="features.layer2")
    >>> rows_words(found, [0, 1])
    'time steps at the output of features.layer2, through which 100 and 100 % of the logit flows'
    """
    if explanation.rows_at is None or explanation.through_rows is None:
        return ""
    shares = listed(f"{100 * float(explanation.through_rows[clip]):.0f}" for clip in clips)
    return f"time steps at the output of {explanation.rows_at}, through which {shares} % of the logit flows"


def rows_without_relevance(explanation: Explanation, clip: int) -> str:
    """The rows of a clip that have no relevance, counted from 1; empty if there are none.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=10, width=8).eval()
    >>> found = lrp3d.explain(model, torch.rand(1, 3, 4, 32, 32))
    >>> found.atr = torch.tensor([[1.0, torch.nan, 2.0, torch.nan]])  # which is NaN where there is no relevance
    >>> rows_without_relevance(found, 0)
    'for the frame logits 2, 4 of 4'
    """
    if explanation.atr is None:
        return ""
    atr, row = explanation.atr[clip], "frame logit" if explanation.rows_at is None else "time step"
    rows = [str(number + 1) for number in atr.isnan().nonzero().flatten().tolist()]
    if not rows:
        return ""
    if len(rows) == len(atr):
        return f"for all {len(rows)} {row}s"
    return f"for the {row}{'s' * (len(rows) > 1)} {few(rows, SHOWN_ROWS)} of {len(atr)}"


def above_floor(explanation: Explanation, clip: int) -> str:
    """How much relevance of a clip's matrix is above the floor, and where; empty without a floor."""
    excess = explanation.excess
    if excess is None or explanation.matrix is None:
        return ""
    if not math.isfinite(float(excess.share[clip])):
        return f"As {no_positive_row(explanation)}, nothing is compared with the untrained network."
    share = f"{100 * float(excess.share[clip]):.0f} %"
    percent = f"{share} of the relevance exceeds what the untrained network gives to the same frames."
    if not math.isfinite(float(excess.span[clip])):
        return percent
    first, last, columns = int(excess.first[clip]) + 1, int(excess.last[clip]) + 1, explanation.matrix.shape[-1]
    unit = column_unit(explanation)
    lies = f"{unit}s {first} to {last}" if last > first else f"{unit} {first}"
    return f"{percent} Of this excess, {100 * SPAN_SHARE:g} % lies in {lies} of {columns}."
