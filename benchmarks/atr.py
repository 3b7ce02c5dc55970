"""ATR metrics: seconds per million rows of relevance matrices.

    python -m benchmarks.atr [--frames 8 16 32 64] [--rows 200000] [--device cuda]

A row is one frame's logit: a batch of b clips of n frames has b n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.timing import common
from lrp3d.metrics import atr

CLASSES = 400


def metrics(clips: int, frames: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Every metric on matrices of a shape that networks have: strongest near the diagonal, some rows empty."""
    generator = torch.Generator().manual_seed(3)
    frame = torch.arange(frames)
    near = torch.exp(-(frame[:, None] - frame).abs() / 3.0)
    matrix = (torch.rand(clips, frames, frames, generator=generator) * near).to(device)
    matrix[::100, 0] = 0
    frame_logits = torch.randn(clips, frames, generator=generator).to(device)
    target = torch.randint(CLASSES, (clips,), generator=generator).to(device)
    logits = torch.randn(clips, CLASSES, generator=generator).to(device)
    of_frames: Tensor = atr.frame_atr(matrix)
    of_clips = atr.avg_atr(of_frames, frame_logits)
    return {
        "frame_atr": lambda: atr.frame_atr(matrix),
        "frame_windows": lambda: atr.frame_windows(matrix),
        "avg_atr": lambda: atr.avg_atr(of_frames, frame_logits),
        "max_atr": lambda: atr.max_atr(of_frames),
        "select": lambda: atr.select(logits, target),
        "aggregate by class": lambda: atr.aggregate(of_clips, target, CLASSES),
        "mean_matrix": lambda: atr.mean_matrix(matrix),
    }


def measure(clips: int, frames: int, repeats: int, device: torch.device) -> Iterator[common.Row]:
    """A row per metric."""
    contestants = metrics(clips, frames, device)
    common.compare(contestants, 1, device)
    times = common.compare(contestants, repeats, device)
    for name in contestants:
        yield {
            "metric": name,
            "frames": frames,
            "clips": clips,
            "seconds per million rows": times.median(name) / (clips * frames) * 1e6,
            "rounds": times.seconds[name],
        }


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    parser.add_argument("--frames", nargs="+", type=int, default=[8, 16, 32, 64])
    parser.add_argument("--rows", type=int, default=200_000, help="rows per measurement")
    options = common.parse(parser, argv)
    device = common.start(options)
    if options.quick:
        options.frames, options.rows, options.repeats = [4], 200, 1
    results = common.Results(
        "atr",
        "ATR metrics",
        options,
        device,
        columns=["metric", "frames", "clips", "seconds per million rows"],
        notes=["a row is one frame's logit: b clips of n frames have b n rows"],
    )
    return results.collect(
        row
        for frames in options.frames
        for row in measure(max(1, options.rows // frames), frames, options.repeats, device)
    )


if __name__ == "__main__":
    main()
