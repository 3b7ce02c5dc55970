"""Torch's own nodes between the steps of a graph, by what they do with values: one place to add a new node of torch."""

from __future__ import annotations

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

# The beginnings of names, as torch numbers its nodes.

RESHAPES = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Expand", "Alias", "Clone", "ToCopy")
"""Nodes that keep the order of values."""

KEEPS_FRAMES = ("Permute", "Transpose", "View", "UnsafeView", "Squeeze", "Unsqueeze", "Alias", "Clone", "ToCopy")
"""Nodes that leave frames in their order; whether all of them are kept, the layers below say."""

MOVES = tuple("Permute Transpose View UnsafeView Reshape Squeeze Unsqueeze Alias Clone Flip Roll Slice Select".split())
"""Nodes that take every value to one place at most."""

PICKS = ("Slice", "Select", "Index", "Split", "Unbind", "Gather", "Take", "Unfold", "AsStrided", "ConstantPad")
"""Nodes that may leave frames out; a pad does where it is negative."""
