"""A study as a report sees it: its summary, and words for how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrp3d.callers import warn
from lrp3d.defaults import MIN_SCORE, SIGMA
from lrp3d.printed import counted
from lrp3d.study.listing.class_lists import UnknownClasses, bare, check_sides, human_classes
from lrp3d.study.reporting.gallery import Gallery
from lrp3d.study.reporting.summary import FORM, merge
from lrp3d.study.running.folder import StudyError, load_study

__all__ = ["Studied", "filter_sentence", "load_summary", "renamed", "with_labels"]


def load_summary(path: str | Path, *, correct: bool = True, min_score: float = MIN_SCORE) -> dict[str, Any]:
    """Reads the summary of a study's folder, with the wanted filter; or a summary.json as it is.

    A warning says if records have been made or removed since summary.json was merged.

    Raises:
        StudyError: there is no study, a summary has another filter and there are no records to count again, or an
            earlier version of lrp3d made it, which counted other clips.

    >>> import tempfile, torch
    >>> from lrp3d.study import Record, summarise, write_summary
    >>> rows = {"frame_logits": torch.ones(2), "matrix": torch.eye(2), "atr": torch.ones(2), "conservation": 0.0}
    >>> summary = summarise([Record(0, "a.mp4", 1, 1, torch.tensor([0.0, 2.0]), **rows)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_summary(summary, f"{folder}/summary.json")
    ...     load_summary(folder) == summary
    True
    """
    path = Path(path)
    if (path / "records").is_dir():
        try:
            return merge(load_study(path), correct=correct, min_score=min_score)
        except StudyError:
            raise
        except ValueError as error:
            raise StudyError(f"{path}: {error}") from None
    file = path / "summary.json" if path.is_dir() else path
    try:
        summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        filter_entry = summary["filter"]
    except FileNotFoundError:
        raise StudyError(f"{path} is neither the folder of a study nor a summary") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise StudyError(f"{file} is no summary of a study") from None
    if (filter_entry["correct"], filter_entry["min_score"]) != (correct, min_score):
        raise StudyError(f"{file} counts other clips ({filter_sentence(summary)}); to count again, records are needed")
    if summary.get("form", 1) != FORM and filter_entry.get("without_relevance", 1):
        raise StudyError(
            f"{file} was made by a version of lrp3d that counted clips without relevance in some of its means",
            "make it anew with lrp3d study merge",
        )
    if (file.parent / "study.json").is_file():
        _warn_of_records(file, summary)
    return summary


def _warn_of_records(file: Path, summary: Mapping[str, Any]) -> None:
    """Warns where the study of a summary has other records by now than when it was merged."""
    merged, now = summary["counts"]["explained"], len(load_study(file.parent).done())
    if merged != now:
        warn(f"{file} is of {merged} clips, and its study has {now} by now: lrp3d study merge makes it anew")


def with_labels(summary: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Returns the summary with other names of classes.

    >>> with_labels({"classes": {"1": {"name": "class 1"}}, "names": {"1": "class 1"}}, ["archery", "yoga"])["names"]
    {'1': 'yoga'}
    """
    classes = {
        key: {**entry, "name": labels[int(key)] if int(key) < len(labels) else entry["name"]}
        for key, entry in summary["classes"].items()
    }
    names = {
        key: labels[int(key)] if int(key) < len(labels) else name for key, name in summary.get("names", {}).items()
    }
    return {**summary, "classes": classes, "names": names}


def renamed(summary: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Says which classes of a summary have other names than labels give them, or none; empty if there are no such."""
    if (greatest := max(map(int, summary["classes"]), default=-1)) >= len(labels):
        return (
            f"the labels name {len(labels)} classes, and clips are of classes up to {greatest}: are they the model's?"
        )
    others = [
        (name, labels[int(key)])
        for key, name in summary.get("names", {}).items()
        if int(key) < len(labels) and name not in (f"class {int(key)}", labels[int(key)])
    ]
    if not others:
        return ""
    before, after = others[0]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"the study was run with other names of classes: {before!r} is called {after!r} here{more}"


def filter_sentence(summary: Mapping[str, Any]) -> str:
    """Says how many clips count, and why the others do not.

    >>> filter_entry = {"correct": True, "min_score": 0.5, "counted": 7, "wrong": 2, "without_label": 0, "low_score": 1}
    >>> filter_sentence({"filter": filter_entry | {"without_relevance": 0}, "counts": {"explained": 10}})
    '7 of 10 clips count (predicted correctly, with a score above 0.5); left out: 2 predicted wrongly, 1 of low score'
    """
    filter_entry = summary["filter"]
    parts = [
        f"{filter_entry[key]} {words}"
        for key, words in (
            ("wrong", "predicted wrongly"),
            ("without_label", "without a class"),
            ("low_score", "of low score"),
            ("without_relevance", "without relevance"),
        )
        if filter_entry[key]
    ]
    left_out = f"; left out: {', '.join(parts)}" if parts else ""
    counting, explained = filter_entry["counted"], counted(summary["counts"]["explained"], "clip")
    return f"{counting} of {explained} {'counts' if counting == 1 else 'count'} ({filter_rule(summary)}){left_out}"


def filter_rule(summary: Mapping[str, Any]) -> str:
    """Says which clips count.

    >>> filter_rule({"filter": {"correct": True, "min_score": 0.5}})
    'predicted correctly, with a score above 0.5'
    """
    filter_entry = summary["filter"]
    return (
        f"predicted{' correctly,' if filter_entry['correct'] else ''} with a score above {filter_entry['min_score']:g}"
    )


@dataclass(frozen=True)
class Studied:
    """One study of a report."""

    name: str
    """The name of the study's folder."""
    summary: Mapping[str, Any]
    mark: str = ""
    """A text that tells it from another study of the same model, data set and way of explaining."""
    listed: str = ""
    """A text that tells its list of clips from another of the same name."""
    gallery: Gallery | None = None
    """The gallery of its clips, to which numbers of the tables lead."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration with which it was made."""
        config: Mapping[str, Any] = self.summary["config"]
        return config

    @property
    def dataset(self) -> str:
        """The name of the data set that was studied."""
        return (self.config.get("dataset") or self.name) + (f" ({self.listed})" if self.listed else "")

    @property
    def model(self) -> str:
        """The model's name, with the options it was built with."""
        options = ", ".join(f"{key}={value}" for key, value in self.config.get("options", {}).items())
        name = self.config.get("model") or self.name
        return name + (f" ({options})" if options else "") + (f" [{self.mark}]" if self.mark else "")

    @property
    def contrastive(self) -> bool:
        """Whether it was explained by CLRP and not by LRP."""
        contrastive: bool = self.config.get("contrastive", True)
        return contrastive

    @property
    def sampling(self) -> str:
        """How frames were sampled: uniformly or densely."""
        sampling: str = self.config.get("sampling", "uniform")
        return sampling

    def conditions(self, *without: str) -> str:
        """Says how the study differs from the paper's main tables; some of the differences may be left out.

        >>> Studied("s", {"config": {"sampling": "dense", "contrastive": False}}).conditions("sampling")
        'LRP'
        """
        sigma = self.config.get("sigma", SIGMA)
        merge = self.config.get("merge", "paper")
        parts = {
            "sampling": "" if self.sampling == "uniform" else self.sampling,
            "contrastive": "" if self.contrastive else "LRP",
            "composite": self.config.get("composite", "paper").replace("paper", ""),
            "explained_class": "" if self.config.get("explained_class") != "label" else "true classes",
            "sigma": "" if sigma == SIGMA else f"{100 * sigma:g} % of a row",
            # No study says whether its model has a slow pathway, whose logits this would scale.
            "merge": "" if merge == "paper" else f"--merge {merge}",
            "rows_at": f"rows at {self.config['rows_at']}" if self.config.get("rows_at") else "",
        }
        return ", ".join(part for key, part in parts.items() if part and key not in without)

    def label(self, *without: str) -> str:
        """Returns the model's name and the way it was explained."""
        return ", ".join(filter(None, [self.model, self.conditions(*without)]))

    @property
    def unit(self) -> str:
        """What a column of the study's matrices stands for: a frame, or a step of several frames."""
        return "frame" if self.step == 1 else "step"

    @property
    def step(self) -> float:
        """How many frames a column of the study's matrices stands for."""
        columns: int = self.summary["dataset"]["columns"]
        frames: int = self.config.get("frames", columns)
        return frames / columns

    def in_frames(self, atr: float | None) -> float | None:
        """An ATR in frames, which the summary has in columns of the matrix; studies can differ in how long these are.

        >>> Studied("s", {"config": {"frames": 16}, "dataset": {"columns": 4}}).in_frames(2.5)
        10.0
        """
        return None if atr is None else atr * self.step

    def moments(self, kind: str) -> Mapping[str, Any]:
        """Returns the mean and deviation of "avg_atr" or "max_atr" in frames, and the count."""
        moments: Mapping[str, Any] = self.summary["dataset"][kind]
        return {**moments, "mean": self.in_frames(moments["mean"]), "std": self.in_frames(moments["std"])}

    @cached_property
    def class_names(self) -> dict[int, str]:
        """The names of the classes that have clips, by number."""
        return {int(key): entry["name"] for key, entry in self.summary["classes"].items()}

    def by_class(self, kind: str, what: str = "mean") -> Tensor:
        """Returns the mean, deviation or count of each class (c,), in the study's `unit`; NaN where no clip counts."""
        values = torch.full((max(self.class_names) + 1,), torch.nan, dtype=torch.float64, device="cpu")
        for key, entry in self.summary["classes"].items():
            if entry[kind][what] is not None:
                values[int(key)] = entry[kind][what]
        return values

    def indices(self, names: Sequence[str]) -> list[int]:
        """Returns the numbers of classes by their names, as far as they have clips."""
        by_name = {bare(name): index for index, name in self.class_names.items()}
        return [by_name[bare(name)] for name in names if bare(name) in by_name]

    def people(self, source: str | Path | tuple[Sequence[str], Sequence[str]]) -> tuple[list[int], list[int]]:
        """Returns the classes that people call temporal, and static; both are empty where the study has none.

        Raises:
            ValueError: people call a class both.
        """
        if not isinstance(source, tuple):
            try:
                source = human_classes(source, self.class_names.values())
            except UnknownClasses:
                return [], []
        temporal, static = source
        check_sides(temporal, static)
        return self.indices(temporal), self.indices(static)
