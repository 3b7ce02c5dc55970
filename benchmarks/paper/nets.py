"""The networks of the paper's findings: small ones, for drawn actions, in the order in which they are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.paper.actions import Actions
from benchmarks.paper.inception import NarrowInception
from lrp3d import models
from lrp3d.models import VideoModel
from lrp3d.models.blocks import TemporalAggregation

STEPS, TWICE, LONGER = 150, 2, 3
"""Steps of training, and how many times as many networks are trained for as well."""
SEEDS = (0, 1, 2, 3, 4)
WIDTH = {"SlowFast": 16}  # its fast pathway has an eighth of it
NARROW = 8  # all others
MIXING = 0.5  # of TAM's kernels at the start: without a pretrained 2D backbone to protect, mixing at once is quicker


@dataclass(frozen=True)
class Net:
    """A network, the data set it learns, and the seed of both.

    Args:
        model: the paper's name, as `lrp3d.models.build` takes it; I3D-Inception is a narrow one.
        dataset: of `GROUPS` in actions.py.
        kernel: of TAM's temporal aggregation.
        answers: how many frames are ensembled, None for all (the paper's Fig. 10).
        dense: consecutive frames (App. B).
        longer: how many times the steps of the others it is trained for.
    """

    model: str
    dataset: str = "mixed"
    kernel: int | None = None
    answers: int | None = None
    dense: bool = False
    seed: int = 0
    longer: int = 1

    @property
    def key(self) -> str:
        """A name that all its seeds share."""
        differences = [f"k{self.kernel}" if self.kernel else "", f"of{self.answers}" if self.answers else ""]
        differences += ["dense"] * self.dense + [f"x{self.longer}"] * (self.longer > 1)
        return "-".join([self.model, *filter(None, differences), self.dataset])

    @property
    def name(self) -> str:
        """A name that a folder can have."""
        return f"{self.key}-s{self.seed}"

    @property
    def options(self) -> dict[str, int]:
        """What its builder is told beside the classes."""
        settings = {"kernel_size": self.kernel, "output_frames": self.answers}
        return {key: value for key, value in settings.items() if value is not None}

    @property
    def actions(self) -> Actions:
        """What it learns."""
        frames = 32 if self.model.startswith("SlowFast") else int(self.model.rpartition("-f")[2])
        return Actions(self.dataset, frames, self.dense)

    def untrained(self) -> VideoModel:
        """The network it starts from; the seed decides."""
        family = self.model.split("-")[0]
        classes = len(Actions(self.dataset).classes)
        with torch.random.fork_rng([]):
            torch.manual_seed(1000 + self.seed)
            if "Inception" in self.model:
                return NarrowInception(classes)
            width = WIDTH.get(family, NARROW)
            model = models.build(self.model, num_classes=classes, dropout=0.0, width=width, **self.options)
            for module in model.modules():
                if isinstance(module, TemporalAggregation):
                    module.pass_through(MIXING)
        return model

    def trained(self, root: Path) -> VideoModel:
        """The network as it was saved.

        Raises:
            FileNotFoundError: it was not trained yet.
        """
        return models.load_model(root / self.name / "model.safetensors")


MODULES = ("I3D-R18", "TAM2D-R18")
DATA = [Net(f"{module}-f16", group) for group in ("mixed", "temporal", "static") for module in MODULES]
LENGTHS = [Net(f"{module}-f{frames}") for frames in (8, 32) for module in MODULES]
KERNELS = [Net("TAM2D-R18-f16", kernel=kernel) for kernel in (5, 7)]
ANSWERS = [Net("TAM2D-R18-f16", answers=frames) for frames in (1, 4)]
DENSE = [Net(f"{module}-f16", dense=True) for module in MODULES]
BACKBONES = [Net(name) for name in ("I3D-R50-f16", "TAM2D-R50-f16", "I3D-Inception-f16", "TSN-R18-f16")]
DEPTHS = [Net(f"{family}-R34-f16") for family in ("I3D", "TAM2D")]
SLOWFAST = [Net("I3D-R50-f8"), Net("SlowFast-R50-8x8")]
TIERS = ([*DATA, *LENGTHS[:2], *KERNELS, *ANSWERS], [*LENGTHS[2:], *DENSE], BACKBONES, DEPTHS, SLOWFAST)
"""In order of weight. All seeds of a tier are trained before the next, so that what there is has all its seeds."""
AGAIN = (
    BACKBONES[:2],
    [*DENSE, *DATA[:2]],
    [*SLOWFAST, *LENGTHS[:2]],
    BACKBONES[2:],
    [*KERNELS, *ANSWERS],
    DATA[2:],
    DEPTHS,
    LENGTHS[2:],
)
"""All networks, for they are trained longer as well: some were below 60 % after the steps that all have."""
SCATTER = [*DATA[:2], *BACKBONES[:3], *KERNELS]
"""Those whose accuracy is held against their ATR. Trained longer, two are above 95 %: they are also trained TWICE."""


def every(seeds: Sequence[int] = SEEDS) -> list[Net]:
    """All networks, the most needed first."""
    tiers = [*TIERS, *([replace(net, longer=LONGER) for net in tier] for tier in AGAIN)]
    tiers.append([replace(net, longer=TWICE) for net in SCATTER])
    return [replace(net, seed=seed) for tier in tiers for seed in seeds for net in tier]


@contextmanager
def quick_aggregation(model: VideoModel) -> Iterator[None]:
    """Meanwhile TAM's convolutions along time run as the same convolutions in 2D, which are far quicker on a CPU."""
    convolutions = [module.conv for module in model.modules() if isinstance(module, TemporalAggregation)]
    with ExitStack() as meanwhile:
        for convolution in convolutions:
            quick = partial(_in_two_dimensions, convolution)
            meanwhile.enter_context(mock.patch.object(convolution, "forward", quick))
        yield


def _in_two_dimensions(convolution: nn.Conv3d, x: Tensor) -> Tensor:
    padding = (int(convolution.padding[0]), 0)
    return F.conv2d(x.flatten(3), convolution.weight.flatten(3), padding=padding, groups=convolution.groups).view_as(x)
