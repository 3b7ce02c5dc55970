"""Do temporal relevance and ATR tell the truth? Held against planted dependencies, where the answer is known.

    python benchmarks/train_planted.py    # first: the networks
    python benchmarks/truth.py            # the table, into benchmarks/results/truth.md and truth.json
    python benchmarks/truth.py --quick    # two tiny untrained networks, few clips, into --out: does it run

Only networks that are there are counted, and the report says how many. Maps are kept in --maps: a second call is quick.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch
from columns import Row, atr_columns, clip_columns, control_columns, mean_and_deviation
from lineages import HELD_OUT, Lineage, every
from lrp3d.models.files import replacing
from maps import Maps, maps_of
from matrices import METHODS
from spans import MEASURES, SOURCES, agreement, estimates
from torch import Tensor

import lrp3d

CLIPS = 24  # of every network: 72 of an architecture and gap, 288 of an architecture
TABLE_GAPS = (1, 2, 4, 8)
FEW = ["CLRP", "LRP", "intervention"]  # at the other gaps, which only the comparison of spans needs
CORE = ("I3D-R18", "TAM5-R18")


class Network(NamedTuple):
    """What a row of networks has in common, whatever gap it was trained for."""

    architecture: str
    family: str
    seed: int
    frames: int


def main() -> None:
    """Read the options, compute what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--trained", type=Path, default=Path("build/planted"), metavar="DIR", help="default: %(default)s"
    )
    folder = {"type": Path, "metavar": "DIR", "help": "default: %(default)s"}
    parser.add_argument("--maps", default=Path("build/truth"), **folder)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--quick", action="store_true", help="tiny untrained networks: does it run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = 4 if options.quick else CLIPS
    chosen = quick_lineages(options.trained) if options.quick else every()
    found: dict[Network, dict[int, Maps]] = {}
    for lineage in chosen:
        if lineage.architecture not in CORE:
            continue
        for gap in lineage.gaps:
            if (lineage.folder(options.trained, gap) / "result.json").exists():
                methods = list(METHODS) if gap in TABLE_GAPS else FEW
                maps = maps_of(lineage, gap, options.trained, options.maps, clips, methods)
                network = Network(lineage.architecture, lineage.family, lineage.seed, lineage.frames)
                found.setdefault(network, {})[gap] = maps
                print(f"{lineage.name} gap {gap}", flush=True)
    if not found:
        parser.error(f"no trained network in {options.trained}: run benchmarks/train_planted.py first")
    write(report(found, clips), options.out)


def quick_lineages(trained: Path) -> list[Lineage]:
    """An architecture on tiny clips, saved as it is drawn."""
    pair = Lineage("I3D-R18", "match", 0, gaps=(1, 2), frames=4, size=8)
    chosen = [pair, replace(pair, family="flash", gaps=(1,))]
    for lineage in chosen:
        for gap in lineage.gaps:
            folder = lineage.folder(trained, gap)
            folder.mkdir(parents=True, exist_ok=True)
            lrp3d.models.save_checkpoint(lineage.untrained(), folder / "model.safetensors")
            (folder / "result.json").write_text(json.dumps({"accuracy": 0.5}))
    return chosen


def report(found: dict[Network, dict[int, Maps]], clips: int) -> dict:
    """All tables: by architecture and frames, a row for every method, each cell mean and deviation over seeds."""
    networks = sorted({(one.architecture, one.frames) for one in found})
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread, no GPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lrp3d": lrp3d.__version__,
        "clips of each network": clips,
        "tables": {f"{name}, {frames} frames": tables_of(found, name, frames) for name, frames in networks},
    }


def tables_of(found: dict[Network, dict[int, Maps]], architecture: str, frames: int) -> dict[str, dict[str, Row]]:
    """Validity, ATR, controls and spans of one architecture."""
    mine = {one: maps for one, maps in found.items() if (one.architecture, one.frames) == (architecture, frames)}
    pairs = {one.seed: maps for one, maps in mine.items() if one.family == "match"}
    controls: dict[int, dict[str, Maps]] = {}
    for one, maps in mine.items():
        if one.family in ("static", "flash"):
            controls.setdefault(one.seed, {})[one.family] = maps[1]
    trained = {seed: {gap: maps for gap, maps in gaps.items() if gap in TABLE_GAPS} for seed, gaps in pairs.items()}
    rows = [*METHODS, "untrained CLRP", "untrained LRP"]
    tables = {
        "Where the relevance lies": {
            row: mean_and_deviation([clip_columns(gaps, row) for gaps in trained.values()]) for row in rows
        },
        "ATR against the true span": {
            row: mean_and_deviation([atr_columns(gaps, row) for gaps in trained.values()]) for row in rows
        },
        "ATR where one frame is enough": {
            row: mean_and_deviation([control_columns(each, row) for each in controls.values()]) for row in rows
        },
    }
    parts = {
        "seed 0 (chosen on)": {0: pairs[0]} if 0 in pairs else {},
        "other seeds": {seed: gaps for seed, gaps in pairs.items() if seed != 0},
        "gaps 5 and 7": {
            seed: {gap: maps for gap, maps in gaps.items() if gap in HELD_OUT} for seed, gaps in pairs.items()
        },
    }
    for name, part in parts.items():
        part = {seed: gaps for seed, gaps in part.items() if gaps}
        if part:
            tables[f"Spans, {name}"] = {
                f"{measure}, {source}": mean_and_deviation([agreement(gaps, source, measure) for gaps in part.values()])
                for measure in MEASURES
                for source in SOURCES
            }
    if controls:
        tables["Spans where one frame is enough"] = {
            f"{measure}, {source}": mean_and_deviation(
                [
                    {f"{family}": _mean(*estimates(maps, source, measure)) for family, maps in each.items()}
                    for each in controls.values()
                ]
            )
            for measure in MEASURES
            for source in SOURCES
        }
    return tables


def _mean(span: Tensor, weight: Tensor) -> float:
    return ((span * weight).sum() / weight.sum()).item() if len(span) else float("nan")


def write(result: dict, out: Path) -> None:
    """JSON for programs, Markdown for readers."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Temporal relevance against planted dependencies",
        "",
        f"`python benchmarks/truth.py`, {result['date']}; {result['machine']}; Python {result['python']}, "
        f"torch {result['torch']}, lrp3d {result['lrp3d']}; {result['clips of each network']} clips of each network, "
        "those it classifies correctly. Mean ± standard deviation over training seeds. d is the gap; the true span is "
        "d + 1, and 1 where one frame is enough.",
        "",
    ]
    for name, tables in result["tables"].items():
        for title, table in tables.items():
            columns = list(dict.fromkeys(column for row in table.values() for column in row))
            if not columns:
                continue
            lines += [f"## {name}: {title}", ""]
            lines += ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
            for method, row in table.items():
                cells = [_cell(*row[column]) if column in row else "" for column in columns]
                lines.append(f"| {method} | " + " | ".join(cells) + " |")
            lines.append("")
    for name, text in (("truth.json", json.dumps(result, indent=1) + "\n"), ("truth.md", "\n".join(lines))):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
        print(f"wrote {out / name}")


def _cell(mean: float, deviation: float) -> str:
    return "–" if mean != mean else f"{mean:.2f} ± {deviation:.2f}"


if __name__ == "__main__":
    main()
