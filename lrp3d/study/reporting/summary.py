"""From records to a summary: numbers by clip, class and data set, the same bits whoever made the records and when."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrp3d.defaults import CENTRED, FORMER_CENTRED, MIN_SCORE
from lrp3d.files import replacing
from lrp3d.metrics.atr import Aggregate, aggregate, avg_atr, max_atr, mean_matrix, select
from lrp3d.study.running.folder import Study
from lrp3d.study.running.records import Record

__all__ = ["merge", "summarise", "write_summary"]

DIGITS = 7
TOP = 5


def merge(study: Study, *, correct: bool = True, min_score: float = MIN_SCORE) -> dict[str, Any]:
    """The summary of all records of a study.

    Args:
        study: as `lrp3d.study.load_study` gives it.
        correct: count clips only whose prediction is their class.
        min_score: count clips only whose score is above it.

    Raises:
        StudyError: a record is damaged, or of another configuration.
        ValueError: there are no records.
    """
    return summarise(
        study.records(),
        config=study.config,
        labels=study.labels,
        listed=len(study.items),
        failed=len(study.failures()),
        correct=correct,
        min_score=min_score,
    )


def summarise(
    records: Iterable[Record],
    *,
    config: Mapping[str, Any] | None = None,
    labels: Sequence[str] = (),
    listed: int | None = None,
    failed: int = 0,
    correct: bool = True,
    min_score: float = MIN_SCORE,
) -> dict[str, Any]:
    """Summarise records: plain numbers, ready for json.

    Args:
        records: in any order; of one model and one configuration.
        config: repeated in the summary.
        labels: names of classes.
        listed: how many clips there should be; default as many as there are.
        failed: how many of those failed.
        correct: count clips only whose prediction is their class.
        min_score: count clips only whose score is above it, in [0, 1).

    Returns:
        A dict of "counts", "filter", "accuracy" (in percent, over all clips with a class), "dataset" (ATR with mean,
        deviation and count; the mean matrix), "classes" by number, "clips" by number, and "windows" (accuracy under
        partial uniform sampling), and "time" (accuracy of all clips with a class, and means over the clips that count,
        as they are and with their time changed). Sums are taken in float64 in the order of the clips' numbers; numbers
        have seven digits, and those that do not exist are None.

    Raises:
        ValueError: no records, records of several models, or a class that the model does not have.

    Source: paper, Sec. 3.2 and 4.2.

    >>> rows = {"frame_logits": torch.ones(2), "matrix": torch.eye(2), "atr": torch.ones(2), "conservation": 0.0}
    >>> pair = [Record(i, "", i, 1, torch.tensor([0.0, 2.0]), **rows) for i in (1, 0)]
    >>> summary = summarise(pair)
    >>> summary["accuracy"]["top1"], summary["filter"]["counted"], summary["dataset"]["avg_atr"]["mean"]
    (50.0, 1, 1.0)
    """
    ordered = sorted(records, key=lambda record: record.number)
    if not ordered:
        raise ValueError("there are no records to summarise")
    _check_alike(ordered)
    logits, label = torch.stack([r.logits for r in ordered]), _labels(ordered)
    keep = _kept(logits, label, correct, min_score)
    groups = torch.where(label >= 0, label, torch.tensor([r.target for r in ordered]))
    atr, frames = torch.stack([r.atr for r in ordered]), torch.stack([r.frame_logits for r in ordered])
    of_clips = {"avg_atr": avg_atr(atr.double(), frames.double()), "max_atr": max_atr(atr.double())}
    matrix = torch.stack([r.matrix for r in ordered])
    windows = dict(config or {}).get("windows", [])
    summary = {
        "config": dict(config or {}),
        "counts": {
            "listed": len(ordered) if listed is None else listed,
            "explained": len(ordered),
            "failed": failed,
            "missing": 0 if listed is None else listed - len(ordered) - failed,
            "damaged": sum(bool(r.lost) for r in ordered),
        },
        "filter": _filtered(logits, label, keep, of_clips["avg_atr"], correct, min_score),
        "accuracy": _accuracy(logits, label),
        "dataset": {
            "columns": matrix.shape[-1],
            **{name: _moments(aggregate(values, keep=keep)) for name, values in of_clips.items()},
            "matrix": mean_matrix(matrix, keep=keep),
        },
        "classes": _classes(logits, label, groups, keep, of_clips, matrix, labels),
        "clips": _clips(ordered, keep, of_clips),
        "windows": _windows(ordered, label, atr * _frames_per_column(ordered[0]), windows),
        "time": _time(ordered, label, keep, dict(config or {}).get("time", [])),
    }
    return {key: _plain(value) for key, value in summary.items()}


def write_summary(summary: Mapping[str, Any], path: str | Path) -> None:
    """Write it as json with sorted keys, whole or not at all."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(json.dumps(summary, sort_keys=True, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _check_alike(records: Sequence[Record]) -> None:
    """Refuse records that are not of one model, and classes that it does not have: memory is taken for each class."""
    first = records[0]
    classes = len(first.logits)
    for record in records:
        if (len(record.logits), record.matrix.shape) != (classes, first.matrix.shape):
            raise ValueError(f"records {first.number} and {record.number} are of different models or numbers of frames")
        if record.label is not None and not 0 <= record.label < classes:
            raise ValueError(f"clip {record.number} has class {record.label:.7g}, and the model {classes} classes")


def _labels(records: Sequence[Record]) -> Tensor:
    """(b,) classes, -1 where nobody knows."""
    return torch.tensor([-1 if record.label is None else record.label for record in records])


def _kept(logits: Tensor, label: Tensor, correct: bool, min_score: float) -> Tensor:
    """(b,) which clips count."""
    return select(logits, label if correct else logits.argmax(-1), min_score)


def _filtered(
    logits: Tensor, label: Tensor, keep: Tensor, atr: Tensor, correct: bool, min_score: float
) -> dict[str, Any]:
    """What was asked for, and how many clips each condition takes out, in this order."""
    unlabelled = (label < 0) & correct
    wrong = (logits.argmax(-1) != label) & ~unlabelled & correct
    return {
        "correct": correct,
        "min_score": min_score,
        "counted": int((keep & ~atr.isnan()).sum()),
        "without_label": int(unlabelled.sum()),
        "wrong": int(wrong.sum()),
        "low_score": int((~keep & ~wrong & ~unlabelled).sum()),
        "without_relevance": int((keep & atr.isnan()).sum()),
    }


def _accuracy(logits: Tensor, label: Tensor) -> dict[str, Any]:
    """Percent of the clips whose class is known."""
    labelled = label >= 0
    best = logits[labelled].topk(min(TOP, logits.shape[1])).indices
    right = best == label[labelled].unsqueeze(-1)
    return {
        "clips": int(labelled.sum()),
        "top1": 100 * right[:, 0].double().mean(),
        # Of five classes and fewer, the five best hold every class.
        "top5": 100 * right.any(-1).double().mean() if logits.shape[1] > TOP else None,
    }


def _moments(values: Aggregate) -> dict[str, Any]:
    return {"mean": values.mean, "std": values.std, "count": values.count}


def _classes(
    logits: Tensor,
    label: Tensor,
    groups: Tensor,
    keep: Tensor,
    of_clips: Mapping[str, Tensor],
    matrix: Tensor,
    labels: Sequence[str],
) -> dict[str, Any]:
    """By the number of each class that has clips."""
    count = int(groups.max()) + 1
    clips = groups.bincount(minlength=count)
    right = aggregate(torch.where(label >= 0, (logits.argmax(-1) == label).double(), torch.nan), groups, count)
    moments = {name: aggregate(values, groups, count, keep) for name, values in of_clips.items()}
    means = mean_matrix(matrix, groups, count, keep)
    return {
        f"{index:04d}": {
            "name": labels[index] if index < len(labels) else f"class {index}",
            "clips": clips[index],
            "accuracy": 100 * right.mean[index],
            "matrix": means[index] if moments["avg_atr"].count[index] else None,
            **{
                name: {"mean": values.mean[index], "std": values.std[index], "count": values.count[index]}
                for name, values in moments.items()
            },
        }
        for index in clips.nonzero().flatten().tolist()
    }


def _clips(records: Sequence[Record], keep: Tensor, of_clips: Mapping[str, Tensor]) -> dict[str, Any]:
    """The numbers of each clip, by its place in the list."""
    return {
        f"{record.number:06d}": {
            "label": record.label,
            "target": record.target,
            "prediction": record.prediction,
            "score": record.score,
            "counted": bool(keep[i]),
            **{name: values[i] for name, values in of_clips.items()},
        }
        for i, record in enumerate(records)
    }


def _windows(records: Sequence[Record], label: Tensor, atr: Tensor, sizes: Sequence[int | str]) -> list[dict[str, Any]]:
    """Accuracy with each window, and with empty images outside where those were tried (paper, Fig. 6).

    Windows of the frames' own ATR stand at its mean.
    """
    labelled = label >= 0
    right = _right([record.windows for record in records], label, labelled, len(sizes))
    if right is None:
        return []
    empty = _right([record.empty for record in records], label, labelled, len(sizes))
    mean = atr[labelled].double().nanmean()
    return [
        {
            "window": CENTRED if size == FORMER_CENTRED else size,
            "size": mean if isinstance(size, str) else size,
            "accuracy": right[i],
            "empty": None if empty is None else empty[i],
        }
        for i, size in enumerate(sizes)
    ]


def _time(records: Sequence[Record], label: Tensor, keep: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """What is said of clips as they are, and with their time changed in each way; nothing where not all were."""
    times = [record.time for record in records if record.time is not None and len(record.time) == 1 + len(names)]
    if not names or len(times) != len(records):
        return []
    values, labelled = torch.stack(times).double(), label >= 0
    right = values[labelled, :, 0] == label[labelled].unsqueeze(-1)
    same = values[:, :, 0] == values[:, :1, 0]
    means = values[keep].nanmean(0)
    return [
        {
            "time": name,
            "accuracy": 100 * right[:, i].double().mean(),
            "same_prediction": 100 * same[:, i].double().mean(),
            "logit": means[i, 1],
            "avg_atr": means[i, 2],
            "motion": means[i, 3],
        }
        for i, name in enumerate(("as it is", *names))
    ]


def _right(predicted: Sequence[Tensor | None], label: Tensor, labelled: Tensor, windows: int) -> Tensor | None:
    """(w,) percent of the clips whose class is known that are predicted rightly; None where not all were predicted."""
    answers = [answer for answer in predicted if answer is not None and len(answer) == windows]
    if not windows or not labelled.any() or len(answers) != len(predicted):
        return None
    return 100 * (torch.stack(answers)[labelled] == label[labelled].unsqueeze(-1)).double().mean(0)


def _frames_per_column(record: Record) -> float:
    """A matrix may count in steps of several frames."""
    return len(record.indices) / record.matrix.shape[-1] if record.indices else 1.0


def _plain(value: Any) -> Any:
    """Tensors as numbers and lists; json has no NaN."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
