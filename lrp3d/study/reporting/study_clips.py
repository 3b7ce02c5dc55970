"""The clips of a study as a report sees them: their numbers, which of them stand out, and which a page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

__all__ = ["ORDERS", "StudyClip", "by_importance", "clips_of", "standing_out"]

EXTREMES = 3  # clips with the greatest and the least of a number, in the table
FAR = 2.0  # deviations from its class's mean from which a clip is far from it
MOST_FAR = 5
SUREST = 5  # mistakes
ENDS = 24  # clips at both ends of each order that a page has before all others


@dataclass(frozen=True)
class StudyClip:
    """The numbers of a clip; None where there is none."""

    number: int
    """Its place in the list."""
    name: str
    group: int
    """The number of its class; of the explained class where its own is unknown."""
    class_name: str
    known: bool
    """Whether its class is known."""
    predicted: str
    right: bool | None
    explained: str
    logit: float | None
    """Of the explained class."""
    score: float
    avg_atr: float | None
    max_atr: float | None
    counted: bool


def clips_of(summary: Mapping[str, Any], clip_names: Mapping[int, str]) -> list[StudyClip]:
    """Returns all clips of a study's summary, in the order of the list.

    Args:
        summary: the summary, which names no clip.
        clip_names: the names of clips by number.
    """
    names = {**summary.get("names", {}), **{key: entry["name"] for key, entry in summary["classes"].items()}}

    def named(index: int) -> str:
        return str(names.get(f"{index:04d}", f"class {index}"))

    clips = []
    for key, entry in summary["clips"].items():
        label, target = entry["label"], entry["target"]
        group = target if label is None else label
        clip = StudyClip(
            number=int(key),
            name=clip_names.get(int(key), f"clip {int(key)}"),
            group=group,
            class_name=named(group),
            known=label is not None,
            predicted=named(entry["prediction"]),
            right=None if label is None else entry["prediction"] == label,
            explained=named(target),
            logit=entry.get("logit"),
            score=entry["score"],
            avg_atr=entry["avg_atr"],
            max_atr=entry["max_atr"],
            counted=entry["counted"],
        )
        clips.append(clip)
    return clips


def _last(value: float | None) -> tuple[bool, float]:
    """Sorts from the greatest, with what is not known last."""
    return value is None, -(value or 0.0)


ORDERS: Mapping[str, Callable[[StudyClip], Any]] = {
    "logit": lambda clip: (_last(clip.logit), clip.number),
    "correct": lambda clip: (_last({True: 1.0, None: 0.5, False: 0.0}[clip.right]), _last(clip.logit), clip.number),
    "avg-ATR": lambda clip: (_last(clip.avg_atr), clip.number),
    "max-ATR": lambda clip: (_last(clip.max_atr), clip.number),
}
"""What clips are sorted by, from best to worst."""


def standing_out(clips: Sequence[StudyClip], summary: Mapping[str, Any]) -> Iterator[tuple[str, StudyClip]]:
    """Yields why a clip stands out, and the clip: both ends of each number, those far from their class, mistakes."""
    for name, value in (("logit", "logit"), ("avg-ATR", "avg_atr"), ("max-ATR", "max_atr")):
        ranked = [clip for clip in sorted(clips, key=ORDERS[name]) if getattr(clip, value) is not None]
        if not ranked or getattr(ranked[0], value) == getattr(ranked[-1], value):
            continue  # all clips have the same
        few = min(EXTREMES, len(ranked) // 2)
        # A clip of which there are more with the same number than are named is no end.
        above, below = (float(getattr(ranked[place], value)) for place in (few, len(ranked) - few - 1))
        yield from ((f"greatest {name}", clip) for clip in ranked[:few] if getattr(clip, value) > above)
        yield from ((f"least {name}", clip) for clip in ranked[: -few - 1 : -1] if getattr(clip, value) < below)
    far = []
    for clip in clips:
        moments = summary["classes"][f"{clip.group:04d}"]["avg_atr"]
        if clip.counted and clip.avg_atr is not None and moments["std"]:
            far.append(((clip.avg_atr - moments["mean"]) / moments["std"], clip))
    far = [entry for entry in far if abs(entry[0]) >= FAR]
    for deviations, clip in sorted(far, key=lambda entry: (-abs(entry[0]), entry[1].number))[:MOST_FAR]:
        side = "above" if deviations > 0 else "below"
        yield f"avg-ATR {abs(deviations):.1f} deviations {side} its class", clip
    wrong = sorted((clip for clip in clips if clip.right is False), key=lambda clip: (-clip.score, clip.number))
    yield from (("surest mistakes", clip) for clip in wrong[:SUREST])


def by_importance(clips: Sequence[StudyClip], first: Sequence[StudyClip]) -> list[StudyClip]:
    """Sorts clips so that a page may show as many of them as it has room for.

    First come those that the page refers to, then both ends of each order, then for every class the clip with the
    greatest and the one with the least avg-ATR, then those between, spread evenly over the order of logits.
    """
    ends = []
    for order in ORDERS.values():
        ranked = sorted(clips, key=order)
        ends.append([clip for pair in zip(ranked, reversed(ranked), strict=True) for clip in pair][: 2 * ENDS])
    groups: dict[int, list[StudyClip]] = {}
    for clip in sorted(clips, key=ORDERS["avg-ATR"]):
        groups.setdefault(clip.group, []).append(clip)
    of_classes = [*(group[0] for group in groups.values()), *(group[-1] for group in groups.values())]
    of_ends = (clip for clip in chain.from_iterable(zip_longest(*ends)) if clip is not None)
    ordered = chain(first, of_ends, of_classes, _spread(sorted(clips, key=ORDERS["logit"])))
    return list({clip.number: clip for clip in ordered}.values())


def _spread(clips: Sequence[StudyClip]) -> list[StudyClip]:
    """Sorts clips so that the first of them, however many, lie evenly in the given order.

    It is that of the reversed bits of their places: both halves, then all quarters, then all eighths.
    """
    bits = max(len(clips) - 1, 1).bit_length()
    return [clips[place] for place in sorted(range(len(clips)), key=lambda place: f"{place:0{bits}b}"[::-1])]
