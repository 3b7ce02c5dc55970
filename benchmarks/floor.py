"""What stands above the floor of the networks that come with the package, one table.

    python -m benchmarks.floor [--clips 96]

Of every network that was trained to compare two frames: how much of the relevance lies on the two frames that decide,
with and without the floor (the mean of three draws), and in how many frames the excess lies, over the floor and over
the mean matrix of the other clips of the class; for clips of both classes, as many of each, and for each class alone.
One training seed of each network, so a first look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from benchmarks.planted.shipped import shipped
from benchmarks.planted.spans import others_mean
from benchmarks.timing import common
from torch import Tensor

import lrp3d
from lrp3d.metrics.atr import row_shares

SHIPPED = (
    "I3D-R18-f16-match-d1",
    "I3D-R18-f16-match-d4",
    "I3D-R18-f16-match-d8",
    "TAM5-R18-f16-match-d1",
    "TAM5-R18-f16-match-d2",
    "TAM5-R18-f16-match-d4",
    "TAM5-R18-f16-match-d8",
)
COLUMNS = (
    "network",
    "method",
    "class",
    "all, on deciding",
    "above the floor, on deciding",
    "span above the floor",
    "low",
    "high",
    "span above the class",
    "low, class",
    "high, class",
    "truth",
)
BATCH = 24
DRAWS = 2000  # of the bootstrap


class Spans(NamedTuple):
    """The excess of every clip, and in how many frames it lies."""

    span: Tensor
    """(b,)."""
    excess: Tensor
    """(b,)."""

    @classmethod
    def of(cls, found: lrp3d.ExcessSpan) -> Spans:
        """What `excess_span` found."""
        return cls(found.span.double().cpu(), found.frames.sum(1).double().cpu())

    def mean(self) -> Tensor:
        """The data set's span, weighted by excess, of the clips on the last axis."""
        weight = self.excess.masked_fill(self.span.isnan(), 0)
        return (self.span.nan_to_num() * weight).sum(-1) / weight.sum(-1)

    def with_interval(self, chosen: Tensor) -> tuple[float, float, float]:
        """The span of some clips, and its 95 % interval by the bootstrap over them."""
        some = Spans(*(values[chosen] for values in self))
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(len(some.span), (DRAWS, len(some.span)), generator=generator)
        means = Spans(some.span[drawn], some.excess[drawn]).mean()
        low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype))
        return float(some.mean()), float(low), float(high)


class Found(NamedTuple):
    """What was found of every clip."""

    on_deciding: Tensor
    """(b,) the share of relevance on the frames that decide, the mean over rows by their positive logits."""
    excess_on_deciding: Tensor
    """(b,) the excess on the frames that decide."""
    excess: Tensor
    """(b,) the excess on all frames."""
    span: Tensor
    """(b,) in how many frames 80 % of the excess lie."""
    matrix: Tensor
    """(b, n, t)."""


def found_of(explanation: lrp3d.Explanation, decisive: Tensor) -> Found:
    """What was found of the clips of one batch, of which `decisive` (b, t) says which frames decide."""
    excess = explanation.excess
    assert excess is not None
    assert explanation.matrix is not None
    assert explanation.frame_logits is not None
    weights = explanation.frame_logits.clamp(min=0)
    weights = weights / weights.sum(1, keepdim=True)
    of_rows = (row_shares(explanation.matrix) * decisive[:, None]).sum(-1)
    on_deciding = (of_rows * weights).sum(1), (excess.frames * decisive).sum(1)
    parts = *on_deciding, excess.frames.sum(1), excess.span, explanation.matrix
    return Found(*(part.double().cpu() for part in parts))


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=96, metavar="N", help="of each network (default: %(default)s)")
    options = common.parse(parser, argv)
    device = common.start(options)
    notes = (
        "shares on deciding: all, means over clips; above the floor, of the excess of all clips together",
        "spans in frames, means over clips by their excess, with 95 % intervals by the bootstrap over clips; the truth "
        "is from the first deciding frame to the last",
    )
    results = common.Results("floor", "What stands above the floor", options, device, COLUMNS, notes)
    for name in SHIPPED[1:2] if options.quick else SHIPPED:
        of = shipped(name, device)
        clips, made = of.balanced_clips(2 if options.quick else options.clips)
        twin = lrp3d.convert(of.network)
        for contrastive in (False, True):
            parts = []
            batches = zip(clips.split(BATCH), made.labels.split(BATCH), made.decisive.split(BATCH), strict=True)
            for part, labels, decisive in batches:
                found = lrp3d.explain(twin, part, labels.to(device), contrastive=contrastive, floor=3)
                parts.append(found_of(found, decisive.to(device)))
            every = Found(*map(torch.cat, zip(*parts, strict=True)))
            above_floor = Spans(every.span, every.excess)
            above_class = Spans.of(lrp3d.excess_span(every.matrix, others_mean(every.matrix, made.labels)))
            method = "CLRP" if contrastive else "LRP"
            classes = {"both": made.labels >= 0} | {
                kind: made.labels == label for label, kind in enumerate(of.task.classes)
            }
            for kind, chosen in classes.items():
                on_deciding = every.excess_on_deciding[chosen].sum() / every.excess[chosen].sum()
                shares = float(every.on_deciding[chosen].mean()), float(on_deciding)
                spans = *above_floor.with_interval(chosen), *above_class.with_interval(chosen)
                values = (name, method, kind, *shares, *spans, of.task.gap + 1)
                results.add(dict(zip(COLUMNS, values, strict=True)))
    return results.write()


if __name__ == "__main__":
    main()
