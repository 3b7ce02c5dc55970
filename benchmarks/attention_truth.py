"""Does relevance lie where it should, in a small video transformer and a CNN with an LSTM? Clips whose answer is known.

    python -m benchmarks.attention_truth                    # trains (minutes of one core), then writes the table
    python -m benchmarks.attention_truth --only transformer # trains and measures one of them, writes no table
    python -m benchmarks.attention_truth --quick --out DIR  # untrained, few clips: does it run

Weights and measurements are kept in build/attention_truth; a second call is quick. Results are
benchmarks/results/attention_truth.md and .json.
"""

from __future__ import annotations

import argparse
import json
import platform
from datetime import date
from pathlib import Path

import torch
from benchmarks.attending.intervals import difference, interval, written
from benchmarks.attending.maps import METHODS
from benchmarks.attending.networks import FRAMES, SIZE, VideoTransformer
from benchmarks.attending.training import SEEDS, TASKS, Trained, inputs, trained
from lrp3d.files import replacing
from torch import nn


MEASURED = ("transformer", "CNN + LSTM")
LEARNED = 0.9  # less is listed, and its maps count nowhere
CLIPS = 64  # that are explained, for each network
CLIP_SEED = 930_000
REFERENCE = "LRP, SameSign"
HEAD = f"| map | on the squares | in their frames | on the squares: {REFERENCE}, less this map |"

Shares = dict[str, dict[str, list[float]]]
"""By map, on pixels and in frames: of every clip."""


class Network(Trained, total=False):
    """What training came to, with the shares of `measure`."""

    shares: Shares


def measure(model: nn.Module, family: str, clips: int) -> Shares:
    """Per method and clip that was classified right: the map's share on decisive pixels, and in decisive frames."""
    planted = TASKS[family].clips(clips, seed=CLIP_SEED)
    clip, target = inputs(planted), planted.labels
    with torch.no_grad():
        right = model(clip).argmax(1) == target
    if not bool(right.any()):
        right[:] = True
    clip, target, mask, decisive = clip[right], target[right], planted.mask[right], planted.decisive[right]
    found: Shares = {}
    for name, method in METHODS.items():
        if name == "rollout" and not isinstance(model, VideoTransformer):
            continue
        relevance = method(model, clip, target).double()
        total = relevance.sum((1, 2, 3)).clamp(min=1e-300)
        found[name] = {
            "pixels": ((relevance * mask).sum((1, 2, 3)) / total).tolist(),
            "frames": ((relevance.sum((2, 3)) * decisive).sum(1) / total).tolist(),
        }
    return found


def shares_of(networks: dict[str, Network]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Mean and interval of each method, on pixels, in frames, and of how much more `REFERENCE` has on pixels."""
    learned = [one["shares"] for one in networks.values() if one["accuracy"] >= LEARNED]
    found = {}
    for method in learned[0] if learned else ():
        on_pixels = [shares[method]["pixels"] for shares in learned]
        found[method] = {
            "pixels": interval(on_pixels),
            "frames": interval([shares[method]["frames"] for shares in learned]),
            "behind": difference([shares[REFERENCE]["pixels"] for shares in learned], on_pixels),
        }
    return found


def lines_of(found: dict[str, dict[str, Network]]) -> list[str]:
    """The page."""
    lines = [
        "# Where relevance lies, in networks with attention and recurrence",
        "",
        f"Written by `python -m benchmarks.attention_truth` on {date.today()}, {platform.machine()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, one thread.",
        "",
        f'Clips of {FRAMES} frames of {SIZE}x{SIZE} pixels. "flash": a red or green square in one frame decides; '
        '"match", where it is shown: two squares, two frames apart, have the same colour or not. Share of the '
        "positive relevance of the true class that lies on the deciding squares, and in their frames; mean over "
        "networks (training seeds) and "
        "clips that were classified right, 95 % interval by drawing both again. Differences are of the same clips.",
    ]
    for name, networks in found.items():
        accuracies = [100 * one["accuracy"] for one in networks.values()]
        learned = [one for one in networks.values() if one["accuracy"] >= LEARNED]
        seconds = sum(one["seconds"] for one in networks.values())
        lines += [
            "",
            f"## {name}",
            "",
            f"Accuracy: {min(accuracies):.1f} to {max(accuracies):.1f} %; trained in {seconds:.0f} s of one core.",
        ]
        if not learned:
            lines += ["", "None of them learned the task: no table."]
            continue
        lines += ["", f"{len(learned)} networks.", "", HEAD, "|---|---|---|---|"]
        for method, shares in shares_of(networks).items():
            cells = [written(*ends, digits=3) for ends in shares.values()]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Train what is missing, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, default=Path("build/attention_truth"), help="weights, measurements")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the table")
    parser.add_argument("--tasks", default=",".join(TASKS), help="some of them, separated by commas; default: all")
    parser.add_argument("--only", default="", help="networks whose name begins like this; writes no table")
    parser.add_argument("--quick", action="store_true", help="three steps of training, few clips: does it run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, Network]] = {}
    for family in options.tasks.split(","):
        for net in MEASURED:
            if not net.startswith(options.only):
                continue
            networks = found.setdefault(f'{net}, "{family}"', {})
            for seed in SEEDS[: 1 if options.quick else None]:
                networks[str(seed)] = _one(net, family, seed, options.kept, options.quick)
    if not options.only:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "attention_truth.md").write_text("\n".join(lines_of(found)) + "\n")
        summary = {
            name: {seed: _as_trained(one) for seed, one in networks.items()} | {"shares": shares_of(networks)}
            for name, networks in found.items()
        }
        (options.out / "attention_truth.json").write_text(json.dumps(summary, indent=1) + "\n")


def _as_trained(one: Network) -> Trained:
    return {"accuracy": one["accuracy"], "steps": one["steps"], "seconds": one["seconds"]}


def _one(net: str, family: str, seed: int, kept: Path, quick: bool) -> Network:
    model, training, folder = trained(net, family, seed, kept, quick)
    measured = folder / "shares.json"
    if measured.exists() and set(METHODS) - set(shares := json.loads(measured.read_text())) <= {"rollout"}:
        return {**training, "shares": shares}
    about: Network = {**training, "shares": measure(model, family, 4 if quick else CLIPS)}
    with replacing(measured) as temporary:
        temporary.write_text(json.dumps(about["shares"]))
    return about


if __name__ == "__main__":
    main()
