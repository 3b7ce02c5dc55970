"""The paper's comparisons of networks: each is made where its studies are there, of what is alike, with its numbers."""

import re
from itertools import pairwise

import pytest
import torch
from studies import record, rows, summary_of

from lrp3d import study
from lrp3d.study.reporting import charts
from lrp3d.study.reporting.study_view import Studied


def network(model, accuracy_of_all=True, **config):
    options = config.pop("options", {})
    frames = int(re.search(r"-f(\d+)", model)[1]) if "-f" in model else 32
    return summary_of(model=model, options=options, **{"frames": frames, **config})


@pytest.fixture(scope="module")
def everything():
    """A study for each comparison of the paper, and what those need beside them."""
    made = {
        "i3d-8": network("I3D-R50-f8", temporal_convolutions=9),
        "i3d-16": network("I3D-R50-f16", reach=1.3),
        "i3d-101": network("I3D-R101-f16", reach=1.4),
        "tam-8": network("TAM2D-R50-f8", reach=0.7, temporal_convolutions=16),
        "r18": network("I3D-R18-f8", reach=1.2, temporal_convolutions=16),
        "kernel 5": network("TAM2D-R50-f8", reach=0.9, options={"kernel_size": 5}),
        "of 2": network("TAM2D-R50-f8", reach=1.1, options={"output_frames": 2}),
        "slowfast": network("SlowFast-R50-8x8", reach=0.5),
        "dense": network("I3D-R50-f8", sampling="dense"),
        "plain": network("I3D-R50-f8", contrastive=False),
        "ssv2": network("I3D-R50-f8", dataset="SSV2"),
    }
    return list(made.items())


@pytest.fixture(scope="module")
def made(everything):
    """Their report, which no test changes."""
    return study.report(everything)


def test_every_comparison_of_the_paper_is_made_where_its_studies_are_there(made):
    names = {part.name for part in made.parts}
    assert names >= {"kernels", "modules", "backbones-Kinetics-f8", "depth-Kinetics", "frames-Kinetics"}
    assert names >= {"ensembles-Kinetics", "pathways", "samplings", "contrast", "sampling"}
    assert [sentence.split(":")[0] for sentence in made.missing if ":" in sentence and "need" in sentence] == [
        "Table 3 and Fig. 9 (people)",
        "Fig. 6 and 14 (windows)",
    ]


def test_what_is_true_of_several_studies_is_said_once():
    studies = [(name, network(name, trained=False)) for name in ("I3D-R18-f8", "I3D-R50-f8")]
    page = study.report(studies, people=(["juggling"], ["archery"])).markdown()
    (random,) = (line for line in page.splitlines() if "random" in line)
    assert all(name in random for name, _ in studies)
    (people,) = (line for line in page.splitlines() if "People call no class" in line)
    assert all(name in people for name, _ in studies)


def test_networks_with_other_options_are_compared_with_those_that_have_the_same():
    narrow = {"options": {"width": 8}}
    studies = {
        "i3d-8": network("I3D-R50-f8", **narrow),
        "i3d-16": network("I3D-R50-f16", reach=1.3, **narrow),
        "r18": network("I3D-R18-f8", reach=1.2, **narrow),
        "tam-8": network("TAM2D-R50-f8", reach=0.7, **narrow),
        "kernel 5": network("TAM2D-R50-f8", reach=0.9, options={"kernel_size": 5, "width": 8}),
        "of 2": network("TAM2D-R50-f8", reach=1.1, options={"width": 8, "output_frames": 2}),
        "slowfast": network("SlowFast-R50-8x8", reach=0.5, **narrow),
    }
    made = study.report(list(studies.items()))
    parts = {part.name: part for part in made.parts}
    comparisons = ["kernels", "modules", "backbones-Kinetics-f8-width=8", "depth-Kinetics", "frames-Kinetics"]
    assert set(parts) >= {*comparisons, "ensembles-Kinetics", "pathways"}
    assert [row["model"] for row in rows(parts["kernels"])] == ["TAM2D-R50 (width=8)"] * 2
    wide = [(name, summary) for name, summary in studies.items() if name != "r18"]
    mixed = {part.name: part for part in study.report([*wide, ("r18", network("I3D-R18-f8"))]).parts}
    assert not {"backbones-Kinetics-f8-width=8", "backbones-Kinetics-f8", "depth-Kinetics"} & set(mixed)


def test_the_numbers_of_the_comparisons_are_those_of_the_studies(everything, made):
    atr = {name: summary["dataset"]["avg_atr"]["mean"] for name, summary in everything}
    parts = {part.name: part for part in made.parts}
    kernels = {row["kernel"]: float(row["avg-ATR"]) for row in rows(parts["kernels"])}
    assert kernels == {"3": atr["tam-8"], "5": atr["kernel 5"]}
    (difference,) = rows(parts["modules"].data)
    assert float(difference["difference"]) == pytest.approx(atr["i3d-8"] - atr["tam-8"])
    ensembles = {row["ensembled frames"]: float(row["avg-ATR"]) for row in rows(parts["ensembles-Kinetics"].data)}
    assert ensembles == {"2": atr["of 2"], "8": atr["tam-8"]}
    depths = {
        row["depth of the ResNet"]: float(row["avg-ATR"])
        for row in rows(parts["depth-Kinetics"].data)
        if row["model"] == "I3D-f16"
    }
    assert depths == {"50": 2 * atr["i3d-16"], "101": 2 * atr["i3d-101"]}  # of 16 frames in 8 columns
    backbones = [row["model"] for row in rows(parts["backbones-Kinetics-f8"].data)]
    assert set(backbones) == {"I3D-R50-f8", "TAM2D-R50-f8", "I3D-R18-f8"}
    assert backbones == sorted(
        backbones,
        key=lambda name: (
            -dict(
                zip(("I3D-R50-f8", "TAM2D-R50-f8", "I3D-R18-f8"), (atr["i3d-8"], atr["tam-8"], atr["r18"]), strict=True)
            )[name]
        ),
    )
    convolutions = {row["model"]: row["temporal convolutions"] for row in rows(parts["backbones-Kinetics-f8"].data)}
    assert convolutions["TAM2D-R50-f8"] == "16"


@pytest.mark.slow
def test_every_figure_has_its_numbers_beside_it(tmp_path, everything, made):
    assert all(part.data for part in made.parts if hasattr(part, "draw"))
    networks = [(name, summary) for name, summary in everything if name in ("i3d-8", "tam-8")]
    written = {path.relative_to(tmp_path).as_posix() for path in study.report(networks).write(tmp_path)}
    pictures = {name.removesuffix(".png") for name in written if name.endswith(".png")}
    assert pictures
    assert all(f"{name}.csv" in written for name in pictures)


@pytest.mark.slow
def test_heat_maps_of_a_page_share_their_colours(made):
    with_maps = [p for p in made.parts if p.name.startswith("heatmaps-") or p.name in ("pathways", "samplings")]
    assert len(with_maps) > 3
    shown = [axes.images[0] for part in with_maps for axes in part.figure.axes if axes.images]
    assert len({(image.get_clim(), image.get_cmap().name) for image in shown}) == 1


def test_negative_relevance_gives_all_heat_maps_of_a_page_the_same_two_sided_colours():
    negative = network("I3D-R50-f16")
    mean = negative["dataset"]["matrix"]
    mean[0] = [-2 * value for value in mean[0]]
    studies = [("i3d", negative), ("slowfast", network("SlowFast-R50-8x8")), ("other", network("I3D-R18-f8"))]
    parts = [part for part in study.report(studies).parts if part.name in ("pathways", "heatmaps-other")]
    shown = [axes.images[0] for part in parts for axes in part.figure.axes if axes.images]
    (ends,) = {image.get_clim() for image in shown}
    assert ends[0] == -ends[1]


def titles_of(report, name):
    (part,) = (part for part in report.parts if part.name == name)
    return [axes.get_title() for axes in part.figure.axes if axes.get_title()]


def test_data_sets_stand_side_by_side_in_the_figures_where_the_paper_has_them_so():
    windows = [1, 4, "segment"]
    studies = [
        (f"{model}, {dataset}", network(model, dataset=dataset, windows=windows))
        for model in ("I3D-R50-f8", "TAM2D-R50-f8", "TSN-R50-f8")
        for dataset in ("Kinetics", "SSV2")
    ]
    made = study.report(studies)
    assert titles_of(made, "windows-of-data-sets") == ["Kinetics", "SSV2"]
    assert [title.split(":")[0] for title in titles_of(made, "accuracy-of-data-sets")] == ["Kinetics", "SSV2"]
    maps = titles_of(made, "heatmaps-of-data-sets-i3d-r50-f8")
    assert maps[0::5] == ["Kinetics", "SSV2"]
    assert maps[1].startswith("Kinetics: ")
    assert maps[6].startswith("SSV2: ")
    (scatter,) = (part for part in made.parts if part.name == "accuracy-of-data-sets")
    assert [row["data set"] for row in rows(scatter.data)] == ["Kinetics"] * 3 + ["SSV2"] * 3


def test_every_table_of_the_paper_says_which_it_is(everything):
    titles = " ".join(part.title for part in study.report(everything, people=(["doing 1"], ["doing 2"])).parts)
    for number in ("Tables 1, 4, 5", "Table 2", "Table 3", "Table 6", "Table 7"):
        assert f"({number})" in titles


def test_a_study_in_which_no_clip_counts_is_named_among_what_is_missing():
    wrong = study.summarise([record(i, right=False) for i in range(3)], config={"model": "I3D-R50-f8", "dataset": "d"})
    said = "\n".join(study.report([("mistaken", wrong)]).missing)
    assert "Fig. 2, 8 and 15 of mistaken: need clips that count" in said


@pytest.mark.parametrize(
    ("windows", "said"), [([1, 4], "stars"), ([1, "segment"], "empty images"), ([1, "centred"], "stars")]
)
def test_the_curves_that_windows_lack_are_named(windows, said):
    missing = study.report([("a", network("I3D-R50-f8", windows=windows))]).missing
    assert any(sentence.startswith("Fig. 6 and 14") and said in sentence for sentence in missing)


@pytest.mark.parametrize("other", [{"sigma": 0.9}, {"merge": "average"}])
def test_networks_explained_in_other_ways_are_not_compared(other):
    comparisons = {"accuracy-kinetics", "depth-Kinetics"}
    alike = study.report([("a", network("I3D-R50-f8")), ("b", network("I3D-R18-f8"))])
    assert comparisons <= {part.name for part in alike.parts}
    mixed = study.report([("a", network("I3D-R50-f8")), ("b", network("I3D-R18-f8", **other))])
    assert not comparisons & {part.name for part in mixed.parts}


def test_a_study_is_said_to_merge_pathways_otherwise_whether_or_not_its_model_has_several():
    assert Studied("a", network("I3D-R50-f8", merge="average")).label() == "I3D-R50-f8, --merge average"


def test_slowfast_is_shown_beside_the_i3d_of_its_backbone():
    studies = {name: network(name) for name in ("I3D-R18-f8", "I3D-R50-f8", "SlowFast-R50-8x8")}
    (pathways,) = (part for part in study.report(list(studies.items())).parts if part.name == "pathways")
    titles = [axes.get_title() for axes in pathways.figure.axes if axes.images]
    assert titles == ["I3D-R50-f8, Kinetics", "SlowFast-R50-8x8, Kinetics"]


def test_one_clip_has_no_deviation_and_two_models_have_no_correlation():
    alone = study.summarise([record(0)], config={"model": "I3D-R50-f8", "dataset": "d"})
    parts = {part.name: part for part in study.report([("a", alone), ("b", alone)]).parts}
    assert "±" not in parts["atr"].markdown()
    assert "±" not in parts["classes-a"].markdown()
    assert all(row["Pearson's r"] == "" for row in rows(parts["correlation"]))


def test_classes_are_named_in_figures():
    summary = summary_of(labels=[f"stirring {i}" for i in range(6)])
    made = {part.name: part for part in study.report([("a", summary)], people=(["stirring 1"], ["stirring 2"])).parts}
    for name in ("class-atr-a", "people-a"):
        said = [tick.get_text() for tick in made[name].figure.axes[0].get_xticklabels()]
        assert "stirring 1" in said


@pytest.mark.parametrize("classes", [41, 174, 400])
def test_names_of_many_classes_do_not_lie_on_each_other(classes):
    names = {i: f"doing {i}" for i in range(classes)}
    figure = charts.class_curve(torch.arange(float(classes)), torch.ones(classes), torch.ones(classes), names=names)
    figure.canvas.draw()
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_xticklabels()]
    boxes.sort(key=lambda box: box.x0)
    assert len(boxes) == 16
    assert all(left.x1 <= right.x0 + 1 for left, right in pairwise(boxes))
