"""Lists: the same clips and classes, whatever the data set's custom."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from studies import encode

from lrp3d.commands.labels import read_labels
from lrp3d.study import Item, Reader, Row, class_list, human_classes, make_list, read_list
from lrp3d.study.listing.classes import bare
from lrp3d.study.running.reader import normalised
from lrp3d.video import IMAGENET_MEAN, IMAGENET_STD, VideoError, draw_clip, read_clip

KINETICS = "label,youtube_id,time_start,time_end,split"
LABELS = ("abseiling", "Holding something next to something", "tai chi")


def read(folder: Path, name: str, text: str, **more):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return [(item.name, item.label) for item in read_list(file, **more).items]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("val.csv", "a b/c d.mp4 2\ne.mp4 0\n", [("a b/c d.mp4", 2), ("e.mp4", 0)]),
        ("val.csv", "a, b.mp4 2\n", [("a, b.mp4", 2)]),
        ("val.csv", "a b.mp4,2\ne.mp4,0\n", [("a b.mp4", 2), ("e.mp4", 0)]),
        ("val.csv", '"a, b.mp4", 2\n', [("a, b.mp4", 2)]),
        ("val.txt", "take 12 3.mp4\t1", [("take 12 3.mp4", 1)]),
        ("val.txt", "a.mp4 tai chi", [("a.mp4", 2)]),
        ("val.txt", "x/take 7 120 1\nx/take two 80 2\n", [("x/take 7", 1), ("x/take two", 2)]),
        ("val.txt", "x/a 1 120 1\nx/b 1 80 2\n", [("x/a", 1), ("x/b", 2)]),
        ("val.txt", "x/a;1;120;1", [("x/a", 1)]),
        ("val.csv", "100218;Holding something next to something", [("100218", 1)]),
        ("val.csv", "tai+chi/y.mp4,tai+chi,3,0", [("tai+chi/y.mp4", 2)]),
        ("test.txt", "a.mp4\nb.mp4", [("a.mp4", None), ("b.mp4", None)]),
        ("val.csv", f'\ufeff{KINETICS}\n"tai chi",-x,7,17,val', [("tai chi/-x_000007_000017", 2)]),
        (
            "val.json",
            '[{"id": "7", "label": "holding a cup", "template": "Holding [something] next to [something]"}]',
            [("7", 1)],
        ),
    ],
)  # fmt: skip
def test_every_convention_is_read(tmp_path, name, text, expected):
    assert read(tmp_path, name, text, labels=LABELS) == expected


def test_a_folder_of_classes_is_a_list(tmp_path):
    for name in ("yoga/b.mp4", "yoga/frames/img_00001.jpg", "archery/a.webm", "archery/notes.txt", ".git/x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = read_list(tmp_path)
    assert clips.labels == ("archery", "yoga")
    found = [(item.name, item.label) for item in clips.items]
    assert found == [("archery/a.webm", 0), ("yoga/b.mp4", 1), ("yoga/frames", 1)]


def test_neither_order_nor_repetition_changes_a_list():
    rows = [Row(f"{name}.mp4", label) for name, label in (("a", 1), ("b", 0), ("c", 2))]
    first, second = make_list(rows), make_list([*reversed(rows), rows[1]])
    assert first == second
    assert first.digest == second.digest != make_list(rows[:2]).digest
    assert [item.number for item in first.items] == [0, 1, 2]


def test_a_clip_with_two_labels_in_two_lines_is_two_clips():
    assert [item.label for item in make_list([Row("a.mp4", 1), Row("a.mp4", 0)]).items] == [0, 1]


def test_a_limit_spreads_over_the_list():
    rows = [Row(f"{i:02d}.mp4", 0) for i in range(10)]
    assert [item.name for item in make_list(rows, limit=4).items] == ["00.mp4", "02.mp4", "05.mp4", "07.mp4"]


def test_a_subset_of_classes_keeps_its_clips_only():
    rows = [Row("a.mp4", "yoga"), Row("b.mp4", "archery"), Row("c.mp4", "arm_wrestling")]
    clips = make_list(rows, labels=("archery", "arm wrestling", "yoga"), classes=["Yoga''.", "arm wrestling"])
    assert [(item.name, item.label) for item in clips.items] == [("a.mp4", 2), ("c.mp4", 1)]


def test_the_numbers_of_a_full_data_set_become_those_of_a_mini_model():
    rows = [Row("a.mp4", 2), Row("b.mp4", 0)]
    full, mini = ("abseiling", "archery", "yoga"), ("archery", "yoga")
    clips = make_list(rows, labels=mini, list_labels=full, classes=mini)
    assert [(item.name, item.label) for item in clips.items] == [("a.mp4", 1)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("a.mp4 1 4\nb.mp4 2", "several labels"),
        ("a.mp4 5", "class 5, and there are 3 labels"),
        ("a.mp4 juggling", "'juggling', which is none of the 3 labels"),
        ("x/a 30 120 1\nx/b 1 80 2\n", "start at frame 30"),
        ("a.mp4,1,x", "line 1: expected path,label"),
        ("label,youtube_id\nx,y", "line 2: expected label,youtube_id"),
        ('[{"name": 1}]', 'list of objects with "id"'),
        ('[{"id": ', "no complete json"),
    ],
)
def test_a_line_that_breaks_the_form_is_named(tmp_path, text, problem):
    with pytest.raises(ValueError, match=problem) as error:
        read(tmp_path, "val.csv", text, labels=LABELS)
    assert "val.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no list"):
        read_list(tmp_path / "val.csv")


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        (Item(0, "a b.mp4"), "a b.mp4"),
        (Item(0, "7"), "7.webm"),
        (Item(0, "a.mp4"), "a.mkv"),
        (Item(0, "x", places=("tai chi/x", "tai_chi/x")), "tai_chi/x.mp4"),
        (Item(0, "frames.mp4"), "frames"),
        (Item(0, "v1.2_x"), "v1.2_x.mp4"),
    ],
)
def test_a_clip_is_found_under_the_names_that_it_may_have(tmp_path, listed, there):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    assert Reader(tmp_path).locate(listed) == tmp_path / there


def test_a_clip_that_is_nowhere_is_an_error_of_the_video(tmp_path):
    with pytest.raises(VideoError, match=r"no file or folder a\.mp4"):
        Reader(tmp_path)(Item(0, "a.mp4"))


def test_frames_are_read_and_the_flow_beside_them_is_not(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    for number, image in enumerate(draw_clip(6, 40).numpy(), 1):
        Image.fromarray(image).save(folder / f"img_{number:05d}.jpg", quality=95)
        Image.fromarray(image * 0).save(folder / f"flow_x_{number:05d}.jpg")
    read = Reader(tmp_path, frames=6, size=40, short_side=40)(Item(0, "x"))
    assert read.indices.tolist() == list(range(6))
    assert abs(read.frames.astype(float) - draw_clip(6, 40).numpy()).mean() < 20


def test_what_is_read_is_what_read_clip_gives(tmp_path):
    encode(tmp_path / "a.mp4")
    read = Reader(tmp_path, frames=4, size=32, short_side=36)(Item(0, "a.mp4"))
    clip = read_clip(tmp_path / "a.mp4", 4, size=32, short_side=36)
    made = normalised(torch.from_numpy(read.frames).unsqueeze(0), IMAGENET_MEAN, IMAGENET_STD)
    assert torch.equal(made, clip.tensor)


def test_lists_of_classes_come_in_many_files(tmp_path):
    stored = {
        "names.txt": "\narchery\nyoga''.\n",
        "names.json": '["archery", "yoga"]',
        "ids.json": '{"archery": 0, "yoga": 1}',
        "pairs.json": '{"mini": [[4, "archery"], [9, "yoga"]], "other": ["tai chi"], "note": "x"}',
        "objects.json": '[{"name": "archery"}, {"name": "yoga", "index": 3}]',
    }
    for name, text in stored.items():
        (tmp_path / name).write_text(text)
        key = ":mini" if name == "pairs.json" else ""
        assert [bare(found) for found in class_list(f"{tmp_path / name}{key}")] == ["archery", "yoga"]
    with pytest.raises(ValueError, match=r"2 lists: say which, pairs\.json:mini, pairs\.json:other"):
        class_list(tmp_path / "pairs.json")


def test_peoples_classes_are_those_of_the_data_set(tmp_path):
    file = tmp_path / "people.json"
    first = {"k_temporal": [{"name": "juggling"}], "k_static": ["yoga"]}
    second = {"s_temporal": ["Folding"], "s_static": ["Holding", {"name": None, "index": 63}]}
    file.write_text(json.dumps({**first, **second, "provenance": ["by hand"]}))
    assert human_classes(file, ["holding", "folding", "x"]) == (("Folding",), ("Holding",))
    with pytest.raises(ValueError, match="none of the classes"):
        human_classes(file, ["swimming"])


def test_labels_of_moments_in_time_have_their_numbers_beside_them(tmp_path):
    file = tmp_path / "moments_categories.txt"
    file.write_text("juggling,1\nadult+female+singing,0\n")
    assert read_labels(file) == ("adult+female+singing", "juggling")
    file.write_text("Lifting something, then letting it drop down\nTurning, 2\n")
    assert read_labels(file)[1] == "Turning, 2"
