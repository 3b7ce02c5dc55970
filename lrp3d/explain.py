"""`explain`: one call from a model and a clip to everything lrp3d knows of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lrp3d.checks import (
    Against,
    check_axes,
    check_clip,
    check_frames,
    check_logits,
    check_merge,
    check_mode,
    check_numbers,
    check_options,
    check_seed,
    targets_of,
)
from lrp3d.composites import Composite
from lrp3d.compute import buffers
from lrp3d.compute.precision import matmul_precision, no_autocast, widened
from lrp3d.errors import UnsupportedOperation
from lrp3d.explanation import Explanation, Ledger, LedgerEntry
from lrp3d.floor import floor_shares
from lrp3d.layout import warn_of_layout, what_the_shapes_suggest
from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.outputs import Output, Reader
from lrp3d.propagation.channels import ChannelRelevance, through_channels
from lrp3d.propagation.chunks import seeds_at_once
from lrp3d.propagation.clip_relevance import ClipRelevance, Settings
from lrp3d.propagation.frame_logits import check_frame_axis, frame_seeds
from lrp3d.propagation.inside import Inside, Where, check_inside, gates
from lrp3d.propagation.motion import Motion
from lrp3d.propagation.motion_parts import MotionParts, check_motion, motion_parts, still_clip
from lrp3d.propagation.temporal_matrix import temporal_relevance
from lrp3d.transfer import numbers
from lrp3d.twin.probabilities import said_of
from lrp3d.twin.ranges import Range
from lrp3d.twin.twin import Trace, twin_of

Clip = Tensor | Sequence[Tensor]


def explain(
    model: nn.Module,
    clip: Clip,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    against: Against | None = None,
    contrastive: bool | None = None,
    composite: str | Composite | None = None,
    temporal: bool = True,
    input_range: Range | Sequence[Range | None] | None = None,
    layout: str = "bcthw",
    output: Output | None = None,
    constants: Sequence[str] = (),
    merge: str = "paper",
    layers: Sequence[str] = (),
    layer_rows: bool = False,
    where: Where | None = None,
    floor: bool = False,
    motion: bool = False,
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
        against: why the class and not another: explains how far its logit is above the mean logit of these classes,
            "next" (the best other class of each clip), a class, several, or several for each clip (b, m). Relevance has
            both signs; positive is what speaks for the class rather than for the others.
        contrastive: CLRP (Eq. 2 of the paper), what speaks for the class minus what speaks against it; else plain LRP.
            None is CLRP, or plain where the class is held `against` others, which is a contrast of its own.
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
        merge: how pathways of several rates (slow, fast) become frame logits: "paper" adds slow logits, as they are, to
            the fast ones at the slow frames (App. A); "average" adds them n / m times, for n fast and m slow frames, so
            that the mean of the frame logits is the clip's logit.
        layers: also keep the relevance at the outputs of these modules (`.layers`), by name or name pattern ("layer*");
            of a contrast it has both signs: what speaks for the class and what speaks against it.
        layer_rows: also keep it for every row of the matrix (`.layer_rows`), which takes n times the memory.
        where: only what flows through some channels of a module, as in {"layer3": [12, 40]}: maps, matrix and layers
            below are that part of the whole, and parts add up to what flows through the module. Of several modules,
            what flows through all of them. Channels are the second axis of an output, the last one of tokens
            (b, n, c). It costs twice as much. Concept relevance: Achtibat et al. 2023, arXiv:2206.03208.
        floor: also find the matrix of the same network untrained (`.floor`), and what stands above it (`.excess`). It
            is measured on noise, one for all clips of a shape: a twin keeps it, so that many clips pay it once.
        motion: also split relevance, exactly, into what the clip would have if its frames stood still where they are
            mixed (`.static`) and the rest (`.dynamic`); docs/method.md defines them. It costs twice as much.
        seed: of the random numbers that the model draws in its forward (dropout that is alive, frames chosen at
            random). Without one, a model whose output differs from run to run is refused.
        chunk_size: how many frame logits are explained at once; default chosen by `memory_budget`.
        memory_budget: bytes that relevance in flight may take; default is what fits (small on a CPU, where larger
            chunks are no faster).
        tolerance: 0 is exact; above 0, outer frames whose share of a seed's absolute relevance at a layer is below it
            may be dropped there, and what was dropped is booked.
        precision: "highest" is float32 as it is; "high" lets a GPU compute products and convolutions in TF32 (a CPU
            has none: there both are the same).
        progress: show a progress bar on stderr.

    Returns:
        An `Explanation`.

    Raises:
        UnsupportedOperation: if the model contains operations without a rule; all are named, nothing is passed over.
        NoFrameLogits: (a ValueError) if temporal relevance was asked for and the model has no exact frame logits.
        NoMotion: (a ValueError) if motion was asked for and the model moves or mixes frames in a way that is not known.
        CannotBeReset: (a ValueError) if the floor was asked for and a module with parameters cannot be reset.
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
    check_merge(merge)
    if against is not None and contrastive:
        raise ValueError(
            "a class is contrasted with other classes (against=) or with its own negated row (contrastive=True): "
            "leave one of them out"
        )
    contrastive = against is None if contrastive is None else contrastive
    asked, channels = check_inside(layers, layer_rows, where, temporal, floor or motion)
    check_seed(seed)
    pathways = check_clip(clip, layout)
    rounding = matmul_precision(precision, pathways[0].device)
    twin = twin_of(model, composite)
    check_axes(twin, pathways, layout)
    check_mode(twin, clip, seed)
    shares = None
    if floor:
        if not temporal or against is not None:
            raise ValueError(
                "the floor is that of a matrix of one class: floor=True needs temporal=True and no against="
            )

        def of_noise(network: nn.Module, noise: Clip) -> Tensor:
            explanation = explain(
                network,
                noise,
                0,
                contrastive=contrastive,
                input_range=input_range,
                layout=layout,
                output=output,
                constants=constants,
                merge=merge,
                seed=seed,
                chunk_size=chunk_size,
                memory_budget=memory_budget,
                precision=precision,
            )
            assert explanation.matrix is not None
            return explanation.matrix

        key = (contrastive, tuple(constants), output, merge, seed, precision)
        shares = floor_shares(twin, pathways, layout, input_range, of_noise, key)
    own_types = no_autocast(pathways[0].device)
    # Whatever mode the caller is in, the twin is recorded by autograd, in the model's own types.
    with torch.inference_mode(False), torch.enable_grad(), own_types, buffers.reused(twin.memory), rounding:
        read = Reader(output)
        options = (input_range, layout, contrastive, read, constants, seed, (*asked, *channels))
        record = twin.record((clip,), *options)
        buffers.give_back_freed()
        check_logits(record.output, pathways, layout)
        check_numbers(record.clip_is_finite, record.output_is_finite)
        if record.problems:
            raise UnsupportedOperation(record.problems)
        check_frame_axis(record, read.frames)
        split = None
        if motion:
            check_motion(pathways, temporal)
            still = (still_clip(pathways[0], layout, len(record.output)),)
            split = Motion(record, twin.record(still, *options))
        settings = Settings(contrastive, float(tolerance), widened(record.output.dtype), layout, seed)
        inside = Inside(record, asked, len(record.output), layer_rows)
        clips = ClipRelevance(record, targets_of(target, record.output, against), settings, pathways, inside)
        if not (temporal and clips.has_time):
            warn_of_layout(pathways, layout)
            if not channels:
                return _explanation(clips, clips.maps())
            flowing = through_channels(clips, gates(record, channels, [record.output.grad_fn]), None)
            return _explanation(clips, flowing.signed, flowing, channels)
        check_frames(pathways, layout, len(record.output))
        seeds = frame_seeds(record, clips.chosen, twin.composite, contrastive, merge)
        at_once = seeds_at_once(record, seeds.logits.shape[1], chunk_size, memory_budget)
        parts: MotionParts | None = None
        part: ChannelRelevance | None = None
        signed: Sequence[Tensor] | None
        if channels:
            doors = gates(record, channels, [start.edge[0] for start in seeds.starts])
            part = through_channels(clips, doors, seeds, at_once, progress)
            assert part.rows is not None
            rows, signed = part.rows, part.signed
        elif split is None:
            rows, signed = clips.rows(seeds, at_once, progress)
        else:
            parts = motion_parts(clips, seeds, at_once, split, contrastive)
            rows, signed = parts.rows, [parts.signed]
        hint = what_the_shapes_suggest(pathways, layout)
        temporal_matrix = temporal_relevance(rows, seeds, scaled=contrastive and part is None, hint=hint)
        atr = frame_atr(temporal_matrix.matrix, positions=temporal_matrix.positions)
        result = replace(
            _explanation(clips, clips.maps() if signed is None else signed, part, channels),
            frame_logits=temporal_matrix.frame_logits,
            matrix=temporal_matrix.matrix,
            positions=temporal_matrix.positions,
            atr=atr,
            avg_atr=avg_atr(atr, temporal_matrix.frame_logits),
            max_atr=max_atr(atr),
            floor=None if shares is None else _under(shares, temporal_matrix.matrix),
        )
        return result if parts is None else replace(result, **parts.of_explanation)  # type: ignore[arg-type]


def _under(shares: Tensor, matrix: Tensor) -> Tensor:
    """The floor under a matrix (b, n, t): as much in every row, shared as untrained."""
    return (shares * matrix.double().sum(-1, keepdim=True)).to(matrix)


def _explanation(
    clips: ClipRelevance,
    signed: Sequence[Tensor],
    part: ChannelRelevance | None = None,
    channels: dict[str, list[int]] | None = None,
) -> Explanation:
    """What is known of the clips' logits, of which `signed` are the maps, and `part` those through some channels."""
    maps = [m[0] for m in clips.positive([m[None] for m in signed])] if part is None else part.maps
    totals = [torch.as_tensor(x, device=clips.logits.device) for flow in clips.flows.values() for x in flow]
    reached, *flows = numbers([torch.stack([m.flatten(1).any(1) for m in signed]).any(0), *totals])
    _warn_of_nothing(~reached.bool())
    return Explanation(
        logits=clips.logits,
        target=clips.chosen.target,
        sign=clips.chosen.sign,
        against=clips.chosen.against,
        relevance=maps[0] if clips.single else maps,
        frame_relevance=clips.frames([m[None] for m in maps])[0] if clips.has_time else None,
        conservation=clips.conservation(signed),
        ledger=Ledger(
            LedgerEntry(step.name, str(step.rule), float(into), float(out))
            for step, into, out in zip(clips.flows, flows[::2], flows[1::2], strict=True)
        ),
        contrastive=clips.settings.contrastive,
        layout=clips.settings.layout,
        about=_about(clips.record, clips.settings.seed),
        where=channels or None,
        **clips.inside.of_explanation,  # type: ignore[arg-type]
    )


def _warn_of_nothing(empty: Tensor) -> None:
    """Say how many clips (b,) no relevance reached at all: their ATR is no number, and their maps are black."""
    if empty.any():
        which = "the clip" if len(empty) == 1 else f"{int(empty.sum())} of {len(empty)} clips"
        warnings.warn(
            f"no relevance reaches {which}: everything between the logits and it is zero or held constant "
            "(the ledger says where relevance stays)",
            stacklevel=4,
        )


def _about(record: Trace, seed: int | None) -> dict[str, str]:
    """What has to be said of what was explained."""
    about = said_of(record.left_out)
    if seed is not None and record.drew:
        about["seed"] = f"{seed}, of the random numbers that the model draws: other seeds, other relevance"
    return about
