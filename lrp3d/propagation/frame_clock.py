"""Holds rows against the frames of the clip: whether they are on one clock, in order, and where they stand.

Rows come from the shapes of layers (`time_axis`). Here they are held against what a forward did to its clip before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrp3d.layout import Layout
from lrp3d.outputs import Chosen
from lrp3d.propagation.frame_order import Found, found_frames, places_of_frames, repeated
from lrp3d.propagation.frame_seeds import FrameSeeds, NoFrameLogits
from lrp3d.propagation.seen_frames import are_spread, in_words, seen_frames
from lrp3d.propagation.time_average import TimeAverage
from lrp3d.propagation.time_axis import are_apart
from lrp3d.propagation.unpadded import middle_frames
from lrp3d.transfer import numbers
from lrp3d.twin.trace import Trace

TOLERANCE, ROUNDINGS = 1e-4, 8
"""The share by which the mean of frame logits may differ from the logit, or roundings of the coarsest type if more.

Two orders of summation in float32 stay far below the one; types of half precision round more than that at once.
"""


def check_clock(record: Trace, averages: list[TimeAverage]) -> None:
    """Refuses several averages that cannot share one clock.

    Some average a part of the time steps only, or features of layers that see a part of the clip only, or their numbers
    of steps are too close to be slow and fast pathways.

    Raises:
        NoFrameLogits: nothing says which frame of one average belongs to which of another.
    """
    if len(averages) < 2:
        return
    for average in averages:
        length = len(average.source_steps[0])
        covered = [i for i in range(length) if any(steps[i] for steps in average.source_steps)]
        if not are_spread(covered, length):
            raise NoFrameLogits(
                f"one of {len(averages)} averages over time, '{average.step.name}', takes steps {in_words(covered)} of "
                f"{length} alone, so that they are on no common clock; average over all steps, or explain such a part "
                "by itself"
            )
    rows = [(average.entries, average.entry_of_each_frame) for average in averages]
    of_clip = any(average.follows_clip for average in averages)
    if len(record.entries) == 1 and are_apart(rows, record.output.grad_fn, len(record.output), of_clip):
        names = " and ".join(f"'{average.step.name}'" for average in averages)
        raise NoFrameLogits(
            f"{names} average features of different parts of the clip, so that they are on no common clock; average "
            "over all steps, or explain each part by itself"
        )
    few, many = min(average.frames for average in averages), max(average.frames for average in averages)
    if few < many and 2 * (few - 1) >= many:
        raise NoFrameLogits(
            f"the model averages over {few} and over {many} time steps, which are on no common clock: a slow pathway "
            "has at most every second frame of a fast one; pad what has fewer steps, as with a difference of zero"
        )


def place_rows(record: Trace, chosen: Chosen, averages: list[TimeAverage], seeds: FrameSeeds, layout: str) -> None:
    """Holds the rows against the logit and against the frames of the clip, and gives them their places in the clip."""
    averaged, logit = seeds.logits if seeds.averaged is None else seeds.averaged, chosen.of(record.output)
    single = len(record.entries) == 1
    masks = seen_frames(record, averages, layout) if single else []
    follow_clip = any(average.follows_clip for average in averages)
    found = found_frames(record, averages, seeds.logits.shape[1], layout) if single else []
    of_layers = [tensor for layer in found for tensor in (layer.places, layer.frames)]
    differ, *told = numbers(
        [_differ(averaged, logit, record.tracer.coarsest), *of_layers, *masks]
    )  # a GPU waits only once
    if differ:
        means, wanted = averaged.mean(1).tolist(), logit.tolist()
        raise NoFrameLogits(f"the mean of the frame logits, {means}, is not the logit, {wanted}")
    if not follow_clip:  # rows are as the first layers see frames
        _put_in_order(seeds, list(zip(found, told[: len(of_layers) : 2], strict=True)))
    if not single:
        return
    length = Layout(layout).sizes(record.entries[0], len(averaged))["t"]
    if seeds.positions is None and (frames := middle_frames(averages, seeds.logits.shape[1], length)):
        seeds.positions, seeds.classified = frames, length
        return
    of_places = [repeated(frames) for frames in told[1 : len(of_layers) : 2]]
    if found and _take_repeated_frames(seeds, of_places, length, are_in_order=follow_clip):
        return
    if masks:
        _take_picked_frames(seeds, told[len(of_layers) :], length)


def _differ(logits: Tensor, logit: Tensor, eps: float) -> Tensor:
    """Whether the mean of the frame logits is not the logit, up to rounding in the coarsest type."""
    error = (logits.mean(1) - logit).abs()
    scale = torch.maximum(logit.abs(), logits.abs().mean(1))
    return (error > max(TOLERANCE, ROUNDINGS * eps) * scale + torch.finfo(logit.dtype).tiny).any()


def _put_in_order(seeds: FrameSeeds, found: list[tuple[Found, Tensor]]) -> None:
    """Puts rows in the order of the clip's frames, where a forward gives them another one before its first layers.

    Args:
        seeds: the seeds of the rows.
        found: where first layers find the frames, and their places on the host.

    Raises:
        NoFrameLogits: frames are not where they are sought, or layers find them in several orders.
    """
    for layer, places in found:
        if reason := layer.reason(places):
            raise NoFrameLogits(reason)
    orders = [order for _, places in found if (order := places_of_frames(places)) is not None]
    if all(order == sorted(order) for order in orders):
        return
    order = orders[0]
    if len(orders) < len(found) or any(other != order for other in orders) or len(order) != seeds.logits.shape[1]:
        raise NoFrameLogits(
            f"'{found[0][0].step.name}' and the layers beside it see the frames of the clip in several orders, or in "
            f"another one than that of the clip, which {seeds.logits.shape[1]} frame logits share: leave frames where "
            "they are"
        )
    _rearrange(seeds, order)


def _rearrange(seeds: FrameSeeds, order: list[int]) -> None:
    """Puts rows in another order."""
    seeds.logits = seeds.logits[:, order]
    if seeds.averaged is not None:
        seeds.averaged = seeds.averaged[:, order]
    if seeds.orientation is not None:
        seeds.orientation = seeds.orientation[order]
    for start in seeds.starts:
        start.relevance = start.relevance[order]


def _take_repeated_frames(
    seeds: FrameSeeds, of_layers: list[list[int] | None], length: int, are_in_order: bool
) -> bool:
    """Gives rows the places of the frames that a forward shows its layers, some of them several times.

    Args:
        seeds: the seeds of the rows.
        of_layers: for each first layer the frame at each of its places, where some frame has several; else None.
        length: the number of frames of the clip.
        are_in_order: whether rows are in the order of the clip already, and not in that of the places.

    Returns:
        Whether rows have their places now. A network with fewer rows than places has steps of several frames, as it has
        of any clip.
    """
    frames = of_layers[0]
    if frames is None or any(other != frames for other in of_layers) or len(frames) != seeds.logits.shape[1]:
        return False
    order = sorted(range(len(frames)), key=lambda place: (frames[place], place))
    if not are_in_order:
        _rearrange(seeds, order)
    seeds.positions, seeds.classified = [frames[place] for place in order], length
    return True


def _take_picked_frames(seeds: FrameSeeds, masks: list[Tensor], length: int) -> None:
    """Gives rows the places of the frames that a forward picks of its clips; those that are spread over them stay.

    Args:
        seeds: the seeds of the rows.
        masks: for each average over time, which frames (layers, b, t) each of its first layers sees of each clip.
        length: the number of frames of a clip.

    Raises:
        NoFrameLogits: if averages see other parts of the clip, or nothing says to which frame a row belongs, or the
            rows of clips belong to different frames.
    """
    of_clips: dict[tuple[tuple[tuple[int, ...], ...], ...], list[int] | None] = {}
    for clip in range(len(seeds.logits)):
        seen = tuple(tuple(tuple(frames.nonzero().flatten().tolist()) for frames in mask[:, clip]) for mask in masks)
        if seen not in of_clips:
            of_clips[seen] = _picked_frames(seeds, seen, length)
    positions, *others = of_clips.values()
    if any(other != positions for other in others):
        raise NoFrameLogits(
            "the forward takes different frames of each clip of this batch, so that rows of different clips belong to "
            "different frames; explain the clips one by one"
        )
    if positions is not None:
        seeds.positions, seeds.classified = positions, length


def _picked_frames(seeds: FrameSeeds, seen: tuple[tuple[tuple[int, ...], ...], ...], length: int) -> list[int] | None:
    """The frames to which the rows of a clip belong; None if they stay as they are."""
    rows = seeds.logits.shape[1]
    of_averages = [sorted({frame for frames in of_layers for frame in frames}) for of_layers in seen]
    parts = sorted(list(frames) for of_layers in seen for frames in of_layers if not are_spread(frames, length))
    if not parts:
        return None
    frames, *others = sorted(of_averages)
    other = next((frames_of_other for frames_of_other in others if frames_of_other != frames), None)
    if other is None and rows != len(frames):  # the rows may be those of each part
        other = next((part for part in parts if part != parts[0]), None)
        frames = frames if other is None else parts[0]
    if other is not None:
        raise NoFrameLogits(
            f"some layers see frames {in_words(frames)} of the clip and others frames {in_words(other)}, so that what "
            "is averaged over time is on no common clock; run the first layers on all frames, and cut what they make"
        )
    if are_spread(frames, length) or rows == length:  # as many as the clip has, where some were taken twice
        return None
    if seeds.positions is None and rows == len(frames):
        return frames
    if seeds.positions is not None and seeds.classified == len(frames):
        return [frames[i] for i in seeds.positions]
    raise NoFrameLogits(
        f"the forward takes frames {in_words(frames)} of the clip's {length} and has {rows} frame logits, of which "
        "nothing says where in the clip they are; pass a clip of these frames alone"
    )
