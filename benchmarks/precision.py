"""What `precision` and `tolerance` gain in time and lose in exactness.

    python -m benchmarks.precision [--models I3D-R50 TAM2D-R50] [--frames 8] [--size 224] [--device cuda]

Every setting is compared with `precision="highest", tolerance=0` on the same clip: the matrix relative to the size of
its rows (the sum of their absolute values), and the frames' ATR.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor

import lrp3d
from benchmarks.timing import common, nets

EXACT = ("highest", 0.0)
SETTINGS = (EXACT, ("high", 0.0), ("highest", 1e-4), ("highest", 1e-3), ("high", 1e-3))


def deviation(matrix: Tensor, exact: Tensor) -> tuple[float, float]:
    """Greatest and mean difference (n, t) over the size of the exact row; rows without relevance count nowhere.

    >>> deviation(torch.tensor([[1.1, 2.9], [0.0, 0.0]]), torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    (0.025..., 0.025...)
    """
    sizes = exact.double().abs().sum(-1, keepdim=True)
    relative = (matrix.double() - exact.double()).abs() / sizes
    relative = relative[sizes.squeeze(-1) > 0]
    return float(relative.max()), float(relative.mean())


def atr_deviation(atr: Tensor, exact: Tensor) -> tuple[float, float]:
    """Greatest difference in frames, and the share of frames whose ATR changed; NaN equals NaN."""
    same = (atr == exact) | (atr.isnan() & exact.isnan())
    return float((atr - exact).abs().nan_to_num(torch.inf).masked_fill(same, 0).max()), float((~same).double().mean())


def measure(family: str, options: argparse.Namespace, device: torch.device, width: int) -> Iterator[common.Row]:
    """A row per setting."""
    twin = lrp3d.convert(nets.network(family, options.frames, device, width))
    clip = nets.clip_of(options.frames, options.size, device)

    def explained(precision: str, tolerance: float, of: Tensor = clip) -> lrp3d.Explanation:
        return lrp3d.explain(twin, of, 0, precision=precision, tolerance=tolerance)

    def name(setting: tuple[str, float]) -> str:
        return f"{setting[0]} {setting[1]:g}"

    small = nets.clip_of(options.frames, 32, device)
    for setting in SETTINGS:
        explained(*setting, of=small)  # what loads lazily is loaded
    found: dict[str, lrp3d.Explanation] = {}

    def keep(setting: tuple[str, float]) -> None:
        found[name(setting)] = explained(*setting)

    contestants = {name(setting): (lambda setting=setting: keep(setting)) for setting in SETTINGS}
    times = common.compare(contestants, options.repeats, device)
    exact = found[name(EXACT)]
    assert exact.matrix is not None
    assert exact.atr is not None
    for setting in SETTINGS:
        this = found[name(setting)]
        assert this.matrix is not None
        assert this.atr is not None
        greatest, mean = deviation(this.matrix, exact.matrix)
        frames, share = atr_deviation(this.atr, exact.atr)
        yield {
            "model": f"{family}-f{options.frames}",
            "precision": setting[0],
            "tolerance": setting[1],
            "seconds": times.median(name(setting)),
            "over exact": times.ratio(name(setting), name(EXACT)),
            "matrix max %": 100 * greatest,
            "matrix mean %": 100 * mean,
            "ATR max frames": frames,
            "ATR changed %": 100 * share,
            "rounds": times.seconds[name(setting)],
        }


def main(argv: list[str] | None = None) -> common.Results:
    """Measure and write the results."""
    parser = common.arguments(__doc__)
    nets.add_sizes(parser)
    options = common.parse(parser, argv)
    device = common.start(options)
    width = nets.width_of(options)
    results = common.Results(
        "precision",
        "What lower precision and tolerance gain and lose",
        options,
        device,
        columns=[
            *("model", "precision", "tolerance", "seconds", "over exact"),
            *("matrix max %", "matrix mean %", "ATR max frames", "ATR changed %"),
        ],
        notes=[
            'over exact: seconds over those of precision="highest", tolerance=0; weights are random',
            "matrix %: difference over the sum of the row's absolute values; ATR: difference in frames, share changed",
        ],
    )
    return results.collect(row for family in options.models for row in measure(family, options, device, width))


if __name__ == "__main__":
    main()
