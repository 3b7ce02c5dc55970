"""Makes the result of `explain` from the relevance of recorded clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.checks import GROWTH, relevance_is_not_finite
from lrp3d.explanation import Explanation, Ledger, LedgerEntry
from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.motion.splitting import Motion
from lrp3d.propagation.channels import ChannelRelevance, through_channels
from lrp3d.propagation.chunks import Chunks
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.propagation.frame_logits import FrameSeeds
from lrp3d.propagation.inside import gates
from lrp3d.propagation.motion_parts import MotionParts, motion_parts
from lrp3d.propagation.notes import about, warn_of_nothing
from lrp3d.propagation.temporal_matrix import in_blocks, temporal_relevance
from lrp3d.steps.linear import LinearStep
from lrp3d.steps.zero_denominators import asked
from lrp3d.transfer import numbers

LITTLE = 0.5  # of a logit; with less, most of what is explained is not in the matrix
LITTLE_FLOWS = r"only -?\d+ % of the logit"
"""How the warning of little relevance in the matrix begins."""
FAR_MORE = 1000.0
"""How many times a logit relevance may sum up to in a layer before a warning says so."""
Channels = dict[str, list[int]]
"""Indices of channels, by the name of the module whose output has them."""


def without_matrix(clips: ClipRelevance, channels: Channels) -> Explanation:
    """The explanation of the clips' logits alone, of a model without frame logits or with `temporal=False`."""
    if not channels:
        return _explanation(clips, clips.maps())
    part = through_channels(clips, gates(clips.record, channels, [clips.record.output.grad_fn]), None)
    return _explanation(clips, part.signed, part, channels)


def with_matrix(
    clips: ClipRelevance,
    channels: Channels,
    split: Motion | None,
    seeds: FrameSeeds,
    chunks: Chunks,
    progress: bool,
    hint: str,
) -> Explanation:
    """The explanation of the clips' logits and of their frame logits: all of them, or through some channels.

    Args:
        clips: the recorded clips.
        channels: the channels through which relevance counts, by the module; all if there are none.
        split: splits the relevance by motion, if the caller asked for it.
        seeds: the relevance of every frame logit, with which propagation starts.
        chunks: how many frame logits are explained at once.
        progress: whether a progress bar is shown.
        hint: what the clip's shape suggests where there are more frame logits than frames.
    """
    motion: MotionParts | None = None
    part: ChannelRelevance | None = None
    signed: Sequence[Tensor]
    if channels:
        doors = gates(clips.record, channels, [start.edge[0] for start in seeds.starts])
        part = through_channels(clips, doors, seeds, chunks.size, progress)
        assert part.rows is not None
        rows, signed = part.rows, part.signed
    elif split is not None:
        motion = motion_parts(clips, seeds, chunks.size, split, clips.settings.contrastive, progress)
        rows, signed = motion.rows, [motion.signed]
    else:
        rows, signed = clips.rows(seeds, chunks, progress)
    scaled = clips.settings.contrastive and part is None
    temporal_matrix = temporal_relevance(rows, seeds, scaled=scaled, hint=hint)
    atr = frame_atr(temporal_matrix.matrix, positions=temporal_matrix.positions)
    explanation = _explanation(clips, signed, part, channels)
    return replace(
        explanation,
        frame_logits=temporal_matrix.frame_logits,
        matrix=temporal_matrix.matrix,
        positions=temporal_matrix.positions,
        atr=atr,
        avg_atr=avg_atr(atr, temporal_matrix.frame_logits),
        max_atr=max_atr(atr),
        layer_rows={name: in_blocks(of_seeds, seeds) for name, of_seeds in explanation.layer_rows.items()},
        **({} if motion is None else motion.of_explanation),
    )


def warn_of_little_through_rows(explanation: Explanation) -> None:
    """Warns if little of a clip's logit flows through the time steps of the module at which rows were wanted."""
    shares = [] if explanation.through_rows is None else explanation.through_rows.tolist()
    if (least := min(shares, default=1.0)) < LITTLE:
        of_clip = "" if len(shares) == 1 else f" of clip {shares.index(least)}"
        warn(
            f"only {100 * least:.0f} % of the logit{of_clip} flows through time steps at the output of "
            f"'{explanation.rows_at}', and the matrix shows nothing else: the rest flows through what belongs to no "
            "frame, such as a class token, or around the module; rows_at= with an earlier module shows more"
        )


def _explanation(
    clips: ClipRelevance,
    signed: Sequence[Tensor],
    part: ChannelRelevance | None = None,
    channels: Channels | None = None,
) -> Explanation:
    """The explanation of the clips' logits from their `signed` maps; `part` has the maps through chosen channels."""
    maps = [m[0] for m in clips.positive([m[None] for m in signed])] if part is None else part.maps
    finite = torch.stack([m.isfinite().all() for m in signed]).all()
    reached = torch.stack([m.flatten(1).any(1) for m in signed]).any(0)
    conservation = clips.conservation(signed)  # before numbers are read, as it propagates too
    questions = asked()
    zeros = torch.stack(questions.questions) if questions is not None and questions.questions else reached[:0]
    finite, reached, zeros, sizes, *flows = numbers(
        [finite, reached, zeros, clips.logit.abs().sum(), *clips.flows.values()]
    )
    if questions is not None:
        questions.confirm(zeros.bool().tolist())
    ledger = Ledger(
        LedgerEntry(step.name, str(step.rule), *flow.tolist()) for step, flow in zip(clips.flows, flows, strict=True)
    )
    if not finite:
        raise _not_finite(clips, ledger)
    warn_of_nothing(~reached.bool(), clips)
    _warn_of_growth(ledger, float(sizes))
    return Explanation(
        logits=clips.logits,
        target=clips.chosen.target,
        sign=clips.chosen.sign,
        against=clips.chosen.against,
        relevance=maps[0] if clips.single else maps,
        frame_relevance=clips.frames([m[None] for m in maps])[0] if clips.has_time else None,
        conservation=conservation,
        ledger=ledger,
        contrastive=clips.settings.contrastive,
        layout=clips.settings.layout,
        about=about(clips),
        where=channels or None,
        **clips.inside.of_explanation,
    )


def _warn_of_growth(ledger: Ledger, logit: float) -> None:
    """Warns of relevance that has grown to far more than the logits, of which a map shows little but cancellation.

    Args:
        ledger: what came into every layer and went out of it, for all clips together.
        logit: the sum of the sizes of the logits that are explained.
    """
    grown = next((entry for entry in ledger if abs(entry.relevance_out) > FAR_MORE * logit), None)
    if grown is None or not logit:
        return
    largest = max(abs(entry.relevance_out) for entry in ledger) / logit
    warn(
        f"relevance grows from layer to layer to {largest:.0e} times the logit, first behind '{grown.layer}' "
        f"({grown.rule}), so that maps and matrix show how large numbers cancel, not what the "
        f"logit is made of. {GROWTH}"
    )


def _not_finite(clips: ClipRelevance, ledger: Ledger) -> ValueError:
    """The error that says where relevance was lost to numbers that are none."""
    weighted = [step for step in clips.flows if isinstance(step, LinearStep)]
    broken = [step.name for step in weighted if not all(map(_is_finite, (x.w.value for x in step.operands)))]
    beyond = (f"'{x.layer}' ({x.rule})" for x in ledger if not math.isfinite(x.relevance_out))
    return relevance_is_not_finite(broken, next(beyond, ""), clips.logits.dtype)


def _is_finite(weight: Tensor | float) -> bool:
    return bool(weight.isfinite().all()) if isinstance(weight, Tensor) else math.isfinite(weight)
