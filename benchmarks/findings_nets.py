"""Train the small networks on which the paper's findings are examined.

    python -m benchmarks.findings_nets                 # all, one seed after the other; goes on where it stopped
    python -m benchmarks.findings_nets --only I3D-R18  # those whose name begins like this
    python -m benchmarks.findings_nets --quick         # two steps of one network: does it run

They go beside those of train_planted.py, 15 to 60 seconds of one core each; two processes may share the work with
`--seeds 0` and `--seeds 1 2`. Every network has the same rounds of training until it has learned its data set, and is
also kept as it is after the first round.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch
from lrp3d.files import replacing
from benchmarks.paper.actions import ActionClips
from benchmarks.paper.nets import SEEDS, Net, every, quick_aggregation
from benchmarks.planted.training_rounds import BATCH, ENOUGH, TEST_SEED, VALIDATION, VALIDATION_SEED, train_round

from lrp3d import models

STEPS, ROUNDS = 120, 3
RATE = 3e-3
TEST = 500  # clips


def train(net: Net, root: Path, steps: int = STEPS, rounds: int = ROUNDS) -> None:
    """Train in rounds until the data set is learned; what came out is written beside the weights."""
    folder = root / net.name
    folder.mkdir(parents=True, exist_ok=True)
    model, actions, began, accuracies = net.untrained(), net.actions, time.process_time(), []
    clips = partial(ActionClips, actions, mean=model.mean, std=model.std)
    with quick_aggregation(model):
        for turn in range(rounds):
            train_round(model, clips(steps * BATCH, seed=10_000 * net.seed + turn), RATE)
            fresh = clips(VALIDATION, seed=VALIDATION_SEED + net.seed, train=False)
            accuracies.append(models.evaluate(model, fresh, BATCH))
            model.eval()
            if not turn:
                models.save_checkpoint(model, folder / "early.safetensors", actions.classes)
            if accuracies[-1] >= ENOUGH:
                break
        test = clips(TEST if steps == STEPS else BATCH, seed=TEST_SEED, train=False)
        accuracy = models.evaluate(model, test, BATCH)
    models.save_checkpoint(model, folder / "model.safetensors", actions.classes)
    result = {
        "network": net.name,
        "accuracy": accuracy,
        "after each round": accuracies,
        "steps": steps * (turn + 1),
        "seconds": round(time.process_time() - began, 1),
    }
    with replacing(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(result))
    print("{network}: accuracy {accuracy:.3f}, {steps} steps, {seconds} CPU s".format(**result), flush=True)


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=Path("build/planted"), type=Path, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--only", default="", metavar="NAME", help="networks whose name begins like this")
    parser.add_argument("--seeds", default=SEEDS, type=int, nargs="+", metavar="N", help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="two steps of one network")
    options = parser.parse_args()
    torch.set_num_threads(1)  # many small tensors gain nothing from more
    chosen = [net for net in every(tuple(options.seeds)) if net.name.startswith(options.only)]
    if not chosen:
        parser.error(f"no network begins with {options.only!r}; there are {', '.join(net.name for net in every())}")
    for net in chosen[:1] if options.quick else chosen:
        if net.result(options.out) is None:
            train(net, options.out, *((2, 1) if options.quick else (STEPS, ROUNDS)))


if __name__ == "__main__":
    main()
