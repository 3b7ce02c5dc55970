"""`explain`: one call from a model and a clip to everything lrp3d knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    check_seed,
    targets_of,
)
from lrp3d.composites import Composite
from lrp3d.compute import buffers
from lrp3d.compute.precision import carried_in, matmul_precision, no_autocast
from lrp3d.errors import UnsupportedOperation
from lrp3d.explanation import Explanation, Ledger, LedgerEntry
from lrp3d.layout import warn_of_layout, what_the_shapes_suggest
from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.outputs import Output, logits_of
from lrp3d.propagation.chunks import seeds_at_once
from lrp3d.propagation.clip_relevance import ClipRelevance, Settings
from lrp3d.propagation.frame_logits import frame_seeds
from lrp3d.propagation.temporal_matrix import temporal_relevance
from lrp3d.twin.probabilities import said_of
from lrp3d.twin.ranges import Range
from lrp3d.twin.twin import Trace, twin_of

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
    seed: int | None = None,
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
            is the clip's; or one logit (b, 1) of two classes. Of a final softmax, log-softmax or sigmoid, what goes
            into it is explained, and `about` says so.
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
        seed: of the random numbers that the model draws in its forward (dropout that is alive, frames chosen at
            random). Without one, a model whose output differs from run to run is refused.
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
    check_options(chunk_size, memory_budget, tolerance, precision)
    check_seed(seed)
    pathways = check_clip(clip, layout)
    rounding = matmul_precision(precision, pathways[0].device)
    twin = twin_of(model, composite)
    check_axes(twin, pathways, layout)
    check_mode(twin, clip, seed)
    own_types = no_autocast(pathways[0].device)
    # Whatever mode the caller is in, the twin is recorded by autograd, in the model's own types.
    with torch.inference_mode(False), torch.enable_grad(), own_types, buffers.reused(twin.memory), rounding:
        read = partial(logits_of, output=output)
        record = twin.record((clip,), input_range, layout, contrastive, read, constants, seed)
        check_logits(record.output, pathways, layout)
        if record.problems:
            raise UnsupportedOperation(record.problems)
        settings = Settings(contrastive, float(tolerance), carried_in(record.output.dtype, precision), layout, seed)
        clips = ClipRelevance(record, targets_of(target, record.output), settings, pathways)
        if not (temporal and clips.has_time):
            warn_of_layout(pathways, layout)
            return _explanation(clips, clips.maps())
        check_frames(pathways, layout, len(record.output))
        seeds = frame_seeds(record, clips.chosen, twin.composite, contrastive)
        at_once = seeds_at_once(record, seeds.logits.shape[1], chunk_size, memory_budget)
        rows, signed = clips.rows(seeds, at_once, progress)
        hint = what_the_shapes_suggest(pathways, layout)
        temporal_matrix = temporal_relevance(rows, seeds, scaled=contrastive, hint=hint)
        atr = frame_atr(temporal_matrix.matrix, positions=temporal_matrix.positions)
        return replace(
            _explanation(clips, clips.maps() if signed is None else signed),
            frame_logits=temporal_matrix.frame_logits,
            matrix=temporal_matrix.matrix,
            positions=temporal_matrix.positions,
            atr=atr,
            avg_atr=avg_atr(atr, temporal_matrix.frame_logits),
            max_atr=max_atr(atr),
        )


def _explanation(clips: ClipRelevance, signed: Sequence[Tensor]) -> Explanation:
    """What is known of the clips' logits, of which `signed` are the maps."""
    maps = [clips.positive(m) for m in signed]
    return Explanation(
        logits=clips.logits,
        target=clips.chosen.target,
        sign=clips.chosen.sign,
        relevance=maps[0] if clips.single else maps,
        frame_relevance=clips.frames([m[None] for m in maps])[0] if clips.has_time else None,
        conservation=clips.conservation(signed),
        ledger=Ledger(
            LedgerEntry(step.name, str(step.rule), float(into), float(out)) for step, (into, out) in clips.flows.items()
        ),
        contrastive=clips.settings.contrastive,
        layout=clips.settings.layout,
        about=_about(clips.record, clips.settings.seed),
    )


def _about(record: Trace, seed: int | None) -> dict[str, str]:
    """What has to be said of what was explained."""
    about = said_of(record.left_out)
    if seed is not None and record.drew:
        about["seed"] = f"{seed}, of the random numbers that the model draws: other seeds, other relevance"
    return about
