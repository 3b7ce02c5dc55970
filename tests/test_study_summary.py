"""Summaries of studies and their statistics: the paper's numbers, and nothing counted that should not be."""

import json
import math
import random
from dataclasses import replace

import pytest
import torch
from studies import record

import lrp3d
from lrp3d import study
from lrp3d.metrics.atr import avg_atr
from lrp3d.study.reporting.statistics import overlap, pearson


def test_the_means_are_those_of_the_clips_that_count():
    records = [record(i, label=i % 2, right=i != 3) for i in range(6)]
    summary = study.summarise(records, labels=["a", "b"])
    counted = [records[i] for i in (0, 1, 2, 4, 5)]
    own = torch.tensor([avg_atr(one.atr, one.frame_logits) for one in counted], dtype=torch.float64)
    left_out = {"without_label": 0, "wrong": 1, "low_score": 0, "without_relevance": 0}
    assert summary["filter"] == {"correct": True, "min_score": 0.5, "counted": 5, **left_out}
    assert summary["dataset"]["avg_atr"]["mean"] == pytest.approx(float(own.mean()), rel=1e-6)
    assert summary["dataset"]["avg_atr"]["std"] == pytest.approx(float(own.std(correction=0)), rel=1e-5)
    assert summary["accuracy"]["top1"] == pytest.approx(100 * 5 / 6, rel=1e-6)
    assert summary["classes"]["0001"]["clips"] == 3
    assert summary["classes"]["0001"]["avg_atr"]["count"] == 2
    assert summary["classes"]["0001"]["accuracy"] == pytest.approx(100 * 2 / 3, rel=1e-6)
    assert [found["counted"] for found in summary["clips"].values()] == [True, True, True, False, True, True]


def test_the_filter_can_be_opened_and_closed():
    records = [record(i, right=i != 3) for i in range(6)]
    assert study.summarise(records, correct=False)["filter"]["counted"] == 6
    assert study.summarise(records, min_score=0.99999)["filter"]["low_score"] == 5
    assert study.summarise([record(0, label=None)])["filter"]["without_label"] == 1
    assert study.summarise([record(0, label=None)], correct=False)["filter"]["counted"] == 1


def test_a_summary_does_not_depend_on_the_order_of_records(tmp_path):
    records = [record(i, label=i % 3) for i in range(20)]
    study.write_summary(study.summarise(records), tmp_path / "first")
    random.Random(0).shuffle(records)
    study.write_summary(study.summarise(records), tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_clips_without_relevance_count_nowhere_and_break_nothing():
    dark = record(0)
    dark.atr.fill_(torch.nan)
    dark.matrix.zero_()
    summary = study.summarise([dark, record(1)])
    assert summary["filter"]["counted"] == 1
    assert summary["filter"]["without_relevance"] == 1
    assert summary["clips"]["000000"]["avg_atr"] is None
    assert summary["dataset"]["avg_atr"]["mean"] == study.summarise([record(1)])["dataset"]["avg_atr"]["mean"]
    json.dumps(summary, allow_nan=False)


def test_a_clip_that_does_not_count_is_in_no_mean():
    """The first clip looks farthest, but no frame of it speaks for its class, so that it has no avg-ATR."""
    time = torch.tensor([[0.0, 1.0, 2.0, 0.5], [0.0, 1.0, 2.0, 0.5]])
    counted = replace(record(1), time=time)
    silent = replace(record(0, reach=9.0), frame_logits=-torch.ones(4), time=10 * time)
    summary = study.summarise([silent, counted], config={"time": ["reversed"]})
    alone = study.summarise([counted], config={"time": ["reversed"]})
    assert summary["filter"]["without_relevance"] == 1
    assert summary["clips"]["000000"]["max_atr"] is not None
    assert [clip["counted"] for clip in summary["clips"].values()] == [False, True]
    assert summary["dataset"] == alone["dataset"]
    assert summary["classes"]["0000"] == {**alone["classes"]["0000"], "clips": 2}
    means = ("logit", "avg_atr", "motion")
    assert [[each[key] for key in means] for each in summary["time"]] == [
        [each[key] for key in means] for each in alone["time"]
    ]


def test_a_window_as_long_as_the_clip_stands_at_its_length_and_atr_at_its_mean():
    records = [record(i, windows=2) for i in range(3)]
    windows = study.summarise(records, config={"windows": [4, "segment"]})["windows"]
    mean = float(torch.stack([one.atr for one in records]).double().mean())
    assert [window["size"] for window in windows] == [4, pytest.approx(mean, rel=1e-6)]
    assert [window["accuracy"] for window in windows] == [100, 100]


def test_windows_of_frames_own_atr_have_the_size_that_they_have_in_the_clips_that_are_judged():
    judged, unlabelled = (record(i, label, windows=1, reach=reach) for i, label, reach in ((0, 0, 0.2), (1, None, 9.0)))
    of_both = study.summarise([judged, unlabelled], config={"windows": ["segment"]})["windows"]
    assert of_both == study.summarise([judged], config={"windows": ["segment"]})["windows"]


def test_a_clip_without_a_class_counts_for_the_class_that_is_explained():
    unlabelled = replace(record(0, 2), label=None)
    summary = study.summarise([record(1, 0), unlabelled], correct=False)
    assert {key: entry["clips"] for key, entry in summary["classes"].items()} == {"0000": 1, "0002": 1}
    assert summary["classes"]["0002"]["avg_atr"]["count"] == 1
    assert summary["classes"]["0002"]["accuracy"] is None


def test_a_record_comes_back_as_it_was_written(tmp_path):
    one = record(7, windows=3)
    one.save(tmp_path / "one")
    back = study.Record.load(tmp_path / "one")
    for name, value in vars(one).items():
        read = getattr(back, name)
        assert torch.equal(value, read) if isinstance(value, torch.Tensor) else value == read, name
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_changed_time_is_counted_over_clips_of_a_known_class_and_relevance_over_those_that_count():
    """Four clips of classes 0, 0, 1 and none; with their frames reversed, two of them are predicted otherwise."""
    answers = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [2.0, 1.0]])  # as they are, and reversed
    of_clips = [torch.stack([a, torch.tensor([i, 10.0 + i]), a + 4, a / 10], 1) for i, a in enumerate(answers)]
    labels = [0, 0, 1, None]
    clips = enumerate(zip(labels, of_clips, strict=True))
    records = [replace(record(i, label), time=time) for i, (label, time) in clips]
    as_it_is, turned = study.summarise(records, config={"time": ["reversed"]})["time"]
    assert (as_it_is["time"], turned["time"]) == ("as it is", "reversed")
    assert as_it_is["accuracy"] == pytest.approx(200 / 3)
    assert turned["accuracy"] == pytest.approx(100)
    assert as_it_is["same_prediction"] == 100
    assert turned["same_prediction"] == 50
    assert (as_it_is["logit"], turned["logit"]) == (1, 11)  # mean over the three clips that count
    assert as_it_is["avg_atr"] == pytest.approx(4 + 2 / 3)
    assert turned["motion"] == pytest.approx(1 / 30)


def test_windows_are_judged_by_the_share_of_right_answers_among_clips_of_a_known_class():
    answers = torch.tensor([[0, 0], [0, 1], [2, 1], [0, 0]])
    labels = [0, 0, 1, None]
    records = [
        replace(record(i, label), windows=answer) for i, (label, answer) in enumerate(zip(labels, answers, strict=True))
    ]
    one, two = study.summarise(records, config={"windows": [1, 2]})["windows"]
    assert one["accuracy"] == pytest.approx(200 / 3)
    assert two["accuracy"] == pytest.approx(200 / 3)
    assert one["empty"] is None


# Statistics


def test_pearson_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    hits = 0
    for _ in range(400):
        x, noise = torch.randn(2, 15, generator=generator, dtype=torch.float64)
        found = pearson(x, 0.6 * x + 0.8 * noise)
        hits += found.low <= 0.6 <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_pearson_of_a_line_is_one_and_of_a_constant_is_undefined():
    assert pearson([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]).r == pytest.approx(1)
    assert math.isnan(pearson([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]).r)
    three, four = pearson([1.0, 2.0, 3.0], [1.0, 2.0, 2.0]), pearson([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 3.0])
    assert three.r == pytest.approx(math.sqrt(3) / 2)
    assert math.isnan(three.low)
    assert -1 < four.low < four.r < four.high < 1


def test_two_models_have_no_correlation_and_few_classes_no_top_5():
    assert str(pearson([1.0, 2.0], [3.0, 5.0])) == "r undefined, n = 2"
    assert study.summarise([record(i) for i in range(3)])["accuracy"]["top5"] is None
    assert study.summarise([record(i, classes=6) for i in range(3)])["accuracy"]["top5"] is not None


def test_classes_that_a_model_does_not_have_are_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match=r"clip 0 has class .* and the model 3 classes"):
        study.summarise([replace(record(0), label=10**12)])
    with pytest.raises(ValueError, match="different models"):
        study.summarise([record(0), record(1, classes=4)])


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: pearson(3, 4), "a correlation is of two sequences of numbers, one for each model, got 3 and 4"),
        (lambda: pearson([1, None, 2], [1, 2, 3]), r"two sequences of numbers.*got \[1, None, 2\]"),
        (lambda: pearson([1, 2], [1, 2, 3]), "2 and 3 values are no pairs"),
        (lambda: pearson([1, 2], [1, 2], confidence="a"), "a confidence is between 0 and 1, not 'a'"),
        (lambda: overlap([5.0, 4.0], [0], [1]), r"values are a torch.Tensor \(c,\), the ATR of each class, got list"),
        (lambda: overlap(torch.ones(2, 2), [0], [1]), r"\(c,\), not \(2, 2\)"),
        (lambda: study.summarise([record(0)], min_score=1.5), "min_score is a score that clips must exceed.*not 1.5"),
        (lambda: study.summarise([record(0)], min_score=-1), "at least 0 and below 1, not -1"),
        (lambda: study.summarise([record(0), record(1), record(0)]), "clip 0 has two records, and would count twice"),
        (lambda: study.summarise([record(i) for i in range(3)], listed=2), "the list has 2 clips, and there are 3"),
        (lambda: study.summarise([record(0)], listed=1, failed=1), "1 records and 1 failures: listed= is the length"),
    ],
)
def test_what_would_give_wrong_numbers_is_refused_in_a_sentence(ask, said):
    with pytest.raises((ValueError, TypeError), match=said):
        ask()


def test_a_record_needs_everything_of_every_clip():
    found = lrp3d.explain(lrp3d.models.tsn_resnet(18, 2, width=8).eval(), torch.rand(2, 3, 4, 32, 32))
    whole = {"numbers": [0, 1], "names": ["a", "b"], "labels": [0, None], "seconds": [0.1, 0.1]}
    assert len(study.records_of(found, **whole)) == 2
    for name, values in whole.items():
        for wrong in (values[:1], values * 2):
            with pytest.raises(ValueError, match=f"{name} are one for each of 2 clips of the explanation, got"):
                study.records_of(found, **{**whole, name: wrong})


def test_overlap_knows_perfect_agreement_none_and_chance():
    values = torch.arange(10.0).flip(0)
    best = overlap(values, [0, 1, 2], [9, 8])
    assert (best.temporal, best.static, best.auroc) == (1, 1, 1)
    worst = overlap(values, [9, 8, 7], [0, 1])
    assert (worst.temporal, worst.static, worst.auroc) == (0, 0, 0)
    assert best.chance == (0.3, 0.2)
    nobody = overlap(values, [], [9, 8])
    assert math.isnan(nobody.temporal)
    assert math.isnan(nobody.chance[0]), "nothing can be guessed where nothing is asked"
    assert (best.temporal_ties, best.static_ties) == (0, 0)
    tied = overlap(torch.tensor([5.0, 5.0, 3.0, 3.0, 3.0, 1.0]), [0], [4, 5])
    assert (tied.temporal_ties, tied.static_ties) == (2, 3)
    unknown = values.clone()
    unknown[0] = torch.nan
    assert overlap(unknown, [0, 1, 2], [9, 8]).temporal_count == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_pearson_of_values_that_are_not_finite_is_undefined(value):
    found = pearson([5.0, 4.0, value, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert math.isnan(found.r)
    assert math.isnan(found.low)
