"""What stands above the floor of the networks that come with the package, one table.

    python -m benchmarks.floor [--clips 96]

Of every network that was trained to compare two frames: how much of the relevance lies on the two frames that decide,
with and without the floor (the mean of three draws), and in how many frames the excess lies, for clips of both classes,
as many of each, and for each class alone. One training seed of each network, so a first look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from benchmarks.planted.shipped import shipped
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
    "excess span",
    "span, low",
    "span, high",
    "truth",
)
BATCH = 24
DRAWS = 2000  # of the bootstrap


class Found(NamedTuple):
    """What was found of every clip."""

    on_deciding: Tensor
    """(b,) the share of relevance on the frames that decide, the mean over rows by their positive logits."""
    excess_on_deciding: Tensor
    """(b,) the excess on the frames that decide."""
    excess: Tensor
    """(b,) the excess on all frames."""
    span: Tensor
    """(b,)."""

    def of(self, chosen: Tensor) -> Found:
        """The same of some clips."""
        return Found(*(values[chosen] for values in self))

    def mean_span(self) -> Tensor:
        """The data set's span, weighted by excess, of the clips on the last axis."""
        weight = self.excess.masked_fill(self.span.isnan(), 0)
        return (self.span.nan_to_num() * weight).sum(-1) / weight.sum(-1)

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the data set's span, by the bootstrap over clips."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(len(self.span), (DRAWS, len(self.span)), generator=generator)
        low, high = self.of(drawn).mean_span().quantile(torch.tensor([0.025, 0.975], dtype=self.span.dtype))
        return float(low), float(high)


def found_of(explanation: lrp3d.Explanation, decisive: Tensor) -> Found:
    """What was found of the clips of one batch, of which `decisive` (b, t) says which frames decide."""
    excess = explanation.excess
    assert excess is not None
    assert explanation.matrix is not None
    assert explanation.frame_logits is not None
    weights = explanation.frame_logits.clamp(min=0)
    weights = weights / weights.sum(1, keepdim=True)
    of_rows = (row_shares(explanation.matrix) * decisive[:, None]).sum(-1)
    parts = (of_rows * weights).sum(1), (excess.frames * decisive).sum(1), excess.frames.sum(1), excess.span
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
            method = "CLRP" if contrastive else "LRP"
            classes = {"both": made.labels >= 0} | {
                kind: made.labels == label for label, kind in enumerate(of.task.classes)
            }
            for kind, chosen in classes.items():
                some = every.of(chosen)
                low, high = some.interval()
                shares = float(some.on_deciding.mean()), float(some.excess_on_deciding.sum() / some.excess.sum())
                values = (name, method, kind, *shares, float(some.mean_span()), low, high, of.task.gap + 1)
                results.add(dict(zip(COLUMNS, values, strict=True)))
    return results.write()


if __name__ == "__main__":
    main()
