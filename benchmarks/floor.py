"""What stands above the floor of the networks that come with the package, one table.

    python -m benchmarks.floor [--clips 12]

Of every network that was trained to compare two frames: how much of the relevance lies on the two frames that decide,
with and without the floor (the mean of three draws), and in how many frames the excess lies. One network per line, so a
first look.
"""

from __future__ import annotations

from collections.abc import Sequence

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
COLUMNS = ("network", "method", "all, on deciding", "above the floor, on deciding", "excess span", "truth")


def of_rows(shares: Tensor, explanation: lrp3d.Explanation, decisive: Tensor) -> float:
    """The share (b, n, t) on the frames that decide (b, t), mean over rows by their positive logits, and over clips."""
    assert explanation.frame_logits is not None
    weights = explanation.frame_logits.clamp(min=0)
    weights = weights / weights.sum(1, keepdim=True)
    return float(((shares * decisive[:, None]).sum(-1) * weights).sum(1).mean())


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=12, metavar="N", help="of each network (default: %(default)s)")
    options = common.parse(parser, argv)
    device = common.start(options)
    notes = ("shares are means over clips; spans in frames, the truth from the first deciding frame to the last",)
    results = common.Results("floor", "What stands above the floor", options, device, COLUMNS, notes)
    for name in SHIPPED[1:2] if options.quick else SHIPPED:
        network, task = of = shipped(name, device)
        clips, made = of.clips(2 if options.quick else options.clips)
        decisive = made.decisive.to(device)
        for contrastive in (False, True):
            found = lrp3d.explain(network, clips, made.labels.to(device), contrastive=contrastive, floor=3)
            excess = found.excess
            assert excess is not None
            assert found.matrix is not None
            row: common.Row = {"network": name, "method": "CLRP" if contrastive else "LRP"}
            row[COLUMNS[2]] = of_rows(row_shares(found.matrix), found, decisive)
            row[COLUMNS[3]] = float((excess.frames * decisive).sum() / excess.frames.sum())
            row["excess span"], row["truth"] = float(torch.as_tensor(excess.mean())), task.gap + 1
            results.add(row)
    return results.write()


if __name__ == "__main__":
    main()
