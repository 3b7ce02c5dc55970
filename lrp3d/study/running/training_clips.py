"""The clips of a list for training: drawn anew each time, resized, cropped and flipped at random."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lrp3d import video
from lrp3d.callers import warn
from lrp3d.printed import about
from lrp3d.study.listing.lists import Item
from lrp3d.study.running.reader import Reader

__all__ = ["TrainingClips", "tells_sides"]

TRIES = 20  # after so many unreadable clips in a row, the folder is to blame, not a clip


def tells_sides(labels: Sequence[str]) -> bool:
    """Says whether a class name holds left or right, so that a mirrored clip may belong to another class.

    >>> tells_sides(["Pushing something from left to right"]), tells_sides(["archery", "bright sky"])
    (True, False)
    """
    return any(re.search(r"\b(left|right)\b", label.lower()) for label in labels)


@dataclass(frozen=True)
class TrainingClips(Dataset[tuple[Tensor, int]]):
    """The labelled clips of a list, augmented as in the paper: shorter side, square and frames are drawn at random.

    Args:
        items: the clips, each with a class.
        reader: where and how clips are read; its size is the side of the square.
        mean: mean of the model's inputs, for pixels from 0 to 1.
        std: standard deviation of the model's inputs.
        short_sides: the least and greatest length of the shorter side, in pixels, both included.
        flip: whether half of the clips are mirrored.
        train: False returns the reader's own clip, as in evaluation.

    Raises:
        ValueError: a clip has no class, or the square is larger than the shorter side.

    Source: paper, App. E.

    >>> import tempfile, numpy as np
    >>> from lrp3d.study import Item, Reader
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/clip.npy", video.draw_clip(frames=20, size=48).numpy())
    ...     reader = Reader(folder, frames=4, size=32, short_side=32)
    ...     clips = TrainingClips([Item(0, "clip.npy", 3)], reader, (0.5,) * 3, (0.5,) * 3, short_sides=(32, 40))
    ...     clip, label = clips[0]
    >>> clip.shape, label
    (torch.Size([3, 4, 32, 32]), 3)
    """

    items: Sequence[Item]
    reader: Reader
    mean: Sequence[float]
    std: Sequence[float]
    short_sides: tuple[int, int] = (256, 320)
    flip: bool = False
    train: bool = True

    def __post_init__(self) -> None:
        unlabelled = [item.name for item in self.items if item.label is None]
        if unlabelled:
            raise ValueError(f"the list does not say the class of {unlabelled[0]} ({len(unlabelled)} in all)")
        low, high = self.short_sides
        if not self.reader.size <= low <= high:
            raise ValueError(
                f"the shorter side is drawn between {low} and {high} pixels: it has to be at least as long as that of "
                f"the square, {self.reader.size} pixels"
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Returns a clip (c, t, h, w) and its class, or the next clip in place of an unreadable one.

        A warning (`lrp3d.video.ClipWarning`) says what was lost of a clip, what was decided about it, and which clips
        could not be read.
        """
        tries = min(TRIES, len(self.items))
        for offset in range(tries):
            item = self.items[(index + offset) % len(self.items)]
            try:
                clip = self._read(item)
            except video.VideoError as error:
                sentence = f"{about(item.name, error)}; the next clip stands in for it"
                warn(sentence, video.ClipWarning)
                continue
            assert item.label is not None
            return clip, item.label
        in_a_row = "no clip of the list can" if tries == len(self.items) else f"{tries} clips in a row cannot"
        raise video.VideoError(f"{in_a_row} be read, the last {item.name}")

    def _read(self, item: Item) -> Tensor:
        drawn: dict[str, Any] = {}
        flipped = False
        if self.train:
            low, high = self.short_sides
            drawn["short_side"] = int(torch.randint(low, high + 1, (), device="cpu"))
            down, across, coin = torch.rand(3, device="cpu").tolist()
            drawn["place"] = down, across
            flipped = self.flip and coin < 0.5
        clip = self.reader.read(item, mean=self.mean, std=self.std, train=self.train, **drawn)
        for kind, sentences in ((video.LostFramesWarning, clip.lost), (video.ClipWarning, clip.notes)):
            for sentence in sentences:
                warn(about(item.name, sentence), kind)
        tensor = clip.tensor[0]
        return tensor.flip(-1) if flipped else tensor
