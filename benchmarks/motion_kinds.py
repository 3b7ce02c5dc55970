"""Does `motion` say how much a network needs motion, where frames meet by convolution, shift, attention or recurrence?

    python -m benchmarks.motion_kinds                 # trains (minutes of one core), then writes the table
    python -m benchmarks.motion_kinds --only shift    # trains one kind, writes no table

The same question as `benchmarks.motion` has for single networks, and the same columns: four kinds of networks learn
"match", which needs two frames, and "flash" and "static", which can be told from one, with three seeds each. Weights
are kept in build/motion_kinds, so that a second call goes on where the first one stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from benchmarks.attending.networks import CLASSES, FRAMES, NETS, SIZE
from benchmarks.attending.training import SEEDS, inputs, train
from benchmarks.motion import COLUMNS, DRAWS, LOST, MEASURES, accuracy, motion_of
from benchmarks.timing import common
from lrp3d.files import replacing
from lrp3d.planted import Task
from lrp3d.study.running.time_variants import in_time
from lrp3d.twin.untrained import untrained
from torch import nn

import lrp3d
from lrp3d import models

KINDS: dict[str, Callable[[int], nn.Module]] = {
    "convolution": lambda classes: models.i3d_resnet(18, classes, width=8, dropout=0.0),
    "shift": lambda classes: models.tsm_resnet(18, classes, FRAMES, width=8, dropout=0.0),
    "attention": NETS["transformer"],
    "recurrence": NETS["CNN + LSTM"],
}
"""An I3D, a TSM, a transformer over patches, and a CNN whose frames an LSTM reads."""
TASKS = {
    "match": Task("match", gap=2, frames=FRAMES, size=SIZE),
    "flash": Task("flash", frames=FRAMES, size=SIZE),
    "static": Task("static", frames=FRAMES, size=SIZE),
}
STEPS = {"match": 2500, "flash": 500, "static": 300}
LEARNED = 0.9  # networks of less accuracy stand in the table and count nowhere
CLIP_SEED = 960_000


def network(kind: str, family: str, seed: int, kept: Path, steps: int) -> nn.Module:
    """A trained network, read where it is kept."""
    weights = kept / f"{kind}-{family}-{seed}.pt"
    if not weights.exists():
        model, about = train(KINDS[kind], TASKS[family], seed, steps)
        kept.mkdir(parents=True, exist_ok=True)
        with replacing(weights) as temporary:
            torch.save(model.state_dict(), temporary)
        print(f"{kind}, {family}, seed {seed}: {json.dumps(about)}", flush=True)
    model = KINDS[kind](CLASSES)
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


def row_of(name: str, model: nn.Module, task: Task, clips: int, accuracy_clips: int) -> common.Row:
    """One network: accuracy, what it loses without time, and motion, trained and untrained."""
    many, few = task.clips(accuracy_clips, seed=CLIP_SEED), task.clips(clips, seed=CLIP_SEED + 1)
    right = accuracy(model, inputs(many), many.labels)
    row: common.Row = {"network": name, "accuracy": right}
    for column in LOST:
        row[column] = right - accuracy(model, inputs(many), many.labels, column.removeprefix("lost, "))
    pixels, labels = inputs(few), few.labels
    row |= motion_of(model, pixels, labels)
    row["motion, shuffled"] = motion_of(model, in_time(pixels, "shuffled"), labels)["motion"]
    noise = torch.rand(2, *pixels.shape[1:], generator=torch.Generator().manual_seed(0))
    draws = [motion_of(untrained(lrp3d.convert(model), seed, noise), pixels, labels) for seed in range(DRAWS)]
    drawn = {measure: sum(draw[measure] for draw in draws) / DRAWS for measure in ("motion", "absolute")}
    row["motion, untrained"] = drawn["motion"]
    return row | {f"{measure} - untrained": float(row[measure]) - value for measure, value in drawn.items()}


def main(argv: Sequence[str] | None = None) -> common.Results | None:
    """Train what is missing, measure, and write the table."""
    parser = common.arguments(__doc__)
    parser.add_argument("--clips", type=int, default=24, metavar="N", help="explained (default: %(default)s)")
    about = "classified (default: %(default)s)"
    parser.add_argument("--accuracy-clips", type=int, default=200, metavar="N", help=about)
    parser.add_argument("--kept", type=Path, default=Path("build/motion_kinds"), help="weights (default: %(default)s)")
    parser.add_argument("--only", choices=KINDS, help="train networks of one kind and stop")
    options = common.parse(parser, argv)
    device = common.start(options)
    kinds = [options.only] if options.only else list(KINDS)
    seeds: Sequence[int] = SEEDS
    if options.quick:
        options.clips, options.accuracy_clips, seeds = 2, 8, SEEDS[:1]
        options.kept = options.kept / "quick"
    trained = {
        (kind, family, seed): network(kind, family, seed, options.kept, 3 if options.quick else STEPS[family])
        for kind in kinds
        for family in TASKS
        for seed in seeds
    }
    if options.only:
        return None
    notes = (
        "lost: accuracy on clips as they are, minus that on clips whose time is changed",
        f"last lines: rank correlation with what is lost with single frames, of networks of accuracy {LEARNED} or more",
    )
    results = common.Results(
        "motion_kinds", "Motion of convolutions, shifts, attention and recurrence", options, device, COLUMNS, notes
    )
    rows: dict[str, list[common.Row]] = {kind: [] for kind in kinds}
    for (kind, family, seed), model in trained.items():
        row = row_of(f"{kind}, {family}, seed {seed}", model, TASKS[family], options.clips, options.accuracy_clips)
        rows[kind].append(row)
        results.add(row)
    for kind in [*kinds, "all"]:
        found = [row for of, rows_of in rows.items() if kind in (of, "all") for row in rows_of]
        results.add(correlations(kind, [row for row in found if float(row["accuracy"]) >= LEARNED or options.quick]))
    return results.write()


def correlations(name: str, rows: Sequence[common.Row]) -> common.Row:
    """Rank correlation of every measure with what is lost when frames are single."""
    lost = torch.tensor([[float(row["lost, single"]) for row in rows]])
    found: common.Row = {"network": f"rank correlation, {name}"}
    for measure in ("motion", *MEASURES[1:], "motion, untrained"):
        values = torch.tensor([[float(row[measure]) for row in rows]])
        found[measure] = float(lrp3d.metrics.agreement.spearman(values, lost))
    return found


if __name__ == "__main__":
    main()
