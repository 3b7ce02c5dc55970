"""The layout of a clip: which axis is time, which are channels. The caller states it; lrp3d never guesses.

Patterns are einops patterns over the letters b c t h w, with or without spaces: "bcthw", "btchw", "b (t c) h w",
"(b t) c h w".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Any

import einops
import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.values import as_tensor

COLOURS = 3
_GROUP = r"\([a-z\s]+\)|[a-z]"
"""Letters that share an axis, or one that has an axis for itself."""
IMAGE = {2: "b c", 3: "b c l", 4: "b c h w"}


class Layout:
    """The axes of one tensor.

    Args:
        pattern: an einops pattern over b c t h w.

    Raises:
        TypeError: if the pattern is not a string.
        ValueError: if it is not a pattern, or lacks one of the letters.
    """

    def __init__(self, pattern: str):
        if not isinstance(pattern, str):
            raise TypeError(f"layout is a string such as 'bcthw', got {pattern!r}")
        self.given = pattern
        groups = re.findall(_GROUP, pattern)
        letters = re.sub(r"[^a-z]", "", pattern)
        if sorted(letters) != sorted("bcthw") or not re.fullmatch(rf"(\s*({_GROUP})\s*)+", pattern):
            raise ValueError(
                f"layout names the axes b c t h w once each, as in 'bcthw', 'btchw' or 'b (t c) h w', got {pattern!r}"
            )
        self._set(groups)

    def _set(self, groups: Sequence[str]) -> None:
        self.groups: list[str] = [re.sub(r"[()\s]", "", group) for group in groups]
        self.pattern: str = " ".join(f"({' '.join(g)})" if len(g) > 1 else g for g in self.groups)
        self.axes: int = len(self.groups)

    @classmethod
    def of_images(cls, dimensions: int) -> Layout:
        """The layout of inputs without time: images (b, c, h, w), signals (b, c, l) or features (b, c)."""
        layout = cls.__new__(cls)
        layout.given = IMAGE[dimensions].replace(" ", "")
        layout._set(layout.given)
        return layout

    @property
    def has_time(self) -> bool:
        """Whether the layout has an axis of time."""
        return any("t" in group for group in self.groups)

    def sizes(self, x: Tensor, batch: int | None = None) -> dict[str, int]:
        """The size of every letter; in a group of letters, c is 3 and b, if the group has it, is `batch`."""
        single_letters = {group: size for group, size in zip(self.groups, x.shape, strict=True) if len(group) == 1}
        sizes = {"c": COLOURS} | ({} if batch is None else {"b": batch}) | single_letters
        for group, size in zip(self.groups, x.shape, strict=True):
            if len(group) == 1 and sizes[group] == size:
                continue
            unknown = [letter for letter in group if letter not in sizes]
            rest = prod(sizes[letter] for letter in group if letter in sizes)
            if len(unknown) > 1 or not rest or size % rest or (not unknown and size != rest):
                raise ValueError(
                    f"an axis of size {size} cannot be '{' '.join(group)}' of layout {self.given!r} "
                    f"with {', '.join(f'{k}={v}' for k, v in sizes.items() if k in group) or 'nothing known'}"
                )
            for letter in unknown:
                sizes[letter] = size // rest
        return {letter: sizes[letter] for group in self.groups for letter in group}

    def channels(self, x: Tensor) -> int:
        """The number of channels of `x`."""
        return self.sizes(x, None if "b" in self.groups else x.shape[0])["c"]

    def batch(self, x: Tensor) -> int | None:
        """The number of clips in `x`; None if they share an axis with frames."""
        return x.shape[self.groups.index("b")] if "b" in self.groups else None

    def hint(self, x: Tensor) -> str:
        """The end of an error message if the shape of a clip suggests another order of axes; else an empty text."""
        if sorted(self.groups) != sorted("bcthw"):
            return ""
        channels, time = self.groups.index("c"), self.groups.index("t")
        if x.shape[channels] == COLOURS or x.shape[time] != COLOURS:
            return ""
        swapped = "".join({"c": "t", "t": "c"}.get(letter, letter) for letter in self.groups)
        return (
            f" (layout={self.given!r} reads the shape {tuple(x.shape)} as {x.shape[channels]} channels and "
            f"{x.shape[time]} frames; if it is the other way round, pass layout={swapped!r})"
        )

    def frames(self, x: Tensor, batch: int) -> Tensor:
        """Sums each frame: (s, *clip) to (s, b, t)."""
        sizes = self.sizes(x[0], batch)
        return einops.reduce(x, f"s {self.pattern} -> s b t", "sum", **sizes)

    def clips(self, x: Tensor, batch: int) -> Tensor:
        """Sums each clip: (s, *clip) to (s, b)."""
        sizes = self.sizes(x[0], batch)
        return einops.reduce(x, f"s {self.pattern} -> s b", "sum", **sizes)

    def per_clip(self, weights: Tensor, x: Tensor) -> Tensor:
        """Weights (s, b), shaped to multiply (s, *clip)."""
        axes = [f"({' '.join(g)})" if "b" in g and len(g) > 1 else ("b" if g == "b" else "1") for g in self.groups]
        sizes = self.sizes(x[0], weights.shape[1])
        shared = {letter: sizes[letter] for g in self.groups if "b" in g for letter in g}
        return einops.repeat(weights, f"s b -> s {' '.join(axes)}", **shared)

    def spread_range(self, x: Tensor, given: Any, source: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Lowest and highest valid value of every input, shaped and laid out like `x`.

        Args:
            x: the clip.
            given: (low, high), scalars or one per channel; None: the extremes per channel of `source`.
            source: a clip of the same layout, by default `x` itself.
        """
        letters = "b c" if "b" in self.groups else "c"
        sizes = self.sizes(x, None if "b" in self.groups else x.shape[0])
        if given is None:
            source = x if source is None else source
            seen_sizes = self.sizes(source, None if "b" in self.groups else source.shape[0])
            ends = [
                einops.reduce(source, f"{self.pattern} -> {letters}", extreme, **seen_sizes)
                for extreme in ("min", "max")
            ]
        else:
            letters, ends = "c", [self._per_channel(end, x, sizes["c"]) for end in given]
        low, high = (
            # in the memory layout of x, so that the model's own views fit
            torch.empty_like(x).copy_(einops.repeat(end, f"{letters} -> {self.pattern}", **sizes))
            for end in ends
        )
        return low, high

    def _per_channel(self, end: Any, x: Tensor, channels: int) -> Tensor:
        values = as_tensor(end, dtype=x.dtype).flatten()
        if values.numel() not in (1, channels):
            raise ValueError(
                f"input_range holds scalars or one value per channel ({channels}), got {values.numel()} values"
                + self.hint(x)
            )
        # On a GPU, values of a tensor have to be waited for, those of numbers do not.
        if values.device.type == "cpu" and x.device.type != "cpu":
            values = torch.stack([x.new_full((), value) for value in values.tolist()])
        return values.to(x.device).expand(channels)


def axis_to_add(x: Tensor, layout: str) -> str:
    """The advice for a clip without the axis of clips; what has its colours second is no clip (c, t, h, w)."""
    if x.dim() == 4 and Layout(layout).groups == list("bcthw") and x.shape[1] == COLOURS != x.shape[0]:
        return (
            "that is the shape of images (b, c, h, w), which have no time; frames (t, c, h, w) of one clip become "
            f"{(1, x.shape[1], x.shape[0], *x.shape[2:])} by clip.transpose(0, 1).unsqueeze(0)"
        )
    return f"add the batch axis with clip.unsqueeze(0), for {(1, *x.shape)}"


def axes_hint(clips: Sequence[Tensor], layout: str) -> str:
    """The end of an error message if the axes of a clip may differ from `layout`; else an empty text."""
    axes = Layout(layout)
    for x in clips:
        if x.dim() == axes.axes - 1:
            return f"; if this is one clip, {axis_to_add(x, layout)}"
        if x.dim() == axes.axes and (hint := axes.hint(x)):
            return hint
    return ""


def layout_hint(clips: Sequence[Tensor], layout: str) -> str:
    """The end of an error message if a model could not run: it may take clips in another layout."""
    given = Layout(layout)
    if not any(x.dim() == given.axes for x in clips):
        return ""
    other = "btchw" if given.groups == list("bcthw") else "bcthw"
    return (
        f"; if the model takes clips with other axes than {layout} (or of another number or size of frames: give it "
        f"such ones), lay them out so and say it with layout=, as in layout={other!r}"
    )


def warn_of_layout(clips: Sequence[Tensor], layout: str) -> None:
    """Warns if `layout` is probably wrong about frames and channels."""
    for x in clips:
        if x.dim() == 4 and Layout(layout).axes == 5 and x.shape[1] > COLOURS and x.shape[1] % COLOURS == 0:
            warn(
                f"a clip of shape {tuple(x.shape)} was read as images of {x.shape[1]} channels, so nothing is said of "
                "time; if its channels are those of frames, pass layout='b (t c) h w'"
            )
        if x.dim() == Layout(layout).axes and (hint := Layout(layout).hint(x)):
            warn(f"relevance is summed over what may be no frames{hint}")


def laid_out(clip: Tensor, layout: str) -> Tensor:
    """A clip (b, c, t, h, w) with the axes of `layout`, in memory as well, so that the model's own views fit.

    >>> laid_out(torch.zeros(2, 3, 8, 4, 4), "(b t) c h w").shape
    torch.Size([16, 3, 4, 4])
    """
    pattern = Layout(layout).pattern
    return clip if pattern == "b c t h w" else einops.rearrange(clip, f"b c t h w -> {pattern}").contiguous()


def check_not_laid_out(clips: Tensor, layout: str) -> None:
    """Raises ValueError for clips (m, c, t, h, w) that have the axes of the model's layout, as their colours show."""
    axes = Layout(layout)
    if clips.dim() != axes.axes or "c" not in axes.groups or clips.shape[1] <= COLOURS:
        return
    if clips.shape[axes.groups.index("c")] == COLOURS:
        raise ValueError(
            f"clips are (m, c, t, h, w) here, and get the layout {axes.given!r} for the model, got shape "
            f"{tuple(clips.shape)}, which has it already: give them as they are before that"
        )


def as_clip(x: Tensor, layout: str, batch: int) -> Tensor:
    """A tensor with the axes of `layout` as (b, c, t, h, w)."""
    axes = Layout(layout)
    return einops.rearrange(x, f"{axes.pattern} -> b c t h w", **axes.sizes(x, batch))


def usual_channel_axis(axes: int) -> int:
    """The axis of channels in most tensors of so many axes: the second, but the last of tokens (b, n, c).

    >>> usual_channel_axis(5), usual_channel_axis(3)
    (1, 2)
    """
    return 2 if axes == 3 else min(1, axes - 1)
