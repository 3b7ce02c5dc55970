"""Whether the clips of a batch are explained apart from one another, as maps and matrices take for granted."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import einops
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lrp3d.callers import levels_up
from lrp3d.twin.ranges import layout_of

TOLERANCE = 1e-3  # of the greatest logit; sums of one clip may be rounded otherwise than those of several


def depends_on_others(
    run: Callable[[Any], Any],
    clips: Any,
    layout: str,
    read: Callable[[Any], Any] | None,
    output: Any,
    drew: bool,
) -> Tensor:
    """Whether the first clip has other logits when it comes alone, as a tensor of one value.

    Only a CPU is asked: to run the model once more would make the host wait for a GPU.

    Args:
        run: runs the model on clips, without relevance.
        clips: the model's argument.
        layout: the layout of clips.
        read: makes logits of what the model returns; without one, nothing is known of its output.
        output: the logits of all clips.
        drew: whether the forward drew random numbers, which differ between runs.
    """
    nothing_known = torch.tensor(False)
    if read is None or drew or not isinstance(output, Tensor) or output.dim() < 2 or len(output) < 2:
        return nothing_known
    if not output.is_floating_point() or not output.numel() or output.device.type != "cpu":
        return nothing_known
    count = len(output)
    try:
        first = tree_map(lambda x: _first_clip(x, layout, count) if isinstance(x, Tensor) else x, clips)
        with torch.no_grad():
            alone = copy.copy(read)(run(first))
    except Exception:  # whatever a model for a fixed number of clips raises
        return nothing_known
    together = output.detach()
    if not isinstance(alone, Tensor) or alone.shape != together[:1].shape:
        return nothing_known
    allowed = max(TOLERANCE, 1e3 * torch.finfo(together.dtype).eps) * together.abs().max()
    return ((alone.detach() - together[:1]).abs() > allowed).any()


def _first_clip(x: Tensor, layout: str, count: int) -> Tensor:
    """The first of `count` clips; raises ValueError where they are not that many."""
    axes = layout_of(x, layout)
    if axes is None or not axes.has_time:
        if len(x) % count:
            raise ValueError(f"{len(x)} inputs are none for each of {count} clips")
        return x[: len(x) // count]
    sizes = axes.sizes(x, count)
    first = einops.rearrange(x, f"{axes.pattern} -> b c t h w", **sizes)[:1]
    alone: Tensor = einops.rearrange(first, f"b c t h w -> {axes.pattern}", **(sizes | {"b": 1}))
    return alone


def warn_of_mixing() -> None:
    """Warns of a model whose logits of one clip depend on the others of its batch."""
    warnings.warn(
        "the logits of a clip depend on the other clips of its batch (the first clip alone has others), so that maps "
        "and matrices hold relevance for the logits of other clips as well: explain one clip at a time",
        stacklevel=levels_up(),
    )
