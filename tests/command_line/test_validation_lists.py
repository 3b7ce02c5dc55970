"""The classes of a validation list are those of the training list, or the list is refused."""

from pathlib import Path

import pytest
from terminal import SMALL

import lrp3d
from lrp3d import study

ONE_BASED = "Archery/a.npy 1\nBowling/b.npy 2\nYoga/c.npy 3\n"
NAMED = "Archery/a.npy,archery\nBowling/b.npy,bowling\nYoga/c.npy,yoga\n"


@pytest.fixture
def validated(run, monkeypatch):
    """What is said of two lists, and the classes of the clips that the training is given to validate with."""
    monkeypatch.setattr(lrp3d.models, "train", lambda *args, **options: given.append(options["validation"]) or [EPOCH])
    given = []

    def validated(training, validation, *more):
        Path("train.txt").write_text(training)
        Path("val.txt").write_text(validation)
        lists = ["--list", "train.txt", "--validation", "val.txt"]
        code, out, err = run("train", *SMALL, *lists, "--out", "run", "--workers", 0, *more)
        return code, out + err, [item.label for item in given[-1].items] if given else []

    return validated


EPOCH = lrp3d.models.training_run.Epoch(0, 1.0, 0.5)


def test_a_validation_list_counts_classes_as_the_training_list_does(validated):
    code, said, classes = validated(ONE_BASED, "Bowling/d.npy 2\n")
    assert (code, classes) == (0, [1])
    assert "note: train.txt: the list counts classes from 1" in said
    assert "note: val.txt: the list counts classes from 1" in said
    _, _, classes = validated("a.npy 0\nb.npy 1\nc.npy 2\n", "d.npy 1\ne.npy 2\n")
    assert classes == [1, 2]


def test_lists_that_count_differently_are_refused(validated):
    code, said, _ = validated(ONE_BASED, "d.npy 0\ne.npy 1\n")
    assert code == 1
    assert "d.npy has class 0, and the other list counts classes from 1" in said


@pytest.mark.parametrize(("training", "validation"), [(NAMED, "d.npy 2\n"), (ONE_BASED, "d.npy,bowling\n")])
def test_names_are_not_held_against_numbers(validated, training, validation):
    code, said, _ = validated(training, validation)
    assert code == 2
    assert "nothing says which is which: give --labels" in said
    Path("names.txt").write_text("archery\nbowling\nyoga\n")
    code, said, classes = validated(training, validation, "--labels", "names.txt")
    assert (code, classes) == (0, [1 if training is ONE_BASED else 2]), said


def test_a_class_that_is_not_trained_is_refused_in_validation(validated):
    code, said, _ = validated("a.npy 0\nb.npy 1\n", "d.npy 0\ne.npy 7\n")
    assert code == 2
    assert "val.txt has classes up to 7 (of e.npy), counted from 0" in said
    assert "those of --list train.txt go from 0 to 1: validate with classes that are trained" in said


def test_every_decision_about_labels_is_printed(validated):
    Path("names.txt").write_text("1 archery\n2 bowling\n3 yoga\n")
    _, said, _ = validated(ONE_BASED, "Bowling/d.npy 2\n", "--labels", "names.txt")
    assert "note: names.txt counts classes from 1: its 1 is class 0, and so on" in said


def test_a_list_says_from_where_it_counts():
    rows = [study.Row("Archery/a", 1), study.Row("Bowling/b", 2)]
    assert study.make_list(rows).first_class == 1
    assert study.make_list(rows, first_class=0).first_class == 0
    assert study.make_list([study.Row("a", "archery")]).first_class is None
