"""Whether what was recorded is what the model itself says of each clip, as maps and matrices take for granted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import einops
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lrp3d.callers import warn
from lrp3d.twin.ranges import layout_of

TOLERANCE = 1e-3  # of the greatest logit; sums of one clip may be rounded otherwise than those of several


def differs_alone(
    run: Callable[[Any], Any],
    clips: Any,
    layout: str,
    read: Callable[[Any], Any] | None,
    output: Any,
    drew: bool,
) -> Tensor:
    """Whether the first clip has other logits alone and by the model's own forward, as a tensor of one value.

    Only a CPU is asked: to run the model once more would make the host wait for a GPU.

    Args:
        run: runs the model on clips, without relevance.
        clips: the model's argument.
        layout: the layout of clips.
        read: makes logits of what the model returns; without one, nothing is known of its output.
        output: the logits of all clips, as they were recorded.
        drew: whether the forward drew random numbers, which differ between runs.
    """
    nothing_known = torch.tensor(False, device="cpu")
    if read is None or drew or not isinstance(output, Tensor) or output.dim() < 2 or not output.numel():
        return nothing_known
    if not output.is_floating_point() or output.device.type != "cpu":
        return nothing_known
    count = len(output)
    try:
        first = clips
        if count > 1:
            first = tree_map(lambda x: _first_clip(x, layout, count) if isinstance(x, Tensor) else x, clips)
        alone = _logits(run, first, read)
    except Exception:  # whatever a model for a fixed number of clips raises
        return nothing_known
    return _differs(alone, output.detach()[:1])


def warn_of_other_logits(run: Callable[[Any], Any], clips: Any, read: Callable[[Any], Any], output: Tensor) -> None:
    """Warns of clips that have other logits alone: because of one another, or because another forward was recorded."""
    together = output.detach()
    if len(output) > 1 and not _differs(_logits(run, clips, read), together):
        sentence = (
            "the logits of a clip depend on the other clips of its batch (the first clip alone has others), so that "
            "maps and matrices hold relevance for the logits of other clips as well: explain one clip at a time"
        )
    else:
        sentence = (
            "the model's own forward returns other logits than the ones that are explained, which its modules and "
            "their registered handlers give: hold `logits` against model(clip), and look at the handlers that were "
            "registered (lrp3d.register_layer, lrp3d.register_operation) and at what the forward does outside of torch"
        )
    warn(sentence)


def _logits(run: Callable[[Any], Any], clips: Any, read: Callable[[Any], Any]) -> Any:
    with torch.no_grad():
        return copy.copy(read)(run(clips))


def _differs(found: Any, expected: Tensor) -> Tensor:
    """Whether logits differ by more than rounding; nothing is known of those of another shape."""
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return torch.tensor(False, device="cpu")
    allowed = max(TOLERANCE, 1e3 * torch.finfo(expected.dtype).eps) * expected.abs().max()
    return ((found.detach() - expected).abs() > allowed).any()


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
