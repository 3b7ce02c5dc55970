"""The floor of a matrix: the relevance matrix of the same network before training.

Kernels spread relevance around every frame, clips have ends, and rows far from any event show only their bias: an
untrained network shows all of that as well. Only what is above the floor can come from training.

The floor belongs to the network and to the shape of its clips, not to a single clip: it is measured on noise from the
range of valid inputs, and a twin keeps it. Here it is only measured: `lrp3d.explanation.clip_report` draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import einops
import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.metrics.atr import row_shares
from lrp3d.out_of_memory import is_out_of_memory
from lrp3d.twin.ranges import ends_of, range_per_pathway
from lrp3d.twin.twin import Twin
from lrp3d.twin.untrained import untrained
from lrp3d.values import in_widest_type

LARGE = 64  # pixels; of larger frames every second pixel suffices, because relevance in time hardly depends on the size
KEPT = 16  # settings whose floors a twin keeps
UNKNOWN = (-1.0, 1.0)  # the range of inputs if none is given

Rows = Callable[[Twin, Any], Tensor]
"""The matrix (b, n, t) of an untrained twin on some noise."""


def floor_shares(
    twin: Twin, pathways: Sequence[Tensor], layout: str, input_range: Any, rows: Rows, key: Hashable, draws: int = 1
) -> Tensor:
    """The share (n, t) of every row's relevance that each frame has in the untrained network, averaged over draws.

    Args:
        twin: the twin of the trained network; it keeps the result.
        pathways: the clips that will be explained, of which only the shape matters.
        layout: the layout of the clips.
        input_range: the range of valid inputs, as in `lrp3d.explain`.
        rows: returns the matrix of an untrained twin for some noise.
        key: further settings on which the floor depends.
        draws: how many untrained networks are averaged.

    Raises:
        CannotBeReset: the parameters of some modules cannot be drawn again.
    """
    ranges = range_per_pathway(twin.input_range if input_range is None else input_range, pathways, layout)
    key = (
        key,
        draws,
        layout,
        *((_without_clips(x, layout), x.dtype, x.device) for x in pathways),
        *(None if ends is None else tuple(tuple(end.tolist()) for end in ends_of(ends)) for ends in ranges),
    )
    if key not in twin.floors:
        if len(twin.floors) >= KEPT:  # a new lambda for `output=` with every clip is another setting every time
            del twin.floors[next(iter(twin.floors))]
        twin.floors[key] = _measure(twin, pathways, layout, ranges, rows, draws)
    return twin.floors[key]


def _measure(
    twin: Twin, pathways: Sequence[Tensor], layout: str, ranges: Sequence[Any], rows: Rows, draws: int
) -> Tensor:
    def shares(seed: int, every: int = 1) -> Tensor:
        """The shares in the network that is drawn with one seed, on noise with every `every`-th pixel."""
        generator = torch.Generator().manual_seed(seed)
        noise = [
            _noise(x, layout, UNKNOWN if ends is None else ends, generator, every)
            for x, ends in zip(pathways, ranges, strict=True)
        ]
        clips = [_first_clip(x, layout) for x in noise]
        given, clip = noise[0] if len(noise) == 1 else noise, clips[0] if len(clips) == 1 else clips
        return row_shares(rows(untrained(twin, seed, given, one_clip=clip, layout=layout), clip)).mean(0)

    large = _has_clip_axis(layout) and min(min(_sizes(x, layout)[axis] for axis in "hw") for x in pathways) >= LARGE
    if large:
        try:
            return _mean([shares(seed, every=2) for seed in range(draws)])
        except Exception as error:
            # Networks refuse frames of another size in many ways; what they say of the real size is worth showing.
            if is_out_of_memory(error) or isinstance(error.__cause__ or error, (NameError, ImportError)):
                raise
    return _mean([shares(seed) for seed in range(draws)])


def _mean(shares: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(shares)).mean(0)


def _noise(x: Tensor, layout: str, ends: Any, generator: torch.Generator, every: int) -> Tensor:
    """Noise like two clips of `x`, with every `every`-th pixel; as many clips as `x` has if they share an axis."""
    axes = Layout(layout)
    if not _has_clip_axis(layout):
        low, high = axes.spread_range(x, ends)
        return low + torch.rand(x.shape, generator=generator, dtype=torch.float64, device="cpu").to(x) * (high - low)
    sizes = _sizes(x, layout)
    low, high = (end.expand(sizes["c"])[:, None, None, None] for end in ends_of(ends))
    shape = 2, sizes["c"], sizes["t"], sizes["h"] // every, sizes["w"] // every
    noise = low + torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu") * (high - low)
    return einops.rearrange(noise, f"b c t h w -> {axes.pattern}").to(x)


def _first_clip(x: Tensor, layout: str) -> Tensor:
    """One clip; all of them if they share an axis."""
    return x.narrow(Layout(layout).groups.index("b"), 0, 1) if _has_clip_axis(layout) else x


def _without_clips(x: Tensor, layout: str) -> tuple[int, ...]:
    """The shape without the axis of clips, on which a floor does not depend."""
    return tuple(size for size, letters in zip(x.shape, Layout(layout).groups, strict=True) if letters != "b")


def _sizes(x: Tensor, layout: str) -> dict[str, int]:
    return Layout(layout).sizes(x)


def _has_clip_axis(layout: str) -> bool:
    """Whether clips have an axis of their own."""
    return "b" in Layout(layout).groups


def floor_of(shares: Tensor, matrix: Tensor) -> Tensor:
    """The floor of a matrix (b, n, t): rows with the same sums, shared among frames as in the untrained network."""
    floor: Tensor = shares * in_widest_type(matrix).sum(-1, keepdim=True)
    return floor.to(matrix)
