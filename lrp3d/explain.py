"""`explain`: one call that takes a model and a clip and returns their whole explanation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.again import again_if_released, again_if_zeros_matter, again_with_fewer_seeds, chunks_that_fit, unless_full
from lrp3d.callers import warn
from lrp3d.checks import (
    check_axes,
    check_clip,
    check_floor,
    check_frames,
    check_logits,
    check_merge,
    check_numbers,
    check_options,
    check_seed,
)
from lrp3d.compiling import not_compiled
from lrp3d.composites import Composite
from lrp3d.compute import buffers
from lrp3d.compute.precision import matmul_precision, no_autocast, widened
from lrp3d.errors import UnsupportedOperation
from lrp3d.explanation import Explanation
from lrp3d.floor import floor_of, floor_shares
from lrp3d.layout import axes_hint, warn_of_layout
from lrp3d.motion.splitting import Motion
from lrp3d.outputs import Output, Reader
from lrp3d.propagation.chunks import Chunks
from lrp3d.propagation.clip_relevance import ClipRelevance, Settings
from lrp3d.propagation.frame_logits import check_frame_axis, columns_of_frames, frame_seeds
from lrp3d.propagation.frame_seeds import FrameSeeds, FramesInColumns, NoFrameLogits
from lrp3d.propagation.inside import Inside, Where, check_inside, names_of
from lrp3d.propagation.layer_rows import check_rows_at, layer_seeds
from lrp3d.propagation.motion_parts import check_motion, still_clip
from lrp3d.propagation.notes import warn_of_what_is_missing
from lrp3d.propagation.rows_advice import rows_advice
from lrp3d.results import warn_of_little_through_rows, with_matrix, without_matrix
from lrp3d.steps.zero_denominators import ZeroDenominators, asking
from lrp3d.targets import Against, is_contrastive, targets_of
from lrp3d.twin.evaluation_mode import prepare_mode
from lrp3d.twin.ranges import Range
from lrp3d.twin.trace import Trace
from lrp3d.twin.twin import Twin, twin_of

Clip = Tensor | Sequence[Tensor]


@not_compiled
@again_if_released
@again_if_zeros_matter
@again_with_fewer_seeds
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
    constants: str | Sequence[str] = (),
    merge: str = "paper",
    layers: Sequence[str] = (),
    layer_rows: bool = False,
    rows_at: str | None = None,
    where: Where | None = None,
    floor: bool | int = False,
    motion: bool = False,
    seed: int | None = None,
    chunk_size: int | None = None,
    memory_budget: int | None = None,
    tolerance: float = 0.0,
    precision: str = "highest",
    progress: bool = False,
) -> Explanation:
    """Explain a video CNN's answer to a clip: relevance of every input value, and of every frame for every frame logit.

    Args:
        model: any `nn.Module` CNN in evaluation mode, or its twin (`lrp3d.convert`), which saves the conversion. It is
            never modified. It returns logits (b, k); frame logits (b, n, k), taken as they are, whose mean is the
            clip's logit; or one logit (b, 1) of two classes. If it ends in a softmax, log-softmax or sigmoid, the input
            of that is explained, and `about` says so.
        clip: float (b, 3, t, h, w), a list of pathways (slow, fast), or images (b, 3, h, w), which have no temporal
            relevance.
        target: the class to explain: None for the prediction, one class, or one class per clip. The prediction of a
            lone logit depends on its sign: a negative logit is explained by what speaks against it (see `sign`);
            class 0 is the logit as it is.
        against: other classes, to explain why the model prefers the class to them: "next" (the best other class of
            each clip), a class, several, or several for each clip (b, m). The difference between the logit and their
            mean logit is explained. Relevance has both signs; positive relevance speaks for the class rather than for
            the others.
        contrastive: True for CLRP (Eq. 2 of the paper), what speaks for the class minus what speaks against it; False
            for plain LRP. None is CLRP, but plain LRP with `against`, which is a contrast of its own.
        composite: which layer gets which rule: a name or a `Composite`; None is "paper", or what a twin was converted
            with (any other is refused for a twin).
        temporal: also explain every frame's logit, or the time steps of a module (`rows_at`): the temporal relevance
            matrix and ATR (Sec. 3.2).
        input_range: (low, high) of valid inputs after normalisation, scalars or one per channel, or a list of such
            pairs (or None), one per pathway; default is the model's `input_range` attribute, else each clip's own
            extremes per channel (those of all clips together, in layouts that fold clips and frames into one axis).
            A clip far outside of it causes a warning.
        layout: the axes of the clip as the model takes it, e.g. "bcthw", "btchw", "b (t c) h w".
        output: where the logits are in what the model returns: a key ("logits"), an index, or a function of it; needed
            if the model returns several tensors.
        constants: name patterns of modules ("branch.*") whose outputs are held constant: relevance that arrives there
            stays there, and is booked in the ledger.
        merge: how pathways of several rates (slow, fast) become frame logits: "paper" adds slow logits, as they are, to
            the fast ones at the slow frames (App. A); "average" adds them n / m times, for n fast and m slow frames, so
            that the mean of the frame logits is the clip's logit.
        layers: also keep the relevance at the outputs of these modules (`.layers`), by name or name pattern
            ("*layer?"); with a contrast it has both signs: what speaks for the class and what speaks against it. A
            pattern leaves out modules without a single output (a ReLU that runs twice), and `about` names them.
        layer_rows: also keep it for every row of the matrix (`.layer_rows`), which takes n times the memory.
        rows_at: the name of a module, at whose output the rows of the matrix are time steps instead of frames with a
            logit: row i is what of the clip's logit flows through time step i there. A network that classifies a class
            token, or what a norm, an attention or a maximum makes of all frames, has no frame logits, and yet such
            rows. What flows through no time step (a class token) or around the module is missing from the matrix
            (`.through_rows`), so take the last module through whose frames, or tokens of frames, most of it flows.
        where: explain only what flows through some channels of a module, as in {"features.layer3": [12, 40]}: maps,
            matrix and layers below are that part of the whole, and the parts of all channels add up to what flows
            through the module. Layers above it and beside it keep all of their relevance. With several modules, only
            what flows through all of them is explained. Channels are on the axis that the layers before made, the
            second of (b, c, t, h, w) and the last of tokens (b, n, c) and of (b, t, h, w, c). It costs twice as much.
            Concept relevance: Achtibat et al. 2023, arXiv:2206.03208.
        floor: also compute the matrix of the same network untrained (`.floor`), and what is above it (`.excess`). It is
            measured on noise, once for all clips of one shape; a twin keeps it for further clips (if `output` is a
            function, give the same one every time). True draws one untrained network; a number is that of networks
            whose mean is taken.
        motion: also split relevance, exactly, into what it would be if frames stood still where they are mixed
            (`.static`) and the rest (`.dynamic`); docs/method.md defines both. It costs twice as much.
        seed: seed of the random numbers that the model draws in its forward (active dropout, frames chosen at random).
            Without one, a model whose output differs from run to run is refused.
        chunk_size: how many frame logits are explained at once; by default `memory_budget` decides.
        memory_budget: bytes that relevance may take on its way through the network; the default is what fits. On a CPU
            that is little for each chunk, as larger ones are no faster, and up to four chunks run at the same time.
            Where memory runs out after all, and neither this nor `chunk_size` is given, half as many frame logits are
            explained at once, with a warning.
        tolerance: 0 is exact; above 0, outer frames whose share of a seed's absolute relevance at a layer is below it
            may be dropped there, and what was dropped is booked. Rows that are computed together (`chunk_size`) keep
            the same frames, so that results depend on it, too.
        precision: "highest" is full float32; "high" lets a GPU compute products and convolutions in TF32 (a CPU has no
            TF32, so both are the same there).
        progress: show a progress bar on stderr.

    Returns:
        An `Explanation`.

    Raises:
        UnsupportedOperation: if the model contains operations without a rule; the message names all of them.
        NoFrameLogits: (a ValueError) if `temporal` is set and the model has no exact frame logits.
        NoMotion: (a ValueError) if `motion` is set and the model moves or mixes frames in a way that is not known.
        CannotBeReset: (a ValueError) if `floor` is set and a module with parameters cannot be reset.
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
    contrastive = is_contrastive(contrastive, against)
    draws = check_floor(floor, temporal, against)
    constants = names_of(constants, "constants")
    layer_patterns, channels = check_inside(layers, layer_rows, where, temporal, bool(draws) or motion)
    check_rows_at(rows_at, temporal, channels, merge)
    seed = check_seed(seed)
    pathways = check_clip(clip, layout)
    if motion:
        check_motion(pathways, temporal)
    rounding = matmul_precision(precision, pathways[0].device)
    twin = twin_of(model, composite)
    check_axes(twin, pathways, layout)
    prepare_mode(twin, clip, seed)
    shares = None
    if draws:
        # Memory apart, the floor depends on all of these.
        of_floor = {"contrastive": contrastive, "constants": constants, "output": output, "merge": merge, "seed": seed}
        of_floor |= {"precision": precision, "rows_at": rows_at}
        room = {"chunk_size": chunk_size, "memory_budget": memory_budget}
        shares = _floor_shares(twin, pathways, layout, input_range, draws, of_floor, room)
    own_types = no_autocast(pathways[0].device)
    shapes = tuple((tuple(x.shape), x.dtype, x.device) for x in pathways)
    kind = (*shapes, layout, contrastive, temporal, merge, motion, bool(channels), rows_at, against is not None, seed)
    # Of a model that is converted for one clip, nothing is known yet.
    is_known = model is twin and pathways[0].device.type != "cpu"
    zeros = asking(ZeroDenominators(twin.zero_denominators, kind) if is_known else None)
    # The twin is recorded by autograd and in the model's own types, whatever modes the caller has set.
    with torch.inference_mode(False), torch.enable_grad(), own_types, buffers.reused(twin.memory), rounding, zeros:
        read = Reader(output)
        names = (*layer_patterns, *channels, *([rows_at] if rows_at else []))
        options = (input_range, layout, contrastive, read, constants, seed, names)
        record = twin.record((clip,), *options)
        _check_record(record, pathways, layout, read)
        split = None
        if motion:
            still_pathways = (still_clip(pathways[0], layout, len(record.output)),)
            split = Motion(record, twin.record(still_pathways, *options), layout)
        # Channels and motion read activations again.
        release = not (channels or motion or tolerance)
        dtype = widened(record.output.dtype)
        settings = Settings(contrastive, float(tolerance), dtype, layout, seed, release, read.note)
        inside = Inside(record, layer_patterns, len(record.output), layer_rows)
        clips = ClipRelevance(
            record, targets_of(record.prediction(target), record.output, against), settings, pathways, inside
        )
        warn_of_what_is_missing(clips)
        if rows_at and not clips.has_time:
            raise ValueError(f"rows_at={rows_at!r} makes rows of time steps, and images have no time")
        if not (temporal and clips.has_time):
            _warn_of_time(clips, pathways)
            return without_matrix(clips, channels)
        check_frames(pathways, layout, len(record.output))
        plain = (input_range, layout, False, Reader(output), constants, seed, ("*",))
        seeds = _row_seeds(clips, twin.composite, rows_at, merge, read, partial(twin.record, (clip,), *plain))
        chunks = Chunks.of(record, seeds.logits.shape[1], chunk_size, memory_budget)
        hint = axes_hint(pathways, layout)
        with contextlib.ExitStack() as watched:
            if chunk_size is None and memory_budget is None:
                chunks = chunks_that_fit(chunks, twin.chunks_that_fit, kind)
                watched.enter_context(unless_full(chunks, twin.chunks_that_fit, kind, record.output.device))
            result = replace(with_matrix(clips, channels, split, seeds, chunks, progress, hint), rows_at=rows_at)
        if rows_at:
            warn_of_little_through_rows(result)
        if shares is None:
            return result
        assert result.matrix is not None
        return replace(result, floor=floor_of(shares, result.matrix))


def _row_seeds(
    clips: ClipRelevance,
    composite: Composite,
    rows_at: str | None,
    merge: str,
    read: Reader,
    plain_with_modules: Callable[[], Trace],
) -> FrameSeeds:
    """The seeds of the rows: frames with logits, or the time steps of a module.

    Where frames have none, the error names a module, which a further run for plain relevance tells, with the outputs of
    all modules as steps.
    """
    if rows_at is not None:
        return layer_seeds(clips, rows_at)
    chosen, settings = clips.chosen, clips.settings
    try:
        return frame_seeds(clips.record, chosen, composite, settings.contrastive, merge, settings.layout, read.frames)
    except FramesInColumns:
        raise
    except NoFrameLogits as error:
        advice = ""
        with contextlib.suppress(Exception):  # whatever happens while a module is sought, this is what went wrong
            advice = rows_advice(plain_with_modules(), chosen.alone, settings.layout)
        raise NoFrameLogits(error.reason, advice) from None


def _check_record(record: Trace, pathways: Sequence[Tensor], layout: str, read: Reader) -> None:
    """Raises the errors of `explain` for what a forward pass of the twin shows."""
    check_logits(record.output, pathways, layout)
    check_numbers(record.clip_is_finite, record.output_is_finite)
    if record.problems:
        raise UnsupportedOperation(record.problems)
    check_frame_axis(record, read.frames)


def _warn_of_time(clips: ClipRelevance, pathways: Sequence[Tensor]) -> None:
    """Warns of what a clip that is explained as a whole, or its logits, may hide of time."""
    warn_of_layout(pathways, clips.settings.layout)
    if clips.record.output.shape[1] <= clips.frame_count and (what := columns_of_frames(clips.record)):
        warn(what)


def _floor_shares(
    twin: Twin,
    pathways: Sequence[Tensor],
    layout: str,
    input_range: Range | Sequence[Range | None] | None,
    draws: int,
    options: Mapping[str, Any],
    room: Mapping[str, Any],
) -> Tensor:
    """The shares (n, t) of the rows of the untrained network, each explained by `options`, within some memory."""

    def matrix(model: nn.Module, clip: Clip) -> Tensor:
        explained = explain(model, clip, 0, input_range=input_range, layout=layout, **options, **room)
        assert explained.matrix is not None
        return explained.matrix

    key = tuple(tuple(value) if isinstance(value, list) else value for value in options.values())
    return floor_shares(twin, pathways, layout, input_range, matrix, key, draws)
