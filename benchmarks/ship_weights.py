"""Put trained networks into the package: float16, below 2 MB each, with what is known of them.

    python -m benchmarks.train_planted
    python -m benchmarks.ship_weights

The seed with the best accuracy is taken; nothing below 98 % is shipped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.planted.training_plans import Lineage, Outcome, every
from benchmarks.timing.common import add_folder

from lrp3d import models

WORTH = {
    "I3D-R18-f16-match": (1, 4, 8),
    "TAM5-R18-f16-match": (1, 2, 4, 8),
    "TAM5-R18-f8-match": (4,),
    "I3D-R18-f16-static": (1,),
    "TAM5-R18-f16-flash": (1,),
}
LEAST = 0.98
LARGEST, IN_ALL = 2_000_000, 8_000_000  # bytes


def main() -> None:
    """Read the options, choose and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folder(parser, "--trained", "build/planted")
    add_folder(parser, "--out", "models/weights")
    parser.add_argument("--only", default="", metavar="NAME", help="networks whose name begins like this; others stay")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for start, gaps in WORTH.items():
        for gap in gaps if start.startswith(options.only) else ():
            ship(start, gap, options.trained, options.out)
    total = sum(file.stat().st_size for file in options.out.glob("*.safetensors"))
    print(f"{total / 1e6:.2f} MB in all")
    if total > IN_ALL:
        raise SystemExit(f"that is more than {IN_ALL / 1e6:.0f} MB")


def ship(start: str, gap: int, trained: Path, out: Path) -> None:
    """The best seed of one lineage at one gap."""
    best: tuple[float, Lineage, Outcome] | None = None
    for lineage in every():
        result_file = lineage.folder(trained, gap) / "result.json"
        if lineage.name.startswith(f"{start}-s") and result_file.exists():
            result: Outcome = json.loads(result_file.read_text())
            if best is None or result["accuracy"] > best[0]:
                best = result["accuracy"], lineage, result
    name = f"{start}-d{gap}" if "match" in start else start
    if best is None or best[0] < LEAST:
        print(f"{name}: nothing trained to {LEAST:.0%}")
        return
    accuracy, lineage, result = best
    task = lineage.task(gap)
    facts = {
        "task": {"family": task.family, "gap": task.gap, "frames": task.frames, "size": task.size},
        "accuracy": round(accuracy, 4),
        "fresh clips": result["clips"],
        "seed": lineage.seed,
        "command": f"python -m benchmarks.train_planted --only {lineage.name}",
    }
    path = out / f"{name}.safetensors"
    models.save_checkpoint(lineage.trained(trained, gap), path, task.classes, half=True, facts=facts)
    size = path.stat().st_size
    print(f"{name}: accuracy {accuracy:.3f}, {size / 1e6:.2f} MB")
    if size > LARGEST:
        raise SystemExit(f"that is more than {LARGEST / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
