"""The floor of a matrix: what the same network says before it was trained.

Kernels spread relevance around every frame, clips end, and rows far from any event say where their bias comes from: an
untrained network shows all of that as well. Only what stands above it can come from training.

The floor belongs to the network and to the shape of its clips, not to a clip: it is measured on noise from the range of
valid inputs, and a twin keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import einops
import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.metrics.atr import row_shares
from lrp3d.twin.ranges import ends_of, range_per_pathway
from lrp3d.twin.twin import Twin
from lrp3d.twin.untrained import untrained

SEEDS = (0, 1, 2)
LARGE = 64  # pixels; of larger frames every other one does: relevance in time hardly depends on them
UNKNOWN = (-1.0, 1.0)  # where nobody says what range inputs have

Rows = Callable[[Twin, Any], Tensor]
"""The matrix (b, n, t) of an untrained twin on some noise."""


def floor_shares(
    twin: Twin, pathways: Sequence[Tensor], layout: str, input_range: Any, rows: Rows, key: Hashable
) -> Tensor:
    """The share (n, t) of every row's relevance that each frame has in the network untrained: the mean of some seeds.

    Args:
        twin: of the trained network; keeps what was found.
        pathways: the clips to come, of which the shape alone matters.
        layout: of the clips.
        input_range: the range of valid inputs, as in `lrp3d.explain`.
        rows: explains an untrained twin.
        key: what else the floor depends on.

    Raises:
        CannotBeReset: some modules cannot be drawn anew.
    """
    key = (
        key,
        layout,
        str(input_range),
        *((x.shape[int(_has_clip_axis(layout)) :], x.dtype, x.device) for x in pathways),
    )
    if key not in twin.floors:
        twin.floors[key] = _measure(twin, pathways, layout, input_range, rows)
    return twin.floors[key]


def _measure(twin: Twin, pathways: Sequence[Tensor], layout: str, input_range: Any, rows: Rows) -> Tensor:
    ranges = range_per_pathway(twin.input_range if input_range is None else input_range, pathways, layout)
    large = _has_clip_axis(layout) and min(min(_sizes(x, layout)[axis] for axis in "hw") for x in pathways) >= LARGE
    if large:
        try:
            return _mean([_shares_of_seed(twin, pathways, layout, ranges, rows, seed, 2) for seed in SEEDS])
        except (ValueError, RuntimeError):  # a network for one size of frames
            return _shares_of_seed(twin, pathways, layout, ranges, rows, SEEDS[0], 1)
    return _mean([_shares_of_seed(twin, pathways, layout, ranges, rows, seed, 1) for seed in SEEDS])


def _mean(shares: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(shares)).mean(0)


def _shares_of_seed(
    twin: Twin, pathways: Sequence[Tensor], layout: str, ranges: Sequence[Any], rows: Rows, seed: int, every: int
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = [
        _noise(x, layout, UNKNOWN if ends is None else ends, generator, every)
        for x, ends in zip(pathways, ranges, strict=True)
    ]
    network = untrained(twin, seed, noise[0] if len(noise) == 1 else noise)
    clip = [x[:1] for x in noise] if _has_clip_axis(layout) else noise
    return row_shares(rows(network, clip[0] if len(clip) == 1 else clip)).mean(0)


def _noise(x: Tensor, layout: str, ends: Any, generator: torch.Generator, every: int) -> Tensor:
    """Two clips like `x`, of every second pixel if `every` is 2; as many as `x` holds where clips have no own axis."""
    if not _has_clip_axis(layout):
        low, high = ends_of(ends)
        noise = torch.rand(x.shape, generator=generator, dtype=torch.float64)
        return (low.min() + noise * (high.max() - low.min())).to(x)
    sizes = _sizes(x, layout)
    low, high = (end.expand(sizes["c"])[:, None, None, None] for end in ends_of(ends))
    shape = 2, sizes["c"], sizes["t"], sizes["h"] // every, sizes["w"] // every
    noise = low + torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low)
    return einops.rearrange(noise, f"b c t h w -> {Layout(layout).pattern}").to(x)


def _sizes(x: Tensor, layout: str) -> dict[str, int]:
    return Layout(layout).sizes(x)


def _has_clip_axis(layout: str) -> bool:
    """Whether clips come first and have an axis of their own."""
    return Layout(layout).groups[0] == "b"
