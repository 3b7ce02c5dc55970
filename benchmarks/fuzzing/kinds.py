"""All kinds; case n is of kind n modulo their number, so that a number and a seed say everything."""

from __future__ import annotations

from benchmarks.fuzzing import checkpoints, images, labels, lists, tensors, videos
from benchmarks.fuzzing.kind import Kind

KINDS: tuple[Kind, ...] = (
    videos.KIND,
    images.KIND,
    tensors.KIND,
    checkpoints.KIND,
    lists.KIND,
    labels.KIND,
)


def kind_of(case: int) -> Kind:
    """The kind of a case.

    >>> kind_of(0).name, kind_of(11).name
    ('videos', 'labels')
    """
    return KINDS[case % len(KINDS)]
