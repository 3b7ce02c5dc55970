"""Peak memory of an explanation, beside that of one forward and backward pass.

    python -m benchmarks.memory [--models I3D-R50 TAM2D-R50] [--frames 8 16 32] [--size 224] [--device cuda]

Contestants are those of `benchmarks.matrix`, each in a process of its own, because high-water marks never fall.
"""

from __future__ import annotations

import torch

from benchmarks import matrix
from benchmarks.timing import common, nets

WHAT = {
    matrix.ONE_GRADIENT: "forward and backward, gradient of the clip",
    matrix.WEIGHTS: "forward and backward, gradients of the weights",
    matrix.OWN: "explain",
    matrix.IN_CHUNKS: "explain(chunk_size=1)",
    matrix.UNTEMPORAL: "explain(temporal=False)",
}
COLUMNS = (
    *("model", "frames", "size", "what", "peak MiB"),
    *("over gradient of the clip", "over gradients of the weights", "peak MiB of the process"),
)


def rows(family: str, frames: int, size: int, device: torch.device, width: int) -> list[common.Row]:
    """One for each contestant, with its ratios to both kinds of backward pass."""
    arguments = (family, frames, size, str(device), width, torch.get_num_threads())
    found = {name: common.in_a_child(matrix.peak, name, *arguments) for name in WHAT}
    clip, weights = (max(1, found[name]["beyond"]) for name in (matrix.ONE_GRADIENT, matrix.WEIGHTS))
    return [
        {
            "model": family,
            "frames": frames,
            "size": size,
            "what": WHAT[name],
            "peak MiB": common.mib(taken["beyond"]),
            "over gradient of the clip": taken["beyond"] / clip,
            "over gradients of the weights": taken["beyond"] / weights,
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
    device, width = common.start(options), 64
    if options.quick:
        options.models, options.frames, options.size, width = ["I3D-R18"], [2], 32, 8
    notes = ["peak MiB: beyond model and clip; of the process: with them, Python and torch"]
    results = common.Results("memory", "Peak memory of an explanation", options, device, COLUMNS, notes)
    return results.collect(
        row
        for family in options.models
        for frames in options.frames
        for row in rows(family, frames, options.size, device, width)
    )


if __name__ == "__main__":
    main()
