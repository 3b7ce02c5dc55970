"""The order of the entries that are averaged over time: which of them are frames, one after another."""

from __future__ import annotations

from itertools import pairwise

OF_EACH_CLIP = [[False], [False]]
"""The time steps of entries that come from other steps in each clip of the batch; compared by identity."""

SCATTERED = [[False], [False]]
"""The time steps of entries of which some hold frames that do not follow one another; compared by identity."""


def by_frame(source_steps: list[list[bool]]) -> list[list[int]] | None:
    """The entries of every frame, from the earliest to the latest; None if they are no series of frames."""
    order = order_of(source_steps)
    if order is None and (own := own_steps(source_steps)):
        order = order_of(own)
    return groups_of(source_steps) if order is None else [[entry] for entry in order]


def order_of(source_steps: list[list[bool]]) -> list[int] | None:
    """The averaged entries in the order of the time steps they come from; None if there is no such order.

    They are ordered by their first and last time steps, of which one may stay where the clip ends. Where these wrap
    around (a shift that puts the last frame before the first), each entry may belong to the step of its own number.
    """
    if not source_steps or not all(any(steps) for steps in source_steps):
        return None
    spans = [_span(steps) for steps in source_steps]
    order = sorted(range(len(spans)), key=spans.__getitem__)
    firsts, lasts = ([ends[i] for i in order] for ends in zip(*spans, strict=True))
    if all(a <= b for ends in (firsts, lasts) for a, b in pairwise(ends)) and (
        len(set(firsts)) == len(firsts) or len(set(lasts)) == len(lasts)
    ):
        return order
    by_number = len(source_steps) == len(source_steps[0]) and all(
        steps[i] and not all(steps) for i, steps in enumerate(source_steps)
    )
    return list(range(len(source_steps))) if by_number else None


def with_masked_frames(source_steps: list[list[bool]]) -> list[list[bool]]:
    """The same with frames of their own for entries that are constants, where a forward masks some of all frames.

    As many entries as time steps are those of these steps, if each entry that comes from any comes from its own.
    """
    if not source_steps or len(source_steps) != len(source_steps[0]) or all(any(steps) for steps in source_steps):
        return source_steps
    own = all(steps[i] or not any(steps) for i, steps in enumerate(source_steps))
    if not own or not any(any(steps) for steps in source_steps):
        return source_steps
    return [steps if any(steps) else [i == step for step in range(len(steps))] for i, steps in enumerate(source_steps)]


def own_steps(source_steps: list[list[bool]]) -> list[list[bool]] | None:
    """The own time step of each state that has seen all steps up to it, or all steps from it on; None for others."""
    if not source_steps or not all(any(steps) for steps in source_steps):
        return None
    first, last = zip(*map(_span, source_steps), strict=True)
    for same, own in ((first, last), (last, first)):
        if len(set(same)) == 1 and len(set(own)) == len(own) > 1:
            return [[i == step for i in range(len(source_steps[0]))] for step in own]
    return None


def groups_of(source_steps: list[list[bool]]) -> list[list[int]] | None:
    """The averaged entries by frame, where every frame has the same number (the tokens of a clip); None otherwise."""
    if not source_steps or not all(any(steps) for steps in source_steps):
        return None
    groups: dict[tuple[bool, ...], list[int]] = {}
    for entry, steps in enumerate(source_steps):
        groups.setdefault(tuple(steps), []).append(entry)
    order = order_of([list(steps) for steps in groups]) if len(groups) > 1 else None
    if order is None or len({len(entries) for entries in groups.values()}) > 1:
        return None
    entries = list(groups.values())
    return [entries[i] for i in order]


def has_gaps(steps: list[bool]) -> bool:
    """Whether an entry comes from time steps with others between them."""
    return any(steps) and not all(steps[slice(*_span(steps))])


def _span(steps: list[bool]) -> tuple[int, int]:
    """The first and the last time step."""
    return steps.index(True), len(steps) - 1 - steps[::-1].index(True)


def disorder(source_steps: list[list[bool]]) -> str:
    """The reason why the averaged entries are no series of frames."""
    if not source_steps:
        return "averages features of layers that have different numbers of time steps"
    if source_steps is OF_EACH_CLIP:
        return "averages other time steps of each clip of this batch: explain the clips one by one"
    if source_steps is SCATTERED:
        return (
            "averages entries of which some hold frames that lie apart in time, as where several views of the clip or "
            "segments of it are stacked, so that no row would be of one time; average each view, or each frame, first"
        )
    if not all(any(steps) for steps in source_steps):
        return "averages constants beside the frames, which belong to no frame"
    if all(steps == source_steps[0] for steps in source_steps):
        return (
            f"averages {len(source_steps)} entries that all come from the same time steps, so that none of them is a "
            "frame: frames were added up or pooled before it, or are added up one by one behind it (stack what is said "
            "of each frame, and take the mean)"
        )
    first, last = _span(source_steps[0])
    return (
        f"averages {len(source_steps)} entries that do not come from one time step after another (the first of them "
        f"from steps {first} to {last} of {len(source_steps[0])}), as where time and space are mixed"
    )
