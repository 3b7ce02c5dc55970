"""The networks of the findings as studies: records of what each made of its clips, and summaries over its seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lrp3d.models import VideoModel
from lrp3d.files import replacing
from benchmarks.paper.actions import Actions
from benchmarks.paper.nets import Net
from benchmarks.planted.training_plans import Lineage
from safetensors.torch import load_file, save_file
from benchmarks.timing.nets import settle
from torch import Tensor

import lrp3d
from lrp3d.metrics import atr
from lrp3d import sampling, study
from lrp3d.planted import normalise
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.summary import MIN_SCORE

SEED = 940_000  # of the clips that are explained: nothing was trained on them
BATCH = 40
WINDOW_CLIPS = 30  # a window needs one pass for every frame of every clip


@dataclass(frozen=True)
class OfActions:
    """A network of nets.py."""

    net: Net

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.net.seed

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.net.name

    @property
    def dataset(self) -> str:
        """What it learned."""
        return self.net.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return Actions(self.net.dataset).classes

    @property
    def about(self) -> dict[str, Any]:
        """For the configuration of its study."""
        sampled = "dense" if self.net.dense else "uniform"
        return {"model": self.net.model, "options": self.net.options, "sampling": sampled}

    def clips(self, count: int) -> tuple[Tensor, Tensor]:
        """Pixels and labels."""
        return self.net.actions.clips(count, seed=SEED)

    def untrained(self) -> VideoModel:
        """As it starts, with statistics of the batch norms as training would set them."""
        model = self.net.untrained()
        settle(model, normalise(self.clips(BATCH)[0], model))
        return model.eval()

    def trained(self, root: Path, when: str = "model") -> VideoModel:
        """As it was saved."""
        return self.net.trained(root, when)


@dataclass(frozen=True)
class OfPairs:
    """A network of train_planted.py at one gap."""

    lineage: Lineage
    gap: int

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.lineage.seed

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.lineage.name}-gap{self.gap}"

    @property
    def dataset(self) -> str:
        """What it learned."""
        return f"pairs d={self.gap}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.lineage.task(self.gap).classes

    @property
    def about(self) -> dict[str, Any]:
        """For the configuration of its study."""
        family, _, backbone = self.lineage.architecture.partition("-")
        kernel = {"kernel_size": int(family[3:])} if family.startswith("TAM") else {}
        name = f"{'TAM2D' if kernel else family}-{backbone}-f{self.lineage.frames}"
        return {"model": name, "options": kernel, "sampling": "uniform"}

    def clips(self, count: int) -> tuple[Tensor, Tensor]:
        """Pixels and labels."""
        planted = self.lineage.task(self.gap).clips(count, seed=SEED)
        return planted.clips, planted.labels

    def untrained(self) -> VideoModel:
        """As it starts."""
        return self.lineage.untrained().eval()

    def trained(self, root: Path, when: str = "model") -> VideoModel:
        """As it was saved; there is but one state."""
        return self.lineage.trained(root, self.gap)


Source = OfActions | OfPairs
"""A network of one seed, and the clips it is for."""


@dataclass
class Bench:
    """Where networks are, what is kept of them, and how much is computed.

    Args:
        nets: folder of the networks.
        kept: folder of records.
        clips: of each network.
        seeds: of training, those that are there are taken.
        quick: networks are used as they are drawn, where none was trained, and every clip counts.
    """

    nets: Path
    kept: Path
    clips: int
    seeds: Sequence[int]
    quick: bool = False
    missing: set[str] = field(default_factory=set)
    used: dict[str, int] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)

    def actions(self, net: Net, **way: Any) -> Studied | None:
        """The network's study over all its seeds, None where no seed was trained; `way` as in `study`."""
        return self.study(lambda seed: OfActions(replace(net, seed=seed)), **way)

    def pairs(self, architecture: str, gap: int, **way: Any) -> Studied | None:
        """The same of a network on planted pairs."""
        return self.study(lambda seed: OfPairs(Lineage(architecture, "match", seed), gap), **way)

    def study(
        self, source: Callable[[int], Source], *, contrastive: bool = True, when: str = "model", windows: bool = False
    ) -> Studied | None:
        """Records of every seed that is there, summarised together and one by one.

        Args:
            source: the network of a seed.
            contrastive: CLRP, else LRP.
            when: "model" trained, "early" after one round of training, "untrained".
            windows: also partial uniform sampling, in the summary's "windows" and "empty".
        """
        each: dict[int, tuple[Source, list[study.Record], dict[str, Tensor]]] = {}
        for seed in self.seeds:
            one = source(seed)
            try:
                each[seed] = (one, *self._records(one, contrastive, when, windows))
            except FileNotFoundError:
                self.missing.add(one.name)
        if not each:
            return None
        first = next(iter(each.values()))[0]
        config = {"dataset": first.dataset, "contrastive": contrastive, "sigma": atr.SIGMA, **first.about}
        config |= {"explained_class": "prediction", "trained": when != "untrained"}
        if when == "untrained":
            config["model"] += ", untrained"
        counted = not self.quick and when != "untrained"
        rules = {"correct": counted, "min_score": MIN_SCORE if counted else 0.0}
        pooled = [record for _, records, _ in each.values() for record in records]
        summary = study.summarise(pooled, config=config, labels=first.classes, **rules)
        alone = [
            study.summarise(records, config=config, labels=first.classes, **rules) for _, records, _ in each.values()
        ]
        summary["seeds"] = {seed: _short(one) for seed, one in zip(each, alone, strict=True)}
        if windows:
            pixels, labels = first.clips(WINDOW_CLIPS)
            summary |= _windows([extra for _, _, extra in each.values()], labels, pixels.shape[2])
        name = f"{config['model']} {config['dataset']}"
        full = f"{name} {json.dumps(config['options'])} {config['sampling']} {when}"
        self.used[full] = len(each)
        self.accuracy[full] = summary["accuracy"]["top1"]
        return Studied(name, summary)

    def _records(
        self, source: Source, contrastive: bool, when: str, windows: bool
    ) -> tuple[list[study.Record], dict[str, Tensor]]:
        """Records of a seed, and what it predicts with windows."""
        name = f"{source.name}-{when}-{'CLRP' if contrastive else 'LRP'}"

        def model() -> VideoModel:
            return self._network(source, when).requires_grad_(False)

        found = self._kept(name, lambda: _explained(model(), source, contrastive, self.clips))
        extra: dict[str, Tensor] = {}
        if windows:
            extra = self._kept(f"{name}-windows", lambda: _windowed(model(), source, found))
            extra["atr"] = found["atr"]
        numbers = range(source.seed * 10_000, source.seed * 10_000 + len(found["labels"]))
        records = []
        for i, number in enumerate(numbers):
            label, target, conservation = int(found["labels"][i]), int(found["targets"][i]), found["conservation"][i]
            tensors = [found[name][i] for name in ("logits", "frame_logits", "matrix", "atr")]
            records.append(study.Record(number, "", label, target, *tensors, float(conservation)))
        return records, extra

    def _kept(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Read if it is there, else computed and written."""
        path = self.kept / f"{name}.safetensors"
        if path.exists():
            return load_file(path)
        found = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file({key: value.contiguous() for key, value in found.items()}, temporary)
        print(f"explained {name}", flush=True)
        return found

    def _network(self, source: Source, when: str) -> VideoModel:
        if when == "untrained":
            return source.untrained()
        if not self.quick:
            return source.trained(self.nets, when)
        try:
            return source.trained(self.nets, when)
        except FileNotFoundError:
            if "-f8" not in source.name:
                raise
            return source.untrained()


def _explained(model: VideoModel, source: Source, contrastive: bool, count: int) -> dict[str, Tensor]:
    """What is kept of a network's clips."""
    pixels, labels = source.clips(count)
    explain = _single_row if model.output_frames == 1 else _all_rows
    parts = [explain(model, clip, contrastive) for clip in normalise(pixels, model).split(BATCH)]
    return {**{name: torch.cat([part[name] for part in parts]) for name in parts[0]}, "labels": labels}


def _all_rows(model: VideoModel, clip: Tensor, contrastive: bool) -> dict[str, Tensor]:
    """A row of the matrix for every frame with a logit."""
    found = lrp3d.explain(model, clip, contrastive=contrastive)
    names = ("logits", "frame_logits", "matrix", "atr", "conservation")
    return {**{name: getattr(found, name).float() for name in names}, "targets": found.target}


def _single_row(model: VideoModel, clip: Tensor, contrastive: bool) -> dict[str, Tensor]:
    """The same where one frame answers for the clip: the clip's relevance is that frame's row."""
    found = lrp3d.explain(model, clip, contrastive=contrastive, temporal=False)
    assert isinstance(found.relevance, Tensor)
    matrix = found.relevance.sum((1, 3, 4)).unsqueeze(1).float()
    ranges = atr.frame_atr(matrix, positions=list(model.output_positions(clip.shape[2])))
    own = found.logits.gather(1, found.target[:, None])
    tensors = {"logits": found.logits, "frame_logits": own, "matrix": matrix, "atr": ranges}
    return tensors | {"conservation": found.conservation, "targets": found.target}


def _windowed(model: VideoModel, source: Source, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Classes (b, w) predicted with fixed windows, ATR windows and ATR segments, and with empty frames outside."""
    few = min(WINDOW_CLIPS, len(found["atr"]))
    x = normalise(source.clips(few)[0], model)
    sizes: list[Any] = [*_sizes(x.shape[2])]
    own = [found["atr"][:few], atr.frame_windows(found["matrix"][:few])]

    def predictions(windows: Sequence[Any], fill: str) -> Tensor:
        answers = [sampling.partial_uniform_logits(model, x, window, fill=fill) for window in windows]
        return torch.stack([answer.logits.argmax(1) for answer in answers], 1)

    return {"windows": predictions([*sizes, *own], "edge"), "empty": predictions(sizes, "blank")}


def _sizes(frames: int) -> list[int]:
    """Windows that are tried, in frames."""
    tried = (1, 2, 3, 4, 6, 8, 10, 12, 16) if frames <= 16 else (2, 4, 8, 12, 16, frames)
    return [size for size in tried if size <= frames]


def _short(summary: dict[str, Any]) -> dict[str, Any]:
    """What is compared between seeds."""
    data = summary["dataset"]
    kept = {kind: data[kind]["mean"] for kind in ("avg_atr", "max_atr")}
    classes = {int(key): one["avg_atr"]["mean"] for key, one in summary["classes"].items()}
    counted = summary["filter"]["counted"]
    return {
        **kept,
        "accuracy": summary["accuracy"]["top1"],
        "classes": classes,
        "matrix": data["matrix"],
        "counted": counted,
    }


def _windows(each: Sequence[dict[str, Tensor]], labels: Tensor, frames: int) -> dict[str, Any]:
    """Accuracy in percent by window, over all seeds; the paper's Fig. 6."""
    few = len(each[0]["windows"])
    sizes: list[Any] = _sizes(frames)
    mean = torch.cat([one["atr"][:few] for one in each]).double().nanmean().item()
    labels = labels[:few]

    def accuracies(name: str) -> list[float]:
        right = torch.cat([(one[name] == labels[:, None]).double() for one in each])
        return (100 * right.mean(0)).tolist()

    edge = [
        {"window": size, "size": size if isinstance(size, int) else mean, "accuracy": value}
        for size, value in zip([*sizes, "centred", "segment"], accuracies("windows"), strict=True)
    ]
    empty = [{"window": size, "size": size, "accuracy": v} for size, v in zip(sizes, accuracies("empty"), strict=True)]
    for one, control in zip(edge, empty, strict=False):
        one["empty"] = control["accuracy"]
    return {"windows": edge, "segment": edge[-1], "empty": empty}


def seeds_of(study_: Studied | None, kind: str = "avg_atr") -> dict[int, float]:
    """A number of each seed, where it is known."""
    if study_ is None:
        return {}
    return {seed: one[kind] for seed, one in study_.summary["seeds"].items() if one[kind] is not None}


def differences(one: Studied | None, other: Studied | None, kind: str = "avg_atr") -> list[float]:
    """One minus the other, of the seeds that both have."""
    first, second = seeds_of(one, kind), seeds_of(other, kind)
    return [first[seed] - second[seed] for seed in first if seed in second]


def spread(values: Sequence[float]) -> str:
    """Mean and deviation over seeds, as a difference."""
    if not values:
        return "–"
    text = f"{statistics.fmean(values):+.2f}"
    return text + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")
