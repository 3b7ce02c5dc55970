"""Which small networks are trained on planted clips, and where each is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import torch
from lrp3d.models import VideoModel

from lrp3d import models
from lrp3d.planted import Task

GAPS = (1, 2, 3, 4, 6, 8)  # each is trained from the one before it
HELD_OUT = (5, 7)  # from gap 4: no measure was chosen on these
SEEDS = (0, 1, 2)
WIDTH = 8  # channels of the first stage

ARCHITECTURES: dict[str, Callable[[int, int], VideoModel]] = {
    "I3D-R18": lambda classes, frames: models.i3d_resnet(18, classes, width=WIDTH, dropout=0.0),
    "TSN-R18": lambda classes, frames: models.tsn_resnet(18, classes, width=WIDTH, dropout=0.0),
    "TAM3-R18": lambda classes, frames: _tam(classes, frames, kernel_size=3),
    "TAM5-R18": lambda classes, frames: _tam(classes, frames, kernel_size=5),
    "TAM7-R18": lambda classes, frames: _tam(classes, frames, kernel_size=7),
    # alpha 2: its matrix has blocks of alpha frames, and blocks of 4 would hide the short gaps; half of its full width,
    # as a fast pathway of fewer than four channels in its first stage does not tell the colours
    "SlowFast": lambda classes, frames: models.slowfast_resnet50(classes, frames, 2, width=4 * WIDTH, dropout=0.0),
}


def _tam(classes: int, frames: int, kernel_size: int) -> VideoModel:
    return models.tam_resnet(18, classes, frames, kernel_size, width=WIDTH, dropout=0.0)


def radius(architecture: str, frames: int = 96) -> int:
    """How many frames to either side a frame logit sees: those that become NaN by one frame that is.

    >>> radius("TSN-R18", 8)
    0
    """
    model = ARCHITECTURES[architecture](2, frames).eval()
    clip = torch.zeros(1, 3, frames, 8, 8)
    clip[:, :, frames // 2] = torch.nan
    with torch.inference_mode():
        touched = model.frame_logits(clip).isnan().any(-1)[0].nonzero()
    return int((touched - frames // 2).abs().max())


class Outcome(TypedDict):
    """What result.json says of a trained network: accuracy on fresh clips, how many, steps, seconds of one core."""

    accuracy: float
    clips: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Lineage:
    """One architecture on one family of tasks with one seed, through growing gaps.

    A `warm` one starts from the weights that the same lineage of 16 frames has at that gap; a `named` one from a
    network that was trained to say what each event shows, where features do not come by themselves. A `long` one has
    a single round of so many steps.
    """

    architecture: str
    family: str
    seed: int
    gaps: tuple[int, ...] = GAPS
    frames: int = 16
    size: int = 16
    warm: int | None = None
    named: bool = False
    long: int | None = None

    @property
    def name(self) -> str:
        """A name that a folder can have."""
        return f"{self.architecture}-f{self.frames}-{self.family}-s{self.seed}"

    def task(self, gap: int) -> Task:
        """What it learns at this gap."""
        return Task(self.family, gap=gap, frames=self.frames, size=self.size)

    def untrained(self, classes: int | None = None) -> VideoModel:
        """The network it starts from, for the classes of the task or as many others; the seed decides."""
        with torch.random.fork_rng([]):
            torch.manual_seed(1000 + self.seed)
            return ARCHITECTURES[self.architecture](classes or len(self.task(1).classes), self.frames)

    def folder(self, root: Path, gap: int) -> Path:
        """Where the weights of this gap are."""
        return root / self.name / f"gap{gap}"

    def trained(self, root: Path, gap: int) -> VideoModel:
        """The network at this gap.

        Raises:
            FileNotFoundError: it was not trained yet.
        """
        return models.load_model(self.folder(root, gap) / "model.safetensors")


def chains(lineages: list[Lineage]) -> list[list[Lineage]]:
    """Those that may be trained side by side: a warm one stays in one chain with, and behind, the one it starts from.

    >>> [len(chain) for chain in chains([one for one in every() if one.architecture == "I3D-R18"][:6])]
    [2, 2, 2]
    """
    found: dict[tuple[str, str, int], list[Lineage]] = {}
    for one in sorted(lineages, key=lambda one: one.warm is not None):
        found.setdefault((one.architecture, one.family, one.seed), []).append(one)
    return list(found.values())


def every(seeds: tuple[int, ...] = SEEDS) -> list[Lineage]:
    """All lineages, the most needed first."""
    each = [partial(Lineage, seed=seed) for seed in seeds]
    core = [make(name, "match") for name in ("I3D-R18", "TAM5-R18") for make in each]
    held_out = [make(name, "match", gaps=HELD_OUT, warm=4) for name in ("I3D-R18", "TAM5-R18") for make in each]
    controls = [
        make(name, family, gaps=(1,))
        for family in ("static", "flash")
        for name in ("I3D-R18", "TAM5-R18")
        for make in each
    ]
    kernels = [make("TAM7-R18", "match", gaps=(1, 2, 4)) for make in each]
    kernels += [make("TAM3-R18", "match", gaps=(1, 2, 3, 4)) for make in each]  # 4 from 2 stays at chance
    frame_only = [make("TSN-R18", "match", gaps=(1,)) for make in each]
    short = [make(name, "match", gaps=(1, 2, 4), frames=8, warm=1) for name in ("I3D-R18", "TAM5-R18") for make in each]
    long = [
        make(name, "match", gaps=(gap,), frames=32, warm=gap)
        for name in ("I3D-R18", "TAM5-R18")
        for make in each
        for gap in (2, 8)
    ]
    slowfast = [make("SlowFast", "match", gaps=(1, 2, 4), frames=8, named=True) for make in each]
    xor = [make("I3D-R18", "xor", gaps=(1, 2, 4), named=True) for make in each]
    motion = [make("I3D-R18", "trajectory", gaps=(1,), frames=20, size=32, long=1300) for make in each]
    return [*core, *controls, *held_out, *frame_only, *kernels, *short, *long, *slowfast, *xor, *motion]
