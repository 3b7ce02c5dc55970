"""The paper's findings, on small networks trained here: reproduced, not reproduced, or not testable here.

    python -m benchmarks.train_planted     # first: the networks on planted pairs,
    python -m benchmarks.findings_nets     # and those on actions; both go on where they stopped
    python -m benchmarks.findings          # findings.md, findings.json and the folder findings/ in benchmarks/results
    python -m benchmarks.findings --quick  # untrained networks of 8 frames, few clips: does it run

Seeds that were not trained are left out, and the report says how many there are. Explanations are kept in --kept.
"""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from datetime import date
from pathlib import Path

import torch
from benchmarks.paper.factors import WELL, backbones, data, depth, heat_maps, kernels, lengths, modules
from benchmarks.paper.nets import SEEDS
from benchmarks.paper.page import Section, write
from benchmarks.paper.findings import accuracies, by_class, ensembles, methods, samplings, slowfast, windows
from benchmarks.paper.studies import WINDOW_CLIPS, Bench

import lrp3d

CLIPS = 120  # of each network: as many of every class


def main() -> None:
    """Read the options, explain what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = {"type": Path, "metavar": "DIR", "help": "default: %(default)s"}
    parser.add_argument("--nets", default=Path("build/planted"), **folder)
    parser.add_argument("--kept", default=Path("build/findings"), **folder)
    parser.add_argument("--out", default=Path("benchmarks/results"), **folder)
    parser.add_argument("--quick", action="store_true", help="untrained networks, few clips: does it run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips, seeds = (10, SEEDS[:1]) if options.quick else (CLIPS, SEEDS)
    bench = Bench(options.nets, options.kept, clips, seeds, options.quick)
    sections = sections_of(bench)
    if not bench.used:
        parser.error(f"no trained network in {options.nets}: run benchmarks/findings_nets.py first")
    for path in write(sections, facts(bench), said(bench), options.out):
        print(f"wrote {path}")


def sections_of(bench: Bench) -> list[Section]:
    """All of them, in the paper's order."""
    one_by_one = (data, heat_maps, modules, backbones, depth, kernels, lengths, windows, accuracies)
    return [
        *(make(bench) for make in one_by_one),
        *by_class(bench),
        *(make(bench) for make in (ensembles, slowfast, methods, samplings)),
    ]


def facts(bench: Bench) -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.findings",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread, no GPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lrp3d": lrp3d.__version__,
        "clips of each network": bench.clips,
        "seeds of each study": dict(sorted(bench.used.items())),
        "accuracy of each study in percent": dict(sorted(bench.accuracy.items())),
    }


def said(bench: Bench) -> list[str]:
    """The same for readers."""
    made = facts(bench)
    seeds = Counter(bench.used.values())
    weak = ", ".join(
        f"{name.removesuffix(' model').replace(' {}', '').removesuffix(' uniform')} ({accuracy:.1f} %)"
        for name, accuracy in sorted(bench.accuracy.items())
        if name.endswith(" model") and accuracy < WELL
    )
    counted = ", ".join(f"{count} with {number}" for number, count in sorted(seeds.items(), reverse=True))
    return [
        f"`{made['command']}`, {made['date']}; {made['machine']}; Python {made['python']}, "
        f"torch {made['torch']}, lrp3d {made['lrp3d']}. {bench.clips} clips of each network, {WINDOW_CLIPS} for "
        "windows; counted are clips predicted correctly with a score above 0.5, as in the paper. Studies by training "
        f"seeds: {counted} (which: findings.json).",
        "Networks are narrow (8 channels at first, SlowFast 16, Inception as it is) and trained from scratch, on "
        "videos of 32 frames of 16 x 16 pixels whose ten classes are known to need time or not "
        "([actions.py](../paper/actions.py)), and on planted pairs of events d frames apart. What fails here fails "
        "where the truth is known; what holds here need not hold on real videos, nor the other way round.",
        "A comparison counts if its mean exceeds its standard error over two training seeds or more (over networks, "
        "or clips, where those are what varies). A finding is reproduced if at least half count, all with the paper's "
        "sign, not reproduced if one has the other, and not testable here otherwise. Networks of the same seed are "
        "compared with each other. ± is the deviation over seeds, in tables over clips; without ± it is a single "
        "seed, and counts for nothing.",
        f"Networks that learned less than {WELL:g} % of their clips at the end of training: {weak or 'none'}. "
        "I3D-R50 is poorly trained: its ATR counts against no other's; TSN, dense sampling and a single ensembled "
        "frame see less, which is what is asked there.",
    ]


if __name__ == "__main__":
    main()
