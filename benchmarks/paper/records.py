"""The records of all networks: one compressed file for each training seed, and the numbers that are asked of them."""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from benchmarks.paper.nets import Net
from benchmarks.paper.recording import Record
from lrp3d.defaults import MIN_SCORE
from lrp3d.files import replacing

KINDS = ("avg_atr", "max_atr")


class Missing(LookupError):
    """A network was not trained, or none of its clips counts."""


@dataclass(frozen=True)
class Bench:
    """Records by network and seed.

    Args:
        records: of every network that was trained.
        counted: whether only clips that are predicted correctly with a score above 0.5 count, as in the paper.
        longer: networks that were also trained so many times as long, with any seed, stand for their shorter selves.
    """

    records: dict[tuple[str, int], Record]
    counted: bool = True
    longer: int = 1

    @property
    def seeds(self) -> list[int]:
        """All that there are."""
        return sorted({seed for _, seed in self.records})

    def record(self, net: Net, seed: int) -> Record:
        """Of a network and a seed.

        Raises:
            Missing: it was not trained.
        """
        again = replace(net, longer=max(self.longer, net.longer)).key
        key = again if any(again == name for name, _ in self.records) else net.key
        try:
            return self.records[key, seed]
        except KeyError:
            raise Missing(f"{key} of seed {seed} was not trained") from None

    def accuracy(self, net: Net, seed: int) -> float:
        """In percent of fresh clips."""
        return 100 * float(self.record(net, seed)["accuracy"])

    def clips(self, net: Net, seed: int, kind: str = "avg_atr") -> list[tuple[int, float]]:
        """Class and ATR of every clip that counts and has one."""
        clips = self.record(net, seed)["clips"]
        rows = zip(clips["label"], clips["predicted"], clips["score"], clips[kind], strict=True)
        return [
            (label, value)
            for label, predicted, score, value in rows
            if value is not None and (not self.counted or (label == predicted and score > MIN_SCORE))
        ]

    def atr(self, net: Net, seed: int, kind: str = "avg_atr", classes: Collection[int] | None = None) -> float:
        """Mean over clips, of these classes.

        Raises:
            Missing: no clip counts.
        """
        values = [value for label, value in self.clips(net, seed, kind) if classes is None or label in classes]
        if not values:
            raise Missing(f"no clip of {net.key}, seed {seed}, counts")
        return statistics.fmean(values)

    def matrix(self, net: Net, seed: int) -> list[list[float]]:
        """Mean of the counted clips' matrices, each divided by its sum.

        Raises:
            Missing: no clip counts.
        """
        found: list[list[float]] | None = self.record(net, seed)["matrix"]
        if found is None:
            raise Missing(f"no clip of {net.key}, seed {seed}, counts")
        return found

    def windows(self, net: Net, seed: int) -> dict[str, float]:
        """Accuracy in percent under partial uniform sampling, by window, and "size", the mean length of a segment."""
        record = self.record(net, seed)
        if "windows" not in record:
            raise Missing(f"{net.key} was shown no windows")
        labels = record["clips"]["label"]
        found = {name: _share(predicted, labels) for name, predicted in record["windows"].items()}
        lengths = [length for length in record["window_atr"] if length is not None]
        return found | {"size": statistics.fmean(lengths)}


@dataclass(frozen=True)
class Listening(Bench):
    """A bench that notes of which networks it was asked for accuracies."""

    accuracies: set[tuple[str, int]] = field(default_factory=set)

    def accuracy(self, net: Net, seed: int) -> float:
        """In percent of fresh clips."""
        record = self.record(net, seed)
        self.accuracies.add((record["net"], seed))
        return super().accuracy(net, seed)

    def windows(self, net: Net, seed: int) -> dict[str, float]:
        """Accuracies under partial uniform sampling."""
        self.accuracies.add((self.record(net, seed)["net"], seed))
        return super().windows(net, seed)


def _share(predicted: Sequence[int], labels: Sequence[int]) -> float:
    """Percent of the predictions that are right; labels go on after the last clip that was shown windows."""
    return 100 * statistics.fmean(one == label for one, label in zip(predicted, labels, strict=False))


def fixed(windows: dict[str, float], size: float) -> float:
    """Accuracy of a fixed window of a size, on the line between those that were tried.

    >>> fixed({"4": 50.0, "8": 70.0, "segment": 1.0, "empty 8": 0.0, "size": 5.0}, 5.0)
    55.0
    """
    tried = sorted((int(name), value) for name, value in windows.items() if name.isdigit())
    for (low, under), (high, over) in pairwise(tried):
        if low <= size <= high:
            return under + (size - low) / (high - low) * (over - under)
    return tried[0][1] if size < tried[0][0] else tried[-1][1]


def collect(root: Path) -> list[Record]:
    """Of every network below a folder, as `findings_nets` leaves them."""
    return [json.loads(path.read_text()) for path in sorted(root.glob("*/record.json"))]


def write(records: Iterable[Record], folder: Path) -> list[Path]:
    """One file for each seed; the same records give the same bytes."""
    by_seed: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda one: (one["seed"], one["net"])):
        by_seed.setdefault(record["seed"], []).append(record)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed, each in by_seed.items():
        lines = "\n".join(json.dumps(record, separators=(",", ":")) for record in each)
        paths.append(folder / f"seed{seed}.jsonl.gz")
        with replacing(paths[-1]) as temporary:
            temporary.write_bytes(gzip.compress(lines.encode(), mtime=0))
    return paths


def read(folder: Path) -> Bench:
    """The records that `write` wrote."""
    files = [gzip.decompress(path.read_bytes()).decode() for path in sorted(folder.glob("seed*.jsonl.gz"))]
    records = [json.loads(line) for text in files for line in text.splitlines()]
    return Bench({(record["net"], record["seed"]): record for record in records})


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's r; NaN where one of them does not vary.

    >>> round(pearson([1, 2, 3], [2, 4, 7]), 3)
    0.993
    """
    across, up = statistics.fmean(x), statistics.fmean(y)
    both = sum((a - across) * (b - up) for a, b in zip(x, y, strict=True))
    size = math.sqrt(sum((a - across) ** 2 for a in x) * sum((b - up) ** 2 for b in y))
    return both / size if size else math.nan


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """The same of ranks, equal ones having their mean.

    >>> round(spearman([1, 2, 2, 4], [10, 20, 30, 40]), 3)
    0.949
    """
    return pearson(*([statistics.fmean([_rank(v, a), _rank(v, a, True)]) for a in v] for v in (x, y)))


def _rank(values: Sequence[float], one: float, last: bool = False) -> int:
    return sum(value < one or (last and value == one) for value in values) + (0 if last else 1)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """How probable it is that one of the first is greater than one of the second.

    >>> auroc([2, 3], [1, 2])
    0.875
    """
    return statistics.fmean((a > b) + (a == b) / 2 for a in positive for b in negative)


def between_variance(groups: Iterable[Sequence[float]]) -> float:
    """Variance of the groups' means beyond what the variance within them makes (one-way analysis of variance).

    >>> between_variance([[1.0, 3.0], [5.0, 7.0]]), between_variance([[1.0, 3.0], [2.0, 2.0]])
    (7.0, -0.5)
    """
    kept = [list(group) for group in groups if len(group) > 1]
    total, count = sum(map(len, kept)), len(kept)
    if count < 2:
        raise Missing("fewer than two classes have clips that count")
    middle = statistics.fmean(value for group in kept for value in group)
    within = sum((len(group) - 1) * statistics.variance(group) for group in kept) / (total - count)
    between = sum(len(group) * (statistics.fmean(group) - middle) ** 2 for group in kept) / (count - 1)
    return (between - within) / ((total - sum(len(group) ** 2 for group in kept) / total) / (count - 1))
