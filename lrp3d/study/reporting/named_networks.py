"""What the name of a study's model says about its network: those that differ in one thing can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrp3d.study.reporting.study_view import Studied

KERNEL = 3  # the length of TAM's kernel, where the options name no other


@dataclass(frozen=True)
class Network:
    """What the name of a study's model says about it, in the paper's convention.

    >>> summary = {"config": {"model": "TAM2D-R50-f16", "frames": 16, "options": {"kernel_size": 5}}}
    >>> network = Network.of(Studied("s", summary))
    >>> network.module, network.backbone, network.depth, network.frames, network.kernel
    ('TAM2D', 'R50', 50, 16, 5)
    """

    study: Studied
    module: str
    backbone: str
    frames: int
    kernel: int | None
    answers: int | None
    """How many frames are ensembled; None for all."""
    variant: str
    """The other options it was built with: networks are compared with those that have the same."""
    plain: bool
    """Whether it was explained as in the paper's main tables."""

    @classmethod
    def of(cls, study: Studied) -> Network | None:
        """Reads a study's model; returns None where its name is of another kind."""
        config = study.config
        name = re.fullmatch(r"(\w+?)-(R\d+|Inception)(?:-(?:f\d+|\d+x\d+))?", config.get("model", ""))
        if name is None:
            return None
        options = dict(config.get("options", {}))
        kernel = options.pop("kernel_size", KERNEL if name[1].startswith("TAM") else None)
        answers = options.pop("output_frames", None)
        variant = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
        plain = not study.conditions() and not study.mark
        frames = config.get("frames", study.summary.get("dataset", {}).get("columns", 0))
        return cls(study, name[1], name[2], frames, kernel, None if answers == "all" else answers, variant, plain)

    def named(self, *parts: str | int) -> str:
        """Joins parts of a model's name by hyphens, and adds the options by which it differs from the paper's."""
        return "-".join(map(str, parts)) + (f" ({self.variant})" if self.variant else "")

    @property
    def depth(self) -> int | None:
        """The number of layers, where the model is a ResNet."""
        return int(self.backbone[1:]) if self.backbone.startswith("R") else None

    @property
    def common(self) -> bool:
        """Whether it is like most of the paper's networks: all frames answer, and TAM has its usual kernel."""
        return self.plain and self.answers is None and self.kernel in (None, KERNEL)

    @property
    def atr(self) -> float:
        """The mean avg-ATR of the study, in frames."""
        return float(self.study.moments("avg_atr")["mean"])

    @property
    def accuracy(self) -> float | None:
        """The top-1 accuracy, in percent."""
        top1: float | None = self.study.summary["accuracy"]["top1"]
        return top1

    @property
    def deviation(self) -> float:
        """The standard deviation of avg-ATR over clips, in frames; 0 if there is only one."""
        return standard_deviation(self.study.moments("avg_atr")) or 0.0


def standard_deviation(moments: Mapping[str, Any]) -> float | None:
    """The standard deviation over clips; None if there are fewer than two."""
    return moments["std"] if moments["count"] > 1 else None


def networks(studies: Sequence[Studied]) -> list[Network]:
    """Returns the networks of those studies whose model has a name as in the paper, and an ATR."""
    candidates = (Network.of(study) for study in studies if study.moments("avg_atr")["count"])
    return [network for network in candidates if network is not None]
