"""Turns records into a summary by clip, class and data set; its bits do not depend on who made the records, or when."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrp3d.defaults import CENTRED, FORMER_CENTRED, MIN_SCORE
from lrp3d.files import as_json, write_text
from lrp3d.metrics.aggregation import Aggregate, aggregate, check_min_score, class_logits, mean_matrix, select
from lrp3d.metrics.atr import avg_atr, max_atr
from lrp3d.study.running.folder import Study
from lrp3d.study.running.records import Record

__all__ = ["merge", "summarise", "write_summary"]

FORM = 2
"""How clips are counted; 1, where a summary does not say it: clips without relevance still counted in some means."""
DIGITS = 7
TOP = 5


def merge(study: Study, *, correct: bool = True, min_score: float = MIN_SCORE) -> dict[str, Any]:
    """Summarises all records of a study.

    Args:
        study: the study, as `lrp3d.study.load_study` returns it.
        correct: count only clips whose prediction is their class.
        min_score: count only clips whose score is above it.

    Raises:
        StudyError: a record is damaged, or of another configuration.
        ValueError: there are no records.

    Returns:
        The summary, as `summarise` returns it.

    >>> import tempfile, lrp3d
    >>> from lrp3d import study
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=2, width=8).eval()
    >>> pairs = [(lrp3d.video.draw_clip(8, 32, seed=n), n) for n in range(2)]
    >>> clips = study.Clips(pairs, study.Reader("", frames=4, size=32, short_side=32))
    >>> explainer = study.Explainer(model)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = study.create(folder, study.configuration(explainer, clips), clips.list)
    ...     print(study.run(made, explainer, clips))
    ...     merge(made, correct=False, min_score=0)["counts"]["explained"]
    2 clips explained, 0 failed
    2
    """
    records = list(study.records())  # before failures are counted: a run may be under way, and redo some
    return summarise(
        records,
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
    """Summarises records as plain numbers, ready for json.

    Args:
        records: of one model and one configuration, in any order.
        config: the configuration, which is repeated in the summary.
        labels: the names of classes.
        listed: how many clips the list has; by default, as many as there are records.
        failed: how many of them failed.
        correct: count only clips whose prediction is their class.
        min_score: count only clips whose score is above it, in [0, 1).

    Returns:
        A dict of "form" (the number of this way to count), "counts", "filter", "accuracy" (in percent, over all clips
        with a class), "dataset" (mean, deviation and count of ATR, and the mean matrix), "classes" by number, "names"
        of the classes that clips have, are predicted as or explained for, "clips" by number, "windows" (accuracy
        under partial uniform sampling), and "time" (accuracy of all clips with a class, and means over the clips that
        count, as they are and with their time changed). The clips that count are the same for all means: those that
        pass the filter and have an avg-ATR. Sums are taken in float64 in the order of the clips' numbers. Numbers
        have seven digits; a number that does not exist is None.

    Raises:
        ValueError: there are no records, they are of several models, a clip has two, the list is shorter than what was
            made of it, a class is one that the model does not have, or min_score is outside [0, 1).

    Source: paper, Sec. 3.2 and 4.2.

    >>> rows = {"frame_logits": torch.ones(2), "matrix": torch.eye(2), "atr": torch.ones(2), "conservation": 0.0}
    >>> pair = [Record(i, "", i, 1, torch.tensor([0.0, 2.0]), **rows) for i in (1, 0)]
    >>> summary = summarise(pair)
    >>> summary["accuracy"]["top1"], summary["filter"]["counted"], summary["dataset"]["avg_atr"]["mean"]
    (50.0, 1, 1.0)
    """
    check_min_score(min_score)
    ordered = sorted(records, key=lambda record: record.number)
    if not ordered:
        raise ValueError("there are no records to summarise")
    _check_alike(ordered)
    if listed is not None and listed < len(ordered) + failed:
        raise ValueError(
            f"the list has {listed} clips, and there are {len(ordered)} records and {failed} failures: listed= is the "
            "length of the whole list"
        )
    logits, label = class_logits(torch.stack([r.logits for r in ordered])), _labels(ordered)
    groups = torch.where(label >= 0, label, torch.tensor([r.target for r in ordered], device="cpu"))
    atr, frames = torch.stack([r.atr for r in ordered]), torch.stack([r.frame_logits for r in ordered])
    of_clips = {"avg_atr": avg_atr(atr.double(), frames.double()), "max_atr": max_atr(atr.double())}
    passing = _passing_clips(logits, label, correct, min_score)
    keep = passing & ~of_clips["avg_atr"].isnan()  # for every number alike
    matrix = torch.stack([r.matrix for r in ordered])
    windows = dict(config or {}).get("windows", [])
    summary = {
        "form": FORM,
        "config": dict(config or {}),
        "counts": {
            "listed": len(ordered) if listed is None else listed,
            "explained": len(ordered),
            "failed": failed,
            "missing": 0 if listed is None else listed - len(ordered) - failed,
            "damaged": sum(bool(r.lost) for r in ordered),
        },
        "filter": _filter_counts(logits, label, passing, keep, correct, min_score),
        "accuracy": _accuracy(logits, label),
        "dataset": {
            "columns": matrix.shape[-1],
            **{name: _moments(aggregate(values, keep=keep)) for name, values in of_clips.items()},
            "matrix": mean_matrix(matrix, keep=keep),
        },
        "classes": _classes(logits, label, groups, keep, of_clips, matrix, labels),
        "names": _names(ordered, labels),
        "clips": _clips(ordered, keep, of_clips),
        "windows": _windows(ordered, label, atr * _frames_per_column(ordered[0]), windows),
        "time": _time(ordered, label, keep, dict(config or {}).get("time", [])),
    }
    return {key: as_json(value, DIGITS) for key, value in summary.items()}


def write_summary(summary: Mapping[str, Any], path: str | Path) -> None:
    """Writes a summary as json with sorted keys; after a failure there is no file.

    Raises:
        OSError: the file cannot be written.
        ValueError: the summary holds a number that json does not have, such as NaN.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_summary({"counts": {"explained": 2}}, f"{folder}/summary.json")
    ...     json.loads(Path(folder, "summary.json").read_text())
    {'counts': {'explained': 2}}
    """
    write_text(Path(path), json.dumps(summary, sort_keys=True, indent=1, allow_nan=False) + "\n")


def _check_alike(records: Sequence[Record]) -> None:
    """Refuses records of several models, of one clip twice, and of classes that the model does not have.

    Each class takes memory, so that a number without a class could take all there is.
    """
    first = records[0]
    classes = len(class_logits(first.logits))
    for one, other in pairwise(records):
        if one.number == other.number:
            raise ValueError(f"clip {one.number} has two records, and would count twice: give each clip once")
    for record in records:
        if (len(record.logits), record.matrix.shape) != (len(first.logits), first.matrix.shape):
            raise ValueError(f"records {first.number} and {record.number} are of different models or numbers of frames")
        if record.label is not None and not 0 <= record.label < classes:
            raise ValueError(f"clip {record.number} has class {record.label}, and the model {classes} classes")


def _labels(records: Sequence[Record]) -> Tensor:
    """Returns the classes (b,), with -1 for unknown ones."""
    return torch.tensor([-1 if record.label is None else record.label for record in records], device="cpu")


def _passing_clips(logits: Tensor, label: Tensor, correct: bool, min_score: float) -> Tensor:
    """Says which clips pass the filter (b,); those that have relevance as well count."""
    return select(logits, label if correct else logits.argmax(-1), min_score)


def _filter_counts(
    logits: Tensor, label: Tensor, passing: Tensor, keep: Tensor, correct: bool, min_score: float
) -> dict[str, Any]:
    """Returns the filter, and how many clips each of its conditions takes out, in this order."""
    unlabelled = (label < 0) & correct
    wrong = (logits.argmax(-1) != label) & ~unlabelled & correct
    return {
        "correct": correct,
        "min_score": min_score,
        "counted": int(keep.sum()),
        "without_label": int(unlabelled.sum()),
        "wrong": int(wrong.sum()),
        "low_score": int((~passing & ~wrong & ~unlabelled).sum()),
        "without_relevance": int((passing & ~keep).sum()),
    }


def _accuracy(logits: Tensor, label: Tensor) -> dict[str, Any]:
    """Computes top-1 and top-5 accuracy in percent of the clips whose class is known."""
    labelled = label >= 0
    best = logits[labelled].topk(min(TOP, logits.shape[1])).indices
    right = best == label[labelled].unsqueeze(-1)
    return {
        "clips": int(labelled.sum()),
        "top1": 100 * right[:, 0].double().mean(),
        # With five classes or fewer, the best five hold every class.
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
    """Summarises each class that has clips, by its number."""
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


def _names(records: Sequence[Record], labels: Sequence[str]) -> dict[str, str]:
    """Returns the names of classes that are needed to name what became of each clip."""
    found = {index for r in records for index in (r.label, r.target, r.prediction) if index is not None}
    return {f"{i:04d}": labels[i] if i < len(labels) else f"class {i}" for i in sorted(found)}


def _clips(records: Sequence[Record], keep: Tensor, of_clips: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the numbers of each clip, by its place in the list."""
    return {
        f"{record.number:06d}": {
            "label": record.label,
            "target": record.target,
            "prediction": record.prediction,
            "score": record.score,
            "logit": record.logit,
            "counted": bool(keep[i]),
            **{name: values[i] for name, values in of_clips.items()},
        }
        for i, record in enumerate(records)
    }


def _windows(records: Sequence[Record], label: Tensor, atr: Tensor, sizes: Sequence[int | str]) -> list[dict[str, Any]]:
    """Computes the accuracy with each window, and with empty images outside where these were tried (paper, Fig. 6).

    Windows of the frames' own ATR have the mean ATR as their size.
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
    """Summarises the clips as they are and with their time changed; returns nothing where some clips lack this."""
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
    """Returns (w,) percent of right predictions, over clips of known class; None where not all were predicted."""
    answers = [answer for answer in predicted if answer is not None and len(answer) == windows]
    if not windows or not labelled.any() or len(answers) != len(predicted):
        return None
    return 100 * (torch.stack(answers)[labelled] == label[labelled].unsqueeze(-1)).double().mean(0)


def _frames_per_column(record: Record) -> float:
    """Returns how many frames a column of the matrix stands for, which may be several."""
    return len(record.indices) / record.matrix.shape[-1] if record.indices else 1.0
