"""Torch's own nodes between the steps of a graph, by what they do with values: one place to add a new node of torch."""

from __future__ import annotations

from lrp3d.steps.graph import Node

REARRANGEMENTS = frozenset(
    f"{name}Backward{i}"
    for name in """
    Alias AsStrided Cat Clone Copy Diagonal Expand Flip Gather Im2Col Index IndexSelect NativeChannelShuffle
    ChannelShuffle Permute PixelShuffle PixelUnshuffle Repeat RepeatInterleave ReshapeAlias Reshape Roll Rot90 Select
    Slice Split SplitWithSizes Squeeze Stack T Take ToCopy Transpose Unbind Unfold UnsafeSplit UnsafeView Unsqueeze View
    ViewAs
    """.split()
    for i in range(4)
)
"""The names of nodes that only move, copy or select values: their backward is their relevance."""

WITH_CONSTANTS = frozenset({"ConstantPadNdBackward0", "WhereBackward0"})
"""The names of nodes that put constants beside values that they only move."""

# The beginnings of names, as torch numbers its nodes.
_IN_ORDER = ("View", "UnsafeView", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy")
_RESHAPES = (*_IN_ORDER, "Reshape", "Expand")
_KEEPS_FRAMES = (*_IN_ORDER, "Permute", "Transpose")
_MOVES = (*_IN_ORDER, "Reshape", "Permute", "Transpose", "Flip", "Roll", "Slice", "Select")
_PICKS = ("Slice", "Select", "Index", "Split", "Unbind", "Gather", "Take", "Unfold", "AsStrided", "ConstantPad")


def reshapes(node: Node) -> bool:
    """Whether a node keeps all values in their order, but for copies along axes of one."""
    name = node.name()
    if name.startswith("Repeat") and hasattr(node, "_saved_repeats"):
        sizes, repeats = node._saved_self_sym_sizes, node._saved_repeats
        kept = repeats[len(repeats) - len(sizes) :]
        return all(size == 1 or count == 1 for size, count in zip(sizes, kept, strict=True))
    if name.startswith("Select"):
        return bool(node._saved_self_sym_sizes[signed(node._saved_dim)] == 1)
    return name.startswith(_RESHAPES) or _takes_all(node)


def keeps_frames(node: Node) -> bool:
    """Whether a node leaves frames in their order; whether all of them are kept, the layers below say."""
    return node.name().startswith(_KEEPS_FRAMES) or _takes_all(node)


def moves(node: Node) -> bool:
    """Whether a node takes every value to one place at most."""
    return bool(node.name().startswith(_MOVES))


def picks(node: Node) -> bool:
    """Whether a node may leave values out; a pad does where it is negative."""
    return node.name().startswith(_PICKS) and not _takes_all(node)


def picks_by_clip(node: Node) -> bool:
    """Whether a node may take other values of each clip, at computed places; a loop takes clips apart first."""
    if node.name().startswith(("Gather", "Index", "Take")):
        return True
    return bool(node.name().startswith(("Unbind", "Split", "Select")) and axis_of(node) == 0)


def axis_of(node: Node) -> int:
    """The axis along which a node of torch works, counted from the first one."""
    axis = signed(node._saved_dim)
    return axis + len(node._input_metadata[0].shape) if axis < 0 else axis


def _takes_all(node: Node) -> bool:
    """Whether a node is a slice of all values; older versions of torch make one for every `:` of an index."""
    if not node.name().startswith("Slice") or not hasattr(node, "_saved_self_sym_sizes"):
        return False
    size, start, end = node._saved_self_sym_sizes[signed(node._saved_dim)], node._saved_start, node._saved_end
    starts_first = start is None or signed(start) == 0 or signed(start) <= -size
    return bool(starts_first and (end is None or signed(end) >= size) and node._saved_step == 1)


def signed(number: int) -> int:
    """A number that torch keeps in its nodes without a sign."""
    return number - (2**64 if number >= 2**63 else 0)
