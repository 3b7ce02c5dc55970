"""The range of valid inputs, which z-beta needs: as the caller gives it, one for all pathways or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.compute.precision import widened
from lrp3d.layout import Layout
from lrp3d.pathways import SharedPixels
from lrp3d.transfer import numbers
from lrp3d.values import as_tensor

Range = tuple[Any, Any]
"""(low, high), each a number or one per channel."""

FAR = 0.1  # of the range's width; resizing overshoots by less


def layout_of(x: Tensor, layout: str) -> Layout | None:
    """The layout of an input: that of clips if it has as many axes, else that of images or features."""
    clip = Layout(layout)
    if x.dim() == clip.axes:
        return clip
    return Layout.of_images(x.dim()) if 2 <= x.dim() <= 4 else None


class Ends(NamedTuple):
    """The lowest and highest valid value of every input of a clip, shaped like it; None if unknown."""

    low: Tensor | None
    high: Tensor | None
    given: bool = False
    """Whether the range was given by the caller or the model, not found in the clip itself."""


def ranges_of(given: Any, clips: Sequence[Tensor], layout: str) -> list[Ends]:
    """The lowest and highest valid value of every input, shaped like each clip; by default the clip's own extremes.

    A pathway that shows the frames of a faster one has the extremes of the faster one, because both are one clip.

    Args:
        given: None, a pair (low, high) of numbers or of one value per channel, or a list with such a pair, or None,
            for each pathway.
        clips: the pathways.
        layout: layout of the pathways that are clips.

    Feature vectors (b, c) are no clips: without a given range they have none.

    Raises:
        ValueError: if a range is not finite, empty, too large to compute with, or does not fit the channels.
    """
    sources = list(clips)
    if given is None and len(clips) > 1 and (shared := _shared(clips, layout)) is not None:
        for pathway in shared.pathways:
            sources[pathway] = clips[shared.pathways[0]]
    each = zip(clips, range_per_pathway(given, clips, layout), sources, strict=True)
    return [_spread(x, ends, layout, whole) for x, ends, whole in each]


def _shared(clips: Sequence[Tensor], layout: str) -> SharedPixels | None:
    layouts = [layout_of(x, layout) for x in clips]
    batches = [axes.batch(x) for x, axes in zip(clips, layouts, strict=True) if axes is not None]
    return SharedPixels.among(clips, layouts, batches[0] or 1) if all(x.numel() for x in clips) and batches else None


def _spread(x: Tensor, given: Range | None, layout: str, source: Tensor) -> Ends:
    axes = layout_of(x, layout)
    if axes is None or x.numel() == 0 or (given is None and x.dim() < 3):
        return Ends(None, None)
    if given is None:
        return Ends(*axes.spread_range(x, None, source))
    _check_size(ends_of(given), x.dtype)
    return Ends(*axes.spread_range(x, given), given=True)


def _check_size(ends: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    """Raises ValueError for ends that the clip's type cannot hold, or whose products with weights could overflow."""
    most = min(torch.finfo(dtype).max, torch.finfo(widened(dtype)).max ** 0.5)
    low, high = float(ends[0].min()), float(ends[1].max())
    if max(abs(low), abs(high)) > most:
        raise ValueError(
            f"input_range reaches from {low:.4g} to {high:.4g}, and {dtype} computes with ends up to {most:.4g}: give "
            "the lowest and the highest value that pixels can have after normalisation"
        )
    if bool((ends[0].to(dtype) >= ends[1].to(dtype)).any()):
        raise ValueError(
            f"input_range is (low, high) with low below high, and {dtype} holds {low!r} and {high!r} as one number"
        )


def far_outside(x: Tensor, ends: Ends) -> Tensor:
    """Whether a clip has values far outside of its range, as a tensor of one value."""
    if not ends.given or ends.low is None or ends.high is None:
        return torch.zeros((), dtype=torch.bool, device=x.device)
    outside = torch.maximum(ends.low - x, x - ends.high) / (ends.high - ends.low)
    return (outside > FAR).any()


def warn_of_range(x: Tensor, ends: Ends) -> None:
    """Warns of a clip on another scale than its range: Eq. 1 would conserve, but share by terms of the wrong sign."""
    assert ends.low is not None
    assert ends.high is not None
    lowest, highest, low, high = map(float, numbers([x.min(), x.max(), ends.low.min(), ends.high.max()]))
    warn(
        f"the clip holds values from {lowest:.4g} to {highest:.4g}, but input_range says that valid ones lie between "
        f"{low:.4g} and {high:.4g}: normalise the clip as the model expects it, or give the input_range that belongs "
        "to it; relevance of the pixels is wrong otherwise",
    )


def ends_of(given: Any) -> tuple[Tensor, Tensor]:
    """Low and high as vectors; raises ValueError if `given` is no range."""
    try:
        low, high = (as_tensor(end, dtype=torch.float64).flatten() for end in given)
        width = high - low
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            "input_range is (low, high), each a number or one per channel, or a list of such pairs, one per pathway; "
            f"got {given!r}"
        ) from None
    if not bool(torch.isfinite(width).all()):
        raise ValueError(f"input_range must be finite, got {given!r}")
    if not bool((width > 0).all()):
        raise ValueError(f"input_range is (low, high) with low below high in every channel, got {given!r}")
    return low, high


def range_per_pathway(given: Any, clips: Sequence[Tensor], layout: str) -> Sequence[Any]:
    """The range of each pathway; raises ValueError for a pair that can be read both ways."""
    if given is None or isinstance(given, Tensor):
        return [given] * len(clips)
    is_common = _fits(given, clips, layout)
    each = isinstance(given, Sequence) and len(given) == len(clips)
    each = each and all(ends is None or _fits(ends, [x], layout) for ends, x in zip(given, clips, strict=True))
    if each and is_common:
        raise ValueError(
            f"input_range {given!r} can be one (low, high) per channel or one per pathway; "
            "write the latter with a tuple per channel, as in [((0.0, 0.0), (1.0, 1.0)), ...]"
        )
    if each:
        return list(given)
    if isinstance(given, Sequence) and len(given) != 2 and len(clips) > 1:
        raise ValueError(f"input_range is one (low, high), or one for each of {len(clips)} pathways, got {given!r}")
    return [given] * len(clips)


def _fits(given: Any, clips: Sequence[Tensor], layout: str) -> bool:
    """Whether `given` is a pair (low, high) for all `clips`."""
    try:
        sizes = {end.numel() for end in ends_of(given)}
    except ValueError:
        return False
    layouts = [(axes, x) for x in clips if (axes := layout_of(x, layout)) is not None]
    return all(sizes <= {1, axes.channels(x)} for axes, x in layouts)
