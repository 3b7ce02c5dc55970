"""The gallery of a study's clips: which clips it has, what their pictures show, and where links lead."""

import base64
import csv
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from studies import record

from lrp3d import study
from lrp3d.commands.command_line import main
from lrp3d.figures.thumbnail import reduced, thumbnail
from lrp3d.study.reporting.clip_pages import clip_pages
from lrp3d.study.reporting.gallery import Gallery
from lrp3d.study.reporting.study_clips import by_importance, clips_of, standing_out
from lrp3d.study.reporting.table_format import Table

CONFIG = {"model": "I3D-R50-f8", "dataset": "Kinetics", "trained": True}


def made(records, labels=(), config=CONFIG, name="one", **options):
    summary = study.summarise(records, config=config, labels=labels)
    return study.report([(name, summary)], clips=[records], **options)


def gallery_of(report):
    (gallery,) = (part for part in report.parts if isinstance(part, Gallery))
    return gallery


def some(count=40, classes=5, **more):
    return [record(i, i % classes, classes, reach=0.5 + i % 7 / 3, right=i % 9 > 0, **more) for i in range(count)]


def picture(page, number):
    data = re.search(rf'<li id="clips-1-{number}".*?base64,([^"]+)"', page, re.S)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=int)


def addresses(page):
    return re.findall(r'<a href="([^"#][^"]*)"', page)


def test_equal_shares_of_relevance_have_equal_colours_in_all_clips():
    spread, narrow = record(0, frames=4), record(1, frames=4)
    spread.matrix[:], narrow.matrix[:] = torch.full((4, 4), 1.0), torch.eye(4) * 8
    loud = replace(record(2, frames=4), matrix=spread.matrix * 100)  # of a clip with greater logits
    page = made([replace(one, frame_logits=one.matrix.sum(1)) for one in (spread, narrow, loud)]).html()
    pictures = [picture(page, number) for number in range(3)]
    assert pictures[0].shape == (4, 4, 3)
    assert (pictures[0] == pictures[0][0, 0]).all()
    assert (pictures[2] == pictures[0]).all()
    assert pictures[1][0, 0].sum() > pictures[0][0, 0].sum() > pictures[1][0, 1].sum()


def test_relevance_of_both_signs_has_the_colours_of_both():
    matrix = torch.tensor([[2.0, -1.0], [0.0, 2.0]])
    both = Image.open(io.BytesIO(thumbnail(matrix, 2.0, signed=True))).convert("RGB")
    light, dark, grey = (sum(both.getpixel(place)) for place in ((0, 0), (1, 0), (0, 1)))
    assert light > grey > dark


def test_a_large_matrix_is_shown_by_the_means_of_its_blocks():
    matrix = torch.arange(64.0 * 64).reshape(64, 64)
    small = reduced(matrix)
    assert small.shape == (32, 32)
    assert small[3, 5] == matrix[6:8, 10:12].mean()
    assert torch.equal(reduced(matrix[:20, :30]), matrix[:20, :30].double())


@pytest.mark.slow
def test_a_page_of_thousands_of_clips_stays_small_and_says_what_it_shows():
    classes = 200
    noise = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))  # compresses worst
    records = []
    for number in range(3000):
        one = record(number, number % classes, classes, 2, right=number % 9 > 0)
        matrix = noise.roll(number, 0).roll(number // 32, 1)
        records.append(replace(one, matrix=matrix, atr=matrix[0] * 32, frame_logits=matrix.sum(1)))
    report = made(records, [f"some class of {i}" for i in range(classes)])
    page, gallery = report.html(), gallery_of(report)
    assert len(page.encode()) < 2e6
    shown = len(gallery.clips)
    assert 300 < shown <= 600
    assert f"{shown} of the study&#x27;s 3000 clips are on this page" in page
    assert page.count("<li id=") == shown
    assert {clip.group for clip in gallery.clips} == set(range(classes))


def test_every_link_inside_the_page_leads_somewhere():
    page = made(some(120, classes=30)).html()
    places = set(re.findall(r' id="([^"]+)"', page))
    links = re.findall(r'href="#([^"]+)"', page)
    assert set(links) <= places
    assert {"clips-1", "clips-1-wrong", "clips-1-class-7"} <= set(links)
    assert len([link for link in links if re.fullmatch(r"clips-1-\d+", link)]) > 10


def test_the_numbers_of_all_clips_are_in_a_file_beside_the_page(tmp_path):
    records = some(30)
    list(made(records, ["a", "b", "c", "d", "e"]).write(tmp_path))
    rows = list(csv.DictReader((tmp_path / "tables/clips-one.csv").open(encoding="utf-8")))
    assert len(rows) == 30
    first = rows[1]
    assert (first["clip"], first["class"], first["predicted"], first["correct"]) == ("clip 1.mp4", "b", "b", "1")
    assert float(first["avg-ATR"]) == pytest.approx(records[1].avg_atr, rel=1e-5)
    assert float(first["logit"]) == pytest.approx(float(records[1].logits[1]), rel=1e-5)
    assert rows[0]["predicted"] == "b"  # wrongly
    assert "tables/clips-one.csv" in (tmp_path / "report.md").read_text()


def test_a_summary_names_every_class_that_a_clip_has_or_is_taken_for():
    summary = study.summarise([record(0, 1, right=False)], labels=["a", "b", "c"])
    assert summary["clips"]["000000"]["logit"] == pytest.approx(float(record(0, 1, right=False).logits[2]), rel=1e-5)
    assert summary["names"] == {"0001": "b", "0002": "c"}
    assert study.with_labels(summary, ["x", "y", "z"])["names"] == {"0001": "y", "0002": "z"}
    assert clips_of(summary, {0: "a.mp4"})[0].predicted == "c"
    del summary["names"], summary["clips"]["000000"]["logit"]  # as of a former version
    clip = clips_of(summary, {})[0]
    assert (clip.name, clip.predicted, clip.logit) == ("clip 0", "class 2", None)


def test_clips_without_a_class_or_without_relevance_are_shown_as_such():
    dark = record(0)
    dark.matrix.zero_()
    dark.atr.fill_(torch.nan)
    page = made([dark, replace(record(1), label=None), record(2, 1)]).html()
    assert (picture(page, 0) == picture(page, 0)[0, 0]).all()
    assert "<i>–</i>" in page
    assert "class unknown" in page
    assert page.count("predicted correctly") >= 2


def test_what_stands_out_are_both_ends_far_clips_and_the_surest_mistakes():
    records = [record(i, 0, reach=1.0) for i in range(20)]
    records[7] = record(7, 0, reach=0.01)
    records[9] = replace(record(9, 0, right=False), logits=torch.tensor([0.0, 30.0, 0.0]))
    records[4] = replace(record(4, 0, right=False), logits=torch.tensor([0.0, 3.0, 0.0]))
    summary = study.summarise(records)
    found = {}
    for why, clip in standing_out(clips_of(summary, {}), summary):
        found.setdefault(why, []).append(clip.number)
    assert found["least avg-ATR"][0] == 7
    assert found["surest mistakes"] == [9, 4]
    assert [clips for why, clips in found.items() if "below its class" in why] == [[7]]
    assert found["greatest logit"][0] == 9
    assert found["greatest logit"] + found["least logit"] == list(
        dict.fromkeys(found["greatest logit"] + found["least logit"])
    )


def test_where_all_clips_have_the_same_number_none_stands_out_by_it():
    records = [record(i, 0) for i in range(6)]
    for one in records:
        one.atr.fill_(4.0)
    summary = study.summarise(records)
    assert not [why for why, _ in standing_out(clips_of(summary, {}), summary) if "ATR" in why]


def test_a_number_that_more_clips_share_than_are_named_makes_none_of_them_stand_out():
    records = [record(i, 0) for i in range(10)]
    for one, atr in zip(records, [2.0, *[4.0] * 8, 8.0], strict=True):
        one.atr.fill_(atr)
    summary = study.summarise(records, min_score=0)
    found = [(why, clip.number) for why, clip in standing_out(clips_of(summary, {}), summary) if "max-ATR" in why]
    assert found == [("greatest max-ATR", 9), ("least max-ATR", 0)]


def test_however_few_clips_there_is_room_for_they_are_spread_over_the_order():
    clips = clips_of(study.summarise(some(1000)), {})
    ranked = sorted(clips, key=lambda clip: -clip.logit)
    place = {clip.number: i for i, clip in enumerate(ranked)}
    for count in (300, 400, 600):
        places = sorted(place[clip.number] for clip in by_importance(clips, [])[:count])
        assert max(np.diff(places)) < 40
    assert len(by_importance(clips, [])) == 1000


@pytest.mark.slow
def test_several_studies_share_the_room_of_the_page():
    records = some(400, frames=32)
    summary = study.summarise(records, config=CONFIG)
    both = study.report([("a", summary), ("b", summary)], clips=[records, records])
    assert [part.place for part in both.parts if isinstance(part, Gallery)] == ["clips-1", "clips-2"]
    assert len(both.html().encode()) < 2e6


def test_a_study_without_records_has_no_gallery_and_one_beside_it_has():
    records = some(20)
    summary = study.summarise(records, config=CONFIG)
    report = study.report([("a", summary), ("b", summary)], clips=[None, records])
    assert [part.name for part in report.parts if isinstance(part, Gallery)] == ["clips-b"]
    assert not [part for part in study.report([("a", summary)]).parts if isinstance(part, Gallery)]
    with pytest.raises(ValueError, match="clips are of 1 studies, and the report is of 2"):
        study.report([("a", summary), ("b", summary)], clips=[None])
    with pytest.raises(ValueError, match="give clips as well"):
        study.report([("a", summary)], pages="nowhere")


def test_hostile_names_are_only_text():
    hostile = "</li><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"&amp;{{data}}"
    page = made([replace(one, name=hostile) for one in some(5)], [hostile] * 5, name=hostile).html()
    assert page.count("<script>") == 1
    assert "onerror='" not in page


def test_a_table_links_its_cells_for_readers_of_the_page_alone():
    table = Table("t", "T", ["n"], [["a"], ["b"]], links={(1, 0): "#b"})
    assert "<td>a</td>" in table.html()
    assert '<td><a href="#b">b</a></td>' in table.html()
    assert "#b" not in table.markdown() + table.csv()


# Pages of clips


def write_pages(folder, *places, model="I3D-R50-f8"):
    for place in places:
        (folder / place).mkdir(parents=True)
        (folder / place / "report.html").touch()
        said = {"video": f"{place.rpartition('/')[2]}.mp4", "model": model}
        (folder / place / "explanation.json").write_text(json.dumps(said))


def test_pages_are_found_by_name_with_folders_and_without(tmp_path):
    write_pages(tmp_path, "a", "archery/b", "yoga/b", "v1.2")
    names = {0: "archery/a.mp4", 1: "archery/b.mp4", 2: "yoga/b", 3: "c.mp4", 4: "yoga/v1.2"}
    found, notes = clip_pages(tmp_path, names)
    assert {number: page.parent.relative_to(tmp_path).as_posix() for number, page in found.items()} == {
        0: "a",
        1: "archery/b",
        2: "yoga/b",
        4: "v1.2",
    }
    assert notes == []


def test_a_page_that_could_be_of_two_clips_is_linked_from_neither(tmp_path):
    write_pages(tmp_path, "b")
    found, notes = clip_pages(tmp_path, {0: "archery/b.mp4", 1: "yoga/b.mp4"})
    assert found == {}
    assert "2 clips are not linked" in notes[0]


def test_pages_of_another_model_are_not_linked(tmp_path):
    write_pages(tmp_path, "a")
    write_pages(tmp_path, "b", model="TAM2D-R50-f8")
    found, notes = clip_pages(tmp_path, {0: "a.mp4", 1: "b.mp4"}, "I3D-R50-f8")
    assert list(found) == [0]
    assert "1 pages" in notes[0]
    assert "other models than I3D-R50-f8" in notes[0]


def test_the_page_of_a_single_clip_is_known_by_its_video(tmp_path):
    write_pages(tmp_path, "out/a")
    for file in ("report.html", "explanation.json"):
        shutil.move(tmp_path / "out/a" / file, tmp_path / "out" / file)
    assert list(clip_pages(tmp_path / "out", {3: "archery/a.webm"})[0]) == [3]
    with pytest.raises(ValueError, match="has no pages of clips"):
        clip_pages(tmp_path / "out/a", {3: "a"})


@pytest.fixture
def finished(tmp_path):
    """A study of ten clips on the disk."""
    clips = study.make_list([study.Row(f"{i}.mp4", i % 3) for i in range(10)], labels=["a", "b", "c"])
    begun = study.create(tmp_path / "one", {"model": "I3D-R50-f8", "dataset": "made up"}, clips)
    for i in range(10):
        path = begun.record_path(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(record(i, label=i % 3, config=begun.hash, right=i > 1), name=f"{i}.mp4").save(path)
    return begun.folder


def test_the_command_links_clips_to_their_pages_relative_to_its_own(finished, tmp_path):
    write_pages(tmp_path / "pages of ours", "3", "5")
    assert main(["study", "report", str(finished), "--pages", str(tmp_path / "pages of ours")]) == 0
    page = (finished / "report/report.html").read_text()
    assert sorted(addresses(page)) == [f"../../pages%20of%20ours/{number}/report.html" for number in (3, 5)]
    assert (finished / "report/../../pages of ours/3/report.html").is_file()
    assert page.count("<li id=") == 10


def test_pages_of_which_none_fits_are_warned_of(finished, tmp_path):
    write_pages(tmp_path / "pages", "elsewhere")
    assert main(["study", "report", str(finished), "--pages", str(tmp_path / "pages")]) == 0
    said = (finished / "report/report.md").read_text()
    assert "is of a clip of one" in said


def test_the_command_says_why_a_summary_has_no_gallery(finished, tmp_path, capsys):
    assert main(["study", "merge", str(finished)]) == 0
    summary = str(finished / "summary.json")
    assert main(["study", "report", summary, "--out", str(tmp_path / "report")]) == 0
    assert "the gallery of clips needs the study's folder with its records" in capsys.readouterr().out
    assert main(["study", "report", summary, "--out", str(tmp_path / "other"), "--pages", str(tmp_path)]) == 2
    assert "--pages links clips from a gallery" in capsys.readouterr().err
    assert main(["study", "report", str(finished), "--pages", str(tmp_path / "nothing")]) == 1
    assert "has no pages of clips" in capsys.readouterr().err
