"""Summaries and reports: the paper's numbers, tables and figures, and nothing counted that should not be."""

import math
import json
import re

import pytest
from matplotlib.figure import Figure
from studies import record, rows, summary_of

from lrp3d import study
from lrp3d.commands.command_line import main
from lrp3d.study.reporting import charts, paper_figures, parquet
from lrp3d.study.reporting.report import Report
from lrp3d.study.reporting.report_charts import Chart
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.table_format import Table, Value

PEOPLE = (["doing 4", "doing 5"], ["doing 0"])


# Reports


@pytest.fixture(scope="module")
def summaries():
    return [
        ("i3d-k", summary_of(windows=[1, 4, "segment"])),
        ("i3d-s", summary_of(dataset="SSV2", reach=1.5)),
        ("tam-k", summary_of(model="TAM2D-R50-f8", reach=0.6)),
        ("dense", summary_of(sampling="dense", reach=0.8)),
        ("lrp", summary_of(contrastive=False, reach=0.7, trained=False)),
    ]


def test_a_report_has_the_papers_tables_with_its_differences(summaries):
    parts = {part.name: part for part in study.report(summaries, people=PEOPLE).parts}
    mean = {name: summary["dataset"]["avg_atr"]["mean"] for name, summary in summaries}
    atr = rows(parts["atr"])
    assert [row["model"] for row in atr] == ["I3D-R50-f8", "TAM2D-R50-f8", "I3D-R50-f8, dense", "I3D-R50-f8, LRP"]
    assert float(atr[0]["avg-ATR SSV2"]) == mean["i3d-s"]
    assert float(atr[0]["avg-ATR SSV2 difference"]) == pytest.approx(mean["i3d-s"] - mean["i3d-k"])
    assert atr[1]["avg-ATR SSV2"] == ""
    (sampling,), (contrast,) = rows(parts["sampling"]), rows(parts["contrast"])
    assert float(sampling["avg-ATR dense difference"]) == pytest.approx(mean["dense"] - mean["i3d-k"])
    assert float(contrast["LRP avg-ATR difference"]) == pytest.approx(mean["lrp"] - mean["i3d-k"])
    by_data_set = {row["data set"]: row for row in rows(parts["correlation"])}
    assert set(by_data_set) == {"Kinetics"}  # dense and LRP are no further models of the same kind
    assert by_data_set["Kinetics"]["models"] == "2"
    people = [row for row in rows(parts["overlap"]) if row["by"] == "avg-ATR"]
    assert [float(row["temporal agreed (%)"]) for row in people] == [
        100
    ] * 5  # made up so that the last classes look far
    assert len(rows(parts["windows"])) == 3
    assert len(rows(parts["classes-i3d-k"])) == 6


def test_studies_are_compared_in_frames_whatever_their_columns_stand_for():
    """The same numbers, once in frames and once in steps of four of them: the second study looks four times as far."""
    of_frames, of_steps = summary_of(), summary_of(model="TAM2D-R50-f8", frames=32)
    of_i3d = summary_of(model="I3D-R50-f32", frames=32)
    mean = of_frames["dataset"]["avg_atr"]["mean"]
    summaries = [
        ("frames", of_frames),
        ("steps", of_steps),
        ("i3d", of_i3d),
        ("third", summary_of(model="X3D", reach=2)),
    ]
    found = study.report(summaries)
    parts = {part.name: part for part in found.parts}
    by_model = {(row["model"]): row for row in rows(parts["accuracy-kinetics"].data)}
    assert float(by_model["I3D-R50-f8"]["avg-ATR"]) == pytest.approx(mean)
    assert float(by_model["TAM2D-R50-f8"]["avg-ATR"]) == pytest.approx(4 * mean)
    third = summaries[3][1]
    atr = [mean, 4 * mean, 4 * mean, third["dataset"]["avg_atr"]["mean"]]
    accuracy = [summary["accuracy"]["top1"] + i for i, (_, summary) in enumerate(summaries)]
    moved = [
        (name, {**summary, "accuracy": {**summary["accuracy"], "top1": value}})
        for value, (name, summary) in zip(accuracy, summaries, strict=True)
    ]
    (correlation, _) = rows({part.name: part for part in study.report(moved).parts}["correlation"])
    assert float(correlation["Pearson's r"]) == pytest.approx(study.pearson(atr, accuracy).r, abs=1e-6)
    (difference,) = rows(parts["modules"].data)
    assert float(difference["I3D"]) == float(difference["TAM2D"]) == pytest.approx(4 * mean)
    trend = rows(parts["frames-Kinetics"].data)
    assert [float(row["avg-ATR"]) for row in trend] == pytest.approx([mean, 4 * mean])
    assert any("A column stands for a step of several frames in steps (4), i3d (4)" in fact for fact in found.facts)


def test_what_is_as_long_in_steps_as_in_frames_is_the_same_share_of_the_clip():
    one, other = (paper_figures.networks([Studied("s", summary_of(frames=frames))])[0] for frames in (8, 32))
    assert one.atr / one.frames == pytest.approx(other.atr / other.frames)
    assert other.deviation == pytest.approx(4 * one.deviation)


def test_the_table_of_people_says_where_numbers_alone_decide():
    alike = summary_of()
    for entry in alike["classes"].values():
        entry["avg_atr"] = {**entry["avg_atr"], "mean": 3.0}
    for summary, tied in ((alike, True), (summary_of(), False)):
        table = {part.name: part for part in study.report([("s", summary)], people=PEOPLE).parts}["overlap"]
        assert "Of classes of equal ATR, the one with the lower number counts as greater" in table.note
        assert ("6 classes (temporal, avg-ATR, I3D-R50-f8, Kinetics)" in table.note) == tied


def test_a_class_is_either_temporal_or_static(tmp_path, summaries):
    (tmp_path / "people.json").write_text('{"k_temporal": ["doing 1"], "k_static": ["doing 0", "Doing_1"]}')
    for people in ((["doing 1"], ["doing 0", "Doing_1"]), tmp_path / "people.json"):
        with pytest.raises(ValueError, match="'Doing_1' is among the temporal classes and among the static ones"):
            study.report(summaries[:1], people=people)


def test_every_figure_of_the_paper_that_there_is_data_for_is_drawn(summaries):
    names = {part.name for part in study.report(summaries, people=PEOPLE).parts if not isinstance(part, Table)}
    own = {f"{kind}-{name}" for kind in ("heatmaps", "class-atr", "people") for name, _ in summaries}
    across = {"accuracy-kinetics", "windows-kinetics", "modules", "samplings", "heatmaps-of-data-sets-i3d-r50-f8"}
    assert names == own | across


def test_a_written_report_is_complete_in_itself_and_its_links_lead_somewhere(tmp_path, summaries):
    written = list(study.report(summaries[:1], title="A <report>").write(tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "A &lt;report&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    text = (tmp_path / "report.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((tmp_path / link).is_file() for link in links)
    assert {path.suffix for path in written} == {".md", ".html", ".csv", ".png"}
    assert not list(tmp_path.rglob("*.part"))


def test_tables_and_figures_of_an_earlier_report_do_not_stay_beside_a_new_one(tmp_path, summaries):
    report = study.report(summaries[:1])
    list(report.write(tmp_path))
    (tmp_path / "tables" / "mine.csv").write_text("1")
    gone = report.parts.pop()
    made = {path.relative_to(tmp_path).as_posix() for path in report.write(tmp_path)}
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == made | {"tables/mine.csv"}
    assert not any(gone.name in name for name in there)


@pytest.mark.slow
def test_charts_of_the_page_have_its_colours_and_none_of_white_paper(summaries):
    page = study.report(summaries[:2], people=PEOPLE).html()
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.S))
    rest = re.sub(r"<svg.*?</svg>", "", page, flags=re.S)
    assert "var(--chart-orange)" in drawings
    assert "currentColor" in drawings
    assert not [colour for colour in (*charts.COLOURS, charts.GRID) if colour in drawings]
    assert all(name in rest for name in re.findall(r"var\((--[a-z-]+)\)", drawings))


def test_a_chart_is_drawn_when_it_is_first_asked_for_and_then_no_more():
    drawn = []

    def draw():
        drawn.append(Figure(layout="constrained"))
        drawn[-1].subplots().plot([1, 2])
        return drawn[-1]

    chart = Chart("a", "A", draw)
    page = Report("T", [chart])
    assert not drawn
    assert "<svg " in page.html()
    assert chart.png().startswith(b"\x89PNG")
    assert len(drawn) == 1


def test_a_chart_of_very_many_points_is_a_picture_on_the_page():
    def draw():
        figure = Figure()
        figure.subplots().scatter(range(8000), range(8000), s=1, c=range(8000))
        return figure

    page = Report("T", [Chart("a", "A", draw)]).html()
    assert 'src="data:image/png;base64,' in page
    assert '<svg class="chart"' not in page


def test_random_weights_and_unfinished_runs_are_warned_of(summaries):
    unfinished = study.summarise([record(i) for i in range(3)], listed=5, failed=1)
    made = study.report([*summaries[-1:], ("half", unfinished)])
    assert any("weights of I3D-R50-f8 are random" in warning for warning in made.warnings)
    assert any("half is not finished: 1 clip has" in warning for warning in made.warnings)
    assert made.warnings[0] in made.markdown()


def test_two_studies_of_one_model_are_told_apart_by_their_folders(summaries):
    made = study.report([summaries[0], ("again", summaries[0][1]), summaries[0]])
    (atr,) = (part for part in made.parts if part.name == "atr")
    assert [row[0] for row in atr.rows] == ["I3D-R50-f8", "I3D-R50-f8 [again]", "I3D-R50-f8 [i3d-k-2]"]
    assert len({part.name for part in made.parts}) == len(made.parts)


def test_lists_of_one_name_are_kept_apart_and_that_is_said():
    def of_list(model, clips):
        made = summary_of(model=model, dataset="val")
        return {**made, "config": {**made["config"], "clips": clips}}

    few, other, many = (f"{n} clips, digest {digest:016x}" for n, digest in ((6, 7), (6, 2**63), (24, 9)))
    studies = [("a", few), ("b", few), ("c", many), ("d", many)]
    made = study.report([(name, of_list(f"model {name}", clips)) for name, clips in studies])
    tables = {part.name: part for part in made.parts}
    assert [row["data set"] for row in rows(tables["counts"])] == ["val (6 clips)"] * 2 + ["val (24 clips)"] * 2
    assert {(row["data set"], row["models"]) for row in rows(tables["correlation"])} == {
        ("val (6 clips)", "2"),
        ("val (24 clips)", "2"),
    }
    assert made.warnings[0] == (
        "val is the name of 2 different lists of clips, which are not compared: 6 clips in a, b; 24 clips in c, d."
    )
    as_many = study.report([("a", of_list("one", few)), ("b", of_list("other", other))])
    assert [row[1] for row in as_many.parts[0].rows] == ["val", "val"]
    assert as_many.warnings[0] == (
        "The lists of val have as many clips, with other names or classes (a; b), and are compared as one data set: "
        "give them other names with --dataset if they are not."
    )
    alike = study.report([("a", of_list("one", few)), ("b", of_list("other", few))])
    assert [row[1] for row in alike.parts[0].rows] == ["val", "val"]
    assert not alike.warnings


def test_a_copy_of_a_study_is_no_further_model():
    whole = {"weights": "0475b71be0549373", "clips": "36 clips, digest 3ef835abec16514f"}
    made = summary_of()
    mine = ("mine", {**made, "config": {**made["config"], **whole}})
    others = ("others", {**made, "config": {**made["config"], **whole, "weights": "75b58fac3e060712"}})
    assert study.report([mine, others]).parts
    with pytest.raises(ValueError, match=r"mine and copy are one study, .* count as two models: give one of them"):
        study.report([mine, others, ("copy", mine[1])])
    with pytest.raises(ValueError, match="two studies called mine are one study"):
        study.report([mine, mine])


def test_a_class_to_show_is_shown_and_one_that_nobody_knows_is_refused(summaries):
    assert study.report(summaries[:1], show=["Doing_3"]).parts
    for name, meant in (
        ("juggling", "expected one of doing 0, .*, doing 4, ..."),
        ("dong 3", r"did you mean doing 3\?"),
    ):
        with pytest.raises(ValueError, match=f"no study has a class '{name}'; {meant}$"):
            study.report(summaries[:1], show=[name])


def test_a_table_is_the_same_for_people_and_for_programs():
    cells = [["a|b", 3, Value(6.54, 0.41, 1.04)], ["c", 4, Value(None)]]
    table = Table("t", "T", ["name", "n", "ATR"], cells)
    assert "| a/b | 3 | 6.5 ± 0.4 (+1.0) |" in table.markdown()
    assert table.csv().splitlines() == ["name,n,ATR,ATR std,ATR difference", "a|b,3,6.54,0.41,1.04", "c,4,,,"]
    assert '<td class="number" data-value="6.54">6.5 ± 0.4 (+1.0)</td>' in table.html()


def test_a_long_table_shows_both_ends_and_its_csv_everything():
    table = Table("t", "T", ["n"], [[i] for i in range(50)], shown=4)
    shown = [line for line in table.markdown().splitlines() if line[2].isdigit() or "…" in line]
    assert shown == ["| 0 |", "| 1 |", "| … |", "| 48 |", "| 49 |"]
    assert len(table.csv().splitlines()) == 51


def test_the_points_of_a_chart_are_the_numbers():
    axes = charts.human_scatter([5.0, 6.0, 5.5, math.nan], [0, 3], [1, 2]).axes[0]
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert points == {"temporal": [[3, 5.0]], "static": [[1, 6.0], [2, 5.5]]}
    curve = charts.class_curve([5.0, 6.0, math.nan], [0.1, 0.2, math.nan], [7.0, 8.0, math.nan]).axes[0]
    assert curve.lines[0].get_xydata().tolist() == [[1, 6.0], [2, 5.0]]


# The command


@pytest.fixture
def finished(tmp_path):
    """A study of ten clips on the disk."""
    clips = study.make_list([study.Row(f"{i}.mp4", i % 3) for i in range(10)], labels=["a", "b", "c"])
    made = study.create(tmp_path / "one", {"model": "I3D", "dataset": "made up"}, clips)
    for i in range(10):
        path = made.record_path(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        record(i, label=i % 3, config=made.hash, right=i > 1).save(path)
    return made.folder


def test_merge_says_what_it_counted(finished, capsys):
    assert main(["study", "merge", str(finished)]) == 0
    said = capsys.readouterr().out
    assert "10 of 10 clips explained, 0 failed" in said
    assert "8 of 10 clips count (predicted correctly, with a score above 0.5); left out: 2 predicted wrongly" in said
    assert "accuracy 80.0 %" in said


@pytest.mark.parametrize("step", ["merge", "report"])
def test_where_no_clip_counts_the_options_that_count_others_are_named(tmp_path, capsys, step):
    made = study.create(
        tmp_path / "one", {"model": "I3D", "dataset": "made up"}, study.make_list([study.Row("0.mp4", 1)])
    )
    made.record_path(0).parent.mkdir(parents=True, exist_ok=True)
    record(0, label=1, config=made.hash, right=False).save(made.record_path(0))
    advice = "no clip counts, so nothing is measured: add --wrong-too --min-score 0 to count others"
    assert main(["study", step, str(made.folder)]) == 0
    assert advice in capsys.readouterr().out
    assert main(["study", step, str(made.folder), "--wrong-too", "--min-score", "0"]) == 0
    assert "no clip counts" not in capsys.readouterr().out


def test_without_pyarrow_nothing_is_merged_for_a_table_that_cannot_be_written(finished, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parquet, "is_installed", lambda package: False)
    assert main(["study", "merge", str(finished), "--parquet", str(tmp_path / "clips.parquet")]) == 1
    assert "writing Parquet needs pyarrow" in capsys.readouterr().err
    assert not (finished / "summary.json").exists()


def test_a_report_is_written_beside_a_study_and_counts_as_asked(finished, capsys):
    assert main(["study", "report", str(finished), "--wrong-too", "--min-score", "0"]) == 0
    assert "10 of 10 clips count" in capsys.readouterr().out
    assert (finished / "report/report.html").exists()


def test_a_summary_alone_makes_a_report_of_what_it_counted(finished, tmp_path, capsys):
    assert main(["study", "merge", str(finished)]) == 0
    summary = str(finished / "summary.json")
    assert main(["study", "report", summary, "--out", str(tmp_path / "report")]) == 0
    assert main(["study", "report", summary, "--wrong-too", "--out", str(tmp_path / "other")]) == 1
    assert "records are needed" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_summary_that_is_not_of_the_records_by_now_is_told(finished, tmp_path, capsys):
    assert main(["study", "merge", str(finished)]) == 0
    next((finished / "records").rglob("*.safetensors")).unlink()
    summary, out = str(finished / "summary.json"), str(tmp_path / "report")
    assert main(["study", "report", summary, "--out", out]) == 0
    said = "summary.json is of 10 clips, and its study has 9 by now: lrp3d study merge makes it anew"
    assert said in capsys.readouterr().err
    assert main(["study", "report", str(finished), "--out", out]) == 0
    assert "by now" not in capsys.readouterr().err


def test_means_of_an_earlier_way_to_count_are_not_reported_as_those_of_today(finished, tmp_path, capsys):
    assert main(["study", "merge", str(finished)]) == 0
    summary = json.loads((finished / "summary.json").read_text())
    assert summary.pop("form") == 2
    former = tmp_path / "former.json"
    for without, code in ((0, 0), (3, 1)):  # where all clips have relevance, both ways count the same
        summary["filter"]["without_relevance"] = without
        former.write_text(json.dumps(summary))
        assert main(["study", "report", str(former), "--out", str(tmp_path / "report")]) == code
    assert "counted clips without relevance in some of its means; make it anew with lrp3d study merge" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["report", "nowhere"], 1, "neither the folder of a study nor a summary"),
        (["merge", "nowhere"], 1, "is no study"),
        (["report", "a", "b"], 2, "--out: where does the report of 2 studies go?"),
        (["report", "a", "./a/summary.json", "--out", "r"], 2, "a and a/summary.json are the same study: name it once"),
        (["report", "a", "--temporal", "x"], 2, "given together"),
        (["merge", "a", "--min-score", "1"], 2, "no score from 0 on, below 1"),
        (["run", "--list", "x", "--out", "y", "--windows", "0"], 2, "not a whole number from 1 on"),
    ],
)
def test_a_mistake_is_said_in_one_line(tmp_path, monkeypatch, capsys, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    try:
        ended = main(["study", *arguments])
    except SystemExit as stopped:
        ended = stopped.code
    assert ended == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made_is_said_with_what_is_needed(summaries):
    said = "\n".join(study.report(summaries[:1]).missing)
    for what in ("Table 2", "Fig. 3", "Fig. 4a", "Fig. 4b", "Fig. 5a", "Fig. 10", "Fig. 11", "Fig. 13", "Table 6"):
        assert what in said
    assert "differ in --option kernel_size=N" in said
    assert "Not made from these studies" in study.report(summaries[:1]).markdown()


def test_a_report_says_if_it_names_classes_in_another_way_than_the_study(finished, tmp_path, capsys):
    for lines, said in (("a\nb\nc\n", ""), ("a\nbee\nsea\n", "'b' is called 'bee' here and 1 more")):
        (tmp_path / "labels.txt").write_text(lines)
        assert main(["study", "report", str(finished), "--labels", str(tmp_path / "labels.txt")]) == 0
        notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: one:")]
        assert notes == ([f"note: one: the study was run with other names of classes: {said}"] if said else [])


def test_the_notes_of_a_study_stand_on_its_page(finished, summaries, tmp_path, capsys):
    made = study.report(summaries[:1], notes=["numbers of classes are others"])
    assert "Note: numbers of classes are others" in made.markdown()
    assert "Note: numbers of classes are others" in made.html()
    (tmp_path / "labels.txt").write_text("a\nbee\nsea\n")
    assert (
        main(["study", "report", str(finished), "--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path)]) == 0
    )
    said = [line.removeprefix("note: ") for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert said
    assert all(note in (tmp_path / "report.md").read_text().replace("\\", "") for note in said)
