"""Tasks for which it is known on which frames a clip's label depends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lrp3d.planted import scenes, trajectories
from lrp3d.planted.randomness import Dice
from lrp3d.planted.scenes import Rectangles
from lrp3d.values import as_tensor

CLASSES: dict[str, tuple[str, ...]] = {
    "match": ("different", "same"),
    "xor": ("equal bits", "unequal bits"),
    "order": ("red first", "green first"),
    "static": ("red", "green"),
    "flash": ("red", "green"),
    "trajectory": trajectories.CLASSES,
}
PAIRS = ("match", "xor", "order")


@dataclass(frozen=True)
class Planted:
    """Clips and the truth about them.

    Made by `Task.clips`.

    >>> planted = Task("flash", frames=4, distractors=0).clips(1)
    >>> planted.decisive.sum().item(), planted.decisive[0, planted.frames[0, 0]].item(), planted.span.item()
    (1, True, 1.0)
    """

    clips: Tensor
    """(b, 3, t, h, w), pixels in [0, 1]."""
    labels: Tensor
    """(b,), int64."""
    frames: Tensor
    """(b, e), int64: the frames that decide, in order; all frames for "static" and "trajectory"."""
    mask: Tensor
    """(b, t, h, w), boolean: the pixels that decide."""
    bits: Tensor
    """(b, 2) of "match" and "xor", (b, 1) of others, int64: what the events show, 0 or 1; (b, 0) of "trajectory"."""

    @property
    def decisive(self) -> Tensor:
        """Whether a frame decides, (b, t)."""
        return self.mask.flatten(2).any(-1)

    @property
    def span(self) -> Tensor:
        """How many frames a network has to look at together, (b,): gap + 1 for pairs, 1 for controls.

        NaN for trajectories, where every frame adds something and no pair decides.
        """
        span = (self.frames[:, -1] - self.frames[:, 0] + 1).float()
        if self.frames.shape[1] == self.clips.shape[2]:
            return torch.where(self._moves, torch.nan, 1.0)
        return span

    @property
    def _moves(self) -> Tensor:
        return (self.mask != self.mask[:, :1]).flatten(1).any(1)


@dataclass(frozen=True)
class Task:
    """A task of procedural clips whose decisive frames are known; clips depend on (seed, index) alone.

    Args:
        family: what decides the label.
            - "match": two coloured squares, `gap` frames apart: same or different colour;
            - "xor": a red or green square, then a horizontal or vertical white bar: are their bits unequal;
            - "order": a red and a green square: which is first. It leaks: zero padding tells a network where the
              clip's ends are, and first events are nearer to the start. Use `margin`, or use it as that trap;
            - "static": a red or green square that stands in every frame (a single frame tells);
            - "flash": a red or green square in one frame;
            - "trajectory": five kinds of motion of one square.
        gap: number of frames from the first to the second event of a pair.
        frames: number of frames t.
        size: height and width, at least 8.
        noise: greatest change of a pixel by noise, in [0, 1].
        distractors: probability of a blue square in a frame without an event.
        margin: least number of frames before the first and after the last event.

    Raises:
        ValueError: the family is unknown, the gap does not fit, or a number is out of range.

    For "match" and "xor" a network none of whose frame logits sees both events has an expected cross-entropy of
    log 2 or more, as guessing has: with y = +-1 for the label and s the difference of the two logits, the sum of
    y s over the four settings of the two bits is zero if s is a sum of functions of one event each, and the loss
    is convex in y s (Jensen). A frame logit that sees `radius` frames to either side sees both up to gap 2 radius.

    >>> planted = Task("match", gap=4).clips(2)
    >>> planted.clips.shape, planted.frames.diff().flatten().tolist(), planted.span.tolist()
    (torch.Size([2, 3, 16, 16, 16]), [4, 4], [5.0, 5.0])
    >>> both = [Task("match", gap=4).clips(1, bits=(0, bit)) for bit in (0, 1)]  # the same clip but for one bit
    >>> [CLASSES["match"][int(one.labels)] for one in both]
    ['same', 'different']
    """

    family: str
    gap: int = 1
    frames: int = 16
    size: int = 16
    noise: float = 0.1
    distractors: float = 0.5
    margin: int = 0

    def __post_init__(self) -> None:
        if self.family not in CLASSES:
            raise ValueError(f"family is one of {', '.join(map(repr, CLASSES))}, not {self.family!r}")
        if self.size < 8 or self.frames < 1 or self.margin < 0:
            raise ValueError(
                f"a clip has frames >= 1, size >= 8 and margin >= 0, not {self.frames}, {self.size} and {self.margin}"
            )
        if not (0 <= self.noise <= 1 and 0 <= self.distractors <= 1):
            raise ValueError(f"noise and distractors are in [0, 1], not {self.noise} and {self.distractors}")
        if self.family in PAIRS and self.gap < 1:
            raise ValueError(f"the two events of a pair are at least 1 frame apart, not {self.gap}")
        if self.places < 1:
            raise ValueError(
                f"{self.family} with gap {self.gap} and margin {self.margin} needs more than {self.frames} frames"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return CLASSES[self.family]

    @property
    def places(self) -> int:
        """How many first frames an event can have."""
        return self.frames - 2 * self.margin - (self.gap if self.family in PAIRS else 0)

    def clips(
        self,
        which: int | Iterable[int] | Tensor,
        *,
        seed: int = 0,
        bits: Sequence[int] | None = None,
        device: torch.device | str | None = None,
    ) -> Planted:
        """Make clips.

        Args:
            which: the number of clips (the first ones of the seed), or their indices.
            seed: seed of all random numbers.
            bits: what the events show, 0 or 1 each, instead of random bits; the rest of the clip is the same.
                "order" and the controls take one bit.
            device: where to make them; the result does not depend on it.

        Raises:
            ValueError: the family has another number of bits.
        """
        numbers = (
            torch.arange(which, device="cpu") if isinstance(which, int) else as_tensor(list(which), dtype=torch.long)
        )
        dice = Dice(seed, numbers.to(device or "cpu"))
        if self.family == "trajectory":
            return self._moving(dice, bits)
        return self._planted(dice, bits)

    def _planted(self, dice: Dice, bits: Sequence[int] | None) -> Planted:
        two = self.family in ("match", "xor")
        values = _bits(dice, bits, 2 if two else 1)
        first = self.margin + dice.integer("first", self.places)
        if self.family in PAIRS:
            frames = torch.stack([first, first + self.gap], 1)
        elif self.family == "flash":
            frames = first[:, None]
        else:
            frames = torch.arange(self.frames, device=first.device).expand(len(first), -1)
        labels = values[:, 0]
        if two:
            labels = values.sum(1) % 2 if self.family == "xor" else (values[:, 0] == values[:, 1]).long()
        scene = self._distractors(dice)
        self._plant(scene, dice, frames, values)
        decisive = torch.zeros_like(scene.present).scatter(1, frames, True)
        mask = scene.mask(self.size) & decisive[..., None, None]
        return Planted(scenes.paint(scene, dice, self.size, self.noise), labels, frames, mask, values)

    def _distractors(self, dice: Dice) -> Rectangles:
        """Blue squares at random places in random frames."""
        side = max(3, self.size * 5 // 16)
        corner = dice.integer("corner", self.size - side + 1, self.frames, 2)
        colour = torch.tensor(scenes.BLUE, device=corner.device).expand(*corner.shape[:2], 3).clone()
        present = dice.uniform("distractor", self.frames) < self.distractors
        return Rectangles(present, corner, torch.full_like(corner, side), colour)

    def _plant(self, scene: Rectangles, dice: Dice, frames: Tensor, values: Tensor) -> None:
        """Put the events into their frames."""
        clip = torch.arange(len(frames), device=frames.device)[:, None]
        scene.present[clip, frames] = True
        colours = torch.tensor([scenes.RED, scenes.GREEN], device=frames.device)
        if self.family == "static":
            scene.corner[clip, frames] = scene.corner[:, :1].expand(-1, frames.shape[1], -1)
        shown = torch.cat([values, 1 - values], 1) if self.family == "order" else values.expand(-1, frames.shape[1])
        scene.colour[clip, frames] = colours[shown]
        if self.family == "xor":
            long, short = max(4, self.size * 6 // 16), max(2, self.size // 8)
            sides = torch.tensor([[short, long], [long, short]], device=frames.device)[values[:, 1]]
            corner = dice.integer("bar", self.size - long + 1, 2)
            second = frames[:, 1]
            scene.colour[clip[:, 0], second] = torch.tensor(scenes.WHITE, device=frames.device)
            scene.sides[clip[:, 0], second] = sides
            scene.corner[clip[:, 0], second] = corner

    def _moving(self, dice: Dice, bits: Sequence[int] | None) -> Planted:
        if bits is not None:
            raise ValueError("trajectories have no bits")
        labels = dice.integer("label", len(trajectories.CLASSES))
        side = 3 + 2 * dice.integer("side", 2, 1)
        start = 0.5 * self.size * (0.5 + dice.uniform("start", 2))
        where = trajectories.walk(trajectories.steps(labels, dice, self.frames), start, 0.0, self.size - 5.0)
        corner = where.round().long()
        present = torch.ones_like(corner[..., 0], dtype=torch.bool)
        white = torch.ones(*corner.shape[:2], 3, device=corner.device)
        scene = Rectangles(present, corner, side[:, None].expand_as(corner), white)
        frames = torch.arange(self.frames, device=corner.device).expand(len(corner), -1)
        pixels = scenes.paint(scene, dice, self.size, self.noise)
        return Planted(pixels, labels, frames, scene.mask(self.size), labels.new_empty(len(labels), 0))


class PlantedClips(Dataset[tuple[Tensor, int]]):
    """Clips of a task as a data set for `lrp3d.models.train`, normalised for a model and made when they are read.

    Args:
        task: the task of the clips.
        length: the number of clips.
        mean: mean of each channel, such as a model's `mean`.
        std: deviation of each channel.
        seed: seed of the clips.

    >>> clips = PlantedClips(Task("flash", frames=8), 100, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> len(clips), clips[7][0].shape
    (100, torch.Size([3, 8, 16, 16]))
    """

    def __init__(self, task: Task, length: int, mean: Sequence[float], std: Sequence[float], seed: int = 0):
        self.task = task
        self.length = length
        self.seed = seed
        self.mean = mean
        self.std = std

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Several clips at once, in the way in which data loaders read them."""
        planted = self.task.clips(indices, seed=self.seed)
        return list(zip(normalise(planted.clips, self), planted.labels.tolist(), strict=True))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < self.length:
            raise IndexError(f"clip {index} of {self.length}")
        return self.__getitems__([index])[0]


class _Statistics(Protocol):
    """A model, or anything else that has `mean` and `std`."""

    @property
    def mean(self) -> Sequence[float]: ...

    @property
    def std(self) -> Sequence[float]: ...


def normalise(clips: Tensor, model: _Statistics) -> Tensor:
    """Pixels (b, 3, t, h, w) in [0, 1] as a model expects them: minus its `mean`, divided by its `std`.

    >>> import lrp3d
    >>> clips = Task("flash").clips(2).clips
    >>> normalise(clips, lrp3d.models.tsn_resnet(18, 2, width=8)).shape
    torch.Size([2, 3, 16, 16, 16])
    """
    mean, std = (clips.new_tensor(values).view(3, 1, 1, 1) for values in (model.mean, model.std))
    return (clips - mean) / std


def _bits(dice: Dice, bits: Sequence[int] | None, number: int) -> Tensor:
    """What the events show, (b, number)."""
    if bits is None:
        return dice.integer("bits", 2, number)
    if len(bits) != number or any(bit not in (0, 1) for bit in bits):
        raise ValueError(f"this family shows {number} bit(s), 0 or 1 each, not {bits!r}")
    return torch.tensor(bits, device=dice.key.device).expand(len(dice.key), number)
