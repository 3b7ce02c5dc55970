"""How the cost of the matrix grows: with frames, with the clip's size, with the batch; dense against banded.

    python -m benchmarks.growth [--models I3D-R50 TAM2D-R50] [--frames 8 16 32] [--sizes 112 160 224] [--batches 1 2 4]
                                [--frame-size 224] [--series frames pixels batch] [--device cuda]

`exponent` is the p of seconds ~ x ** p over a series, fitted to logarithms: 2 is what N seeds over N frames would cost
without bands. A clip's size is counted in pixels, height times width.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import torch

import lrp3d
from benchmarks.timing import common, nets
from lrp3d.compute import bands

Series = list[tuple[str, list[float], list[Callable[[], object]]]]
FRAMES, DENSE, PIXELS, BATCH = "frames", "frames, dense", "pixels", "batch"


@contextmanager
def without_bands() -> Iterator[None]:
    """Nothing is narrowed inside this block: every seed is carried over all frames, by the same kernels."""
    nonzero_band = bands.nonzero_band
    with ExitStack() as patches:
        for name, module in list(sys.modules.items()):
            if name.startswith("lrp3d.") and getattr(module, "nonzero_band", None) is nonzero_band:
                patches.enter_context(mock.patch.object(module, "nonzero_band", return_value=None))
        yield


def explained(
    family: str, frames: int, size: int, batch: int, device: torch.device, width: int, dense: bool = False
) -> Callable[[], object]:
    """One matrix per clip of a batch."""
    twin = lrp3d.convert(nets.network(family, frames, device, width))
    clip = nets.clip_of(frames, size, device, batch)

    def run() -> object:
        return lrp3d.explain(twin, clip, 0)

    def run_dense() -> object:
        with without_bands():
            return lrp3d.explain(twin, clip, 0)

    return run_dense if dense else run


def series(family: str, options: argparse.Namespace, device: torch.device, width: int) -> Series:
    """Name, what grows, and what is timed at every point."""

    def banded(frames: int, size: int, batch: int = 1) -> Callable[[], object]:
        return explained(family, frames, size, batch, device, width)

    first = options.frames[0]
    found: Series = [
        (FRAMES, list(options.frames), [banded(n, options.frame_size) for n in options.frames]),
        (PIXELS, [s * s for s in options.sizes], [banded(first, s) for s in options.sizes]),
        (BATCH, list(options.batches), [banded(first, options.sizes[0], b) for b in options.batches]),
    ]
    if device.type == "cpu":  # a GPU does not look for bands: to look would make it wait
        dense = [explained(family, n, options.frame_size, 1, device, width, dense=True) for n in options.frames]
        found.insert(1, (DENSE, list(options.frames), dense))
    return [one for one in found if one[0] in options.series]


def measure(family: str, options: argparse.Namespace, device: torch.device, width: int) -> Iterator[common.Row]:
    """A row per point; all points of a model take turns."""
    points = {
        (name, x): run
        for name, xs, runs in series(family, options, device, width)
        for x, run in zip(xs, runs, strict=True)
    }
    explained(family, options.frames[0], 32, 1, device, width)()  # what loads lazily is loaded
    times = common.compare({f"{name} {x}": run for (name, x), run in points.items()}, options.repeats, device)
    for name in dict.fromkeys(name for name, _ in points):
        xs = [x for other, x in points if other == name]
        seconds = [times.median(f"{name} {x}") for x in xs]
        fitted = common.exponent(xs, seconds) if len(xs) > 1 else None
        for x, second in zip(xs, seconds, strict=True):
            dense = f"{DENSE} {x}"
            yield {
                "model": family,
                "series": name,
                "x": x,
                "seconds": second,
                "over the first": second / seconds[0],
                "exponent": fitted,
                "dense over banded": times.ratio(dense, f"{FRAMES} {x}")
                if name == FRAMES and dense in times.seconds
                else None,
                "rounds": times.seconds[f"{name} {x}"],
            }


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=list(nets.FAMILIES))
    parser.add_argument("--frames", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--frame-size", type=int, default=224, help="height and width while frames grow")
    parser.add_argument("--sizes", nargs="+", type=int, default=[112, 160, 224])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4], help="at the first of the sizes")
    every = [FRAMES, DENSE, PIXELS, BATCH]
    parser.add_argument("--series", nargs="+", default=every, choices=every, help="what is to be measured")
    options = common.parse(parser, argv)
    device = common.start(options)
    width = 64
    if options.quick:
        options.frames, options.frame_size, options.sizes, options.batches = [2, 4], 32, [32, 64], [1, 2]
        options.repeats, width = 1, 8
        options.models = [name.replace("R50", "R18") for name in options.models]
    results = common.Results(
        "growth",
        "How the cost of the matrix grows",
        options,
        device,
        columns=["model", "series", "x", "seconds", "over the first", "exponent", "dense over banded"],
        notes=[
            f"frames at {options.frame_size} px; pixels and batch at {options.frames[0]} frames, "
            f"batch at {options.sizes[0]} px",
            "exponent: p of seconds ~ x ** p over the series; dense: no bands, all else as it is",
        ],
    )
    return results.collect(row for family in options.models for row in measure(family, options, device, width))


if __name__ == "__main__":
    main()
