"""Train small networks on clips whose answer is known.

    python -m benchmarks.train_planted                      # all lineages, into build/planted; goes on where it stopped
    python -m benchmarks.train_planted --jobs 2             # on two cores: as many processes of one thread each
    python -m benchmarks.train_planted --only I3D-R18-f16   # those whose name begins like this
    python -m benchmarks.train_planted --quick              # one lineage, two steps: does it run

All of them are less than two hours of one core; result.json beside the weights says how many seconds each took.
Long gaps stall at chance from scratch: every gap starts from the weights of the gap before it. "xor" stalls at every
gap: random filters see colours, but not whether a bar stands or lies, and nothing rewards learning it, as one event
says nothing about the label. Its first gap starts from a network that was trained to name what both events show.
Trajectories want one long round instead of short ones: every restart of the learning rate costs what was learned.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from lrp3d.models import VideoModel
from lrp3d.files import replacing
from benchmarks.planted.training_plans import Lineage, Outcome, chains, every
from benchmarks.planted.training_rounds import BATCH, ENOUGH, TEST_SEED, VALIDATION, VALIDATION_SEED, train_round
from benchmarks.timing.common import add_folder
from torch import Tensor

from lrp3d import models
from lrp3d.planted import PlantedClips, normalise

STEPS = 60  # in a round; rounds go on until the gap is learned
ROUNDS = {"first": 5, "later": 3}
NAMING = 3  # rounds
LONG_BATCH, LONG_RATE = 32, 5e-3  # of a single long round
QUICK = Lineage("I3D-R18", "match", 0, gaps=(1, 2), frames=4, size=8)
TEST = 512  # clips


def train_gap(lineage: Lineage, gap: int, start: VideoModel | None, root: Path, steps: int, rounds: int) -> VideoModel:
    """Train one gap, in rounds of fresh clips, until it is learned; what came out is written beside the weights."""
    folder = lineage.folder(root, gap)
    folder.mkdir(parents=True, exist_ok=True)
    task, began, before = lineage.task(gap), time.process_time(), 0
    if start is None and lineage.named:
        start, before = named(lineage, gap, steps), steps * NAMING
    model = lineage.untrained()
    if lineage.long and steps == STEPS:
        steps, rounds = lineage.long, 1
    if start is not None:
        own = model.state_dict()
        fitting = {name: value for name, value in start.state_dict().items() if value.shape == own[name].shape}
        model.load_state_dict(own | fitting)  # all but the classifier of a network that names
    batch, rate = (LONG_BATCH, LONG_RATE) if lineage.long else (BATCH, 3e-3 if start is None else 1.5e-3)
    for turn in range(rounds):
        seed = 10_000 * lineage.seed + 100 * gap + turn
        clips = PlantedClips(task, steps * batch, model.mean, model.std, seed)
        train_round(model, clips, rate, batch, 0.2 if lineage.long else 0.0)
        fresh = PlantedClips(task, VALIDATION, model.mean, model.std, VALIDATION_SEED + seed)
        if models.evaluate(model, fresh, BATCH) >= ENOUGH:
            break
    model.eval()
    test = PlantedClips(task, TEST if steps >= STEPS else BATCH, model.mean, model.std, TEST_SEED)
    result: Outcome = {
        "accuracy": models.evaluate(model, test, BATCH),
        "clips": len(test),
        "steps": before + steps * (turn + 1),
        "seconds": round(time.process_time() - began, 1),  # of one core, whatever else runs there
    }
    models.save_checkpoint(model, folder / "model.safetensors", task.classes)
    with replacing(folder / "result.json") as temporary:
        temporary.write_text(json.dumps({"lineage": lineage.name, "gap": gap, **result}))
    print(
        f"{lineage.name} gap {gap}: accuracy {result['accuracy']:.3f}, {result['steps']} steps, {result['seconds']} s",
        flush=True,
    )
    return model


class NamedClips(PlantedClips):
    """Clips of pairs whose label says what both events show: one of four classes."""

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        planted = self.task.clips(indices, seed=self.seed)
        shown = 2 * planted.bits[:, 0] + planted.bits[:, 1]
        return list(zip(normalise(planted.clips, self), shown.tolist(), strict=True))


def named(lineage: Lineage, gap: int, steps: int) -> VideoModel:
    """A network that knows both events, and nothing of what they have to do with each other."""
    model = lineage.untrained(classes=4)
    for turn in range(NAMING):
        clips = NamedClips(lineage.task(gap), steps * BATCH, model.mean, model.std, 10_000 * lineage.seed + 50 + turn)
        train_round(model, clips, 3e-3)
    return model


def train_chain(chain: list[Lineage], root: Path, steps: int, quick: bool) -> None:
    """Lineages of which later ones may start from earlier ones."""
    torch.set_num_threads(1)  # many small tensors gain nothing from more
    for lineage in chain:
        train_lineage(lineage, root, steps, quick)


def train_lineage(lineage: Lineage, root: Path, steps: int, quick: bool) -> None:
    """All gaps, short ones first; those that are there already are read."""
    before: VideoModel | None = None
    if lineage.warm is not None:
        parent = replace(lineage, frames=16, warm=None)
        if not (parent.folder(root, lineage.warm) / "result.json").exists():
            raise SystemExit(f"{lineage.name} starts from {parent.name}, gap {lineage.warm}: train that first")
        before = parent.trained(root, lineage.warm)
    for gap in lineage.gaps:
        if (lineage.folder(root, gap) / "result.json").exists():
            before = lineage.trained(root, gap)
            continue
        rounds = 1 if quick else ROUNDS["first" if before is None else "later"]
        before = train_gap(lineage, gap, before, root, steps, rounds)


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folder(parser, "--out", "build/planted")
    parser.add_argument("--only", default="", metavar="NAME", help="lineages whose name begins like this")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes side by side, default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="two steps of one short lineage for each job")
    options = parser.parse_args()
    chosen = [lineage for lineage in every() if lineage.name.startswith(options.only)]
    if not chosen:
        parser.error(f"no lineage begins with {options.only!r}; there are {', '.join(one.name for one in every())}")
    if options.quick:
        chosen = [replace(QUICK, seed=seed) for seed in range(options.jobs)]
    if options.jobs < 1:
        parser.error(f"--jobs is at least 1, not {options.jobs}")
    began = time.perf_counter()
    work = partial(train_chain, root=options.out, steps=2 if options.quick else STEPS, quick=options.quick)
    if options.jobs == 1:
        for chain in chains(chosen):
            work(chain)
    else:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            list(pool.map(work, chains(chosen)))
    result_files = [one.folder(options.out, gap) / "result.json" for one in chosen for gap in one.gaps]
    results: list[Outcome] = [json.loads(path.read_text()) for path in result_files]
    print(
        f"{len(results)} networks in {options.out}: {sum(one['seconds'] for one in results) / 60:.1f} minutes of one "
        f"core, {(time.perf_counter() - began) / 60:.1f} minutes just now"
    )


if __name__ == "__main__":
    main()
