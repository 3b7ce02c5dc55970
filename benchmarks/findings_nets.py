"""Train the small networks on which the paper's findings are examined, and record what they make of their clips.

    python -m benchmarks.findings_nets             # all; goes on where it stopped
    python -m benchmarks.findings_nets --part 1/2  # every second one: two processes share the work
    python -m benchmarks.findings_nets --only I3D-R18  # those with this in their names
    python -m benchmarks.findings_nets --quick               # two steps of one network: does it run

Every network has the same 150 steps of 24 clips; those with x3 in their name have three times as many (`--only x3`).
Weights are kept in --out, and beside them record.json: what `benchmarks.findings` collects.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from benchmarks.paper import recording
from benchmarks.paper.actions import ActionClips
from benchmarks.paper.nets import SEEDS, STEPS, Net, every, quick_aggregation
from benchmarks.planted.training_rounds import TEST_SEED, train_round
from benchmarks.timing.common import add_folder
from lrp3d import models
from lrp3d.files import replacing

BATCH, RATE, RISE = 24, 6e-3, 0.2
TEST = 400  # clips


def train(net: Net, root: Path, steps: int = STEPS, clips: int = recording.CLIPS) -> None:
    """Train, explain, and write what came out beside the weights."""
    folder = root / net.name
    folder.mkdir(parents=True, exist_ok=True)
    model, began = net.untrained(), time.process_time()
    data = ActionClips(net.actions, steps * BATCH, model.mean, model.std, seed=10_000 * net.seed)
    with quick_aggregation(model):
        train_round(model, data, RATE, BATCH, RISE)
    model.eval()
    if model.builder:
        models.save_checkpoint(model, folder / "model.safetensors", net.actions.classes)
    trained = time.process_time()
    accuracy = recording.accuracy(model, net, TEST if steps >= STEPS else BATCH, TEST_SEED)
    made = recording.record(net, model, accuracy, clips)
    made |= {"steps": steps, "seconds": [round(trained - began, 1), round(time.process_time() - trained, 1)]}
    with replacing(folder / "record.json") as temporary:
        temporary.write_text(json.dumps(made))
    print("{net} s{seed}: accuracy {accuracy:.3f}, {steps} steps, CPU s {seconds}".format(**made), flush=True)


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_folder(parser, "--out", "build/planted")
    parser.add_argument("--only", default="", metavar="NAME", help="networks with this in their names")
    parser.add_argument("--seeds", default=SEEDS, type=int, nargs="+", metavar="N", help="default: %(default)s")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every N-th network, from the I-th on")
    parser.add_argument("--quick", action="store_true", help="two steps of one network")
    options = parser.parse_args()
    torch.set_num_threads(1)  # many small tensors gain nothing from more
    part, parts = map(int, options.part.split("/"))
    chosen = [net for net in every(options.seeds) if options.only in net.name][part - 1 :: parts]
    if not chosen:
        parser.error(f"no network has {options.only!r} in its name; there are {', '.join(net.name for net in every())}")
    for net in chosen[:1] if options.quick else chosen:
        if not (options.out / net.name / "record.json").exists():
            train(net, options.out, *((2, 10) if options.quick else (STEPS * net.longer, recording.CLIPS)))


if __name__ == "__main__":
    main()
