"""A data set of ten actions, four that any frame shows and six that no frame shows, as videos that are sampled.

The planted tasks have two classes each. What the paper says of classes needs many, some temporal and some static: here
it is known which. A temporal class has a twin, the same videos backwards: any set of frames is as likely in both, so a
network that only averages over frames cannot do better than guess between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lrp3d import sampling
from lrp3d.planted import normalise
from lrp3d.planted.randomness import Dice
from lrp3d.planted.scenes import BLUE, GREEN, RED, WHITE, Rectangles, paint

STATIC = ("yellow square", "magenta square", "flat bar", "upright bar")
TEMPORAL = ("moves left", "moves right", "red then green", "green then red", "red, pause, green", "green, pause, red")
CLASSES = (*STATIC, *TEMPORAL)
GROUPS = {"static": STATIC, "mixed": CLASSES, "temporal": TEMPORAL}
"""The data sets: the roles of Kinetics, Moments in Time and Something-Something."""
SOURCE = 32  # frames of a video
EVENT = 4  # frames that an event lasts: one of 8 sampled frames, two of 16
PAUSE = 12  # frames from the start of the first event to that of the second; without a pause EVENT
SPEED = 0.5  # pixels in a frame of the video
SIZE, SIDE = 16, 5
NOISE, FAINT, GREY = 0.2, 0.2, 0.45
"""What leaves room above and below: noise of every value, the least contrast of a clip's colours to grey (contrast is
drawn for every clip, from FAINT to 1), and that grey."""
YELLOW, MAGENTA = (0.9, 0.85, 0.1), (0.9, 0.1, 0.85)


@dataclass(frozen=True)
class Actions:
    """Which actions, and how their videos are sampled.

    Args:
        dataset: of `GROUPS`.
        frames: how many a network sees, evenly spaced over the video; where it is dense, consecutive ones.
        dense: consecutive frames, in training from anywhere, else from the video's middle (the paper's App. B).
    """

    dataset: str = "mixed"
    frames: int = 16
    dense: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return GROUPS[self.dataset]

    def clips(self, which: int | Sequence[int], *, seed: int = 0, train: bool = False) -> tuple[Tensor, Tensor]:
        """Clips (b, 3, t, h, w), pixels in [0, 1], and labels (b,), which take turns; they depend on seed and number.

        >>> clips, labels = Actions(frames=8).clips(10)
        >>> clips.shape, labels.unique().numel()
        (torch.Size([10, 3, 8, 16, 16]), 10)
        """
        numbers = torch.arange(which) if isinstance(which, int) else torch.as_tensor(which)
        dice = Dice(seed, numbers)
        labels = numbers % len(self.classes)
        names = torch.tensor([CLASSES.index(name) for name in self.classes])[labels]
        times = self._times(dice, train)
        scene = _scene(dice, names, times)
        contrast = FAINT + (1 - FAINT) * dice.uniform("contrast", 1)[..., None]
        scene.colour = GREY + contrast * (scene.colour - GREY)
        return paint(scene, dice, SIZE, NOISE), labels

    def _times(self, dice: Dice, train: bool) -> Tensor:
        """Which frames of the video are seen, (b, t)."""
        if not self.dense:
            return sampling.uniform_indices(SOURCE, self.frames).expand(len(dice.key), -1)
        middle = sampling.dense_indices(SOURCE, self.frames).expand(len(dice.key), -1)
        if not train:
            return middle
        return dice.integer("window", SOURCE - self.frames + 1, 1) + torch.arange(self.frames)


def _scene(dice: Dice, action: Tensor, times: Tensor) -> Rectangles:
    """The rectangle of each sampled frame (b, t) of an action (b,)."""
    shape = times.shape
    corner = dice.integer("corner", SIZE - SIDE + 1, SOURCE, 2)
    scene = Rectangles(
        (dice.uniform("distractor", SOURCE) < 0.5).gather(1, times),
        corner.gather(1, times[..., None].expand(*shape, 2)),
        torch.full((*shape, 2), SIDE),
        torch.tensor(BLUE).expand(*shape, 3).clone(),
    )
    _stand(scene, action, corner[:, 0])
    _move(scene, dice, action, times, corner[:, 0, 0])
    _pair(scene, dice, action, times)
    return scene


def _stand(scene: Rectangles, action: Tensor, corner: Tensor) -> None:
    """Static actions: one thing in one place."""
    long, short = 8, 2
    looks = ((YELLOW, SIDE, SIDE), (MAGENTA, SIDE, SIDE), (WHITE, short, long), (WHITE, long, short))
    for index, (colour, height, width) in enumerate(looks):
        mine = action == index
        scene.present[mine] = True
        scene.colour[mine] = torch.tensor(colour)
        scene.sides[mine] = torch.tensor([height, width])
        scene.corner[mine] = corner[mine].clamp(max=SIZE - long)[:, None]


def _move(scene: Rectangles, dice: Dice, action: Tensor, times: Tensor, row: Tensor) -> None:
    """A square that leaves the picture on one side and comes in again on the other, red or green."""
    ring = SIZE + SIDE
    start = ring * dice.uniform("start", 1)
    colour = torch.tensor([RED, GREEN])[dice.integer("bit", 2, 1)[:, 0]]
    for name, sign in (("moves left", -1), ("moves right", 1)):
        mine = action == CLASSES.index(name)
        place = ((start + sign * SPEED * times) % ring).floor().long() - SIDE
        scene.present[mine] = True
        scene.colour[mine] = colour[mine, None]
        scene.corner[mine] = torch.stack([row[:, None].expand_as(place), place], -1)[mine]


def _pair(scene: Rectangles, dice: Dice, action: Tensor, times: Tensor) -> None:
    """A red and a green square, one after the other."""
    for offset, distance in enumerate((EVENT, PAUSE)):
        first = dice.integer("first", SOURCE - EVENT - distance + 1, 1)
        for bit in (0, 1):
            mine = action == CLASSES.index("red then green") + 2 * offset + bit
            for shown, start in ((bit, first), (1 - bit, first + distance)):
                now = (times >= start) & (times < start + EVENT) & mine[:, None]
                scene.present[now] = True
                scene.colour[now] = torch.tensor((RED, GREEN)[shown])


@dataclass(frozen=True)
class ActionClips(Dataset[tuple[Tensor, int]]):
    """Training clips, normalised for a model, made when asked for."""

    actions: Actions
    length: int
    mean: Sequence[float]
    std: Sequence[float]
    seed: int = 0
    train: bool = field(default=True)

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Many at once, as data loaders ask for them."""
        clips, labels = self.actions.clips(indices, seed=self.seed, train=self.train)
        return list(zip(normalise(clips, self), labels.tolist(), strict=True))

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < self.length:
            raise IndexError(f"clip {index} of {self.length}")
        return self.__getitems__([index])[0]
