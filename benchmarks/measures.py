"""What `against`, `floor`, `motion`, `layers` and `where` cost, one table.

    python -m benchmarks.measures [--clips 12]

Costs are ratios to `explain` of the same clips by a new twin, medians of rounds in turn; on a CPU, of the processor's
time. "Floor, first clips" draws and explains an untrained network; for "floor, further clips" a twin has kept it and is
the one to compare with as well.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.planted.shipped import shipped
from benchmarks.timing import common

import lrp3d

SHIPPED = ("I3D-R18-f16-match-d1", "I3D-R18-f16-match-d4", "I3D-R18-f16-static")
COSTS: dict[str, dict[str, Any]] = {
    "against": {"against": "next", "contrastive": False},
    "floor, first clips": {"floor": True},
    "motion": {"motion": True},
    "layers": {"layers": ["features.layer1", "features.layer4"]},
    "where": {"where": {"features.layer3": [0, 1]}},
}
FURTHER = "floor, further clips"
COLUMNS = ("network", *(f"{name} / explain" for name in (*COSTS, FURTHER)))


def main(argv: Sequence[str] | None = None) -> common.Results:
    """Measure and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=12, metavar="N", help="of each network (default: %(default)s)")
    options = common.parse(parser, argv)
    device = common.start(options)
    spent = "processor" if device.type == "cpu" else "wall"
    notes = (f"costs are ratios of {spent} time; clips of 16 frames and 16 pixels, all in one batch",)
    results = common.Results("measures", "What other measures cost", options, device, COLUMNS, notes)
    for name in SHIPPED[:1] if options.quick else SHIPPED:
        of = shipped(name, device)
        clips, made = of.balanced_clips(2 if options.quick else options.clips)
        network, labels = of.network, made.labels.to(device)
        ways: dict[str, dict[str, Any]] = {"explain": {}, **COSTS}
        contestants = {way: partial(lrp3d.explain, network, clips, labels, **how) for way, how in ways.items()}
        twin = lrp3d.convert(network)
        contestants["by a twin"] = partial(lrp3d.explain, twin, clips, labels)
        contestants[FURTHER] = partial(lrp3d.explain, twin, clips, labels, floor=True)
        for contestant in contestants.values():
            contestant()  # the first call of each kind costs more than later ones
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        timed = common.compare(contestants, options.repeats, device, clock)
        row: common.Row = {"network": name}
        row |= {f"{way} / explain": timed.ratio(way, "explain") for way in COSTS}
        row[f"{FURTHER} / explain"] = timed.ratio(FURTHER, "by a twin")
        results.add(row)
    return results.write()


if __name__ == "__main__":
    main()
