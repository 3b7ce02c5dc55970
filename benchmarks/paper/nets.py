"""The networks of the paper's findings, beside those of planted pairs: small ones, for drawn actions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from lrp3d.models import VideoModel
from lrp3d.models.blocks import TemporalAggregation
from benchmarks.paper.actions import Actions
from torch import Tensor, nn

from lrp3d import models

SEEDS = (0, 1, 2)
WIDTH = {"SlowFast": 16}  # its fast pathway has an eighth of it
NARROW = 8  # all others; Inception has no width
MIXING = 0.5  # of TAM's kernels at the start: without a pretrained 2D backbone to protect, mixing at once is quicker


@dataclass(frozen=True)
class Net:
    """A network, the data set it learns, and the seed of both.

    Args:
        model: the paper's name, as `lrp3d.models.build` takes it.
        dataset: of `GROUPS` in actions.py.
        kernel: of TAM's temporal aggregation.
        answers: how many frames are ensembled, None for all (the paper's Fig. 10).
        dense: consecutive frames (App. B).
    """

    model: str
    dataset: str = "mixed"
    kernel: int | None = None
    answers: int | None = None
    dense: bool = False
    seed: int = 0

    @property
    def name(self) -> str:
        """A name that a folder can have."""
        told = [f"k{self.kernel}" if self.kernel else "", f"of{self.answers}" if self.answers else ""]
        return "-".join([self.model, *filter(None, told), *["dense"] * self.dense, self.dataset, f"s{self.seed}"])

    @property
    def options(self) -> dict[str, int]:
        """What its builder is told beside the classes."""
        given = {"kernel_size": self.kernel, "output_frames": self.answers}
        return {key: value for key, value in given.items() if value is not None}

    @property
    def actions(self) -> Actions:
        """What it learns."""
        return Actions(self.dataset, self.untrained().frames or 0, self.dense)

    def untrained(self) -> VideoModel:
        """The network it starts from; the seed decides."""
        family = self.model.split("-")[0]
        width = {} if "Inception" in self.model else {"width": WIDTH.get(family, NARROW)}
        classes = len(Actions(self.dataset).classes)
        with torch.random.fork_rng([]):
            torch.manual_seed(1000 + self.seed)
            model = models.build(self.model, num_classes=classes, dropout=0.0, **width, **self.options)
            for module in model.modules():
                if isinstance(module, TemporalAggregation):
                    module.pass_through(MIXING)
        return model

    def trained(self, root: Path, when: str = "model") -> VideoModel:
        """The network, or with "early" as it was after the first round.

        Raises:
            FileNotFoundError: it was not trained yet.
        """
        return models.load_model(root / self.name / f"{when}.safetensors")

    def result(self, root: Path) -> dict | None:
        """What came out of its training; None if it was not trained yet."""
        path = root / self.name / "result.json"
        return json.loads(path.read_text()) if path.exists() else None


MODULES = ("I3D-R18", "TAM2D-R18")
VARIANTS = [f"{module}-f{frames}" for frames in (16, 8) for module in MODULES]
CORE = [Net(name, group) for group in ("mixed", "static", "temporal") for name in VARIANTS]
LENGTHS = [Net(f"{module}-f32") for module in MODULES]
KERNELS = [Net(f"TAM2D-R18-f{frames}", kernel=kernel) for frames in (8, 16) for kernel in (5, 7)]
ANSWERS = [Net("TAM2D-R18-f16", answers=frames) for frames in (1, 2, 4, 8)]
DENSE = [Net(f"{module}-f{frames}", dense=True) for frames in (8, 16) for module in MODULES]
DEPTHS = [Net(f"{family}-R{depth}-f16") for depth in (34, 50) for family in ("I3D", "TAM2D")]
SLOWFAST = [Net("I3D-R50-f8"), Net("SlowFast-R50-8x8")]
OTHERS = [Net(f"{family}-R18-f16") for family in ("TSN", "TSM", "S3D")]
INCEPTION = [Net("I3D-Inception-f16")]


def every(seeds: tuple[int, ...] = SEEDS) -> list[Net]:
    """All networks, the most needed first."""
    each = [*CORE, *LENGTHS, *KERNELS, *ANSWERS, *DENSE, *OTHERS, *SLOWFAST, *DEPTHS, *INCEPTION]
    return [replace(net, seed=seed) for seed in seeds for net in each]


@contextmanager
def quick_aggregation(model: VideoModel) -> Iterator[None]:
    """Meanwhile TAM's convolutions along time run as the same convolutions in 2D, which are far quicker on a CPU."""
    convolutions = [module.conv for module in model.modules() if isinstance(module, TemporalAggregation)]
    for convolution in convolutions:
        convolution.forward = partial(_in_two_dimensions, convolution)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for convolution in convolutions:
            del convolution.forward


def _in_two_dimensions(convolution: nn.Conv3d, x: Tensor) -> Tensor:
    padding = (int(convolution.padding[0]), 0)
    return F.conv2d(x.flatten(3), convolution.weight.flatten(3), padding=padding, groups=convolution.groups).view_as(x)
