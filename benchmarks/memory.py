"""Peak memory of an explanation, beside that of one forward and backward pass.

    python -m benchmarks.memory [--models I3D-R50 TAM2D-R50] [--frames 8 16 32] [--size 224] [--device cuda]

Every row runs in a process of its own, because high-water marks never fall. Relevance is propagated one frame at a
time, as it is on a CPU by default.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import torch
from lrp3d.models import VideoModel
from torch import Tensor

import lrp3d
from benchmarks.timing import common, nets

GRADIENT = "forward and backward, gradient of the clip"
TRAINING = "forward and backward, gradients of the weights"


def _gradient_of_clip(model: VideoModel, clip: Tensor) -> None:
    x = clip.clone().requires_grad_()
    torch.autograd.grad(model(x)[0, 0], x)


def _gradient_of_weights(model: VideoModel, clip: Tensor) -> None:
    model.requires_grad_()
    model(clip)[0, 0].backward()
    model.zero_grad()


def _explained(model: VideoModel, clip: Tensor, **options: Any) -> None:
    lrp3d.explain(model, clip, 0, input_range=(float(clip.min()), float(clip.max())), **options)


CONTESTANTS: dict[str, Callable[[VideoModel, Tensor], None]] = {
    GRADIENT: _gradient_of_clip,
    TRAINING: _gradient_of_weights,
    "explain": functools.partial(_explained, chunk_size=1),
    "explain(temporal=False)": functools.partial(_explained, temporal=False),
}


def peak(name: str, family: str, frames: int, size: int, device_name: str, width: int, threads: int) -> dict[str, int]:
    """Bytes beyond model and clip, and of the whole process; a tiny clip first loads what is loaded lazily."""
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    model, run = nets.network(family, frames, device, width), CONTESTANTS[name]
    run(model, nets.clip_of(frames, 32, device))
    clip = nets.clip_of(frames, size, device)
    return {
        "beyond": common.peak_memory(functools.partial(run, model, clip), device),
        "whole": common.high_water(device),
    }


def rows(family: str, frames: int, options: argparse.Namespace, device: torch.device, width: int) -> list[common.Row]:
    """One for each contestant, with its ratios to both kinds of backward pass."""
    threads = torch.get_num_threads()
    found = {
        name: common.in_a_child(peak, name, family, frames, options.size, str(device), width, threads)
        for name in CONTESTANTS
    }
    return [
        {
            "model": family,
            "frames": frames,
            "size": options.size,
            "what": name,
            "peak MiB": common.mib(taken["beyond"]),
            "over gradient of the clip": taken["beyond"] / max(1, found[GRADIENT]["beyond"]),
            "over gradients of the weights": taken["beyond"] / max(1, found[TRAINING]["beyond"]),
            "peak MiB of the process": common.mib(taken["whole"]),
        }
        for name, taken in found.items()
    ]


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=list(nets.FAMILIES))
    parser.add_argument("--frames", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--size", type=int, default=224, help="height and width")
    options = common.parse(parser, argv)
    device = common.start(options)
    width = 64
    if options.quick:
        options.models, options.frames, options.size, width = ["I3D-R18"], [2], 32, 8
    notes = ["peak MiB: beyond model and clip; of the process: with them, Python and torch", "one frame at a time"]
    columns = ["model", "frames", "size", "what", "peak MiB"]
    columns += ["over gradient of the clip", "over gradients of the weights", "peak MiB of the process"]
    results = common.Results("memory", "Peak memory of an explanation", options, device, columns, notes)
    for family in options.models:
        for frames in options.frames:
            for row in rows(family, frames, options, device, width):
                results.add(row)
    return results.write()


if __name__ == "__main__":
    main()
