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

import torch
from columns import Row, atr_columns, clip_columns, control_columns, mean_and_deviation
from lineages import Lineage, every
from lrp3d.models.files import replacing
from maps import Maps, maps_of
from matrices import METHODS

import lrp3d

CLIPS = 24  # of every network: 72 of an architecture and gap, 288 of an architecture
TABLE_GAPS = (1, 2, 4, 8)
FEW = ["CLRP", "LRP", "intervention"]  # at the other gaps, which only the comparison of spans needs
CORE = ("I3D-R18", "TAM5-R18")


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
    found: dict[Lineage, dict[int, Maps]] = {}
    for lineage in chosen:
        if lineage.architecture not in CORE:
            continue
        for gap in lineage.gaps:
            if (lineage.folder(options.trained, gap) / "result.json").exists():
                methods = list(METHODS) if gap in TABLE_GAPS else FEW
                maps = maps_of(lineage, gap, options.trained, options.maps, clips, methods)
                found.setdefault(lineage, {})[gap] = maps
                print(f"{lineage.name} gap {gap}", flush=True)
    if not found:
        parser.error(f"no trained network in {options.trained}: run benchmarks/train_planted.py first")
    write(report(found, clips), options.out)


def quick_lineages(trained: Path) -> list[Lineage]:
    """Two architectures on tiny clips, saved as they are drawn."""
    small = [Lineage("I3D-R18", family, 0, gaps=(1, 2), frames=6, size=8) for family in ("match", "static", "flash")]
    chosen = [replace(one, architecture=name) for one in small for name in CORE]
    for lineage in chosen:
        for gap in lineage.gaps:
            folder = lineage.folder(trained, gap)
            folder.mkdir(parents=True, exist_ok=True)
            lrp3d.models.save_checkpoint(lineage.untrained(), folder / "model.safetensors")
            (folder / "result.json").write_text(json.dumps({"accuracy": 0.5}))
    return chosen


def report(found: dict[Lineage, dict[int, Maps]], clips: int) -> dict:
    """All tables: by architecture and frames, a row for every method, each cell mean and deviation over seeds."""
    tables = {}
    for architecture in CORE:
        for frames in sorted({one.frames for one in found if one.architecture == architecture}):
            mine = [one for one in found if (one.architecture, one.frames) == (architecture, frames)]
            pairs = [one for one in mine if one.family == "match"]
            if not pairs:
                continue
            rows: dict[str, Row] = {}
            for method in [*METHODS, "untrained CLRP", "untrained LRP"]:
                seeds = []
                for one in pairs:
                    by_gap = {gap: maps for gap, maps in found[one].items() if gap in TABLE_GAPS}
                    controls = {
                        other.family: found[other][1] for other in mine if other.seed == one.seed and other != one
                    }
                    seeds.append(
                        clip_columns(by_gap, method) | atr_columns(by_gap, method) | control_columns(controls, method)
                    )
                rows[method] = mean_and_deviation(seeds)
            tables[f"{architecture}, {frames} frames"] = {"seeds": len(pairs), "rows": rows}
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread, no GPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lrp3d": lrp3d.__version__,
        "clips of each network": clips,
        "tables": tables,
    }


def write(result: dict, out: Path) -> None:
    """JSON for programs, Markdown for readers."""
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Temporal relevance against planted dependencies",
        "",
        f"`python benchmarks/truth.py`, {result['date']}; {result['machine']}; Python {result['python']}, "
        f"torch {result['torch']}, lrp3d {result['lrp3d']}; {result['clips of each network']} clips of each network, "
        "those it classifies correctly. Mean ± standard deviation over training seeds.",
        "",
    ]
    for name, table in result["tables"].items():
        columns = list(dict.fromkeys(column for row in table["rows"].values() for column in row))
        lines += [f"## {name}, {table['seeds']} seeds", ""]
        lines += ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for method, row in table["rows"].items():
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
