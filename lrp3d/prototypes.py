"""`prototypes`: the clips on which a channel had the most relevance, which show what it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from lrp3d.compiling import not_compiled
from lrp3d.explain import explain
from lrp3d.layout import check_not_laid_out, laid_out
from lrp3d.outputs import Output
from lrp3d.printed import few
from lrp3d.progress import bar
from lrp3d.targets import class_numbers
from lrp3d.twin.ranges import Range
from lrp3d.twin.twin import twin_of
from lrp3d.values import check_counts, check_tensor, whole_numbers


@dataclass
class Prototypes:
    """For k channels of a layer, the clips on which they had the most relevance, best first.

    >>> shares = torch.tensor([[0.1, 0.6], [0.9, 0.4]])
    >>> found = Prototypes("layer4", [3, 7], torch.tensor([[1], [0]]), torch.tensor([[0.9], [0.6]]), of_clips=shares)
    >>> print(found)
    layer4: clips with most relevance
      channel 3     1 (90 %)
      channel 7     0 (60 %)
    """

    layer: str
    """The name of the module."""
    channels: list[int]
    """The numbers of the k channels; of all channels if none was given."""
    clips: Tensor
    """(k, top) numbers of the clips."""
    relevance: Tensor
    """(k, top) relevance of the channel for the clip's logit, as a share of all relevance for the class there."""
    of_clips: Tensor
    """(m, k) the same share for every clip; NaN in clips of which no relevance reaches the layer."""

    @property
    def left_out(self) -> list[int]:
        """The numbers of the clips of which no relevance reaches the layer, and which are no channel's prototypes."""
        return self.of_clips.isnan().any(1).nonzero().flatten().tolist()

    def __str__(self) -> str:
        lines = [f"{self.layer}: clips with most relevance"]
        for channel, clips, relevance in zip(self.channels, self.clips.tolist(), self.relevance.tolist(), strict=True):
            best = ", ".join(f"{i} ({100 * share:.0f} %)" for i, share in zip(clips, relevance, strict=True))
            lines.append(f"  channel {channel:<5} {best}")
        if self.left_out:
            lines.append(f"  left out, as no relevance reaches the layer: {', '.join(map(str, self.left_out))}")
        return "\n".join(lines)


@not_compiled
def prototypes(
    model: nn.Module,
    clips: Iterable[Tensor],
    layer: str,
    channel: int | Sequence[int] | None = None,
    *,
    targets: int | Iterable[int] | Tensor | None = None,
    top: int = 8,
    contrastive: bool | None = None,
    input_range: Range | Sequence[Range | None] | None = None,
    layout: str = "bcthw",
    output: Output | None = None,
    batch_size: int = 4,
    progress: bool = False,
) -> Prototypes:
    """The clips of a list on which channels of a layer had the most relevance (RelMax).

    What maximises a channel's activation need not matter to the logit; what maximises its relevance does.

    A channel's relevance is a share of all relevance for the class that reaches the layer: of the positive part, where
    relevance has both signs because it is contrasted. Plain relevance has the sign of the logit that it explains, and
    the part with the sign of its sum counts, as in ATR: what carries a negative logit has a positive share, too. A clip
    of which no relevance reaches the layer has no shares (NaN) and is left out.

    Args:
        model: any model that `lrp3d.explain` takes, or its twin.
        clips: a tensor (m, c, t, h, w), or anything that yields tensors (c, t, h, w) or batches of
            them, read as they are needed.
        layer: the name of a module.
        channel: a channel, several, or None for all.
        targets: the class to explain: None for the predictions, one class, or one for each clip; of an iterator, as
            many are taken as clips are read.
        top: the number of clips for each channel, or all clips with relevance if there are fewer.
        contrastive: as in `lrp3d.explain`.
        input_range: as in `lrp3d.explain`.
        layout: the axes of the clips that the model takes; `clips` are (m, c, t, h, w) all the same.
        output: as in `lrp3d.explain`.
        batch_size: the number of clips that are explained at once; clips of one batch must have the same shape.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: there are no clips or none with relevance, fewer or more targets than clips, or no such module or
            channel; and as in `lrp3d.explain`.
        TypeError: a clip is no tensor, a target is no class, or a number is not whole.

    Source: Achtibat et al. 2023, "From attribution maps to human-understandable explanations through Concept
    Relevance Propagation" (arXiv:2206.03208).

    >>> import torch, lrp3d
    >>> model = lrp3d.models.i3d_resnet(18, num_classes=10, width=8).eval()
    >>> found = lrp3d.prototypes(model, torch.rand(3, 3, 8, 32, 32), "features.layer3", channel=[0, 5], top=2)
    >>> found.clips.shape
    torch.Size([2, 2])
    """
    check_counts(top=top, batch_size=batch_size)
    twin = twin_of(model)
    of_all, of_each = _one_or_each(targets)
    shares, first = [], 0
    for batch in bar(_batches(clips, batch_size), "clip", progress):
        check_not_laid_out(batch, layout)
        of_batch = None if of_each is None else class_numbers(list(islice(of_each, len(batch)))).tolist()
        if of_batch is not None and len(of_batch) < len(batch):
            raise ValueError(f"there are more clips than targets ({first + len(of_batch)}): give one for each clip")
        explanation = explain(
            twin,
            laid_out(batch, layout),
            of_all if of_batch is None else of_batch,
            temporal=False,
            contrastive=contrastive,
            layers=[layer],
            input_range=input_range,
            layout=layout,
            output=output,
        )
        relevance = explanation.channels(_only(list(explanation.layers), layer))
        channels = _channels(channel, relevance.shape[1], layer)  # refused before the other clips are explained
        shares.append(_shares(relevance, explanation.contrastive).cpu())
        first += len(batch)
    if not shares:
        raise ValueError("there are no clips to find prototypes among")
    if more := sum(1 for _ in of_each or ()):
        raise ValueError(f"there are more targets ({first + more}) than clips ({first}): give one for each clip")
    every = torch.cat(shares)
    has_relevance = ~every.isnan().any(1)
    if not has_relevance.any():
        raise ValueError(f"no relevance of any clip reaches {layer!r}, so there are no prototypes: name another layer")
    of_clips = every[:, channels]
    ranked = of_clips.masked_fill(~has_relevance[:, None], -torch.inf)  # a NaN would rank first
    best = ranked.T.topk(min(top, int(has_relevance.sum())), dim=1)
    return Prototypes(layer, channels, best.indices, best.values, of_clips)


def _shares(relevance: Tensor, contrastive: bool) -> Tensor:
    """The share (b, c) of each channel in relevance (b, c); NaN in clips without any."""
    # Contrasted relevance sums to zero, and the sign of that is rounding.
    signed = relevance if contrastive else torch.where(relevance.sum(1, keepdim=True) < 0, -relevance, relevance)
    return signed / signed.clamp(min=0).sum(1, keepdim=True)  # 0 / 0 is NaN


def _one_or_each(targets: int | Iterable[int] | Tensor | None) -> tuple[Tensor | None, Iterator[int] | None]:
    """The class of all clips, or else those of each, one after the other; neither for the predictions."""
    if targets is None or isinstance(targets, Iterator):
        return None, targets
    given = class_numbers(targets)
    return (given, None) if given.dim() == 0 else (None, iter(given.tolist()))


def _only(names: list[str], layer: str) -> str:
    if len(names) > 1:
        raise ValueError(f"layer={layer!r} fits {len(names)} modules ({few(names, 3)}): name one of them")
    return names[0]


def _channels(channel: int | Sequence[int] | None, count: int, layer: str) -> list[int]:
    if channel is None:
        return list(range(count))
    given = whole_numbers(channel)
    channels = [] if given is None else given.flatten().tolist()
    if not channels or not all(0 <= i < count for i in channels):
        raise ValueError(f"'{layer}' has {count} channels, from 0 to {count - 1}; got channel={channel!r}")
    return channels


def _each(clips: Iterable[Tensor]) -> Iterator[Tensor]:
    """Clips one by one, also of batches (m, c, t, h, w)."""
    for clip in clips:
        check_tensor(clip, "clip must be a torch.Tensor (c, t, h, w)")
        yield from clip if clip.dim() == 5 else [clip]


def _batches(clips: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    rest = _each(clips)
    while batch := list(islice(rest, size)):
        shapes = {tuple(clip.shape) for clip in batch}
        if len(shapes) > 1 or batch[0].dim() != 4:
            raise ValueError(f"clips are (c, t, h, w), those of one batch of one shape; got {sorted(shapes)}")
        yield torch.stack(batch)
