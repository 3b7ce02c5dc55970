"""The lists of a training: clips to train on and clips to validate with, whose classes have to mean the same."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from lrp3d import study
from lrp3d.commands import UsageError
from lrp3d.commands.labels import classes_to_keep, read_labels
from lrp3d.study.listing.class_names import Labels


@dataclass(frozen=True)
class TrainingLists:
    """Both lists with the classes of one model."""

    training: study.VideoList
    validation: study.VideoList | None
    labels: tuple[str, ...]
    """The names of the model's classes, where anything says them."""
    num_classes: int
    notes: tuple[str, ...]
    """One sentence for each decision about classes and clips."""


def training_lists(options: argparse.Namespace) -> TrainingLists:
    """Reads the lists of --list and --validation.

    Raises:
        UsageError: the classes of one list are not those of the other.
        ValueError, OSError: a list or labels cannot be read.
    """
    given = read_labels(options.labels) if options.labels else Labels()
    of_lists = read_labels(options.list_labels) if options.list_labels else Labels()
    kept = classes_to_keep(options.classes)
    training = study.read_list(options.list, labels=given, list_labels=of_lists, classes=kept, limit=options.limit)
    labels = tuple(given or training.labels)
    count = len(labels) or 1 + _greatest(training)
    validation = None
    if options.validation is not None:
        validation = study.read_list(
            options.validation,
            labels=labels,
            list_labels=of_lists,
            classes=kept,
            limit=options.limit,
            num_classes=count,
            # A part of the clips rarely shows by itself from where classes count.
            first_class=training.first_class,
        )
        _check_same_classes(options, training, validation, count)
    of_validation = () if validation is None else validation.notes
    notes = (*given.notes, *of_lists.notes, *training.notes, *of_validation)
    return TrainingLists(training, validation, labels, count, tuple(dict.fromkeys(notes)))


def _greatest(listed: study.VideoList) -> int:
    return max((item.label for item in listed.items if item.label is not None), default=0)


def _check_same_classes(
    options: argparse.Namespace, training: study.VideoList, validation: study.VideoList, count: int
) -> None:
    """Refuse a validation list of which the classes are not known to be those of the training list."""
    for named, numbered in ((training, validation), (validation, training)):
        if named.alphabetical and numbered.first_class is not None:
            by_name, by_number = (
                (options.list, options.validation) if named is training else (options.validation, options.list)
            )
            raise UsageError(
                f"{by_name} has classes by name and {by_number} by number, and nothing says which is which: give "
                "--labels with the names in the order of the numbers"
            )
    greatest = _greatest(validation)
    if greatest >= count:
        beyond = next(item for item in validation.items if item.label == greatest)
        raise UsageError(
            f"--validation {options.validation} has classes up to {greatest} (of {beyond.name}), counted from 0, and "
            f"those of --list {options.list} go from 0 to {count - 1}: validate with classes that are trained, or "
            "name all of them with --labels"
        )
