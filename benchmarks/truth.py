"""Do temporal relevance and ATR tell the truth? Held against planted dependencies, where the answer is known.

    python -m benchmarks.train_planted    # first: the networks
    python -m benchmarks.truth            # the tables, into benchmarks/results/truth.md, truth.json and pictures
    python -m benchmarks.truth --only TAM # those networks alone: computes their maps, writes no tables
    python -m benchmarks.truth --quick    # two tiny untrained networks, few clips, into --out: does it run

Only networks that are there are counted, and the report says how many. Maps are kept in --maps: a second call is quick.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from benchmarks.planted.training_plans import SEEDS, Lineage, Outcome, every
from benchmarks.planted.maps import Maps, maps_of
from benchmarks.planted.matrices import METHODS
from benchmarks.planted.pages import write
from benchmarks.planted.tables import LEARNED, TABLE_GAPS, Network, report
from benchmarks.timing.common import add_folder

from lrp3d import models

CLIPS = 216  # at least, of all networks of a table
FEW = ["CLRP", "LRP", "intervention"]  # at the other gaps, which only the comparison of spans needs
CONTROLS = ("static", "flash")
MAIN = ("I3D-R18", "TAM5-R18")
LONG = 16  # frames; above that there are only maps and interventions, no tests of them


def main() -> None:
    """Read the options, compute what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folder(parser, "--trained", "build/planted")
    add_folder(parser, "--maps", "build/truth")
    add_folder(parser, "--out", "benchmarks/results")
    parser.add_argument("--only", default="", metavar="NAME", help="networks whose name begins like this, no tables")
    parser.add_argument("--quick", action="store_true", help="tiny untrained networks: does it run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = quick_lineages(options.trained) if options.quick else every()
    found: dict[Network, dict[int, Maps]] = {}
    trained: list[tuple[Lineage, int, Outcome]] = []
    for lineage in chosen:
        for gap in lineage.gaps:
            result_file = lineage.folder(options.trained, gap) / "result.json"
            if not result_file.exists() or not lineage.name.startswith(options.only):
                continue
            result: Outcome = json.loads(result_file.read_text())
            trained.append((lineage, gap, result))
            if lineage.family not in ("match", *CONTROLS) or (result["accuracy"] < LEARNED and not options.quick):
                continue  # no span to measure, or nothing learned
            control, shown = lineage.family in CONTROLS, gap in TABLE_GAPS
            clips = 4 if options.quick else clips_of(lineage)
            methods = methods_of(lineage) if shown else FEW
            tests = shown and not control and lineage.frames <= LONG
            maps = maps_of(lineage, gap, options.trained, options.maps, clips, methods, tests)
            network = Network(lineage.architecture, lineage.family, lineage.seed, lineage.frames)
            found.setdefault(network, {})[gap] = maps
            print(f"{lineage.name} gap {gap}", flush=True)
    if not found:
        parser.error(f"no trained network {options.only} in {options.trained}: run benchmarks/train_planted.py first")
    if not options.only:
        write(report(found, trained), options.out)


def clips_of(lineage: Lineage) -> int:
    """How many clips of each network make at least CLIPS over the seeds, with some to spare.

    The two main networks have as many at every gap and of each control, others over all gaps together.
    """
    gaps = {gap for one in every() if one.name == lineage.name for gap in one.gaps if gap in TABLE_GAPS}
    networks = 1 if lineage.architecture in MAIN and lineage.frames == 16 else len(gaps)
    return -(-CLIPS // (len(SEEDS) * networks)) + 2


def methods_of(lineage: Lineage) -> list[str]:
    """The rows of a table: all for the two main architectures, fewer where they would take long."""
    if lineage.frames > LONG or lineage.architecture == "SlowFast":
        return [*FEW, "random"]
    return list(METHODS) if lineage.architecture in MAIN else [*FEW, "gradient x input", "random"]


def quick_lineages(trained: Path) -> list[Lineage]:
    """An architecture on tiny clips, saved as it is drawn."""
    pair = Lineage("I3D-R18", "match", 0, gaps=(1, 2), frames=4, size=8)
    chosen = [pair, replace(pair, family="flash", gaps=(1,))]
    for lineage in chosen:
        for gap in lineage.gaps:
            folder = lineage.folder(trained, gap)
            folder.mkdir(parents=True, exist_ok=True)
            models.save_checkpoint(lineage.untrained(), folder / "model.safetensors")
            result: Outcome = {"accuracy": 0.5, "clips": 4, "steps": 0, "seconds": 0.0}
            (folder / "result.json").write_text(json.dumps(result))
    return chosen


if __name__ == "__main__":
    main()
