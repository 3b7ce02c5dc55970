"""The tests and marks of the paper's findings, and their page computed again from the records that it rests on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.paper import page, records, tables
from benchmarks.paper.nets import LONGER, Net
from benchmarks.paper.statistics import (
    CONTRADICTED,
    NOT_ASKED,
    REPRODUCED,
    UNDECIDED,
    Question,
    Sample,
    holm,
    quantile,
    student,
)


@pytest.mark.parametrize(
    ("t", "freedom", "below"),  # tables of Student's distribution
    [(6.314, 1, 0.95), (2.920, 2, 0.95), (4.604, 4, 0.995), (2.262, 9, 0.975), (-1.812, 10, 0.05)],
)
def test_student_is_that_of_the_tables(t, freedom, below):
    assert student(t, freedom) == pytest.approx(below, abs=1e-4)
    assert quantile(below, freedom) == pytest.approx(t, abs=2e-3)


def test_the_level_is_kept_where_there_is_nothing():
    """Of fifteen hundred samples of noise one in twenty has p below 0.05, whatever the question."""
    noise = torch.randn(1500, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = [Question(Sample(row)).p for row in noise.tolist()]
    assert sum(one < 0.05 for one in p) / len(p) == pytest.approx(0.05, abs=0.02)
    beyond = [Question(Sample(row), margin=1.0) for row in (noise + 1.0).tolist()]  # at the margin: neither is true
    assert sum(one.p < 0.05 for one in beyond) / len(p) < 0.07


NEAR, FAR = [0.01, -0.02, 0.0, 0.02, -0.01], [1.0, 1.1, 0.9, 1.0, 1.05]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question(Sample(FAR)), REPRODUCED),
        (Question(Sample([-value for value in FAR])), CONTRADICTED),
        (Question(Sample(NEAR)), UNDECIDED),
        (Question(Sample(FAR[:4])), NOT_ASKED),
        (Question(Sample(NEAR), margin=0.5), REPRODUCED),
        (Question(Sample(FAR), margin=0.5), CONTRADICTED),
        (Question(Sample([-value for value in FAR]), margin=0.5), CONTRADICTED),
        (Question(Sample([-value for value in FAR]), margin=0.5, upper_only=True), REPRODUCED),
        (Question(Sample([0.0, 1.0, -1.0, 2.0, -2.0]), margin=0.5), UNDECIDED),
    ],
)
def test_marks_are_what_the_page_says(question, expected):
    assert question.mark(question.p) == expected


def test_holm_is_no_less_strict_than_a_single_test_and_no_stricter_than_bonferroni():
    p = {str(i): value for i, value in enumerate([0.001, 0.2, 0.01, 0.04, 0.03])}
    corrected = holm(p)
    assert all(p[name] <= corrected[name] <= min(1.0, len(p) * p[name]) for name in p)
    assert sorted(p, key=p.__getitem__) == sorted(p, key=lambda name: (corrected[name], p[name]))


RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def test_the_page_is_what_the_records_say():
    """Marks and numbers of the summary and of the networks, computed again, without the figures."""
    bench = records.read(RESULTS / "findings" / "records")
    text = (RESULTS / "findings.md").read_text()
    assert page.summary_table(page.answers(bench)).markdown() in text
    assert tables.network_table(bench).markdown() in text


def test_a_mean_of_the_page_is_that_of_the_clips():
    """avg-ATR of one network and seed by hand: correct clips with a score above one half."""
    bench = records.read(RESULTS / "findings" / "records")
    net = Net("TAM2D-R18-f16")
    clips = bench.record(net, 0)["clips"]
    rows = zip(clips["label"], clips["predicted"], clips["score"], clips["avg_atr"], strict=True)
    kept = [value for label, predicted, score, value in rows if label == predicted and score > 0.5]
    assert 0 < len(kept) < len(clips["label"])
    assert bench.atr(net, 0) == pytest.approx(sum(kept) / len(kept))


def made_up(key: str, seed: int, accuracy: float, atr: float):
    """A record of one clip that counts."""
    clips = {"label": [0], "predicted": [0], "score": [0.9], "logit": [1.0], "avg_atr": [atr], "max_atr": [atr]}
    return {"net": key, "seed": seed, "accuracy": accuracy, "clips": clips, "matrix": None}


def test_networks_that_were_trained_longer_are_not_mixed_with_their_shorter_selves():
    short, long = Net("I3D-R50-f16"), Net("I3D-R50-f16", longer=LONGER)
    made = [made_up(short.key, seed, 0.5, 4.0) for seed in range(2)] + [made_up(long.key, 1, 0.8, 3.0)]
    bench = records.Bench({(one["net"], one["seed"]): one for one in made})
    again = replace(bench, longer=LONGER)
    assert [bench.atr(short, seed) for seed in range(2)] == [4.0, 4.0]
    assert again.atr(short, 1) == 3.0
    with pytest.raises(records.Missing, match="x3-mixed of seed 0 was not trained"):
        again.atr(short, 0)


def test_findings_on_accuracy_say_where_a_network_leaves_no_room():
    """Of all findings, and of nothing that has no accuracy in it."""
    bench = records.read(RESULTS / "findings" / "records")
    found = {one.claim.name: one for one in page.answers(bench)}
    r = found["Fig. 7: accuracy does not go with avg-ATR"]
    assert r.room == "no"
    assert set(r.without_room) == {"I3D-R50-f16-mixed", "TAM2D-R50-f16-mixed"}
    assert found["Table 2: larger temporal kernels are not more accurate"].room == "yes"
    assert found["Table 2: larger temporal kernels have a greater avg-ATR"].room == "–"
    assert found["Fig. 6, 14: empty frames are worse than frozen ones"].room == "yes"
