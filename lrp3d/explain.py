"""`explain`: one call from a model and a clip to everything lrp3d knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from lrp3d.checks import (
    check_axes,
    check_clip,
    check_frames,
    check_logits,
    check_mode,
    check_options,
    targets_of,
)
from lrp3d.composites import Composite
from lrp3d.compute import buffers
from lrp3d.compute.precision import carried_in, matmul_precision, no_autocast
from lrp3d.errors import UnsupportedOperation
from lrp3d.explanation.explanation import Entry, Explanation, Ledger
from lrp3d.layout import warn_of_layout, what_the_shapes_suggest
from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.outputs import Chosen, Output, logits_of
from lrp3d.progress import bar
from lrp3d.propagation.chunks import seeds_at_once
from lrp3d.propagation.frame_logits import FrameSeeds, frame_seeds, oppose
from lrp3d.propagation.propagate import Edge, Flow, Start, edge_of, propagate
from lrp3d.propagation.temporal_matrix import on_one_clock, temporal_relevance
from lrp3d.steps.step import Step
from lrp3d.twin.ranges import Range, layout_of
from lrp3d.twin.twin import Record, twin_of

Clip = Tensor | Sequence[Tensor]


def explain(
    model: nn.Module,
    clip: Clip,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    contrastive: bool = True,
    composite: str | Composite | None = None,
    temporal: bool = True,
    input_range: Range | Sequence[Range | None] | None = None,
    layout: str = "bcthw",
    output: Output | None = None,
    constants: Sequence[str] = (),
    chunk_size: int | None = None,
    memory_budget: int | None = None,
    tolerance: float = 0.0,
    precision: str = "highest",
    progress: bool = False,
) -> Explanation:
    """Explain what a video CNN made of a clip: relevance of every input value, and of every frame for every frame.

    Args:
        model: any `nn.Module` CNN in evaluation mode, or its twin (`lrp3d.convert`), which spares the conversion. It is
            never modified. It returns logits (b, k); frame logits (b, n, k), taken as they are, of which the mean
            is the clip's; or one logit (b, 1) of two classes.
        clip: float (b, 3, t, h, w), a list of pathways (slow, fast), or images (b, 3, h, w) (then nothing temporal).
        target: the class to explain: None for the prediction, one class, or one class per clip. The prediction of a
            lone logit is the class that its sign says: of a negative one, what speaks against the logit (`sign` says
            so); 0 is the logit as it is.
        contrastive: CLRP (Eq. 2 of the paper), what speaks for the class minus what speaks against it; else plain LRP.
        composite: which rule goes to which layer: a name or a `Composite`; None is "paper", or what a twin was
            converted with (any other is refused there).
        temporal: also explain every frame's logit: the temporal relevance matrix and ATR (Sec. 3.2).
        input_range: (low, high) of valid inputs after normalisation, scalars or one per channel, or a list of such
            pairs (or None), one per pathway; default is the model's `input_range` attribute, else each clip's own
            extremes per channel (those of all clips together, in layouts that fold clips and frames into one axis).
            A clip far outside of it gets a warning.
        layout: the clip's axes, e.g. "bcthw", "btchw", "b (t c) h w"; as the model takes it.
        output: which of the things that the model returns are its logits: a key ("logits"), an index, or a function
            of what it returns; needed where it returns no single tensor.
        constants: name patterns of modules ("branch.*") whose outputs are held constant: relevance that comes there
            stays there, and is booked in the ledger.
        chunk_size: how many frame logits are explained at once; default chosen by `memory_budget`.
        memory_budget: bytes that relevance in flight may take; default is what fits (small on a CPU, where larger
            chunks are no faster).
        tolerance: 0 is exact; above 0, outer frames whose share of a seed's absolute relevance at a layer is below it
            may be dropped there, and what was dropped is booked.
        precision: as in `torch.set_float32_matmul_precision`, for the propagation only.
        progress: show a progress bar on stderr.

    Returns:
        An `Explanation`.

    Raises:
        UnsupportedOperation: if the model contains operations without a rule; all are named, nothing is passed over.
        NoFrameLogits: (a ValueError) if temporal relevance was asked for and the model has no exact frame logits.
        ValueError: if an argument is out of its range, or the clip's shape does not fit the model.
        TypeError: if an argument has the wrong type.

    Source: "Temporal Relevance Analysis for Video Action Models", Eq. 1 and 2, Sec. 3.2.

    >>> import torch, lrp3d
    >>> model = lrp3d.models.i3d_resnet(18, num_classes=10).eval()
    >>> explanation = lrp3d.explain(model, torch.rand(1, 3, 8, 64, 64))
    >>> explanation.matrix.shape, explanation.relevance.shape
    (torch.Size([1, 8, 8]), torch.Size([1, 3, 8, 64, 64]))
    """
    # whatever mode the caller is in
    check_options(chunk_size, memory_budget, tolerance, precision)
    pathways = check_clip(clip, layout)
    rounding = matmul_precision(precision, pathways[0].device)
    twin = twin_of(model, composite)
    check_axes(twin, pathways, layout)
    check_mode(twin, clip)
    own_types = no_autocast(pathways[0].device)
    with torch.inference_mode(False), torch.enable_grad(), own_types, buffers.reused(twin.memory), rounding:
        record = twin.record((clip,), input_range, layout, contrastive, partial(logits_of, output=output), constants)
        check_logits(record.output, pathways, layout)
        if record.problems:
            raise UnsupportedOperation(record.problems)
        how = _How(contrastive, float(tolerance), carried_in(record.output.dtype, precision), layout)
        walk = _Walk(record, targets_of(target, record.output), how, pathways)
        if not (temporal and walk.has_time):
            warn_of_layout(pathways, layout)
            return walk.explanation(walk.clip())
        check_frames(pathways, layout, len(record.output))
        seeds = frame_seeds(record, walk.chosen, twin.composite, contrastive)
        rows, signed = walk.rows(
            seeds, seeds_at_once(record, seeds.logits.shape[1], chunk_size, memory_budget), progress
        )
        result = walk.explanation(walk.clip() if signed is None else signed)
        hint = what_the_shapes_suggest(pathways, layout)
        found = temporal_relevance(rows, seeds, scaled=contrastive, hint=hint)
        atr = frame_atr(found.matrix, positions=found.positions)
        return replace(
            result,
            frame_logits=found.frame_logits,
            matrix=found.matrix,
            positions=found.positions,
            atr=atr,
            avg_atr=avg_atr(atr, found.frame_logits),
            max_atr=max_atr(atr),
        )


@dataclass(frozen=True)
class _How:
    """How relevance is propagated."""

    contrastive: bool
    tolerance: float
    dtype: torch.dtype
    layout: str


class _Walk:
    """The relevance of one recorded clip batch: of its logits, and of its frame logits."""

    def __init__(self, record: Record, chosen: Chosen, how: _How, pathways: Sequence[Tensor]):
        self.record, self.chosen, self.how = record, chosen, how
        self.logits = record.output.detach()
        self.logit = chosen.of(self.logits)
        oppose(record.output, chosen.sign)
        self.single = len(pathways) == 1
        self.layouts = [layout_of(x, how.layout) for x in pathways]
        self.has_time = all(axes is not None and axes.has_time for axes in self.layouts)
        self.ends: list[Edge] = [edge_of(entry) for entry in record.entries]
        self.flows: dict[Step, tuple[Tensor | float, Tensor | float]] = {}

    def clip(self) -> list[Tensor]:
        """Signed maps, like the clip, for the clip's logit."""
        seed = self.chosen.seed(self.logits, self.how.contrastive)
        flows: list[Flow] = []
        maps = self._propagate([Start(edge_of(self.record.output), seed)], flows)
        self._book(flows, 1)
        return [m[0] for m in maps]

    def _propagate(self, starts: Sequence[Start], flows: list[Flow] | None) -> list[Tensor]:
        starts = [Start(start.edge, start.relevance.to(self.how.dtype)) for start in starts]
        maps = propagate(starts, self.ends, flows, self.how.tolerance)
        return [m.to(self.logit.dtype) for m in maps]

    def rows(self, seeds: FrameSeeds, at_once: int, progress: bool) -> tuple[Tensor, list[Tensor] | None]:
        """Relevance (b, n, t) of frames for frame logits, and, where rows add up to the clip, its signed maps."""
        n = seeds.logits.shape[1]
        found: list[Tensor] = []
        total: list[Tensor] | None = None
        for first in bar(range(0, n, at_once), "chunk", progress):
            chunk = slice(first, first + at_once)
            flows: list[Flow] = []
            maps = self._propagate([start.chunk(chunk) for start in seeds.starts], flows if seeds.additive else None)
            if seeds.additive:
                parts = [m.sum(0) / n for m in maps]
                total = parts if total is None else [t + part for t, part in zip(total, parts, strict=True)]
                self._book(flows, n)
            found.append(self._frames([self._positive(m) for m in self._oriented(maps, seeds.orientation, chunk)]))
        return torch.cat(found).transpose(0, 1), total

    def _oriented(self, maps: Sequence[Tensor], orientation: Tensor | None, chunk: slice) -> Sequence[Tensor]:
        if orientation is None:
            return maps
        return [m * axes.per_clip(orientation[chunk], m) for m, axes in zip(maps, self.layouts, strict=True) if axes]

    def _positive(self, relevance: Tensor) -> Tensor:
        """Eq. 2: the positive part, per input value."""
        return relevance.clamp(min=0) if self.how.contrastive else relevance

    def _frames(self, maps: Sequence[Tensor]) -> Tensor:
        """(s, b, t) on the clock of the fastest pathway."""
        batch = len(self.logits)
        return on_one_clock([axes.frames(m, batch) for m, axes in zip(maps, self.layouts, strict=True) if axes])

    def _book(self, flows: list[Flow], rows: int) -> None:
        """For the ledger: the clip's logit is the mean of `rows` seeds."""
        for flow in flows:
            into, out = self.flows.get(flow.step, (0.0, 0.0))
            into, out = into + flow.relevance_in.sum() / rows, out + flow.relevance_out.sum() / rows
            self.flows[flow.step] = into, out

    def explanation(self, signed: Sequence[Tensor]) -> Explanation:
        """Everything about the clip's logit."""
        batch = len(self.logits)
        sums = sum(m.sum(tuple(range(1, m.dim()))) if axes is None else axes.clips(m[None], batch)[0] for m, axes in zip(signed, self.layouts, strict=True))  # fmt: skip # noqa: E501
        expected = torch.zeros_like(self.logit) if self.how.contrastive else self.logit
        tiny = torch.finfo(self.logit.dtype).tiny
        maps = [self._positive(m) for m in signed]
        ledger = Ledger(
            Entry(step.name, str(step.rule), float(into), float(out)) for step, (into, out) in self.flows.items()
        )
        return Explanation(
            logits=self.logits,
            target=self.chosen.target,
            sign=self.chosen.sign,
            relevance=maps[0] if self.single else maps,
            frame_relevance=self._frames([m[None] for m in maps])[0] if self.has_time else None,
            conservation=(sums - expected).abs() / self.logit.abs().clamp(min=tiny),
            ledger=ledger,
            contrastive=self.how.contrastive,
            layout=self.how.layout,
        )
